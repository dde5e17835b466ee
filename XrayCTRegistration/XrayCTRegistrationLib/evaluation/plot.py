"""The evaluation's figures: how many cases end below an error, and the error of every case by what differed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..io.figures import figure_file
from .runner import START, CaseResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RANGE_MM = (0.01, 300.0)
_TICKS_MM = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_COLORS = {"high": "tab:green", "moderate": "tab:orange", "low": "tab:red", "refused": "black"}
_SPREAD = 0.6  # of a line's height, over which its points lie one above the other


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
        _tick(axes)
        axes.grid(True, color="0.93")
        axes.legend(loc="upper left")


def write_errors_by_effect(path: Path, results: Sequence[CaseResult]) -> None:
    """Draw every case's true mTRE as a point in the line of its effect, coloured by the confidence it got, as PNG.

    A cross is a case that the registration refused, at the error of its start. Raises InputError as
    `write_success_curves` does.
    """
    judged = [result for result in results if result.method != START]
    lines = list(dict.fromkeys((result.effect, result.method) for result in judged))
    several = len({method for _, method in lines}) > 1
    with figure_file(path, (8, 1.5 + 0.3 * len(lines)), "evaluation") as figure:
        axes = figure.add_subplot()
        for limit in (2, 10):
            axes.axvline(limit, color="0.75", linewidth=1)
        for level, color in _COLORS.items():
            of_level = [result for result in judged if (result.confidence or "refused") == level]
            errors = np.clip([result.mtre_mm for result in of_level], *_RANGE_MM)
            heights = [lines.index((result.effect, result.method)) + _aside(result) for result in of_level]
            if of_level:
                axes.scatter(errors, heights, s=14, color=color, label=level, marker="x" if level == "refused" else "o")
        names = [f"{effect}, {method}" if several else effect for effect, method in lines]
        axes.set_yticks(range(len(lines)), names)
        axes.invert_yaxis()
        axes.set(xscale="log", xlim=_RANGE_MM, xlabel="true mTRE (mm)")
        _tick(axes)
        axes.grid(True, axis="x", color="0.93")
        axes.set_axisbelow(True)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, title="confidence")


def _aside(result: CaseResult) -> float:
    """How far a case's point lies from the middle of its line, so that neighbours can be told apart."""
    return _SPREAD * ((0.618 * result.case) % 1 - 0.5)


def _tick(axes: Axes) -> None:
    axes.set_xticks(_TICKS_MM, [f"{tick:g}" for tick in _TICKS_MM])
    axes.set_xticks([], minor=True)
