"""Run the cases of an evaluation, one after another or on a Dask cluster."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import InputError
from ..geometry import Pose
from ..io.volumes import read_ct
from ..networks.weights import load_network, shipped_weights
from ..projector import device_for
from ..projector.cores import on_one_core
from ..realism import HARD
from ..registration import METHODS, RegistrationResult, Settings, register
from ..search.search_range import SearchRange
from .effects import EFFECTS
from .protocol import PHOTONS, disagreeing_case, simulated_case
from .subject import Subject

if TYPE_CHECKING:
    import numpy as np
    from dask.distributed import Client

    from ..geometry import XrayView
    from ..metrics import PoseError
    from ..volume import Volume
    from ..xray import Radiograph

START = "start"
_CONNECT_SECONDS = 10.0
_one_at_a_time = threading.Lock()  # the CPU projector is parallel itself; workers with several threads stay correct


@dataclass(frozen=True)
class CaseResult:
    """One row of the table: the error of one method in one case.

    ct: name of the CT's file. case: its number. method: of the registration, or "start" for the pose it began from.
    The errors are those of `PoseError`. similarity: -1 to 1, at the last resolution; that of "start" is measured where
    the first method ended. confidence: its level, empty for "start". seconds: wall time of the registration with one
    thread of torch; the first case also waits for the projector to be compiled. effect: of EFFECTS, empty in the seed's
    protocol. expected_error_mm: of the confidence. evidence: what the confidence was judged by. error: what the
    registration said where it refused; the row's errors are then those of the start, and it counts as a failure.
    """

    ct: str
    case: int
    method: str
    mtre_mm: float
    seed_mtre_mm: float
    mrpd_mm: float
    rotation_deg: float
    in_plane_mm: float
    depth_mm: float
    similarity: float | None
    confidence: str = ""
    seconds: float = 0.0
    effect: str = ""
    expected_error_mm: float | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)
    error: str = ""

    @property
    def judged(self) -> bool:
        """Whether a confidence can be fitted to it: it is no start, and the registration gave a pose."""
        return self.method != START and not self.error

    def below(self, limit_mm: float) -> bool:
        """Whether the registration succeeded: it gave a pose, and its true mTRE is below limit_mm."""
        return not self.error and self.mtre_mm < limit_mm


class Registrable(Protocol):
    """A registration with a known answer; see `protocol.Case`."""

    @property
    def ct(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def effect(self) -> str: ...
    @property
    def given(self) -> Volume: ...
    @property
    def start(self) -> Pose: ...
    @property
    def radiographs(self) -> tuple[Radiograph, ...]: ...
    @property
    def views(self) -> tuple[XrayView, ...]: ...
    @property
    def masks(self) -> tuple[np.ndarray, ...] | None: ...
    def error_of(self, pose: Pose) -> PoseError: ...


@dataclass(frozen=True)
class _Task:
    """One case of one CT, as it is sent to a worker."""

    ct_path: str
    number: int
    methods: tuple[str, ...]
    seed: int
    photons: float
    device: str
    weights: str | None
    realistic: bool
    effect: str

    @property
    def key(self) -> tuple[str, int, str]:
        """CT, case and effect, as the rows tell them."""
        return Path(self.ct_path).name, self.number, self.effect


def evaluate(
    ct_paths: Sequence[str | Path],
    cases: int,
    methods: Sequence[str],
    seed: int = 0,
    photons: float = PHOTONS,
    device: str = "auto",
    scheduler: str | None = None,
    weights: str | Path | None = None,
    realistic: bool = False,
    on_case: Callable[[list[CaseResult]], None] | None = None,
    effects: Sequence[str] = (),
    known: Sequence[CaseResult] = (),
) -> list[CaseResult]:
    """Simulate `cases` X-rays of every CT, register each with every method, and measure the errors.

    ct_paths: files or DICOM folders as `read_ct` takes them. methods: of `METHODS`. photons: a pixel, see
    `detector_counts`. device: see `projector_for`. scheduler: address of a Dask scheduler (tcp://host:port) to spread
    the cases over its workers, which need this package and the CTs under the same paths; start them as
    processes with one thread each (`dask worker ADDRESS --nthreads 1`). on_case: called with the rows of every finished
    case, in the order they finish. weights: of the learned similarity, see `Settings`. realistic: whether the X-rays
    are degraded as those of an operating room are, see `simulated_case`. effects: of EFFECTS; every case is simulated
    under each of them, see `disagreeing_case`; none for the seed's protocol. known: rows of an earlier run with the
    same arguments, whose cases are taken from there.

    Returns the rows sorted by CT, case, effect and method ("start" first), in the order given; but for the seconds they
    are the same with and without a cluster of like machines. A case that the registration refuses is a row that says
    so. Raises InputError before any work when an argument cannot be used.
    """
    tasks = _tasks(ct_paths, cases, methods, seed, photons, device, weights, realistic, effects)
    if scheduler is None:
        device_for(device)  # an InputError once, and not in every case
    rows = _rows_known(tasks, known)
    missing = [task for task in tasks if task not in rows]
    for task, of_task in _in_turn(missing) if scheduler is None else _on_cluster(missing, scheduler):
        rows[task] = of_task
        if on_case is not None:
            on_case(of_task)
    return [row for task in tasks for row in rows[task]]


def _tasks(
    ct_paths: Sequence[str | Path],
    cases: int,
    methods: Sequence[str],
    seed: int,
    photons: float,
    device: str,
    weights: str | Path | None,
    realistic: bool,
    effects: Sequence[str],
) -> list[_Task]:
    paths = [Path(path).resolve() for path in ct_paths]
    for given, path in zip(ct_paths, paths):
        if not path.exists():
            raise InputError(f"{given}: there is no such CT. Check the path.")
    names = [path.name for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"Several CTs are named {twice[0]}, and the table tells CTs by their names. Rename one.")
    if not paths or cases < 1 or not methods:
        raise InputError("There is nothing to evaluate. Give at least one CT, one case and one method.")
    for what, chosen, all_names in (("method", methods, METHODS), ("effect", effects, EFFECTS)):
        unknown = [name for name in chosen if name not in all_names]
        if unknown:
            raise InputError(f"There is no {what} {unknown[0]!r}. Known are: {', '.join(all_names)}.")
        if len(set(chosen)) < len(chosen):
            raise InputError(f"The same {what} is named twice in {', '.join(chosen)}. Name each once.")
    if seed < 0 or photons < 1:
        raise InputError(f"The seed ({seed}) must not be negative, and photons ({photons:g}) be at least 1.")
    weights = None if weights is None else str(Path(weights).resolve())
    if any(method.startswith("learned") for method in methods):
        load_network(Path(weights) if weights else shipped_weights())  # raises where they cannot be used
    shared = (tuple(methods), seed, photons, device, weights, realistic)
    return [_Task(str(path), n, *shared, effect) for path in paths for n in range(cases) for effect in effects or ("",)]


def _rows_known(tasks: list[_Task], known: Sequence[CaseResult]) -> dict[_Task, list[CaseResult]]:
    """The rows of the tasks that are among the known ones with every method."""
    by_case: dict[tuple[str, int, str], dict[str, CaseResult]] = {}
    for row in known:
        by_case.setdefault((row.ct, row.case, row.effect), {})[row.method] = row
    found: dict[_Task, list[CaseResult]] = {}
    for task in tasks:
        of_case, wanted = by_case.get(task.key, {}), (START, *task.methods)
        if all(method in of_case for method in wanted):
            found[task] = [of_case[method] for method in wanted]
    return found


def _in_turn(tasks: list[_Task]) -> Iterator[tuple[_Task, list[CaseResult]]]:
    try:
        for task in tasks:
            yield task, _rows(task)
    finally:
        _subject.cache_clear()


def _on_cluster(tasks: list[_Task], scheduler: str) -> Iterator[tuple[_Task, list[CaseResult]]]:
    with _connected(scheduler) as client:
        from dask.distributed import KilledWorker, as_completed

        futures = client.map(_rows_on_worker, tasks, pure=False)  # not from memory: seconds are measured
        task_of = dict(zip(futures, tasks))
        for future in as_completed(futures, loop=client.loop):
            task = task_of[future]
            try:
                rows = future.result()
            except KilledWorker:
                raise InputError(
                    f"{Path(task.ct_path).name}, case {task.number}: Dask workers died over it, most likely for want "
                    "of memory. Give each worker 3 GB, or run without a scheduler."
                ) from None
            except CancelledError:
                raise InputError(
                    f"{scheduler}: the connection to the Dask scheduler was lost. See that it runs, and evaluate again."
                ) from None
            except ImportError as error:
                raise InputError(
                    f"The Dask workers cannot run a case ({error}). Install the same XrayCTRegistration there as here."
                ) from None
            yield task, rows


@contextmanager
def _connected(scheduler: str) -> Iterator[Client]:
    """A client of a scheduler that has workers; InputError within bounded time otherwise."""
    try:
        from dask.distributed import Client
    except ImportError:
        raise InputError(
            "A scheduler needs Dask, which is not installed. Install XrayCTRegistration[evaluation], or leave the "
            "scheduler out to run one case after another."
        ) from None
    try:
        client = Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, asyncio.TimeoutError):
        raise InputError(
            f"{scheduler}: no Dask scheduler answers there. Check the address (tcp://host:port, as `dask scheduler` "
            "prints it), or leave the scheduler out to run one case after another."
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
        except (OSError, asyncio.TimeoutError):
            raise InputError(
                f"{scheduler}: the Dask scheduler has no workers. Start some: dask worker {scheduler} --nthreads 1"
            ) from None
        yield client


def _rows_on_worker(task: _Task) -> list[CaseResult]:
    """The rows of a case on one core, since the other cores are other workers'."""
    with on_one_core():
        return _rows(task)


def _rows(task: _Task) -> list[CaseResult]:
    """The start and every method of one case; the same on every worker but for the seconds."""
    path = Path(task.ct_path)
    with _one_at_a_time:
        subject = _subject(task.ct_path, path.stat().st_mtime_ns if path.exists() else 0)
        if task.effect:
            case = disagreeing_case(subject, task.number, task.seed, task.effect, task.photons)
        else:
            realism = HARD if task.realistic else None
            case = simulated_case(subject, task.number, task.seed, task.photons, realism)
        weights = Path(task.weights) if task.weights else None
        settings = Settings(search=SearchRange(), weights=weights, device=task.device, seed=task.seed)
        return rows_of_case(case, task.methods, settings)


def rows_of_case(case: Registrable, methods: Sequence[str], settings: Settings) -> list[CaseResult]:
    """The rows of the start and of every method in one case; `settings.method` does not count."""
    found = [_registered(case, replace(settings, method=method)) for method in methods]
    before = next((similarity for _, similarity in found if similarity is not None), None)
    return [_row(case, START, case.start, similarity=before), *(row for row, _ in found)]


def _registered(case: Registrable, settings: Settings) -> tuple[CaseResult, float | None]:
    """The row of one method, and the similarity of the start; a refusal is a row, too."""
    method, clock = settings.method, time.perf_counter()
    try:
        result = register(case.given, case.radiographs, case.views, case.start, settings, case.masks)
    except InputError as error:
        seconds = time.perf_counter() - clock
        return _row(case, method, case.start, similarity=None, seconds=seconds, error=str(error)), None
    seconds = time.perf_counter() - clock
    judged = {
        "similarity": result.similarity,
        "confidence": result.confidence.level,
        "expected_error_mm": result.confidence.expected_error_mm,
        "evidence": _evidence_columns(result),
    }
    return _row(case, method, result.pose, seconds=seconds, **judged), result.similarity_before


def _row(case: Registrable, method: str, pose: Pose, **judged: Any) -> CaseResult:
    """The row of a pose, with its errors. judged: other fields of CaseResult."""
    return CaseResult(case.ct, case.number, method, effect=case.effect, **asdict(case.error_of(pose)), **judged)


def _evidence_columns(result: RegistrationResult) -> dict[str, float]:
    """What a result says for and against itself, by name; nothing where it does not tell."""
    evidence = getattr(result, "evidence", None)
    return {} if evidence is None else asdict(evidence)


@lru_cache(maxsize=1)
def _subject(path: str, _changed: int) -> Subject:
    """A CT, kept for the next case of the same file."""
    return Subject(Path(path).name, read_ct(path))
