"""Means of blocks of voxels, plane by plane: of a large CT only one slab of blocks is held in a wider type."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

_EXACT_VOXELS = 2**15  # of a block: so many 16-bit integers add up within 32 bits


def block_counts(shape: tuple[int, ...], factors: tuple[int, ...]) -> tuple[int, ...]:
    """How many blocks of `factors` voxels cover an array along each axis; the last ones may be incomplete."""
    return tuple(-(-length // factor) for length, factor in zip(shape, factors))


def planes_of_block_means(
    array: np.ndarray, factors: tuple[int, int, int], part: Callable[[np.ndarray], np.ndarray] | None = None
) -> Iterator[np.ndarray]:
    """The float32 planes (rows, columns) of the means of blocks of factors (slices, rows, columns) voxels.

    part: what is taken of every voxel before, float32 of float32; the voxels themselves unless given.
    Blocks that reach beyond the end are filled up with the array's last plane, row or column. Sums of 16-bit integers
    are exact.
    """
    slices, rows, columns = factors
    voxels = slices * rows * columns
    exact = array.dtype.kind in "iu" and array.dtype.itemsize <= 2 and voxels <= _EXACT_VOXELS
    for first in range(0, len(array), slices):
        slab = array[first : first + slices]
        total = slab.astype(np.int32 if exact else np.float32) if part is None else part(slab)
        if voxels == 1:
            yield total[0].astype(np.float32, copy=False)
            continue
        total = _sums_of_runs(total, slices)[0]
        total = _sums_of_runs(_sums_of_runs(total, rows).T, columns).T
        yield np.divide(total, voxels, dtype=np.float32)


def _sums_of_runs(array: np.ndarray, length: int) -> np.ndarray:
    """Sums of runs of so many entries along the first axis, a last run that is incomplete filled up with its last."""
    if length == 1:
        return array
    total = array[::length].copy()
    for offset in range(1, length):
        part = array[offset::length]
        total[: len(part)] += part
        total[len(part) :] += array[-1]
    return total
