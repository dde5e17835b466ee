"""Implicit shapes and the voxel grid they are painted on.

A shape is a function of points p = (x, y, z), three arrays in mm that broadcast, and returns a signed distance in mm,
negative inside. Distances are exact or close to it near the surface, which is all that antialiased painting needs.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.spatial import cKDTree

Points = tuple[np.ndarray, np.ndarray, np.ndarray]


class Canvas:
    """A voxel grid in Hounsfield units, centred about its world's origin, axes along x, y and z.

    hu: (slices, rows, columns) float32. A voxel takes the share of each material that lies within it.
    """

    def __init__(self, size_mm: tuple[float, float, float], spacing_mm: float, hu: float) -> None:
        counts = [max(1, round(size / spacing_mm)) for size in size_mm]
        self.axes = [((np.arange(n) - (n - 1) / 2) * spacing_mm).astype(np.float32) for n in counts]
        self.spacing_mm = spacing_mm
        self.hu = np.full(counts[::-1], hu, dtype=np.float32)

    @property
    def ijk_to_world(self) -> np.ndarray:
        matrix = np.diag([self.spacing_mm] * 3 + [1.0])
        matrix[:3, 3] = [axis[0] for axis in self.axes]
        return matrix

    def box(self, first: np.ndarray, last: np.ndarray) -> tuple[tuple[slice, ...], Points]:
        """Slices [k, j, i] of the voxels from corner to corner (x, y, z), mm, and their open grid of coordinates."""
        i, j, k = (slice(*np.searchsorted(axis, (a, b))) for axis, a, b in zip(self.axes, first, last))
        x, y, z = self.axes
        return (k, j, i), (x[i][None, None, :], y[j][None, :, None], z[k][:, None, None])

    def around(self, center: np.ndarray, reach_mm: float | np.ndarray) -> tuple[tuple[slice, ...], Points]:
        """The box that reaches reach_mm, a number or one for each axis, to both sides of center."""
        return self.box(np.asarray(center) - reach_mm, np.asarray(center) + reach_mm)

    def occupancy(self, distance: np.ndarray) -> np.ndarray:
        """Share of a voxel inside a surface at a signed distance, going from 1 to 0 over one voxel."""
        return np.clip(0.5 - distance / np.float32(self.spacing_mm), 0, 1)

    def paint(self, where: tuple[slice, ...], distance: np.ndarray, hu: float | np.ndarray) -> None:
        """Fill the inside of a surface with one material."""
        part = self.hu[where]
        part += self.occupancy(distance) * (hu - part)

    def paint_bone(
        self, where: tuple[slice, ...], outer: np.ndarray, inner: np.ndarray, cortical: float, cancellous: float
    ) -> None:
        """Fill a shell, from the inner to the outer surface, with cortical bone and the rest with cancellous bone."""
        part = self.hu[where]
        whole, core = self.occupancy(outer), self.occupancy(inner)
        np.minimum(core, whole, out=core)
        part += whole * (cortical - part) + core * (cancellous - cortical)

    def paint_tube(self, curve: np.ndarray, radius_mm: np.ndarray, shell_mm: float, hu: tuple[float, float]) -> None:
        """Bone around densely sampled points (n, 3) of a curve or a sheet, with a radius (n,) at each; hu: shell, core.

        Where the bone is thinner than a voxel, the shares of shell and core are approximate.
        """
        reach = float(np.max(radius_mm)) + self.spacing_mm  # beyond it a voxel holds nothing of the tube
        where, (x, y, z) = self.box(curve.min(axis=0) - reach, curve.max(axis=0) + reach)
        grid = np.stack(np.broadcast_arrays(x, y, z), axis=-1)
        gap, nearest = cKDTree(curve, leafsize=32).query(grid.reshape(-1, 3), distance_upper_bound=reach)
        distance = (gap - np.append(radius_mm, 0)[nearest]).reshape(grid.shape[:3]).astype(np.float32)
        self.paint_bone(where, distance, distance + shell_mm, *hu)


def in_frame(p: Points, center: np.ndarray, rotation: np.ndarray) -> Points:
    """World points in the frame with this origin (3,) and with the columns of rotation (3, 3) as its axes."""
    offsets = [axis - np.float32(origin) for axis, origin in zip(p, center)]
    return tuple(sum(offset * np.float32(a) for offset, a in zip(offsets, axis)) for axis in rotation.T)


def ellipsoid(p: Points, center: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """First-order distance f (f - 1) / |grad| of the level f = |(p - center) / radii|."""
    scaled = [((axis - np.float32(c)) / np.float32(r)) for axis, c, r in zip(p, center, radii)]
    level = np.sqrt(sum(s * s for s in scaled))
    slope = np.sqrt(sum((s / np.float32(r)) ** 2 for s, r in zip(scaled, radii)))
    return level * (level - 1) / np.maximum(slope, np.float32(1e-6))


def block(p: Points, center: np.ndarray, half: np.ndarray, rounding: float) -> np.ndarray:
    """A box with half side lengths `half` whose edges are rounded."""
    q = [np.abs(axis - np.float32(c)) - np.float32(h - rounding) for axis, c, h in zip(p, center, half)]
    outside = np.sqrt(sum(np.maximum(axis, 0) ** 2 for axis in q))
    return outside + np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0) - np.float32(rounding)


def capsule(
    p: Points, start: np.ndarray, end: np.ndarray, radii: tuple[float, float], stretch: tuple = (1, 1, 1)
) -> np.ndarray:
    """A rod from start to end with the radius at either end; `stretch` scales the cross-section along x, y and z.

    start and end are its true ends' centres; a stretch of (1, 1, 2) gives a section twice as tall as wide.
    """
    stretch = np.asarray(stretch, dtype=np.float64)
    a, b = np.asarray(start) / stretch, np.asarray(end) / stretch
    along = b - a
    q = [axis / np.float32(s) - np.float32(c) for axis, s, c in zip(p, stretch, a)]
    t = np.clip(sum(axis * np.float32(d) for axis, d in zip(q, along)) / np.float32(along @ along), 0, 1)
    gap = np.sqrt(sum((axis - t * np.float32(d)) ** 2 for axis, d in zip(q, along)))
    return gap - (np.float32(radii[0]) + t * np.float32(radii[1] - radii[0]))


def column(p: Points, knots: np.ndarray, power: float = 2.0) -> np.ndarray:
    """A tube along z with superelliptical sections, endless above and below.

    knots: rows of (z, x, y, half width in x, half width in y) in rising z; between them sections change smoothly,
        and one row alone is a straight tube.
    """
    x, y, z = p
    knots = np.asarray(knots, dtype=np.float64)
    if len(knots) == 1:
        cx, cy, a, b = knots[0, 1:].astype(np.float32)
    else:
        sections = PchipInterpolator(knots[:, 0], knots[:, 1:])(np.clip(z, knots[0, 0], knots[-1, 0]))
        cx, cy, a, b = np.moveaxis(sections.astype(np.float32), -1, 0)
    u, v = np.abs(x - cx), np.abs(y - cy)
    level = superellipse(u / a, v / b, power)
    return np.sqrt(u * u + v * v) * (1 - 1 / np.maximum(level, np.float32(1e-3)))


def superellipse(u: np.ndarray, v: np.ndarray, power: float) -> np.ndarray:
    """(|u|^power + |v|^power)^(1 / power): 1 on the outline, between an ellipse (2) and a rectangle (large)."""
    if power == 2:
        return np.sqrt(u * u + v * v)
    return (np.abs(u) ** np.float32(power) + np.abs(v) ** np.float32(power)) ** np.float32(1 / power)


def union(a: np.ndarray, b: np.ndarray, fillet: float = 2.0) -> np.ndarray:
    """Both shapes, the groove between them filled over about `fillet` mm (quadratic smooth minimum)."""
    blend = np.maximum(np.float32(fillet) - np.abs(a - b), 0)
    return np.minimum(a, b) - blend * blend / np.float32(4 * fillet)


def smooth_curve(knots: np.ndarray, count: int) -> np.ndarray:
    """(count, n) values along the spline through knots (m, n), spaced by chord length of the first three columns."""
    knots = np.asarray(knots, dtype=np.float64)
    chord = np.append(0, np.cumsum(np.linalg.norm(np.diff(knots[:, :3], axis=0), axis=1)))
    return CubicSpline(chord, knots)(np.linspace(0, chord[-1], count))
