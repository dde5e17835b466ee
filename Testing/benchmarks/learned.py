"""The learned similarities measured: how convex they are, the seed's Table 1, a harder one, and their speed.

    python Testing/benchmarks/learned.py convexity --ct a.nii.gz b.nii.gz   whether they point to the truth
    python Testing/benchmarks/learned.py table1 ...    start, and every network without and with CMA-ES
    python Testing/benchmarks/learned.py descents ...  from the same starts: down the value, on features, on embeddings
    python Testing/benchmarks/learned.py hard ...      degraded X-rays: networks and hand-made similarities, one descent
    python Testing/benchmarks/learned.py auto ...      the global search without and with the network's hypotheses
    python Testing/benchmarks/learned.py speed ...     a gradient step, on the CPU and on a GPU where there is one

The weights are the shipped ones, or those that --weights names. CTs must not have been trained on. Every part writes
Markdown and CSV into the output folder and prints the Markdown.
What `table1` finds in a table1.csv that is there already is kept, so that networks can be measured one by one.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from XrayCTRegistrationLib.evaluation.case_files import read_csv, write_csv
from XrayCTRegistrationLib.evaluation.convexity import (
    ConvexityRow,
    best_ways,
    convexity,
    convexity_markdown,
    feature_ways,
    write_convexity,
)
from XrayCTRegistrationLib.evaluation.effects import EFFECTS
from XrayCTRegistrationLib.evaluation.protocol import Case, disagreeing_case, simulated_case
from XrayCTRegistrationLib.evaluation.runner import START, CaseResult, evaluate
from XrayCTRegistrationLib.evaluation.subject import Subject
from XrayCTRegistrationLib.evaluation.tables import ALL_CTS, markdown, summary
from XrayCTRegistrationLib.geometry import Pose
from XrayCTRegistrationLib.io.volumes import read_ct
from XrayCTRegistrationLib.levels import Problem
from XrayCTRegistrationLib.networks.dual_branch import DualBranch
from XrayCTRegistrationLib.networks.interface import EMBEDDED, WINDOW_PX, Compared, SimilarityNetwork, moving_volume
from XrayCTRegistrationLib.networks.weights import ARCHITECTURES, load_network, shipped_weights
from XrayCTRegistrationLib.realism import CLEAN, HARD, Realism
from XrayCTRegistrationLib.registration import Settings, problem_of, register
from XrayCTRegistrationLib.search import global_search
from XrayCTRegistrationLib.search.feature_descent import feature_descent
from XrayCTRegistrationLib.search.hypotheses import drawn_steps, likely
from XrayCTRegistrationLib.search.learned import best_of_hypotheses, learned_search
from XrayCTRegistrationLib.search.learned_scene import Look
from XrayCTRegistrationLib.search.search_range import SearchRange
from XrayCTRegistrationLib.search.value_descent import value_descent
from XrayCTRegistrationLib.similarity import Windows, locally_normalised
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.threads import torch_on_one_thread
from XrayCTRegistrationLib.training.anatomy import unvaried_anatomy
from XrayCTRegistrationLib.training.objective import pose_directions
from XrayCTRegistrationLib.training.samples import sampled_batch, training_view

_CMAES = "start + CMA-ES"
_LONG = 25  # steps of a descent alone
_REFINED = 6  # of the drawn hypotheses, by the global search: as many as of its own in a round
_LOCAL_RADIUS_PX = 6  # 13 mm: the radius that registration uses on its own pixels


class _HandMade(SimilarityNetwork):
    """A similarity without parameters, under the same descent as a network. 1 minus a correlation."""

    version = 1

    def compared(self, fixed: torch.Tensor, moving: torch.Tensor) -> Compared:
        correlations = [_correlation(*pair) for pair in zip(self.of_xrays(fixed), self.of_drrs(moving))]
        return Compared(1 - sum(correlations) / len(correlations), ())

    def of_drrs(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.of_xrays(images)


class _Ncc(_HandMade):
    name = "NCC"

    def of_xrays(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (images,)


class _LocalNcc(_HandMade):
    name = "local NCC"

    def of_xrays(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        even = Windows.of(torch.ones_like(images[:1, 0]), _LOCAL_RADIUS_PX)
        return (locally_normalised(images[:, 0], even).pixels,)


class _GradientCorrelation(_HandMade):
    name = "gradient correlation"

    def of_xrays(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return images[..., 1:] - images[..., :-1], images[..., 1:, :] - images[..., :-1, :]


HAND_MADE = (_Ncc, _LocalNcc, _GradientCorrelation)


class _Embeddings(_HandMade):
    """A network of which only the twelve embeddings are compared."""

    name = "embeddings"

    def __init__(self, network: SimilarityNetwork) -> None:
        super().__init__()
        self._network = network

    def moving_values(self, attenuation: torch.Tensor) -> torch.Tensor:
        return self._network.moving_values(attenuation)

    def of_xrays(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self._network.of_xrays(images)[0][:, :EMBEDDED].mean(dim=(-2, -1)),)

    def of_drrs(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self._network.of_drrs(images)[0][:, :EMBEDDED].mean(dim=(-2, -1)),)


def _correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    first, second = (part.flatten(1) - part.flatten(1).mean(dim=1, keepdim=True) for part in (first, second))
    return (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1) + 1e-6)


def cosines_of(weights: Sequence[Path], cts: Sequence[Path], cases: int, seed: int) -> list[ConvexityRow]:
    """Of every network and hand-made similarity, of the dual-branch network's features, and what images can tell."""
    networks = [*(load_network(path) for path in weights), *(kind() for kind in HAND_MADE)]
    rows = [row for network in networks for row in convexity(network, cts, cases, seed)]
    for network in networks:
        if isinstance(network, DualBranch):
            rows += convexity(network, cts, cases, seed, ways=feature_ways, name="dual-branch, features")
    for name, realism in (("the image at best", CLEAN), ("the image at best, noise", replace(CLEAN, noise=1.0))):
        rows += convexity(_Ncc(), cts, cases, seed, realism, best_ways, name)
    return rows


