"""A CT made coarse a little at a time: for what must not hold up a window, such as edges that follow a hand."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from .hounsfield import BODY_HU, check_range
from .volume import Volume

SEEN_VOXEL_MM = 1.8  # about this; finer voxels do not change edges that are seen at a few hundred pixels
_SLICES = 4  # that are looked at between two pauses: some milliseconds of a CT of 512 x 512


def coarse_steps(ct: Volume, where: str = "The CT", voxel_mm: float = SEEN_VOXEL_MM) -> Generator[float, None, Volume]:
    """The body in a CT (Hounsfield units) with voxels of about voxel_mm: means of blocks, float32.

    Yields the progress, 0 to 1, every few milliseconds; returns the volume. where: names the CT in errors. Raises
    InputError as `check_hounsfield` does, and where everything is air.
    """
    first, last = yield from _body_box(ct, where)
    body = ct.cropped(first, last)
    factors = body.factors_to(voxel_mm)
    count = -(-body.size[2] // factors[2])
    slices = []
    for k in range(count):
        slices.append(_block_mean(body.array[k * factors[2] : (k + 1) * factors[2]], factors))
        yield 0.5 + 0.5 * k / count
    to_fine = np.diag([*factors, 1.0]).astype(np.float64)
    to_fine[:3, 3] = (np.array(factors) - 1) / 2
    return Volume(np.stack(slices), body.ijk_to_world @ to_fine)


def _body_box(ct: Volume, where: str) -> Generator[float, None, tuple[np.ndarray, np.ndarray]]:
    """First and last voxel (i, j, k) of the box around everything denser than air, the values checked on the way."""
    low, high = np.inf, -np.inf
    count = ct.array.shape[0]
    dense_slices = np.zeros(count, bool)
    dense_plane = np.zeros(ct.array.shape[1:], bool)
    for k in range(0, count, _SLICES):
        slab = ct.array[k : k + _SLICES]
        low, high = np.minimum(low, slab.min()), np.maximum(high, slab.max())  # which pass NaN on
        dense = slab > BODY_HU
        dense_slices[k : k + _SLICES] = dense.any(axis=(1, 2))
        dense_plane |= dense.any(axis=0)
        yield 0.5 * k / count
    check_range(float(low), float(high), where)
    along = (dense_plane.any(axis=0), dense_plane.any(axis=1), dense_slices)
    ends = [np.flatnonzero(axis)[[0, -1]] for axis in along]
    return np.array([end[0] for end in ends]), np.array([end[1] for end in ends])


def _block_mean(slab: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Means (rows, columns) of the blocks of one slab; one that is cut off at the end is the mean of what is there."""
    columns, rows, _ = factors
    plane = slab.sum(axis=0, dtype=np.float32) / np.float32(len(slab))
    for axis, factor in ((0, rows), (1, columns)):
        starts = np.arange(0, plane.shape[axis], factor)
        lengths = np.diff([*starts, plane.shape[axis]]).astype(np.float32)
        plane = np.add.reduceat(plane, starts, axis=axis) / (lengths[:, None] if axis == 0 else lengths)
    return plane
