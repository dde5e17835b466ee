"""Means of blocks of voxels, plane by plane, so that of a large CT only one slab of blocks is held in a wider type; and
of blocks of pixels."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import numpy as np

_EXACT_VOXELS = 2**15  # of a block: so many 16-bit integers add up within 32 bits
_PIXELS_AT_ONCE = 250_000  # of an image, between two pauses for the window


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


def weighted_block_means(
    values: np.ndarray, mask: np.ndarray, rows: int, columns: int
) -> Generator[None, None, tuple[np.ndarray, np.ndarray]]:
    """Means of what a mask leaves of blocks of rows x columns pixels, and the share that it leaves of each, float32.

    values, mask: an image; incomplete blocks at its end drop out. With pauses.
    """
    shape = values.shape[0] // rows, values.shape[1] // columns
    means, share = np.empty(shape, np.float32), np.empty(shape, np.float32)
    at_once = max(1, _PIXELS_AT_ONCE // (rows * values.shape[1]))
    for first in range(0, shape[0], at_once):
        part = (slice(first * rows, min(first + at_once, shape[0]) * rows), slice(shape[1] * columns))
        weights = mask[part].astype(np.float32)
        share[first : first + at_once] = _block_sums(weights, rows, columns)
        means[first : first + at_once] = _block_sums(values[part] * weights, rows, columns)
        yield
    share /= rows * columns
    means /= np.maximum(share, 1e-6) * (rows * columns)
    return means, share


def _block_sums(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Sums over blocks of rows x columns pixels: rows first, a whole row at a time."""
    return (
        image.reshape(-1, rows, image.shape[1]).sum(axis=1).reshape(-1, image.shape[1] // columns, columns).sum(axis=2)
    )
