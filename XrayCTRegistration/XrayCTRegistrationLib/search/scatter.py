"""How much scatter an X-ray holds, asked of the CT: with the right amount taken off, it is most like its DRR.

Of 15 X-rays of five CTs with 0.5 to 1.5 scattered photons per primary one (seeds 27 to 29), 12 are more alike without
them, by 0.04 to 0.21, and the median error falls from 0.46 to 0.17 mm; the other three are of a pelvis, behind which
hardly a photon is counted. Of 15 without scatter, none is taken to hold any.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from ..geometry import Pose, XrayView
from ..levels import Problem
from ..scatter import Scatter
from ..xray import XrayImage
from .beside import Beside, beside_steps, each_changed

_LITTLE, _SPREADS = 0.3, (0.12, 0.06, 0.24)  # photons per primary one, and shares of the image, to begin with
_MOST, _SPREAD_BETWEEN = 3.0, (0.05, 0.4)
_FACTORS = (2.0, 2.0**0.5)  # by which it is changed, to all sides of the best, while that gains
_LEAST_STEP_GAIN, _LEAST_GAIN = 2e-4, 3e-3  # in similarity, of a step, and of taking off anything at all
_SCALE_ROUNDS = 2


def without_scatter(problem: Problem, pose: Pose, pixel_mm: float) -> Generator[None, None, Problem]:
    """The problem with scatter taken off each X-ray that is more like the CT at a pose without it; the same object
    where that changes nothing. pixel_mm: of the resolution at which they are compared. With pauses."""

    def cleared(image: XrayImage, view: XrayView) -> Generator[None, None, XrayImage]:
        scatter = yield from _fitted((yield from beside_steps(problem, image.as_measured, view, pose, pixel_mm)))
        return image.as_measured if scatter is None else (yield from image.without_steps(scatter))

    return (yield from each_changed(problem, cleared))


@dataclass(frozen=True)
class _Trial:
    """An amount of scatter, and how alike the two are without it."""

    scatter: Scatter
    similarity: float


def _fitted(beside: Beside) -> Generator[None, None, Scatter | None]:
    """The scatter without which the two are most alike; None where that is none."""
    nothing, slope = yield from beside.compared()
    scale = slope if beside.image.logarithmic else 1.0
    trials = []
    for spread in _SPREADS:
        trials.append((yield from _tried(beside, Scatter(_LITTLE, spread, scale))))
    best = max(trials, key=lambda trial: trial.similarity)
    if best.similarity <= nothing:
        return None
    for factor in _FACTORS:
        rising = True
        while rising:
            best, rising = yield from _risen(beside, best, factor)
    return best.scatter if best.similarity > nothing + _LEAST_GAIN else None


def _risen(beside: Beside, best: _Trial, factor: float) -> Generator[None, None, tuple[_Trial, bool]]:
    """The first of the trials about the best that is better than it, and whether there is one."""
    amount, spread = best.scatter.per_primary, best.scatter.spread
    for more, wider in (
        (amount * factor, spread),
        (amount / factor, spread),
        (amount, spread * factor),
        (amount, spread / factor),
    ):
        if more <= _MOST and _SPREAD_BETWEEN[0] <= wider <= _SPREAD_BETWEEN[1]:
            trial = yield from _tried(beside, replace(best.scatter, per_primary=more, spread=wider))
            if trial.similarity > best.similarity + _LEAST_STEP_GAIN:
                return trial, True
    return best, False


def _tried(beside: Beside, scatter: Scatter) -> Generator[None, None, _Trial]:
    """The two without so much scatter. The scale of a logarithm, which nobody knows, is fitted along: without scatter,
    values are proportional to line integrals."""
    similarity, slope = yield from beside.compared(scatter)
    if beside.image.logarithmic:
        for _ in range(_SCALE_ROUNDS):
            scatter = replace(scatter, per_value=slope)
            similarity, slope = yield from beside.compared(scatter)
    return _Trial(scatter, similarity)
