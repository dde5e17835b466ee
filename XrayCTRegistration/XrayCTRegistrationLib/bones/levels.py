"""One resolution of bones that stand each at a pose of its own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..beyond import continued
from ..fixed_images import fixed_image_steps
from ..geometry import Pose, XrayView
from ..levels import RIM_MM, Level, LevelSteps, Problem
from ..projector import Projector, projector_for
from ..similarity import FixedImage
from ..volume import Volume
from ..weights import ray_weights, shadow
from .anatomy import Anatomy

SEEN = 0.5  # of a bone's points within the X-ray's field, from which on the X-ray shows it


@dataclass(frozen=True, eq=False)
class Resolution:
    """Bodies coarsened to about pixel_mm, and the X-rays to compare them with. Bodies are numbered, 0 the rest.

    volumes, projectors: one each per body.
    """

    problem: Problem
    pixel_mm: float
    volumes: tuple[Volume, ...]
    projectors: tuple[Projector, ...]

    @classmethod
    def of(cls, problem: Problem, anatomy: Anatomy, pixel_mm: float) -> Generator[None, None, Resolution]:
        """The resolution with pixels, and voxels, of about pixel_mm at the isocentre; with pauses."""
        factors, volumes, projectors = problem.attenuation.factors_to(pixel_mm), [], []
        for whole in (anatomy.rest, *(bone.excess for bone in anatomy.bones)):
            volume = yield from whole.downsampled_steps(factors, None)
            drawn = continued(volume, problem.continuing) if whole is anatomy.rest else volume
            volumes.append(volume)
            projectors.append(projector_for(drawn, problem.device))
            yield
        return cls(problem, pixel_mm, tuple(volumes), tuple(projectors))

    def level(self, moving: Sequence[int], poses: Sequence[Pose], shown: Sequence[Sequence[int]]) -> LevelSteps:
        """The level in which some of the bodies move and all others stand still behind them, at poses (all bodies).

        shown: for every bone, which of the X-rays show it. Only the shadow of the bones among the moving, and a rim
        about it, is looked at, for what the rest does elsewhere is not theirs.
        """
        fixed = []
        for view in range(len(self.problem.views)):
            bones = [number for number in moving if number and view in shown[number - 1]]
            if bones:
                fixed.append((yield from self._about(view, bones, moving, poses)))
        extent = replace(self.problem.extent, cut=np.zeros((3, 2), bool), bone_alone=False)  # weighed here, once
        return Level(tuple(self.projectors[number] for number in moving), tuple(fixed), extent, self.pixel_mm)

    def _about(
        self, view: int, bones: Sequence[int], moving: Sequence[int], poses: Sequence[Pose]
    ) -> Generator[None, None, FixedImage]:
        """An X-ray that counts about the bones, with what stands still behind the moving."""
        placed = [(self.volumes[number], poses[number]) for number in bones]
        fixed = yield from fixed_image_steps(
            self.problem.images[view],
            self.problem.views[view],
            placed,
            self.problem.center(poses[0]),
            self.pixel_mm,
            RIM_MM,
            self.projectors[0].device,
        )
        images = {number: self._image(number, poses[number], fixed.view) for number in (*self._still(moving), *bones)}
        behind = torch.zeros_like(fixed.line_integrals) + sum(images[number] for number in self._still(moving))
        cast = torch.stack([images[number] for number in bones]).sum(dim=0)
        about = shadow(cast[None], max(1, round(RIM_MM / self.pixel_mm)))[0]
        weights = fixed.weights * about
        if self.problem.extent.cut.any():
            matrix = torch.from_numpy(poses[0].matrix.copy())[None]
            weights = weights * ray_weights(self.problem.extent, matrix, fixed.view)[0].to(weights)
        return replace(fixed, weights=weights, behind=behind, footprint_px=float(about.sum()))

    def _still(self, moving: Sequence[int]) -> list[int]:
        return [number for number in range(len(self.volumes)) if number not in moving]

    def _image(self, number: int, pose: Pose, view: XrayView) -> torch.Tensor:
        return self.projectors[number].images(torch.from_numpy(pose.matrix.copy())[None], view)[0]


def seen_share(points: np.ndarray, view: XrayView, mask: np.ndarray | None = None) -> float:
    """The share of points (N, 3), where they stand, that an X-ray shows: before the source, within the image and its
    mask (rows, columns)."""
    pixels, depths = view.project_points(points)
    columns, rows = np.rint(pixels).astype(int).T
    inside = (depths > 0) & (columns >= 0) & (rows >= 0) & (columns < view.size_px[0]) & (rows < view.size_px[1])
    if mask is not None:
        inside[inside] = mask[rows[inside], columns[inside]]
    return float(inside.mean())
