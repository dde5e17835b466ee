"""Edges of a DRR as thin lines between pixels, to be drawn at the resolution of whatever shows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

_BLUR_SHARE, _LEAST_LENGTH_SHARE = 0.005, 0.08  # of the DRR's longest side
_WEAK_PERCENT, _STRONG_PERCENT = 72.0, 88.0  # of the slopes inside the shadow: to follow, and to begin, an edge
_SHADOW_SHARE = 1e-3  # of the steepest slope; less is empty beam
_KERNEL_SIGMAS = 4.0  # half the width of a kernel

_OFFSETS = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])  # (row, column) of a cell's corners from its first
_SIDES = ((0, 1), (0, 2), (1, 3), (2, 3))  # top, left, right, bottom: corners where each begins and ends
_DOWNWARD = (0, 1, 1, 0)  # whether a side goes down, not to the right


@dataclass(frozen=True, eq=False)
class EdgeLines:
    """points: (N, 2) float32, (column, row) in pixels of the image. segments: (M, 2) int, the points they join."""

    points: np.ndarray
    segments: np.ndarray


NO_EDGES = EdgeLines(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.int64))


def edge_lines(drr: np.ndarray) -> EdgeLines:
    """Where a DRR (rows, columns) is steepest across its slope, followed from strong edges through weaker ones.

    The lines are zeros of the second derivative along the gradient, Lx^2 Lxx + 2 Lx Ly Lxy + Ly^2 Lyy, of the blurred
    DRR L (Lindeberg 1998, "Edge detection and ridge detection with automatic scale selection", at one scale), found by
    marching squares. Blur and the least length of a line are shares of the image, the thresholds percentiles of the
    DRR's own slopes, as in Canny (1986).
    """
    longest = max(drr.shape)
    down, right, curvature = _slopes(np.asarray(drr, dtype=np.float32), max(1.0, _BLUR_SHARE * longest))
    steepness = np.hypot(down, right)
    shadow = steepness[steepness > _SHADOW_SHARE * steepness.max()]
    if not shadow.size:
        return NO_EDGES
    weak, strong = np.percentile(shadow, (_WEAK_PERCENT, _STRONG_PERCENT))
    points, segments = zero_lines(curvature, steepness >= weak)
    here = points.T[::-1]
    slope = np.stack([_at(down, here), _at(right, here)])
    steep = _at(steepness, here)
    across = slope / np.maximum(np.hypot(*slope), 1e-20)
    crest = (steep >= weak) & (steep >= _at(steepness, here + across)) & (steep >= _at(steepness, here - across))
    segments = segments[crest[segments].all(axis=1)]
    return _long_and_strong(points, segments, steep, strong, _LEAST_LENGTH_SHARE * longest)


def zero_lines(values: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lines on which values (rows, columns), linear between pixels, are zero, inside cells that touch a region.

    region: bool (rows, columns). Returns points (N, 2), (column, row), and segments (M, 2), indices of points: marching
    squares, where a cell with two lines is cut as the mean of its corners says.
    """
    width = values.shape[1]
    inside = _at_corners(values > 0)
    touched = np.logical_or.reduce(_at_corners(region))
    cut = touched & np.logical_or.reduce(inside) & ~np.logical_and.reduce(inside)
    row, column = np.nonzero(cut)
    corners = np.stack([one[row, column] for one in _at_corners(values)])
    ends = corners[np.array(_SIDES)]  # (4 sides, 2 ends, cells)
    crossed = (ends[:, 0] > 0) != (ends[:, 1] > 0)
    # Two cells share a side: its key is the pixel it begins at and its direction, and its point is made once.
    begins = row * width + column + np.array([_OFFSETS[side[0]] @ (width, 1) for side in _SIDES])[:, None]
    keys, index, number = np.unique(
        (2 * begins + np.array(_DOWNWARD)[:, None])[crossed], return_index=True, return_inverse=True
    )
    before, after = (ends[:, end][crossed][index] for end in (0, 1))
    points = np.stack([keys // 2 % width, keys // 2 // width], axis=1).astype(np.float64)
    points[np.arange(len(keys)), keys % 2] += before / (before - after)
    sides = np.full(crossed.shape, -1)
    sides[crossed] = number
    count = crossed.sum(axis=0)
    single = np.sort(sides[:, count == 2], axis=0)[2:].T
    joined = ((corners[0] > 0) == (corners.sum(axis=0) > 0))[count == 4]  # top left and bottom right
    top, left, right, bottom = sides[:, count == 4]
    double = np.stack([top, np.where(joined, right, left), bottom, np.where(joined, left, right)], axis=1)
    return points, np.concatenate([single, double.reshape(-1, 2)])


def _at_corners(image: np.ndarray) -> list[np.ndarray]:
    """The image at the corners of each cell between four pixels, in the order of _OFFSETS: views of it."""
    rows, columns = image.shape
    return [image[down : rows - 1 + down, right : columns - 1 + right] for down, right in _OFFSETS]


def _slopes(image: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Derivatives down and to the right of the blurred image, and the second one along its gradient, times the
    gradient's square."""
    reach = int(np.ceil(_KERNEL_SIGMAS * sigma))
    x = np.arange(-reach, reach + 1)
    blur = np.exp(-0.5 * (x / sigma) ** 2)
    blur /= blur.sum()
    bend = (x**2 / sigma**2 - 1) / sigma**2 * blur
    kernels = (blur, x / sigma**2 * blur, bend - bend.sum() * blur)  # a constant has no derivative

    def filtered(array: np.ndarray, order: int, axis: int) -> np.ndarray:
        return ndimage.correlate1d(array, kernels[order], axis, mode="nearest")

    rows = [filtered(image, order, 0) for order in range(3)]
    down, right = filtered(rows[1], 0, 1), filtered(rows[0], 1, 1)
    second = (filtered(rows[2], 0, 1), filtered(rows[1], 1, 1), filtered(rows[0], 2, 1))
    return down, right, down * down * second[0] + 2 * down * right * second[1] + right * right * second[2]


def _at(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The image at places (2, N), (row, column), linear between pixels."""
    return ndimage.map_coordinates(image, places, order=1, mode="nearest")


def _long_and_strong(
    points: np.ndarray, segments: np.ndarray, steep: np.ndarray, strong: float, least_px: float
) -> EdgeLines:
    """The lines that are somewhere as steep as `strong` and at least so long, and the points that they need."""
    graph = sparse.coo_matrix((np.ones(len(segments), bool), (segments[:, 0], segments[:, 1])), (len(points),) * 2)
    count, line = csgraph.connected_components(graph, directed=False)
    of_segment = line[segments[:, 0]]
    along = points[segments[:, 0]] - points[segments[:, 1]]
    kept = np.bincount(of_segment, np.hypot(along[:, 0], along[:, 1]), count) >= least_px
    kept &= np.bincount(line, steep >= strong, count) > 0
    segments = segments[kept[of_segment]]
    used, again = np.unique(segments, return_inverse=True)
    return EdgeLines(points[used].astype(np.float32), again.reshape(segments.shape))
