"""Which discs and straight edges an image's edges suggest, in working pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .edges import Edges, FirstEdges
from .shapes import Blade, Disc, Edge, Field

TOLERANCE_PX = 1.5  # between an outline and the edges on it
LEAST_LENGTH = 0.1  # of the image's longer side: no blade is shorter
_ALIGNED = 0.9  # cosine between an edge's normal and the outline's
_DRAWS = 200  # discs through three edges
_RADII = 0.2, 1.0  # of the image's longer side
_ANGLE_STEP_DEG, _VOTES_WITHIN_DEG = 2.0, 20.0
_SAME_DIRECTION = 0.99  # cosine between two blades' normals, from which on there is one in that direction already
_MOST_BLADES = 10
_LEAST_SLOPE = 0.25  # mean bounded slope across a faint blade


def on(edge: Edge, first: FirstEdges) -> np.ndarray:
    """Which first edges (N,) lie on an outline and along it."""
    aligned = (edge.normals(first.points) * first.outward).sum(axis=1) > _ALIGNED
    return aligned & (np.abs(edge.depth_px(first.points)) < TOLERANCE_PX)


def beyond(edge: Edge, first: FirstEdges) -> np.ndarray:
    """Which first edges (N,) lie in an outline's shadow."""
    return edge.depth_px(first.points) < -2 * TOLERANCE_PX


def quiet(edge: Edge, first: FirstEdges) -> bool:
    """Whether twice as many rays meet an outline first as meet something in its shadow."""
    return bool(on(edge, first).sum() > 2 * beyond(edge, first).sum())


def disc_through(first: FirstEdges, size_px: int) -> Disc | None:
    """The disc with most edges on it: RANSAC over triples of edges, then least squares."""
    points = first.points
    if len(points) < 8:
        return None
    about = points - points.mean(axis=0)
    around = points[np.argsort(np.arctan2(about[:, 1], about[:, 0]))]
    rng = np.random.default_rng(0)
    steps = rng.integers(len(points) // 8, len(points) // 3 + 1, (2, _DRAWS))
    start = rng.integers(0, len(points), _DRAWS)
    a, b, c = (around[at % len(points)] for at in (start, start + steps[0], start + steps.sum(axis=0)))
    with np.errstate(divide="ignore", invalid="ignore"):
        centers, radii = _circumcircles(a, b, c)
    usable = (radii > _RADII[0] * size_px) & (radii < _RADII[1] * size_px)
    if not usable.any():
        return None
    centers, radii = centers[usable].astype(np.float32), radii[usable].astype(np.float32)
    normals = first.outward.astype(np.float32)
    columns, rows = (points[:, axis].astype(np.float32) - centers[:, axis, None] for axis in (0, 1))
    distances = np.sqrt(columns**2 + rows**2)
    hits = np.abs(distances - radii[:, None]) < TOLERANCE_PX
    hits &= columns * normals[:, 0] + rows * normals[:, 1] > _ALIGNED * distances
    most = int(hits.sum(axis=1).argmax())
    column, row = centers[most].tolist()
    disc = Disc(column, row, float(radii[most]))
    for _ in range(3):
        hit = on(disc, first)
        if hit.sum() < 8:
            return None
        disc = disc.fitted(points[hit])
    return disc


def _circumcircles(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (N, 2) and radii (N,) of the circles through three points (N, 2) each; not finite on a line."""
    ab, ac = b - a, c - a
    ab2, ac2 = (ab**2).sum(axis=1), (ac**2).sum(axis=1)
    twice_area = 2 * (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    x = (ac[:, 1] * ab2 - ab[:, 1] * ac2) / twice_area
    y = (ab[:, 0] * ac2 - ac[:, 0] * ab2) / twice_area
    return a + np.stack([x, y], axis=1), np.hypot(x, y)


def blades_through(first: FirstEdges, size_px: int) -> list[Blade]:
    """Straight outlines, those with most edges on them first: a Hough transform, edges used up by each line."""
    points, angles = first.points, np.arange(0, 360, _ANGLE_STEP_DEG) * np.pi / 180
    normals = np.stack([np.cos(angles), np.sin(angles)])
    lowest, offsets = -3 * size_px // 2, 3 * size_px  # more than an image has: bins of one angle never touch the next
    bins = np.round(points @ normals).astype(np.int64) - lowest + offsets * np.arange(len(angles))
    votes = first.outward @ normals > np.cos(np.radians(_VOTES_WITHIN_DEG))
    count = offsets * len(angles)
    tally = np.bincount(bins[votes], minlength=count)
    left = np.ones(len(points), bool)
    found: list[Blade] = []
    while len(found) < _MOST_BLADES:
        near = tally[:-2] + tally[1:-1] + tally[2:]
        best = int(near.argmax()) + 1
        if near[best - 1] < LEAST_LENGTH * size_px:
            break
        at, offset = divmod(best, offsets)
        voted = votes[:, at] & (np.abs(bins[:, at] - best) <= 1) & left
        blade = Blade(float(angles[at]), float(offset + lowest)).fitted(points[voted])
        for _ in range(2):
            hit = on(blade, first) & left
            if hit.sum() > 3:
                blade = blade.fitted(points[hit])
        used = left & (voted | (np.abs(blade.depth_px(points)) < 2 * TOLERANCE_PX))
        tally -= np.bincount(bins[used][votes[used]], minlength=count)
        left &= ~used
        found.append(blade)
    return found


def faint_blades(field: Field, edges: Edges) -> Iterator[Blade]:
    """Blades too faint to be seen pixel by pixel: parallel, square or at 45 degrees to a field's first blade.

    Along such a line slopes add up where anatomy and noise cancel. The steepest line of each direction is given.
    """
    blades = [edge for edge in field.edges if isinstance(edge, Blade)]
    turn = blades[0].angle_rad if blades else 0.0
    rows, columns = edges.seen.shape
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).astype(np.float64)
    inside = field.depth_px(grid) > 4
    inside[:3] = inside[-3:] = inside[:, :3] = inside[:, -3:] = False
    points, slopes = grid[inside], edges.slopes[:, inside]
    least = LEAST_LENGTH * max(rows, columns)
    if len(points) < least**2:
        return
    middle = points.mean(axis=0)
    for angle in turn + np.arange(8) * np.pi / 4:
        if any(np.cos(blade.angle_rad - angle) > _SAME_DIRECTION for blade in blades):
            continue
        normal = np.array([np.cos(angle), np.sin(angle)])
        offsets = np.round((points - middle) @ normal).astype(np.int64)
        outer = offsets > 0
        length = np.bincount(offsets[outer], minlength=1)
        slope = np.abs(np.bincount(offsets[outer], normal @ slopes[:, outer], 1))
        straight = (length >= least) & (slope >= _LEAST_SLOPE * length)
        if straight.any():
            best = int(np.where(straight, slope / np.sqrt(np.maximum(length, 1)), 0).argmax())
            yield Blade(float(angle), best + float(middle @ normal))
