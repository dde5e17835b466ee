"""The learned similarities measured: how convex they are, the seed's Table 1, and a harder one.

    python Testing/benchmarks/learned.py convexity --weights A.safetensors B.safetensors --ct a.nii.gz b.nii.gz
    python Testing/benchmarks/learned.py table1 ...    start, and every network without and with CMA-ES
    python Testing/benchmarks/learned.py hard ...      degraded X-rays: networks and hand-made similarities, one descent

CTs must not have been trained on. Every part writes Markdown and CSV into the output folder and prints the Markdown.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from XrayCTRegistrationLib.evaluation.convexity import convexity, convexity_markdown, write_convexity
from XrayCTRegistrationLib.evaluation.protocol import simulated_case
from XrayCTRegistrationLib.evaluation.runner import START, CaseResult, evaluate
from XrayCTRegistrationLib.evaluation.tables import ALL_CTS, markdown, summary, write_csv
from XrayCTRegistrationLib.io.volumes import read_ct
from XrayCTRegistrationLib.metrics import bone_points, pose_error
from XrayCTRegistrationLib.networks.interface import Compared, SimilarityNetwork
from XrayCTRegistrationLib.networks.weights import load_network
from XrayCTRegistrationLib.registration import Settings, problem_of
from XrayCTRegistrationLib.search.learned import learned_descent
from XrayCTRegistrationLib.similarity import locally_normalised
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.threads import torch_on_one_thread

_LOCAL_RADIUS_PX = 6  # 13 mm: the radius that registration uses on its own pixels


class _HandMade(SimilarityNetwork):
    """A similarity without parameters, under the same descent as a network. 1 minus a correlation."""

    version = 1

    def compared(self, fixed: torch.Tensor, moving: torch.Tensor) -> Compared:
        correlations = [_correlation(*pair) for pair in zip(self.seen(fixed), self.seen(moving))]
        return Compared(1 - sum(correlations) / len(correlations), ())

    def seen(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise NotImplementedError


class _Ncc(_HandMade):
    name = "NCC"

    def seen(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (images,)


class _LocalNcc(_HandMade):
    name = "local NCC"

    def seen(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        even = torch.ones_like(images[0, 0])
        return (locally_normalised(images[:, 0], even, _LOCAL_RADIUS_PX)[0],)


class _GradientCorrelation(_HandMade):
    name = "gradient correlation"

    def seen(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return images[..., 1:] - images[..., :-1], images[..., 1:, :] - images[..., :-1, :]


HAND_MADE = (_Ncc, _LocalNcc, _GradientCorrelation)


def _correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    first, second = (part.flatten(1) - part.flatten(1).mean(dim=1, keepdim=True) for part in (first, second))
    return (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1) + 1e-6)


def table1(weights: Sequence[Path], cts: Sequence[Path], cases: int, seed: int) -> list[CaseResult]:
    """The start, CMA-ES from it, and every network without and with CMA-ES."""
    rows = evaluate(cts, cases, ["cmaes"], seed)
    rows = [row if row.method == START else replace(row, method="start + CMA-ES") for row in rows]
    for path in weights:
        name = load_network(path).name
        names = {"learned": name, "learned+cmaes": f"{name} + CMA-ES"}
        found = evaluate(cts, cases, list(names), seed, weights=path)
        rows += [replace(row, method=names[row.method]) for row in found if row.method != START]
    return rows


def hard(weights: Sequence[Path], cts: Sequence[Path], cases: int, seed: int) -> list[CaseResult]:
    """Degraded X-rays; every similarity alone under the descent of the stage `learned`, from the same starts."""
    networks = [*(load_network(path) for path in weights), *(kind() for kind in HAND_MADE)]
    rows = []
    for path in cts:
        ct = read_ct(path)
        points = bone_points(ct)
        for number in range(cases):
            case = simulated_case(ct, path.name, number, seed, realistic=True)
            errors = asdict(pose_error(case.start, case.true, points, case.view, ct.center))
            rows.append(CaseResult(path.name, number, START, **errors, similarity=np.nan))
            with torch_on_one_thread():
                problem, _ = problem_of(ct, [case.radiograph], [case.view], case.start, Settings())
                for network in networks:
                    clock = time.perf_counter()
                    pose = finished(learned_descent(problem, network, case.start))
                    seconds = time.perf_counter() - clock
                    errors = asdict(pose_error(pose, case.true, points, case.view, ct.center))
                    rows.append(
                        CaseResult(path.name, number, network.name, **errors, similarity=np.nan, seconds=seconds)
                    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["convexity", "table1", "hard"])
    parser.add_argument("--weights", type=Path, nargs="*", default=[])
    parser.add_argument("--ct", type=Path, nargs="+", required=True)
    parser.add_argument("--cases", type=int, default=20, help="X-rays per CT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("learned-output"))
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    clock = time.perf_counter()
    if given.part == "convexity":
        networks = [*(load_network(path) for path in given.weights), *(kind() for kind in HAND_MADE)]
        rows = [row for network in networks for row in convexity(network, given.ct, given.cases, given.seed)]
        write_convexity(given.output, rows)
        text = convexity_markdown(rows)
    else:
        measure = table1 if given.part == "table1" else hard
        results = measure(given.weights, given.ct, given.cases, given.seed)
        write_csv(given.output / f"{given.part}.csv", results)
        text = markdown([row for row in summary(results) if len(given.ct) == 1 or row.ct == ALL_CTS])
        (given.output / f"{given.part}.md").write_text(text, encoding="utf-8")
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(text)
    print(
        f"{time.perf_counter() - clock:.0f} s, at most {peak_gb:.1f} GB, {platform.processor() or platform.machine()}"
    )


if __name__ == "__main__":
    main()