def table1(
    weights: Sequence[Path], cts: Sequence[Path], cases: int, seed: int, known: Sequence[CaseResult] = ()
) -> list[CaseResult]:
    """The start, CMA-ES from it, and every network without and with CMA-ES; of the known rows, those of others."""
    rows = [row for row in known if row.method in (START, _CMAES)]
    if not rows:
        found = evaluate(cts, cases, ["cmaes"], seed)
        rows = [row if row.method == START else replace(row, method=_CMAES) for row in found]
    for path in weights:
        name = load_network(path).name
        names = {"learned": name, "learned+cmaes": f"{name} + CMA-ES"}
        found = evaluate(cts, cases, list(names), seed, weights=path)
        rows += [replace(row, method=names[row.method]) for row in found if row.method != START]
    measured = {row.method for row in rows}
    return rows + [row for row in known if row.method not in measured]


def descents(weights: Path, cts: Sequence[Path], cases: int, seed: int) -> list[CaseResult]:
    """One descent of the network, from the start and from its guess: down its value, on the differences of its
    features, and on those of its embeddings."""
    network = load_network(weights)
    rows = []
    for case, problem in _cases(cts, cases, seed, CLEAN):
        look, embeddings = Look(problem, network), Look(problem, _Embeddings(network))
        for name, start in (("start", case.start), ("guess", likely(look)[0])):
            rows.append(_measured(case, name, lambda start=start: start))
            for kind, steps in (
                ("value", value_descent(look, start)),
                ("features", feature_descent(look, start, _LONG)),
                ("embeddings", feature_descent(embeddings, start, _LONG)),
            ):
                rows.append(_measured(case, f"{name}, {kind}", lambda steps=steps: finished(steps)))
    return rows


