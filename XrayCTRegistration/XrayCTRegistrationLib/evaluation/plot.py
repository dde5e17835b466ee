"""The evaluation's figure: how many cases end below an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..io.figures import figure_file
from .runner import START, CaseResult

_RANGE_MM = (0.01, 300.0)


def write_success_curves(path: Path, results: Sequence[CaseResult]) -> None:
    """Draw for every method the share of all cases whose true mTRE is below a value, as PNG.

    Raises InputError when matplotlib is missing or the file cannot be written.
    """
    with figure_file(path, (7, 4.5), "evaluation") as figure:
        axes = figure.add_subplot()
        for limit in (2, 10):
            axes.axvline(limit, color="0.75", linewidth=1)
            axes.annotate(f"{limit} mm", (limit, 101), color="0.4", ha="center", va="bottom", annotation_clip=False)
        for method in dict.fromkeys(result.method for result in results):
            errors = np.sort([result.mtre_mm for result in results if result.method == method])
            below = 100 * np.arange(len(errors) + 1) / len(errors)
            axes.step(
                [_RANGE_MM[0], *np.clip(errors, *_RANGE_MM), _RANGE_MM[1]],
                [*below, below[-1]],
                where="post",
                label=method,
                color="0.5" if method == START else None,
                linestyle="--" if method == START else "-",
            )
        cases = len({(result.ct, result.case) for result in results})
        axes.set(xscale="log", xlim=_RANGE_MM, ylim=(0, 101), xlabel="true mTRE (mm)", ylabel="cases below (%)")
        axes.set_title(f"Registration success, {cases} cases", pad=18)
        ticks = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.grid(True, color="0.93")
        axes.legend(loc="upper left")
