"""The surface of a segment, as triangles.

Constrained elastic surface nets (Gibson 1998, "Constrained elastic surface nets: generating smooth surfaces from binary
segmented data"): a point in every cell that the surface passes, joined to those of the cells beside it, and drawn
towards their middle without leaving its cell. So the surface is smooth, closed, nowhere farther than a voxel from that
of the voxels, and no segment is too small for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import sparse

from ..volume import Volume

_ROUNDS = 6  # of drawing points towards their neighbours
_MOST_VOXELS = 400_000  # of the box about a segment: some 20,000 points


@dataclass(frozen=True, eq=False)
class Surface:
    """points: (N, 3) in the CT's own world, mm. triangles: (M, 3) indices of points, anticlockwise from outside."""

    points: np.ndarray
    triangles: np.ndarray


def surface_of(mask: Volume) -> Surface:
    """The surface of a mask, bool (slices, rows, columns), that is not empty; a large one is coarsened first."""
    mask = _coarsened(mask)
    inside = np.pad(mask.array.astype(bool), 1)
    corners = np.stack([inside[corner] for corner in _corners()])
    passed = corners.any(axis=0) & ~corners.all(axis=0)
    number = np.full(passed.shape, -1)
    number[passed] = np.arange(np.count_nonzero(passed))
    quads = np.concatenate([_quads(inside, number, axis) for axis in range(3)])
    indices = _relaxed(np.argwhere(passed) + 0.5, quads)[:, ::-1] - 1.0  # of the mask, (i, j, k)
    if np.linalg.det(mask.ijk_to_world[:3, :3]) > 0:  # (k, j, i) is of the other hand than (i, j, k)
        quads = quads[:, ::-1]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return Surface(mask.points(indices), triangles)


def _coarsened(mask: Volume) -> Volume:
    voxel_mm = float(mask.spacing_mm.min())
    coarse = mask
    while coarse.array.size > _MOST_VOXELS:
        voxel_mm *= 1.25
        coarse = mask.downsampled(mask.factors_to(voxel_mm))
    return coarse if coarse is mask else Volume(coarse.array >= 0.5, coarse.ijk_to_world)


def _corners() -> list[tuple[slice, ...]]:
    """Index of the array of each of a cell's eight corners."""
    return [tuple(slice(at, None if at else -1) for at in corner) for corner in product((0, 1), repeat=3)]


def _quads(inside: np.ndarray, number: np.ndarray, axis: int) -> np.ndarray:
    """(M, 4) the cells about every edge along an axis that the surface crosses, in turn about it.

    Anticlockwise, in a right-handed frame of the array's axes, seen from outside.
    """
    across, along = (axis + 1) % 3, (axis + 2) % 3
    step = np.diff(inside.astype(np.int8), axis=axis)
    edges = np.argwhere(step)
    leaving = step[tuple(edges.T)] < 0
    turns = []
    for back in ((1, 1), (0, 1), (0, 0), (1, 0)):
        cell = edges.copy()
        cell[:, across] -= back[0]
        cell[:, along] -= back[1]
        turns.append(number[tuple(cell.T)])
    quads = np.stack(turns, axis=1)
    return np.where(leaving[:, None], quads, quads[:, ::-1])


def _relaxed(centers: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Points drawn towards the middle of their neighbours, none farther than half a voxel from its cell's centre."""
    first, second = quads.ravel(), np.roll(quads, -1, axis=1).ravel()
    ends = np.concatenate([first, second]), np.concatenate([second, first])
    joined = sparse.coo_matrix((np.ones(len(ends[0])), ends), (len(centers),) * 2).tocsr()
    neighbours = np.asarray(joined.sum(axis=1))
    points = centers
    for _ in range(_ROUNDS):
        points = np.clip(joined @ points / neighbours, centers - 0.5, centers + 0.5)
    return points