def hard(weights: Sequence[Path], cts: Sequence[Path], cases: int, seed: int, occluded: float) -> list[CaseResult]:
    """Degraded X-rays, of which a share is occluded: the networks; the hand-made similarities under the dual-branch
    network's own descent, from the start, and from the hypotheses that it guesses; and whole registrations."""
    realism = replace(HARD, occlusion=float(occluded > 0), occluded=occluded)
    networks = [load_network(path) for path in weights]
    guessing = next((network for network in networks if isinstance(network, DualBranch)), None)
    span, rows = SearchRange(), []
    for case, problem in _cases(cts, cases, seed, realism):
        rows.append(_measured(case, START, lambda case=case: case.start))
        for network in networks:
            steps = learned_search(problem, network, span, seed)
            rows.append(_measured(case, network.name, lambda steps=steps: finished(steps)))
        for kind in HAND_MADE:
            look = Look(problem, kind())
            steps = feature_descent(look, case.start, _LONG)
            rows.append(_measured(case, kind.name, lambda steps=steps: finished(steps)))
            if guessing is not None:
                steps = best_of_hypotheses(look, Look(problem, guessing), span, seed)
                rows.append(_measured(case, f"{kind.name}, same hypotheses", lambda steps=steps: finished(steps)))
        for method in ("learned+cmaes", "auto"):
            settings = Settings(method=method, search=span, seed=seed)
            given = (case.given, case.radiographs, case.views, case.start, settings)
            rows.append(_measured(case, method, lambda given=given: register(*given).pose))
    return rows


