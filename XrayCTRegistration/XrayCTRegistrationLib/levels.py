"""A registration problem and its resolutions. A `Level` is the one place that says how alike a pose is."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from .errors import InputError
from .geometry import Pose, XrayView
from .projector import Projector, projector_for
from .similarity import SCALES, Comparison, FixedImage, compare, gauss_newton
from .tissue import bones_of, soft_tissue_of
from .volume import Volume
from .weights import Extent, ray_weights, shadow
from .xray import Polarity, XrayImage

_MARGIN_MM = 12.0  # kept around the CT's footprint, at the isocentre
# Radius of the windows of local normalisation, the larger of both: the grain of noise and of resampling is a matter of
# pixels, what a bone's edge stands out against one of millimetres.
_WINDOW_PX, _WINDOW_MM = 8, 12.0
RIM_MM = 15.0  # kept around the shadow of a bone that stands alone: wider than a window, or the edge has no outside
_PIXELS_AT_ONCE = 12_000  # of one rendering with Jacobian, between two pauses for the window


@dataclass(frozen=True, eq=False)
class Linearised:
    """How alike a pose is, and how that changes.

    similarity, compared: as in `Comparison`, means over the views. matrix (n, n), way (n,): the Gauss-Newton system of
    the residuals in the twists of the bodies, the way up. noise: variance of the residuals in the units of the matrix,
    so that noise times its inverse is the covariance of the twists if neighbouring pixels were independent.
    """

    similarity: float
    compared: float
    matrix: np.ndarray
    way: np.ndarray
    noise: float


@dataclass(frozen=True, eq=False)
class Level:
    """One resolution: the coarsened CT and the X-rays, coarsened alike, that it is compared with.

    bodies: projectors whose DRRs add up; one, the whole CT, unless parts of it may move apart. fixed: one per X-ray.
    extent: what the CT holds of the body. pixel_mm: at the isocentre.
    """

    bodies: tuple[Projector, ...]
    fixed: tuple[FixedImage, ...]
    extent: Extent
    pixel_mm: float

    def compare(self, poses: Sequence[Pose], scale: float = SCALES[-1]) -> list[Comparison]:
        """DRRs of the CT at poses (B) beside each X-ray, as whole images: one comparison per view."""
        return [compare(fixed, *self._beside(poses, fixed), scale) for fixed in self.fixed]

    def drawn(self, poses: Sequence[Pose], view: XrayView) -> tuple[torch.Tensor, torch.Tensor]:
        """DRRs of the CT at poses (B), and the weights of their rays, both (B, rows, columns)."""
        matrices = torch.from_numpy(np.stack([pose.matrix for pose in poses]))
        images = sum(body.images(matrices, view) for body in self.bodies)
        return images, self._rays(images, matrices, view)

    def _beside(self, poses: Sequence[Pose], fixed: FixedImage) -> tuple[torch.Tensor, torch.Tensor]:
        """As `drawn`, for an X-ray, with what stands still behind the bodies."""
        images, rays = self.drawn(poses, fixed.view)
        return (images if fixed.behind is None else images + fixed.behind), rays

    def similarity(self, poses: Sequence[Pose], scale: float = SCALES[-1]) -> np.ndarray:
        """(B,) similarities of poses, means over the views."""
        return np.mean([one.similarity.cpu().numpy() for one in self.compare(poses, scale)], axis=0)

    def linearised(
        self, poses: Sequence[Pose], center: np.ndarray, scale: float = SCALES[-1]
    ) -> Generator[None, None, Linearised]:
        """The bodies at a pose each, with pauses; twists as in `Pose.moved` about center, (3,) or one each (bodies, 3)."""
        matrices = [torch.from_numpy(pose.matrix.copy())[None] for pose in poses]
        centers = torch.from_numpy(np.broadcast_to(center, (len(poses), 3)).copy())
        views = len(self.fixed)
        similarity = compared = noise = 0.0
        matrix, way = np.zeros((6 * len(poses), 6 * len(poses))), np.zeros(6 * len(poses))
        for fixed in self.fixed:
            images, jacobians = [], []
            for part in _bands_of(fixed.view):
                drawn = [
                    body.images_with_jacobian(one, part, about)
                    for body, one, about in zip(self.bodies, matrices, centers, strict=True)
                ]
                images.append(sum(image[0] for image, _ in drawn))
                jacobians.append(torch.cat([jacobian[0] for _, jacobian in drawn]))
                yield
            image, jacobian = torch.cat(images), torch.cat(jacobians, dim=1)
            image = image if fixed.behind is None else image + fixed.behind
            found = compare(fixed, image[None], self._rays(image[None], matrices[0], fixed.view), scale)
            system = gauss_newton(found, fixed, image, jacobian)
            similarity += float(found.similarity) / views
            compared += float(found.compared) / views
            matrix += system.matrix.cpu().numpy() / views
            way += system.way.cpu().numpy() / views
            noise += system.noise / views**2
        return Linearised(similarity, compared, matrix, way, noise)

    def _rays(self, images: torch.Tensor, matrices: torch.Tensor, view: XrayView) -> torch.Tensor:
        """Weights (B or 1, rows, columns) of the rays of DRRs (B, rows, columns)."""
        if self.extent.bone_alone:
            return shadow(images, max(1, round(RIM_MM / self.pixel_mm)))
        if self.extent.cut.any():
            return ray_weights(self.extent, matrices, view).to(images)
        return torch.ones_like(images[:1])


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be registered.

    attenuation: the CT per mm. images, views: one each per X-ray. start: the pose to begin from.
    isocenter: (3,) the CT's isocentre in its own world, mm. extent: what the CT holds of the body. device: see
    `projector.device_for`. polarities: that the images were read in. otherwise: the same with images read in
    other polarities, where nobody told them.
    """

    attenuation: Volume
    images: tuple[XrayImage, ...]
    views: tuple[XrayView, ...]
    start: Pose
    isocenter: np.ndarray
    extent: Extent
    device: str = "cpu"
    polarities: tuple[Polarity, ...] = ()
    otherwise: tuple[Problem, ...] = ()
    _projectors: dict[tuple[object, ...], Projector] = field(default_factory=dict, init=False, repr=False)

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

    def level(
        self,
        pose: Pose,
        pixel_mm: float,
        voxel_mm: float | None = None,
        margin_mm: float = _MARGIN_MM,
    ) -> Level:
        """The resolution with pixels of about pixel_mm, and voxels of about voxel_mm, pixel_mm unless given.

        The X-rays are cropped to the CT's footprint under the pose with a margin; both lengths at the isocentre.
        """
        factors = self.attenuation.factors_to(voxel_mm or pixel_mm)
        bodies = (self._projector(_whole, factors),)
        fixed = self.fixed_images([(self.attenuation, pose)], pixel_mm, margin_mm, bodies[0].device)
        return Level(bodies, fixed, self.extent, pixel_mm)

    def level_of_bones(self, pose: Pose, pixel_mm: float) -> Level:
        """As `level`, of two bodies: the bones, then all that is soft."""
        factors = self.attenuation.factors_to(pixel_mm)
        bodies = (self._projector(bones_of, factors), self._projector(soft_tissue_of, factors))
        fixed = self.fixed_images([(self.attenuation, pose)], pixel_mm, _MARGIN_MM, bodies[0].device)
        return Level(bodies, fixed, self.extent, pixel_mm)

    def fixed_images(
        self, placed: Sequence[tuple[Volume, Pose]], pixel_mm: float, margin_mm: float, device: torch.device
    ) -> tuple[FixedImage, ...]:
        """The X-rays with pixels of about pixel_mm, cropped to the footprints of volumes at poses, with a margin."""
        fixed = []
        for image, view in zip(self.images, self.views):
            native = view.millimetres_per_pixel_at(self.center(placed[0][1]))
            columns, rows = (max(1, round(pixel_mm / size)) for size in native)
            coarse = view.downsampled(columns, rows)
            window = _footprints(placed, coarse, margin_mm / (native * (columns, rows)))
            expected = _footprints(placed, coarse)
            window_px = max(_WINDOW_PX, round(_WINDOW_MM / float(max(native * (columns, rows)))))
            fixed.append(_fixed_image(image, coarse, (columns, rows), window, expected, window_px, device))
        return tuple(fixed)

    def _projector(self, part: Callable[[Volume], Volume], factors: tuple[int, int, int]) -> Projector:
        if (part, factors) not in self._projectors:
            volume = part(self.attenuation).downsampled(factors)
            self._projectors[part, factors] = projector_for(volume, self.device)
        return self._projectors[part, factors]


