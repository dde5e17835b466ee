"""X-ray views: a point source and a flat detector in world coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import InputError

_NEAREST = 0.25  # of the way to the detector: no isocentre is nearer to the source


@dataclass(frozen=True, eq=False)
class XrayView:
    """One X-ray view: where the source is and which point of the detector each pixel sees.

    source: (3,) focal spot in world, mm.
    pixel_to_world: 4x4 taking (column, row, 0, 1) to that pixel's point on the detector, mm. Pixel centres are at
        integer indices. Columns and rows may differ in length, and the detector may be mirrored.
    size_px: (columns, rows).
    isocenter: (3,) the point the C-arm turns about, where a CT stands at first; None when the calibration does not
        say, see `common_isocenter`.

    Raises InputError when the detector has no area or the source lies in its plane.
    """

    source: np.ndarray
    pixel_to_world: np.ndarray
    size_px: tuple[int, int]
    isocenter: np.ndarray | None = None

    def __post_init__(self) -> None:
        source = np.array(self.source, dtype=np.float64).reshape(3)
        pixel_to_world = np.array(self.pixel_to_world, dtype=np.float64).reshape(4, 4)
        size_px = (int(self.size_px[0]), int(self.size_px[1]))
        if not (np.isfinite(source).all() and np.isfinite(pixel_to_world).all()):
            raise InputError("The X-ray geometry holds a number that is not finite.")
        if min(size_px) < 1:
            raise InputError(f"The X-ray image size {size_px[0]} x {size_px[1]} is not positive.")
        normal = np.cross(pixel_to_world[:3, 0], pixel_to_world[:3, 1])
        if np.linalg.norm(normal) < 1e-12:
            raise InputError("The detector has no area: its pixel spacing is zero or its axes are parallel.")
        if abs(normal @ (pixel_to_world[:3, 3] - source)) < 1e-9 * np.linalg.norm(normal):
            raise InputError("The X-ray source lies in the detector plane. Check the source-to-detector distance.")
        pixel_to_world[:3, 2] = normal / np.linalg.norm(normal)
        for name, value in (("source", source), ("pixel_to_world", pixel_to_world)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "size_px", size_px)
        if self.isocenter is not None:
            object.__setattr__(self, "isocenter", np.array(self.isocenter, dtype=np.float64).reshape(3))

    @classmethod
    def from_projection_matrix(
        cls,
        world_to_pixel: np.ndarray,
        size_px: tuple[int, int],
        source_to_detector_mm: float | None = None,
        isocenter: np.ndarray | None = None,
    ) -> XrayView:
        """A calibrated view from its 3x4 matrix, scaled so that points before the source have positive depth.

        The matrix does not tell how far the detector is, and no projection depends on it: without
        source_to_detector_mm the detector is drawn 1.5 times as far away as the world origin.
        """
        matrix = np.array(world_to_pixel, dtype=np.float64)
        if matrix.shape != (3, 4) or not np.isfinite(matrix).all():
            raise InputError("world_to_pixel is not a finite 3x4 matrix.")
        if np.linalg.matrix_rank(matrix[:, :3]) < 3:  # judged relative to its size: calibrations come in any scale
            raise InputError("world_to_pixel is singular: its left 3x3 part cannot be inverted.")
        matrix /= np.linalg.norm(matrix[2, :3])
        inverse = np.linalg.inv(matrix[:, :3])
        source = -inverse @ matrix[:, 3]
        depth_mm = source_to_detector_mm
        if depth_mm is None:
            depth_mm = 1.5 * matrix[2, 3] if matrix[2, 3] > 1 else 1000.0
        pixel_to_world = np.eye(4)
        pixel_to_world[:3, :2] = depth_mm * inverse[:, :2]
        pixel_to_world[:3, 3] = source + depth_mm * inverse[:, 2]
        return cls(source, pixel_to_world, size_px, isocenter)

    @cached_property
    def world_to_pixel(self) -> np.ndarray:
        """3x4 projection matrix: (column, row, 1) times the depth before the source in mm."""
        ray_matrix = self.pixel_to_world[:3, [0, 1, 3]].copy()
        ray_matrix[:, 2] -= self.source
        matrix = np.linalg.inv(ray_matrix) @ np.hstack([np.eye(3), -self.source[:, None]])
        return matrix / np.linalg.norm(matrix[2, :3])

    @property
    def source_to_detector_mm(self) -> float:
        """Distance from the source to the detector plane."""
        return float(abs(self.pixel_to_world[:3, 2] @ (self.pixel_to_world[:3, 3] - self.source)))

    @property
    def pixel_spacing_mm(self) -> np.ndarray:
        """(2,) distance between neighbouring columns and between neighbouring rows, on the detector."""
        return np.linalg.norm(self.pixel_to_world[:3, :2], axis=0)

    @property
    def principal_point_px(self) -> np.ndarray:
        """(2,) the pixel (column, row) that the source stands straight before; it may lie beside the image."""
        return self.project_points(self.source + self.axes[:, 2])[0]

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) C-arm frame, its columns unit vectors in world: along columns, along rows, away from the source."""
        column, row = (self.pixel_to_world[:3, k] / self.pixel_spacing_mm[k] for k in (0, 1))
        depth = self.world_to_pixel[2, :3]
        return np.stack([column, row, depth], axis=1)

    def detector_points(self, pixels: np.ndarray) -> np.ndarray:
        """World points (..., 3) of the detector seen by pixels (..., 2) given as (column, row)."""
        return pixels @ self.pixel_to_world[:3, :2].T + self.pixel_to_world[:3, 3]

    def project_points(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (..., 2) as (column, row), and depths (...) before the source in mm, of world points (..., 3)."""
        homogeneous = points @ self.world_to_pixel[:, :3].T + self.world_to_pixel[:, 3]
        depth = homogeneous[..., 2]
        return homogeneous[..., :2] / depth[..., None], depth

    def millimetres_per_pixel_at(self, point: np.ndarray) -> np.ndarray:
        """(2,) size of a pixel, along columns and rows, carried back from the detector to the depth of point (3,)."""
        _, depth = self.project_points(np.asarray(point))
        return self.pixel_spacing_mm * float(depth) / self.source_to_detector_mm

    def downsampled(self, columns: int, rows: int) -> XrayView:
        """The view whose pixels are blocks of columns x rows of this one's; incomplete blocks at the end drop out."""
        to_fine = np.diag([columns, rows, 1.0, 1.0])
        to_fine[:2, 3] = (columns - 1) / 2, (rows - 1) / 2
        size_px = (self.size_px[0] // columns, self.size_px[1] // rows)
        return XrayView(self.source, self.pixel_to_world @ to_fine, size_px, self.isocenter)

    def cropped(self, first: tuple[int, int], size_px: tuple[int, int]) -> XrayView:
        """The part of this view that begins at pixel `first` (column, row); it may reach beyond the detector."""
        shift = np.eye(4)
        shift[:2, 3] = first
        return XrayView(self.source, self.pixel_to_world @ shift, size_px, self.isocenter)

    def bands(self, most_px: int) -> tuple[XrayView, ...]:
        """The view cut into bands of whole rows, of most_px pixels or a single row each."""
        if most_px not in self._bands:
            columns, rows = self.size_px
            height = max(1, most_px // columns)
            self._bands[most_px] = tuple(
                self.cropped((0, first), (columns, min(height, rows - first))) for first in range(0, rows, height)
            )
        return self._bands[most_px]

    @cached_property
    def _bands(self) -> dict[int, tuple[XrayView, ...]]:
        return {}


def common_isocenter(views: list[XrayView]) -> np.ndarray:
    """The point (3,) that the views look at, mm: where a CT stands before anything is known of its pose.

    The isocentre of the first view that names one. Without any: the point nearest to the central rays of all views;
    for a single view the world origin if the view sees it, else the point of the central ray nearest to the origin.
    """
    for view in views:
        if view.isocenter is not None:
            return view.isocenter
    centers = [view.detector_points((np.array(view.size_px) - 1) / 2) for view in views]
    directions = [(center - view.source) for center, view in zip(centers, views)]
    directions = [direction / np.linalg.norm(direction) for direction in directions]
    if len(views) == 1:
        pixel, depth = views[0].project_points(np.zeros(3))
        if depth > 0 and (pixel >= -0.5).all() and (pixel <= np.array(views[0].size_px) - 0.5).all():
            return np.zeros(3)
        along = max(-views[0].source @ directions[0], _NEAREST * views[0].source_to_detector_mm)
        return views[0].source + along * directions[0]
    across = [np.eye(3) - np.outer(direction, direction) for direction in directions]
    right = sum(projection @ view.source for projection, view in zip(across, views))
    return np.linalg.lstsq(sum(across), right, rcond=None)[0]