def auto(weights: Path, cts: Sequence[Path], cases: int, seed: int, effects: Sequence[str]) -> str:
    """A Markdown table: the global search as it is, and with the network's hypotheses refined beside the start."""
    network, span = load_network(weights), SearchRange()
    found: dict[tuple[str, str], list[tuple[float, int, float]]] = {}
    for path in cts:
        subject = Subject(path.name, read_ct(path))
        for number, effect in product(range(cases), effects):
            case = disagreeing_case(subject, number, seed, effect)
            with torch_on_one_thread():
                problem = problem_of(case.given, case.radiographs, case.views, case.start, Settings())
                for kind in ("as it is", "with hypotheses"):
                    clock = time.process_time()
                    hypotheses = []
                    if kind == "with hypotheses":
                        look = Look(problem, network)
                        hypotheses = [*likely(look)[:-1], *finished(drawn_steps(look, span, seed))[:_REFINED]]
                    pose, drawn = _searched(problem, span, seed, hypotheses)
                    seconds = time.process_time() - clock
                    found.setdefault((effect, kind), []).append((case.error_of(pose).mtre_mm, drawn, seconds))
    lines = ["| effect | search | cases | below 10 mm | poses drawn | CPU seconds |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for (effect, kind), rows in found.items():
        errors, drawn, seconds = (np.array(part) for part in zip(*rows))
        figures = f"{100 * np.mean(errors < 10):.0f} % | {drawn.mean():.0f} | {seconds.mean():.1f}"
        lines.append(f"| {EFFECTS[effect].title} | {kind} | {len(rows)} | {figures} |")
    return "\n".join([*lines, ""])


def _searched(problem: Problem, span: SearchRange, seed: int, hypotheses: Sequence[Pose]) -> tuple[Pose, int]:
    """What the global search finds, and how many poses it drew, when its round 0 refines further poses."""
    refined, turned, drawn = global_search._refined, global_search.turned_poses, []

    def with_hypotheses(ground, poses, number, *others):  # type: ignore[no-untyped-def]
        return refined(ground, [*poses, *hypotheses] if number == 0 else poses, number, *others)

    def counted(*given):  # type: ignore[no-untyped-def]
        poses = turned(*given)
        drawn.extend(poses)
        return poses

    with (
        mock.patch.object(global_search, "_refined", with_hypotheses),
        mock.patch.object(global_search, "turned_poses", counted),
    ):
        found = finished(global_search.global_search(problem, span, seed))
    return found.best.pose, len(drawn)


def _cases(cts: Sequence[Path], cases: int, seed: int, realism: Realism) -> Iterator[tuple[Case, Problem]]:
    """Cases of the seed's protocol, prepared, while torch has one thread."""
    for path in cts:
        ct = read_ct(path)
        subject = Subject(path.name, ct)
        for number in range(cases):
            case = simulated_case(subject, number, seed, realism=realism)
            with torch_on_one_thread():
                yield case, problem_of(ct, [case.radiograph], [case.view], case.start, Settings())


def _measured(case: Case, method: str, found: Callable[[], Pose]) -> CaseResult:
    clock = time.perf_counter()
    errors = asdict(case.error_of(found()))
    seconds = time.perf_counter() - clock
    return CaseResult(case.ct, case.number, method, **errors, similarity=np.nan, seconds=seconds)


def speed(weights: Sequence[Path], ct: Path) -> str:
    """A Markdown table: seconds and memory of a gradient step of each network, one X-ray, each in a process alone, and
    CPU seconds until `learned` has taken its first step."""
    lines = ["| network | device | gradient step, ms | memory it takes, MB | loading and first step, CPU s |"]
    lines.append("| --- | --- | ---: | ---: | ---: |")
    for path in weights:
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                milliseconds, megabytes, seconds = alone.submit(_steps_of, path, ct, device).result()
            lines.append(
                f"| {load_network(path).name} | {device} | {milliseconds:.1f} | {megabytes:.0f} | {seconds:.2f} |"
            )
    return "\n".join([*lines, ""])


def _steps_of(weights: Path, ct: Path, device: str) -> tuple[float, float, float]:
    """What `speed` measures of a network."""
    return *_gradient_step(weights, ct, device), _first_step(weights, ct, device)


def _first_step(weights: Path, ct_path: Path, device: str) -> float:
    """CPU seconds from weights in a file to the first step of a descent from the guess; X-rays and CT are prepared."""
    ct = read_ct(ct_path)
    case = simulated_case(Subject(ct_path.name, ct), 0, 0)
    with torch_on_one_thread():
        problem = problem_of(ct, [case.radiograph], [case.view], case.start, Settings(device=device))
        clock = time.process_time()
        look = Look(problem, load_network(weights, device))
        next(feature_descent(look, likely(look)[0], 1))
        return time.process_time() - clock


def _gradient_step(weights: Path, ct_path: Path, device: str, steps: int = 40) -> tuple[float, float]:
    """Median milliseconds of the value's gradient to the pose, and by how many megabytes the peak of memory rose."""
    anatomy = unvaried_anatomy(ct_path, torch.device(device))
    batch = sampled_batch(anatomy, training_view(WINDOW_PX), [np.random.default_rng(0)], CLEAN)
    network = load_network(weights, device)
    before, seconds = _peak_mb(device), []
    with torch_on_one_thread():
        with torch.no_grad():
            moving = moving_volume(network, anatomy.moving)
        for _ in range(steps):
            clock = time.perf_counter()
            pose_directions(network, moving, batch)[1].cpu()
            seconds.append(time.perf_counter() - clock)
    return 1e3 * float(np.median(seconds)), _peak_mb(device) - before


def _peak_mb(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["convexity", "table1", "descents", "hard", "auto", "speed"])
    parser.add_argument("--weights", type=Path, nargs="*", default=[shipped_weights(name) for name in ARCHITECTURES])
    parser.add_argument("--ct", type=Path, nargs="+", required=True)
    parser.add_argument("--cases", type=int, default=20, help="X-rays per CT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--occluded", type=float, default=HARD.occluded, help="share of the X-rays of `hard`")
    parser.add_argument("--effect", nargs="+", choices=EFFECTS, default=list(EFFECTS), help="of `auto`")
    parser.add_argument("-o", "--output", type=Path, default=Path("learned-output"))
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    clock = time.perf_counter()
    if given.part == "convexity":
        rows = cosines_of(given.weights, given.ct, given.cases, given.seed)
        write_convexity(given.output, rows)
        text = convexity_markdown(rows)
    elif given.part == "auto":
        text = auto(given.weights[0], given.ct, given.cases, given.seed, given.effect)
        (given.output / "auto.md").write_text(text, encoding="utf-8")
    elif given.part == "speed":
        text = speed(given.weights, given.ct[0])
        (given.output / "speed.md").write_text(text, encoding="utf-8")
    else:
        table = given.output / f"{given.part}.csv"
        if given.part == "table1":
            results = table1(
                given.weights, given.ct, given.cases, given.seed, read_csv(table, CaseResult) if table.exists() else []
            )
        elif given.part == "descents":
            results = descents(given.weights[0], given.ct, given.cases, given.seed)
        else:
            results = hard(given.weights, given.ct, given.cases, given.seed, given.occluded)
        write_csv(table, results)
        text = markdown([row for row in summary(results) if len(given.ct) == 1 or row.ct == ALL_CTS])
        table.with_suffix(".md").write_text(text, encoding="utf-8")
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(text)
    print(
        f"{time.perf_counter() - clock:.0f} s, at most {peak_gb:.1f} GB, {platform.processor() or platform.machine()}"
    )


if __name__ == "__main__":
    main()
