"""What a collimator leaves of an image: inside a disc, on one side of each blade.

Points are (column, row) in pixels, pixel centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Disc:
    """A round diaphragm, or the input of an image intensifier."""

    column_px: float
    row_px: float
    radius_px: float

    @property
    def center(self) -> np.ndarray:
        """(2,) as (column, row)."""
        return np.array([self.column_px, self.row_px])

    def depth_px(self, points: np.ndarray) -> np.ndarray:
        """How far inside the field points (..., 2) lie; negative in the shadow."""
        return self.radius_px - np.hypot(points[..., 0] - self.column_px, points[..., 1] - self.row_px)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Unit vectors (..., 2) out of the field."""
        outward = points - self.center
        return outward / np.maximum(np.hypot(outward[..., 0], outward[..., 1]), 1e-9)[..., None]

    def outline(self, size_px: tuple[int, int]) -> np.ndarray:
        """Points (N, 2) all along the edge, one pixel apart. size_px: (columns, rows), not looked at."""
        angles = np.linspace(0, 2 * np.pi, max(int(2 * np.pi * self.radius_px), 8), endpoint=False)
        return self.center + self.radius_px * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def columns(self, rows: np.ndarray, rim_px: float) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last column, real numbers (N,), that lie deeper than rim_px in each of N rows."""
        half = np.sqrt(np.maximum((self.radius_px - rim_px) ** 2 - (rows - self.row_px) ** 2, 0.0))
        half[np.abs(rows - self.row_px) > self.radius_px - rim_px] = -1.0
        return self.column_px - half, self.column_px + half

    def fitted(self, points: np.ndarray) -> Disc:
        """The disc through points (N, 2) in the least-squares sense (Kasa 1976)."""
        about = points - self.center
        design = np.column_stack([about, np.ones(len(about))])
        x, y, rest = np.linalg.lstsq(design, (about**2).sum(axis=1), rcond=None)[0]
        radius = np.sqrt(max(rest + (x**2 + y**2) / 4, 0.0))
        return Disc(float(self.column_px + x / 2), float(self.row_px + y / 2), float(radius))

    def scaled(self, factor: float, shift_px: float) -> Disc:
        """The same disc where a point p is factor * p + shift_px."""
        return Disc(factor * self.column_px + shift_px, factor * self.row_px + shift_px, factor * self.radius_px)


@dataclass(frozen=True)
class Blade:
    """A straight edge: the field is where column * cos(angle) + row * sin(angle) <= offset."""

    angle_rad: float
    offset_px: float

    @property
    def normal(self) -> np.ndarray:
        """(2,) out of the field."""
        return np.array([np.cos(self.angle_rad), np.sin(self.angle_rad)])

    def depth_px(self, points: np.ndarray) -> np.ndarray:
        """How far inside the field points (..., 2) lie; negative in the shadow."""
        return self.offset_px - points @ self.normal

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Unit vectors (..., 2) out of the field."""
        return np.broadcast_to(self.normal, points.shape)

    def outline(self, size_px: tuple[int, int]) -> np.ndarray:
        """Points (N, 2) along the edge, one pixel apart, past the borders of an image of size_px (columns, rows)."""
        middle = (np.array(size_px) - 1) / 2
        along = np.arange(-np.ceil(np.hypot(*size_px) / 2), np.hypot(*size_px) / 2 + 1)
        foot = middle + self.depth_px(middle) * self.normal
        return foot + along[:, None] * np.array([-self.normal[1], self.normal[0]])

    def columns(self, rows: np.ndarray, rim_px: float) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last column, real numbers (N,), that lie deeper than rim_px in each of N rows."""
        cosine, left = self.normal[0], self.offset_px - rim_px - rows * self.normal[1]
        everywhere = np.full(len(rows), np.inf)
        if abs(cosine) < 1e-9:
            return np.where(left >= 0, -everywhere, everywhere), everywhere
        return (-everywhere, left / cosine) if cosine > 0 else (left / cosine, everywhere)

    def fitted(self, points: np.ndarray) -> Blade:
        """The line through points (N, 2) in the least-squares sense, its field on the same side."""
        middle = points.mean(axis=0)
        x, y = (points - middle).T
        angle = (np.arctan2(2 * (x @ y), x @ x - y @ y) + np.pi) / 2  # of the least of the two principal axes
        angle += np.pi * (np.cos(angle - self.angle_rad) < 0)
        return Blade(float(angle), float(middle @ (np.cos(angle), np.sin(angle))))

    def scaled(self, factor: float, shift_px: float) -> Blade:
        """The same edge where a point p is factor * p + shift_px."""
        return Blade(self.angle_rad, factor * self.offset_px + shift_px * float(self.normal.sum()))


Edge = Disc | Blade


@dataclass(frozen=True)
class Field:
    """The part of an X-ray that the beam reached: inside every edge. Without edges, all of the image.

    rim_px: the width of the penumbra inside the edges, where pixels are neither in the light nor in the shadow.
    """

    edges: tuple[Edge, ...] = ()
    rim_px: float = 0.0

    def depth_px(self, points: np.ndarray) -> np.ndarray:
        """How far inside the field points (..., 2) lie; negative in the shadow, infinite without edges."""
        depth = np.full(points.shape[:-1], np.inf)
        for edge in self.edges:
            depth = np.minimum(depth, edge.depth_px(points))
        return depth

    def mask(self, shape: tuple[int, int]) -> np.ndarray:
        """Which pixels of an image of shape (rows, columns) the beam reached in full, the penumbra left out."""
        rows = np.arange(shape[0], dtype=np.float64)
        first, last = np.full(shape[0], -np.inf), np.full(shape[0], np.inf)
        for edge in self.edges:
            low, high = edge.columns(rows, self.rim_px)
            first, last = np.maximum(first, low), np.minimum(last, high)
        columns = np.arange(shape[1])
        return (columns >= first[:, None]) & (columns <= last[:, None])