def _whole(attenuation: Volume) -> Volume:
    return attenuation


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


def _footprints(
    placed: Sequence[tuple[Volume, Pose]], view: XrayView, margin_px: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """As `footprint`, of all volumes at their poses together."""
    firsts, lasts = zip(*(footprint(volume, pose, view, margin_px) for volume, pose in placed))
    return np.min(firsts, axis=0), np.max(lasts, axis=0)


def _fixed_image(
    image: XrayImage,
    coarse: XrayView,
    factors: tuple[int, int],
    window: tuple[np.ndarray, np.ndarray],
    expected: tuple[np.ndarray, np.ndarray],
    window_px: int,
    device: torch.device,
) -> FixedImage:
    """Weighted block means of the pixels of a window, first to last, of a coarsened view; the CT is expected within
    another."""
    (columns, rows), (c0, r0), (c1, r1) = factors, window[0], window[1] + 1
    part = (slice(r0 * rows, r1 * rows), slice(c0 * columns, c1 * columns))
    shape = (r1 - r0, rows, c1 - c0, columns)
    weights = image.mask[part].reshape(shape).astype(np.float32)
    values = image.line_integrals[part].reshape(shape).astype(np.float32)
    share = weights.mean(axis=(1, 3))
    means = (values * weights).mean(axis=(1, 3)) / np.maximum(share, 1e-6)
    if share.sum() < 1:
        raise InputError("The mask leaves nothing of the X-ray where the CT is. Widen or drop the mask.")
    view = coarse.cropped((int(c0), int(r0)), (int(c1 - c0), int(r1 - r0)))
    (e0, f0), (e1, f1) = expected[0] - (c0, r0), expected[1] + 1 - (c0, r0)
    means, share = (torch.from_numpy(array).to(device) for array in (means, share))
    return FixedImage(view, means, share, window_px, float(share[f0:f1, e0:e1].sum()))


def _bands_of(view: XrayView) -> list[XrayView]:
    """The view cut into bands of whole rows, each short to render."""
    columns, rows = view.size_px
    height = max(1, _PIXELS_AT_ONCE // columns)
    return [view.cropped((0, first), (columns, min(height, rows - first))) for first in range(0, rows, height)]
