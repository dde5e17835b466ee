"""A registration problem and its resolutions. A `Level` is the one place that says how alike a pose is."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from .beyond import continued
from .fixed_images import fixed_image_steps, footprint
from .geometry import Pose, XrayView
from .projector import Projector, projector_steps
from .similarity import SCALES, Comparison, FixedImage, compare, gauss_newton
from .state import finished
from .tissue import bones_of, soft_tissue_of
from .volume import Volume
from .weights import Extent, ray_weights, shadow
from .xray import Polarity, XrayImage

_MARGIN_MM = 12.0  # kept around the CT's footprint, at the isocentre
RIM_MM = 15.0  # kept around the shadow of a bone that stands alone: wider than a window, or the edge has no outside
LEAST_CURVATURE = 1e-12  # of the similarity, per squared radian or mm: a system without any can still be solved
_PIXELS_AT_ONCE = 12_000  # of a rendering of a pose, between two pauses for the window

_Part = Callable[[np.ndarray], np.ndarray]  # of the CT's attenuation per mm


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

    def step(self, damping: float) -> np.ndarray:
        """(n,) twists of a step up, the diagonal damped by a share of itself; no step where nothing changes."""
        diagonal = np.diag(self.matrix)
        return np.linalg.solve(self.matrix + np.diag(damping * diagonal + LEAST_CURVATURE), self.way)


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
        return finished(self.compare_steps(poses, scale))

    def compare_steps(
        self, poses: Sequence[Pose], scale: float = SCALES[-1]
    ) -> Generator[None, None, list[Comparison]]:
        """As `compare`, with pauses."""
        found = []
        for fixed in self.fixed:
            images, rays = yield from self._drawn_steps(poses, fixed.view)
            found.append(compare(fixed, images + fixed.behind, rays, scale))
            yield
        return found

    def drawn(self, poses: Sequence[Pose], view: XrayView) -> tuple[torch.Tensor, torch.Tensor]:
        """DRRs of the CT at poses (B), and the weights of their rays, both (B, rows, columns)."""
        return finished(self._drawn_steps(poses, view))

    def _drawn_steps(
        self, poses: Sequence[Pose], view: XrayView
    ) -> Generator[None, None, tuple[torch.Tensor, torch.Tensor]]:
        matrices = torch.from_numpy(np.stack([pose.matrix for pose in poses]))
        images = []
        for part in view.bands(_PIXELS_AT_ONCE):
            images.append(sum(body.images(matrices, part) for body in self.bodies))
            yield
        whole = torch.cat(images, dim=1)
        return whole, self._rays(whole, matrices, view)

    def similarity(self, poses: Sequence[Pose], scale: float = SCALES[-1]) -> np.ndarray:
        """(B,) similarities of poses, means over the views."""
        return finished(self.similarity_steps(poses, scale))

    def similarity_steps(self, poses: Sequence[Pose], scale: float = SCALES[-1]) -> Generator[None, None, np.ndarray]:
        """As `similarity`, with pauses."""
        found = yield from self.compare_steps(poses, scale)
        return np.mean([one.similarity.cpu().numpy() for one in found], axis=0)

    def similarity_of_two(self, poses: tuple[Sequence[Pose], Sequence[Pose]]) -> Generator[None, None, np.ndarray]:
        """(B, C) similarities of two bodies, the first at poses (B) beside the second at poses (C), means over the
        views, with pauses."""
        first, second = (torch.from_numpy(np.stack([pose.matrix for pose in of_body])) for of_body in poses)
        values = np.zeros((len(first), len(second)))
        for fixed in self.fixed:
            drawn = []
            for body, matrices in zip(self.bodies, (first, second), strict=True):
                bands = []
                for part in fixed.view.bands(_PIXELS_AT_ONCE):
                    bands.append(body.images(matrices, part))
                    yield
                drawn.append(torch.cat(bands, dim=1))
            for row, matrix, image in zip(values, first, drawn[0]):
                images = image + drawn[1] + fixed.behind
                rays = self._rays(images, matrix[None], fixed.view)
                row += compare(fixed, images, rays).similarity.cpu().numpy() / len(self.fixed)
                yield
        return values

    def linearised(
        self, poses: Sequence[Pose], center: np.ndarray, scale: float = SCALES[-1]
    ) -> Generator[None, None, Linearised]:
        """The bodies at a pose each, with pauses; twists as in `Pose.moved` about center, (3,) or one each
        (bodies, 3)."""
        matrices = [torch.from_numpy(pose.matrix.copy())[None] for pose in poses]
        centers = torch.from_numpy(np.broadcast_to(center, (len(poses), 3)).copy())
        views = len(self.fixed)
        similarity = compared = noise = 0.0
        matrix, way = np.zeros((6 * len(poses), 6 * len(poses))), np.zeros(6 * len(poses))
        for fixed in self.fixed:
            images, jacobians = [], []
            for part in fixed.view.bands(_PIXELS_AT_ONCE):
                drawn = []
                for body, one, about in zip(self.bodies, matrices, centers, strict=True):
                    drawn.append(body.images_with_jacobian(one, part, about))
                    yield
                images.append(sum(image[0] for image, _ in drawn))
                jacobians.append(torch.cat([jacobian[0] for _, jacobian in drawn]))
            image, jacobian = torch.cat(images) + fixed.behind, torch.cat(jacobians, dim=1)
            found = compare(fixed, image[None], self._rays(image[None], matrices[0], fixed.view), scale)
            yield
            system = gauss_newton(found, fixed, image, jacobian)
            yield
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


LevelSteps = Generator[None, None, Level]  # with pauses for a window


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be registered.

    attenuation: the CT per mm. images, views: one each per X-ray. start: the pose to begin from.
    isocenter: (3,) the CT's isocentre in its own world, mm. extent: what the CT holds of the body. continuing: (3, 2)
    bool, the faces beyond which the body is taken to go on, see `beyond`. device: see `projector.device_for`.
    polarities: that the images were read in. otherwise: the same with images read in other polarities, where nobody
    told them. projectors: of the CT, coarsened, that were made already; problems that are made from one another share
    them.
    """

    attenuation: Volume
    images: tuple[XrayImage, ...]
    views: tuple[XrayView, ...]
    start: Pose
    isocenter: np.ndarray
    extent: Extent
    continuing: np.ndarray
    device: str = "cpu"
    polarities: tuple[Polarity, ...] = ()
    otherwise: tuple[Problem, ...] = ()
    projectors: dict[tuple[object, ...], Projector] = field(default_factory=dict, repr=False)

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
        self, pose: Pose, pixel_mm: float, voxel_mm: float | None = None, margin_mm: float = _MARGIN_MM
    ) -> LevelSteps:
        """The resolution with pixels of about pixel_mm, and voxels of about voxel_mm, pixel_mm unless given.

        The X-rays are cropped to the CT's footprint under the pose with a margin; both lengths at the isocentre.
        """
        return (yield from self._level_steps((None,), pose, pixel_mm, voxel_mm or pixel_mm, margin_mm))

    def level_of_bones(self, pose: Pose, pixel_mm: float) -> LevelSteps:
        """As `level`, of two bodies: the bones, then all that is soft."""
        return (yield from self._level_steps((bones_of, soft_tissue_of), pose, pixel_mm, pixel_mm, _MARGIN_MM))

    def _level_steps(
        self, parts: Sequence[_Part | None], pose: Pose, pixel_mm: float, voxel_mm: float, margin_mm: float
    ) -> LevelSteps:
        """Of bodies that are parts of the CT each, all of it where the part is None."""
        factors, bodies = self.attenuation.factors_to(voxel_mm), []
        for part in parts:
            bodies.append((yield from self._projector_steps(part, factors)))
        fixed, center, device = [], self.center(pose), bodies[0].device
        for image, view in zip(self.images, self.views):
            steps = fixed_image_steps(image, view, [(self.attenuation, pose)], center, pixel_mm, margin_mm, device)
            fixed.append((yield from steps))
        return Level(tuple(bodies), tuple(fixed), self.extent, pixel_mm)

    def _projector_steps(self, part: _Part | None, factors: tuple[int, int, int]) -> Generator[None, None, Projector]:
        key = (self.attenuation, self.continuing.tobytes(), self.device, part, factors)
        if key not in self.projectors:
            volume = yield from self.attenuation.downsampled_steps(factors, part)
            if part is not bones_of:
                volume = continued(volume, self.continuing)
                yield
            self.projectors[key] = yield from projector_steps(volume, self.device)
        return self.projectors[key]
