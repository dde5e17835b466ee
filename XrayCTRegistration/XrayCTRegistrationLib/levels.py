"""A registration problem and its resolutions: the CT, the X-rays and their views, coarse to fine."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from .errors import InputError
from .geometry import Pose, XrayView
from .projector import Projector, projector_for
from .similarity import LEAST_WINDOW_RADIUS_PX, WINDOW_RADIUS_MM, FixedImage
from .volume import Volume
from .xray import XrayImage

_MARGIN_MM = 12.0  # kept around the CT's footprint, at the isocentre


@dataclass(frozen=True, eq=False)
class Level:
    """One resolution: a projector of the coarsened CT and the X-rays, coarsened alike, that it is compared with."""

    projector: Projector
    fixed: tuple[FixedImage, ...]


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be registered.

    attenuation: the CT per mm. images, views: one each per X-ray. start: the pose to begin from.
    isocenter: (3,) the CT's isocentre in its own world, mm. device: see `projector.device_for`.
    """

    attenuation: Volume
    images: tuple[XrayImage, ...]
    views: tuple[XrayView, ...]
    start: Pose
    isocenter: np.ndarray
    device: str = "cpu"
    _projectors: dict[tuple[int, ...], Projector] = field(default_factory=dict, init=False, repr=False)

    def center(self, pose: Pose) -> np.ndarray:
        """Where the CT's isocentre stands under a pose."""
        return pose.apply(self.isocenter)

    def motion(self, pose: Pose) -> tuple[float, float]:
        """From the start to a pose: rotation in degrees, and shift of the CT's isocentre in mm."""
        shift = self.center(pose) - self.center(self.start)
        return (pose @ self.start.inverse()).rotation_angle_deg(), float(np.linalg.norm(shift))

    def distance_mm(self, first: Pose, second: Pose, radius_mm: float = 50.0) -> float:
        """How far two poses are apart: the mean distance of six points radius_mm from the CT's isocentre."""
        points = self.isocenter + radius_mm * np.concatenate([np.eye(3), -np.eye(3)])
        return float(np.linalg.norm(first.apply(points) - second.apply(points), axis=1).mean())

    def extent_mm(self, pose: Pose) -> float:
        """The longest side, carried back to the isocentre, of what any view sees of the CT."""
        extents = []
        for view in self.views:
            first, last = footprint(self.attenuation, pose, view)
            extents.append((last - first + 1) * view.millimetres_per_pixel_at(self.center(pose)))
        return float(np.max(extents))

    def level(self, pose: Pose, pixel_mm: float, voxel_mm: float | None = None, margin_mm: float = _MARGIN_MM) -> Level:
        """The resolution with pixels of about pixel_mm, and voxels of about voxel_mm, pixel_mm unless given.

        The X-rays are cropped to the CT's footprint under the pose with a margin; both lengths at the isocentre.
        """
        projector = self._projector(voxel_mm or pixel_mm)
        fixed = []
        for image, view in zip(self.images, self.views):
            native = view.millimetres_per_pixel_at(self.center(pose))
            columns, rows = (max(1, round(pixel_mm / size)) for size in native)
            coarse = view.downsampled(columns, rows)
            first, last = footprint(self.attenuation, pose, coarse, margin_mm / (native * (columns, rows)))
            window_px = max(LEAST_WINDOW_RADIUS_PX, round(WINDOW_RADIUS_MM / float((native * (columns, rows)).mean())))
            fixed.append(_fixed_image(image, coarse, (columns, rows), first, last, window_px, projector.device))
        return Level(projector, tuple(fixed))

    def _projector(self, voxel_mm: float) -> Projector:
        factors = self.attenuation.factors_to(voxel_mm)
        if factors not in self._projectors:
            self._projectors[factors] = projector_for(self.attenuation.downsampled(factors), self.device)
        return self._projectors[factors]


def footprint(
    volume: Volume, pose: Pose, view: XrayView, margin_px: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel (column, row) of the part of a view that the posed volume can shadow, with a margin.

    Raises InputError when there is none.
    """
    edge = np.array(view.size_px) - 1
    pixels, depths = view.project_points(pose.apply(volume.corners()))
    if (depths <= 0).all():
        raise InputError(
            "The CT lies behind the X-ray source. Check the initial pose, and the sign of a calibrated world_to_pixel "
            "(points before the source must have positive depth)."
        )
    if (depths <= 0).any():
        return np.zeros(2, int), edge
    first = np.maximum(np.floor(pixels.min(axis=0) - margin_px), 0).astype(int)
    last = np.minimum(np.ceil(pixels.max(axis=0) + margin_px), edge).astype(int)
    if (first > last).any():
        raise InputError(
            "The CT lies wholly outside the X-ray view. Check the geometry's isocentre and the initial pose, "
            "or start from the centre."
        )
    return first, last


def _fixed_image(
    image: XrayImage,
    coarse: XrayView,
    factors: tuple[int, int],
    first: np.ndarray,
    last: np.ndarray,
    window_px: int,
    device: torch.device,
) -> FixedImage:
    """Weighted block means of the pixels `first` to `last` of a coarsened view."""
    (columns, rows), (c0, r0), (c1, r1) = factors, first, last + 1
    window = (slice(r0 * rows, r1 * rows), slice(c0 * columns, c1 * columns))
    shape = (r1 - r0, rows, c1 - c0, columns)
    weights = image.mask[window].reshape(shape).astype(np.float32)
    values = image.line_integrals[window].reshape(shape).astype(np.float32)
    share = weights.mean(axis=(1, 3))
    means = (values * weights).mean(axis=(1, 3)) / np.maximum(share, 1e-6)
    if share.sum() < 1:
        raise InputError("The mask leaves nothing of the X-ray where the CT is. Widen or drop the mask.")
    view = coarse.cropped((int(c0), int(r0)), (int(c1 - c0), int(r1 - r0)))
    return FixedImage(view, torch.from_numpy(means).to(device), torch.from_numpy(share).to(device), window_px)
