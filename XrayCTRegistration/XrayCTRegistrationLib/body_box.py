"""The box around the body in a CT, found while its values are checked: one pass over the voxels, with pauses."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from .hounsfield import BODY_HU, check_values_within

_SLICES = 4  # that are looked at between two pauses: some milliseconds of a CT of 512 x 512


def body_box_steps(array: np.ndarray, where: str = "The CT") -> Generator[float, None, tuple[np.ndarray, np.ndarray]]:
    """First and last voxel (i, j, k) of the box around everything denser than air, of a CT (slices, rows, columns).

    Yields the progress, 0 to 1. where: names the CT in errors. Raises InputError unless the values can be Hounsfield
    units, see `hounsfield.check_values`.
    """
    low, high = np.inf, -np.inf
    count = len(array)
    dense_slices = np.zeros(count, bool)
    dense_plane = np.zeros(array.shape[1:], bool)
    for k in range(0, count, _SLICES):
        slab = array[k : k + _SLICES]
        low, high = np.minimum(low, slab.min()), np.maximum(high, slab.max())  # which pass NaN on
        dense = slab > BODY_HU
        dense_slices[k : k + _SLICES] = dense.any(axis=(1, 2))
        dense_plane |= dense.any(axis=0)
        yield k / count
    check_values_within(array, float(low), float(high), where)
    along = (dense_plane.any(axis=0), dense_plane.any(axis=1), dense_slices)
    ends = [np.flatnonzero(axis)[[0, -1]] for axis in along]
    return np.array([end[0] for end in ends]), np.array([end[1] for end in ends])
