"""One X-ray beside its DRR at a pose that is nearly right, for what the two tell together of how it was made."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import torch

from ..geometry import Pose, XrayView
from ..levels import Problem
from ..scatter import Scatter
from ..similarity import compare
from ..tone import ToneCurve
from ..xray import XrayImage

_SHADOW = 0.02  # of the DRR's greatest value, above which a pixel tells the scale of a logarithm
_LEAST_SLOPE = 1e-3


Change = Callable[[XrayImage, XrayView], Generator[None, None, XrayImage]]


def each_changed(problem: Problem, change: Change) -> Generator[None, None, Problem]:
    """The problem with a change made to each X-ray, with pauses; the same object where no image is another one."""
    images = []
    for image, view in zip(problem.images, problem.views):
        images.append((yield from change(image, view)))
    if all(image is one for image, one in zip(images, problem.images)):
        return problem
    return replace(problem, images=tuple(images))


@dataclass(frozen=True, eq=False)
class Beside:
    """image: the X-ray, no finer than it is compared. problem: of it alone. pose, pixel_mm: under which and at which
    resolution they are compared. drawn, rays: the DRR and the weights of its rays (1, rows, columns)."""

    image: XrayImage
    problem: Problem
    pose: Pose
    pixel_mm: float
    drawn: torch.Tensor
    rays: torch.Tensor

    def compared(
        self, scatter: Scatter | None = None, tone: ToneCurve | None = None
    ) -> Generator[None, None, tuple[float, float]]:
        """The similarity without so much scatter and a tone curve, and the line integral for each unit of the values
        that are left."""
        image = self.image
        if scatter is not None or tone is not None:
            image = yield from image.without_steps(scatter, tone)
        level = yield from replace(self.problem, images=(image,)).level(self.pose, self.pixel_mm, 1.5 * self.pixel_mm)
        (fixed,) = level.fixed
        found = compare(fixed, self.drawn, self.rays)
        return float(found.similarity), _slope(fixed.line_integrals, self.drawn[0], found.fitting[0])


def beside_steps(
    problem: Problem, image: XrayImage, view: XrayView, pose: Pose, pixel_mm: float
) -> Generator[None, None, Beside]:
    """One X-ray of a problem beside its DRR, with pauses."""
    columns, rows = (max(1, int(pixel_mm / size)) for size in view.millimetres_per_pixel_at(problem.center(pose)))
    small = yield from image.downsampled_steps(rows, columns)
    alone = replace(problem, images=(small,), views=(view.downsampled(columns, rows),), otherwise=())
    level = yield from alone.level(pose, pixel_mm, 1.5 * pixel_mm)
    return Beside(small, alone, pose, pixel_mm, *level.drawn([pose], level.fixed[0].view))


def _slope(values: torch.Tensor, drawn: torch.Tensor, weights: torch.Tensor) -> float:
    """Of a DRR over the values of an X-ray, both (rows, columns), where the DRR has a shadow."""
    weights = (weights * (drawn > _SHADOW * drawn.max())).double()
    total = weights.sum().clamp_min(1e-9)
    values, drawn = (part - (weights * part).sum() / total for part in (values.double(), drawn.double()))
    slope = (weights * values * drawn).sum() / (weights * values.square()).sum().clamp_min(1e-9)
    return max(float(slope), _LEAST_SLOPE)
