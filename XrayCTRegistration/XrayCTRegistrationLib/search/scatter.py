"""How much scatter an X-ray holds, asked of the CT: with the right amount taken off, it is most like its DRR.

Of 15 X-rays of five CTs with 0.5 to 1.5 scattered photons per primary one (seeds 27 to 29), 12 are more alike without
them, by 0.04 to 0.21, and the median error falls from 0.46 to 0.17 mm; the other three are of a pelvis, behind which
hardly a photon is counted. Of 15 without scatter, none is taken to hold any.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import torch

from ..geometry import Pose
from ..levels import Problem
from ..scatter import Scatter
from ..similarity import compare

_LITTLE, _SPREADS = 0.3, (0.12, 0.06, 0.24)  # photons per primary one, and shares of the image, to begin with
_MOST, _SPREAD_BETWEEN = 3.0, (0.05, 0.4)
_FACTORS = (2.0, 2.0**0.5)  # by which it is changed, to all sides of the best, while that gains
_LEAST_STEP_GAIN, _LEAST_GAIN = 2e-4, 3e-3  # in similarity, of a step, and of taking off anything at all
_SHADOW = 0.02  # of the DRR's greatest value, above which a pixel tells the scale of a logarithm
_SCALE_ROUNDS, _LEAST_SLOPE = 2, 1e-3


def without_scatter(problem: Problem, pose: Pose, pixel_mm: float) -> Generator[None, None, Problem]:
    """The problem with scatter taken off each X-ray that is more like the CT at a pose without it; the same object
    where that changes nothing. pixel_mm: of the resolution at which they are compared. With pauses."""
    images = []
    for image, view in zip(problem.images, problem.views):
        alone = replace(problem, images=(image.as_measured,), views=(view,), otherwise=())
        scatter = yield from _fitted((yield from _beside_steps(alone, pose, pixel_mm)))
        images.append(image.as_measured if scatter is None else (yield from image.without_steps(scatter)))
    if all(image is one for image, one in zip(images, problem.images)):
        return problem
    return replace(problem, images=tuple(images))


@dataclass(frozen=True, eq=False)
class _Beside:
    """One X-ray, no finer than it is compared, beside its DRR.

    problem: of this X-ray alone. pose, pixel_mm: under which and at which resolution they are compared. drawn, rays:
    the DRR and the weights of its rays (1, rows, columns).
    """

    problem: Problem
    pose: Pose
    pixel_mm: float
    drawn: torch.Tensor
    rays: torch.Tensor

    def compared(self, scatter: Scatter | None) -> Generator[None, None, tuple[float, float]]:
        """The similarity without so much scatter, and the line integral for each unit of the values that are left."""
        (image,) = self.problem.images
        less = image if scatter is None else (yield from image.without_steps(scatter))
        level = yield from replace(self.problem, images=(less,)).level(self.pose, self.pixel_mm, 1.5 * self.pixel_mm)
        (fixed,) = level.fixed
        found = compare(fixed, self.drawn, self.rays)
        return float(found.similarity), _slope(fixed.line_integrals, self.drawn[0], found.fitting[0])


def _beside_steps(problem: Problem, pose: Pose, pixel_mm: float) -> Generator[None, None, _Beside]:
    (image,), (view,) = problem.images, problem.views
    columns, rows = (max(1, int(pixel_mm / size)) for size in view.millimetres_per_pixel_at(problem.center(pose)))
    small = yield from image.downsampled_steps(rows, columns)
    coarse = replace(problem, images=(small,), views=(view.downsampled(columns, rows),))
    level = yield from coarse.level(pose, pixel_mm, 1.5 * pixel_mm)
    return _Beside(coarse, pose, pixel_mm, *level.drawn([pose], level.fixed[0].view))


@dataclass(frozen=True)
class _Trial:
    """An amount of scatter, and how alike the two are without it."""

    scatter: Scatter
    similarity: float


def _fitted(beside: _Beside) -> Generator[None, None, Scatter | None]:
    """The scatter without which the two are most alike; None where that is none."""
    nothing, slope = yield from beside.compared(None)
    scale = slope if beside.problem.images[0].logarithmic else 1.0
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


def _risen(beside: _Beside, best: _Trial, factor: float) -> Generator[None, None, tuple[_Trial, bool]]:
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


def _tried(beside: _Beside, scatter: Scatter) -> Generator[None, None, _Trial]:
    """The two without so much scatter. The scale of a logarithm, which nobody knows, is fitted along: without scatter,
    values are proportional to line integrals."""
    similarity, slope = yield from beside.compared(scatter)
    if beside.problem.images[0].logarithmic:
        for _ in range(_SCALE_ROUNDS):
            scatter = replace(scatter, per_value=slope)
            similarity, slope = yield from beside.compared(scatter)
    return _Trial(scatter, similarity)


def _slope(values: torch.Tensor, drawn: torch.Tensor, weights: torch.Tensor) -> float:
    """Of a DRR over the values of an X-ray, both (rows, columns), where the DRR has a shadow."""
    weights = (weights * (drawn > _SHADOW * drawn.max())).double()
    total = weights.sum().clamp_min(1e-9)
    values, drawn = (part - (weights * part).sum() / total for part in (values.double(), drawn.double()))
    slope = (weights * values * drawn).sum() / (weights * values.square()).sum().clamp_min(1e-9)
    return max(float(slope), _LEAST_SLOPE)
