"""The registration pipeline, as a stepper.

    initial pose -> global search | learned similarity | CMA-ES -> Levenberg-Marquardt at full resolution -> report

`registration_steps` yields a state after every short step; `register` runs it to its end.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .beyond import continuing_faces
from .confidence import Confidence, Evidence, confidence, evidence_of
from .errors import InputError
from .fixed_images import footprint
from .geometry import Pose, XrayView, common_isocenter
from .levels import Level, LevelSteps, Problem
from .projector import device_for
from .search.cmaes import cmaes
from .search.descent import Descended, descend, descend_at, descend_in_depth
from .search.ends import ending_as_seen
from .search.global_search import global_search
from .search.polarity import Reading, read_at, readings, together
from .search.scatter import without_scatter
from .search.search_range import NEAR, SearchRange
from .search.soft_tissue import Settled, settled
from .search.tone import straightened
from .state import RegistrationState, Steps, finished, reported, shown
from .threads import torch_on_one_thread
from .volume import Volume, prepared_attenuation
from .weights import Extent
from .xray import Meaning, Polarity, Radiograph, xray_image_steps

_DESCENT_PIXELS, _FINEST_PIXELS = (48, 96), 160  # along the longest side of what the views see of the CT
_FINEST_ITERATIONS, _COARSE_ITERATIONS = 20, 25
_WORSE = 0.01  # in similarity; the bones' own pose may explain a little less than a pose for all

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How to register.

    method: "auto" (global search, then gradient), "search" (the search alone, at its own resolution), "cmaes" (CMA-ES
        from the start, then gradient), "gradient" (descent from the start), "learned" (a guess of the pose, then
        descent on the learned similarity) or "learned+cmaes" (that, then as "cmaes"; the seed's own pipeline).
    search: how far from the start the global search looks; None: near a start that was given, far from the centre.
    polarity: None asks the file's tags, then the CT.
    weights: of the learned similarity; those that come with the software unless given.
    device: "auto", "cpu", "cuda". seed: same seed, same machine, same result.
    """

    method: str = "auto"
    search: SearchRange | None = None
    polarity: Polarity | None = None
    weights: Path | None = None
    device: str = "auto"
    seed: int = 0

    @property
    def span(self) -> SearchRange:
        return self.search or SearchRange()


