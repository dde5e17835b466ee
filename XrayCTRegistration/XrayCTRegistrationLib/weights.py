"""Which pixels count, and how much: every reason to believe a pixel less stands here.

An X-ray's own mask (the field of the collimator, what a person left out) comes with its `FixedImage`. What depends on
the pose is decided here: rays that leave a cut CT, the shadow of a bone that stands alone, and pixels that show
something else than the CT.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .geometry import XrayView
from .hounsfield import AIR_HU
from .tissue import BONE_HU
from .volume import Volume, per_mm
from .windows import window_mean

_BODY_HU = -300.0  # denser voxels at the CT's border show that the body goes on there
_CUT_SHARE = 0.03  # of a face's voxels that are body, from which the face counts as cut
_THROUGH_SHARE = 0.33  # from which it goes right through the body: ends of trunks have 0.36 to 0.75, backs up to 0.29
_BONE_ALONE = 0.5  # a CT of which more than half of all that is not air is bone holds bones alone
_COMPLETE, _USELESS = 1.0, 0.5  # shares of a ray's way through the body that are in the CT, weighed 1 and 0
_FAR = 1e9


@dataclass(frozen=True, eq=False)
class Extent:
    """How much of the body a CT holds.

    size: (columns, rows, slices). ijk_to_world: 4x4 of these voxels. cut: (3, 2) bool, whether the body goes on beyond
    the first and the last voxel along i, j, k. through: (3, 2) bool, whether that face goes right through the body.
    bone_alone: whether the CT holds bones with nothing around them, which nothing cuts.
    """

    size: tuple[int, int, int]
    ijk_to_world: np.ndarray
    cut: np.ndarray
    through: np.ndarray
    bone_alone: bool

    @classmethod
    def of(cls, attenuation: Volume) -> Extent:
        """Of a CT's attenuation per mm, cropped to the body or not."""
        array = attenuation.array
        faces = [[array.take(end, axis) for end in (0, -1)] for axis in (2, 1, 0)]
        body = np.array([[float((face > per_mm(_BODY_HU)).mean()) for face in pair] for pair in faces])
        step = max(1, round((array.size / 1e6) ** (1 / 3)))
        sample = array[::step, ::step, ::step]
        matter = int((sample > per_mm((AIR_HU + _BODY_HU) / 2)).sum())
        bone_alone = int((sample > per_mm(BONE_HU)).sum()) > _BONE_ALONE * max(matter, 1)
        cut, through = ((body > share) & (not bone_alone) for share in (_CUT_SHARE, _THROUGH_SHARE))
        return cls(attenuation.size, attenuation.ijk_to_world, cut, through, bone_alone)

    def nearest_axis(self, ways: np.ndarray) -> np.ndarray:
        """Which of the voxel axes ways (..., 3), in voxels, run along most of all (...)."""
        return np.abs(ways * np.linalg.norm(self.ijk_to_world[:3, :3], axis=0)).argmax(axis=-1)

    @property
    def cut_everywhere(self) -> bool:
        """Whether the body goes on at every side, so that no ray is complete."""
        return bool(self.cut.any(axis=1).all())


def ray_weights(extent: Extent, poses: torch.Tensor, view: XrayView) -> torch.Tensor:
    """Weights (B, rows, columns) of a view's rays under poses (B, 4, 4): the share of a ray's way through the body that
    lies in the CT, 1 where all of it does or the ray misses the body, falling to 0 at half.

    The body is taken to go on beyond cut faces for ever, in the box of the others. A pair of faces that lies across the
    view is passed by every ray and decides nothing: the body beyond it is missed by all of them alike.
    """
    to_voxel = np.linalg.inv(poses.double().cpu().numpy() @ extent.ijk_to_world)
    rays = np.stack([*view.pixel_to_world[:3, :2].T, view.pixel_to_world[:3, 3] - view.source], axis=1)
    rays = to_voxel[:, :3, :3] @ rays  # (B, 3, 3): voxels per column, per row, and at pixel (0, 0)
    source = to_voxel[:, :3, :3] @ view.source + to_voxel[:, :3, 3]
    middle = rays @ [(view.size_px[0] - 1) / 2, (view.size_px[1] - 1) / 2, 1.0]
    along = extent.nearest_axis(middle)
    # From here on (B, 3, rows, columns), or that with ones.
    rays, source = rays.astype(np.float32)[..., None, None], source.astype(np.float32)[..., None, None]
    columns, rows = (np.arange(size, dtype=np.float32) for size in view.size_px)
    way = rays[:, :, 0] * columns + rays[:, :, 1] * rows[:, None] + rays[:, :, 2]
    way[np.abs(way) < 1e-6] = 1e-6
    low = (np.float32(-0.5) - source) / way
    high = (np.array(extent.size, np.float32)[:, None, None] - np.float32(0.5) - source) / way
    near, far = np.minimum(low, high), np.maximum(low, high)
    within = np.clip(far.min(axis=1), None, _FAR) - np.clip(near.max(axis=1), -_FAR, None)
    decides = along[:, None] != np.arange(3)
    open_low, open_high = ((decides & end)[..., None, None] for end in extent.cut.T)
    forth = way > 0
    np.copyto(near, -_FAR, where=np.where(forth, open_low, open_high))
    np.copyto(far, _FAR, where=np.where(forth, open_high, open_low))
    whole = np.maximum(far.min(axis=1) - near.max(axis=1), 0)
    share = np.where(whole > 0, np.maximum(within, 0) / np.maximum(whole, np.float32(1e-6)), np.float32(1))
    return torch.from_numpy(np.maximum((share - _USELESS) / (_COMPLETE - _USELESS), 0))


def shadow(images: torch.Tensor, rim_px: int) -> torch.Tensor:
    """1 in the shadow of DRRs (B, rows, columns) and within rim_px of it, else 0."""
    return (window_mean((images > 0).float(), rim_px) > 1e-6).float()


def welsch(residuals: torch.Tensor, scale: float) -> torch.Tensor:
    """Weights exp(-r^2 / 2 scale^2) of residuals (Dennis and Welsch 1978): what lies far outside counts nothing."""
    return torch.exp(residuals.square() * (-0.5 / scale**2))