@dataclass(frozen=True, eq=False)
class RegistrationResult:
    """pose: ct_to_world. similarity_before, similarity: of start and pose at the last resolution, at most 1.
    moved_deg, moved_mm: rotation, and shift of the CT's isocentre, from the start. kept_start: the start fits better
    than the end of the registration did, so it stays. meanings: one per X-ray, as its pixels were read. seconds: wall
    time per stage."""

    pose: Pose
    start: Pose
    similarity_before: float
    similarity: float
    moved_deg: float
    moved_mm: float
    confidence: Confidence
    evidence: Evidence
    kept_start: bool
    meanings: tuple[Meaning, ...]
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A registration that can begin. seconds: that preparing it took."""

    problem: Problem
    settings: Settings
    seconds: float


@dataclass
class _Outcome:
    """What the stages pass on."""

    pose: Pose
    runner_up_gap: float = math.nan  # of a search
    strayed: bool = False  # the descent left the range of the search
    covariance: np.ndarray | None = None  # (6, 6) of the pose's twist, where the last stage knows it
    deviations: float = math.nan  # of the soft tissue's motion, likewise
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - begin


def register(
    ct: Volume,
    radiographs: Sequence[Radiograph],
    views: Sequence[XrayView],
    start: Pose | None = None,
    settings: Settings | None = None,
    masks: Sequence[np.ndarray | None] | None = None,
) -> RegistrationResult:
    """Find the pose of a CT under which its DRRs match one or more X-rays; see `registration_steps`."""
    return finished(registration_steps(ct, radiographs, views, start, settings, masks))


def registration_steps(
    ct: Volume,
    radiographs: Sequence[Radiograph],
    views: Sequence[XrayView],
    start: Pose | None = None,
    settings: Settings | None = None,
    masks: Sequence[np.ndarray | None] | None = None,
) -> Steps[RegistrationResult]:
    """Register a CT (Hounsfield units) to X-rays, views and masks in the same order; yields states, returns the result.

    start: ct_to_world; `centered` unless given. masks: (rows, columns), nonzero where an X-ray may be used.
    Raises InputError when the input cannot be registered.
    """
    prepared = yield from prepared_steps(ct, radiographs, views, start, settings, masks)
    _, result = yield from registered_problem_steps(prepared)
    return result


def prepared_steps(
    ct: Volume,
    radiographs: Sequence[Radiograph],
    views: Sequence[XrayView],
    start: Pose | None = None,
    settings: Settings | None = None,
    masks: Sequence[np.ndarray | None] | None = None,
) -> Steps[Prepared]:
    """The input of `registration_steps`, checked and prepared for `registered_problem_steps`."""
    settings = settings or Settings()
    if settings.method not in METHODS:
        raise InputError(f"There is no method {settings.method!r}. Known are: {', '.join(METHODS)}.")
    device_for(settings.device)  # an InputError before anything else
    if settings.search is None:
        settings = replace(settings, search=NEAR if start else SearchRange())
    start = start or centered(ct, views)
    begin = time.perf_counter()
    with torch_on_one_thread():
        yield RegistrationState("prepare", 0.0, start, float("nan"))
        problem = yield from problem_steps(ct, radiographs, views, start, settings, masks)
    return Prepared(problem, settings, time.perf_counter() - begin)


def registered_problem_steps(prepared: Prepared) -> Steps[tuple[Problem, RegistrationResult]]:
    """Register what was prepared; returns the problem, too, as it was read in the end, for what goes on from there."""
    problem, settings = prepared.problem, prepared.settings
    outcome = _Outcome(problem.start, seconds={"prepare": prepared.seconds})
    with torch_on_one_thread():
        for name, stage in METHODS[settings.method].items():
            with outcome.timed(name):
                problem = (yield from stage(problem, outcome, settings)) or problem
        with outcome.timed("report"):
            return problem, (yield from _report(problem, outcome))


def centered(ct: Volume, views: Sequence[XrayView]) -> Pose:
    """The pose that moves the CT's centre to the views' isocentre and turns nothing."""
    return Pose.from_parts(np.eye(3), common_isocenter(list(views)) - ct.center)


def _search(problem: Problem, outcome: _Outcome, settings: Settings) -> Steps[Problem]:
    """Returns the problem with the X-rays read in the polarities of the most similar pose."""
    found = yield from global_search(problem, settings.span, settings.seed)
    outcome.pose = found.best.pose
    outcome.runner_up_gap = found.lead
    return found.best.problem


def _cmaes(problem: Problem, outcome: _Outcome, settings: Settings) -> Steps[None]:
    outcome.pose, _ = yield from cmaes(problem, outcome.pose, settings.seed)


def _learned(problem: Problem, outcome: _Outcome, settings: Settings) -> Steps[None]:
    # Imported here: a registration without it needs neither the networks nor safetensors.
    from .networks.weights import load_network, shipped_weights
    from .search.learned import learned_search

    network = load_network(settings.weights or shipped_weights())
    outcome.pose = yield from learned_search(problem, network, settings.span, settings.seed)


def _gradient(problem: Problem, outcome: _Outcome, settings: Settings) -> Steps[Problem]:
    """Descent at 48, 96 and 160 pixels along the longest side, after a search or CMA-ES at 96 and 160, the last without
    scatter and tone curve; then bones and soft tissue each for itself, where the soft tissue has parted from the bones.
    Where it leaves the range of the search, the image does not hold the pose, and the pose stays as it was. Returns the
    problem with the X-rays read as the pose shows that they are meant."""
    pose = outcome.pose
    found = "search" in outcome.seconds or "CMA-ES" in outcome.seconds
    for pixels in _DESCENT_PIXELS[-1:] if found else _DESCENT_PIXELS:
        steps = descend_at(problem, pose, pixels, _COARSE_ITERATIONS)
        pose = (yield from reported(steps, "gradient", 0.0, pose)).pose
    pixel_mm = problem.extent_mm(pose) / pixels
    read = yield from shown(read_at(problem, pose, pixel_mm), _refining(0.3, pose))
    read = yield from shown(ending_as_seen(read, pose, pixel_mm), _refining(0.3, pose))
    if read is not problem:
        problem, steps = read, descend_at(read, pose, pixels, _COARSE_ITERATIONS)
        pose = (yield from reported(steps, "gradient", 0.3, pose)).pose
    pixel_mm = problem.extent_mm(pose) / pixels
    for clearer in (without_scatter, straightened):
        problem = yield from shown(clearer(problem, pose, pixel_mm), _refining(0.3, pose))
    level = yield from shown(_finest(problem, pose), _refining(0.3, pose))
    steps = descend_in_depth(level, pose, problem.center(pose), _FINEST_ITERATIONS)
    end: Descended | Settled = yield from reported(steps, "gradient", 0.3, pose)
    if not problem.extent.bone_alone:
        apart = problem.level_of_bones(end.pose, _finest_mm(problem, end.pose))
        level = yield from shown(apart, _refining(0.8, end.pose))
        end = yield from shown(settled(level, end.pose, problem.center(end.pose)), _refining(0.8, end.pose))
    outcome.strayed = not settings.span.holds(*problem.motion(end.pose))
    if not outcome.strayed:
        outcome.pose, outcome.covariance = end.pose, end.covariance
        outcome.deviations = end.deviations if isinstance(end, Settled) else math.nan
    return problem


def _refining(progress: float, pose: Pose) -> RegistrationState:
    return RegistrationState("gradient", progress, pose, -1.0)


_Stage = Callable[[Problem, _Outcome, Settings], Steps[Problem | None]]
METHODS: dict[str, dict[str, _Stage]] = {
    "auto": {"search": _search, "gradient": _gradient},
    "search": {"search": _search},
    "cmaes": {"CMA-ES": _cmaes, "gradient": _gradient},
    "gradient": {"gradient": _gradient},
    "learned": {"learned": _learned},
    "learned+cmaes": {"learned": _learned, "CMA-ES": _cmaes, "gradient": _gradient},
}


def problem_of(
    ct: Volume,
    radiographs: Sequence[Radiograph],
    views: Sequence[XrayView],
    start: Pose,
    settings: Settings,
    masks: Sequence[np.ndarray | None] | None = None,
) -> Problem:
    """The input checked and prepared: attenuation, line integrals, and the polarity of every X-ray."""
    return finished(problem_steps(ct, radiographs, views, start, settings, masks))


def problem_steps(
    ct: Volume,
    radiographs: Sequence[Radiograph],
    views: Sequence[XrayView],
    start: Pose,
    settings: Settings,
    masks: Sequence[np.ndarray | None] | None = None,
) -> Steps[Problem]:
    """As `problem_of`, with pauses."""
    if not radiographs:
        raise InputError("There is no X-ray. Give at least one.")
    if len(views) != len(radiographs):
        raise InputError(f"There are {len(radiographs)} X-rays but {len(views)} geometries. Give one per X-ray.")
    masks = list(masks) if masks is not None else [None] * len(radiographs)
    if len(masks) != len(radiographs):
        raise InputError(f"There are {len(radiographs)} X-rays but {len(masks)} masks. Give one per X-ray, or none.")
    for radiograph, view in zip(radiographs, views):
        rows, columns = radiograph.pixels.shape
        if (columns, rows) != view.size_px:
            raise InputError(
                f"{radiograph.where}: the image has {columns} x {rows} pixels, but its geometry is for "
                f"{view.size_px[0]} x {view.size_px[1]}. Give the geometry of this image."
            )
    state = RegistrationState("prepare", 0.0, start, float("nan"))
    body = yield from shown(prepared_attenuation(ct), state)
    extent = Extent.of(body)
    continuing = continuing_faces(extent, views, start)
    problem = Problem(body, (), tuple(views), start, ct.center, extent, continuing, settings.device)
    yield state
    for radiograph, view in zip(radiographs, views):
        try:
            footprint(problem.attenuation, start, view)
        except InputError as error:
            raise InputError(f"{radiograph.where}: {error}") from None
    read: list[list[Reading]] = []
    for index, (radiograph, mask) in enumerate(zip(radiographs, masks)):
        polarity = settings.polarity or radiograph.polarity
        if polarity is None:
            read.append((yield from readings(problem, index, radiograph, mask)))
        else:
            image = yield from shown(xray_image_steps(radiograph, polarity, mask), state)
            read.append([Reading(polarity, image)])
    likeliest, *others = together(read)
    return replace(_read_as(problem, likeliest), otherwise=tuple(_read_as(problem, other) for other in others))


def _read_as(problem: Problem, readings: Sequence[Reading]) -> Problem:
    images, polarities = zip(*((one.image, one.polarity) for one in readings))
    return replace(problem, images=images, polarities=polarities)


def _finest(problem: Problem, pose: Pose) -> LevelSteps:
    """The level that the result is made and judged at."""
    return problem.level(pose, _finest_mm(problem, pose))


def _finest_mm(problem: Problem, pose: Pose) -> float:
    return problem.extent_mm(pose) / _FINEST_PIXELS


def _report(problem: Problem, outcome: _Outcome) -> Steps[RegistrationResult]:
    state = RegistrationState("report", 0.0, outcome.pose, -1.0)
    level = yield from shown(_finest(problem, problem.start), state)
    similarity_before = float((yield from shown(level.similarity_steps([problem.start]), state))[0])
    level, end = yield from _measured(problem, outcome.pose)
    kept_start = end.similarity < similarity_before - _WORSE
    if kept_start:
        outcome.pose, outcome.covariance = problem.start, None
        outcome.runner_up_gap = outcome.deviations = math.nan
        level, end = yield from _measured(problem, outcome.pose)
    covariance = end.covariance if outcome.covariance is None else outcome.covariance
    state = RegistrationState("report", 0.9, outcome.pose, -1.0)
    views = yield from shown(level.compare_steps([outcome.pose]), state)
    evidence = evidence_of(views, covariance, outcome.runner_up_gap, outcome.deviations)
    moved_deg, moved_mm = problem.motion(outcome.pose)
    return RegistrationResult(
        pose=outcome.pose,
        start=problem.start,
        similarity_before=similarity_before,
        similarity=evidence.similarity,
        moved_deg=moved_deg,
        moved_mm=moved_mm,
        confidence=confidence(evidence, problem.extent, outcome.strayed, len(problem.views)),
        evidence=evidence,
        kept_start=kept_start,
        meanings=tuple(
            Meaning(polarity, image.logarithmic, image.scatter, image.tone)
            for polarity, image in zip(problem.polarities, problem.images)
        ),
        seconds=outcome.seconds,
    )


def _measured(problem: Problem, pose: Pose) -> Steps[tuple[Level, Descended]]:
    """The last resolution about a pose, and the pose linearised there, unmoved."""
    level = yield from shown(_finest(problem, pose), RegistrationState("report", 0.5, pose, -1.0))
    measuring = descend(level, pose, problem.center(pose), iterations=0)
    return level, (yield from reported(measuring, "report", 0.5, pose))
