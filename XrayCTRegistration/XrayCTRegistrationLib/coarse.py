"""A CT made coarse a little at a time: for what must not hold up a window, such as edges that follow a hand."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from .body_box import body_box_steps
from .volume import Volume

SEEN_VOXEL_MM = 1.8  # about this; finer voxels do not change edges that are seen at a few hundred pixels


def coarse_steps(ct: Volume, where: str = "The CT", voxel_mm: float = SEEN_VOXEL_MM) -> Generator[float, None, Volume]:
    """The body in a CT (Hounsfield units) with voxels of about voxel_mm: means of blocks, float32.

    Yields the progress, 0 to 1, every few milliseconds; returns the volume. where: names the CT in errors. Raises
    InputError as `check_hounsfield` does.
    """
    looking = body_box_steps(ct.array, where)
    while True:
        try:
            yield 0.5 * next(looking)
        except StopIteration as end:
            body = ct.cropped(*end.value)
            break
    factors = body.factors_to(voxel_mm)
    count = -(-body.size[2] // factors[2])
    slices = []
    for k in range(count):
        slices.append(_block_mean(body.array[k * factors[2] : (k + 1) * factors[2]], factors))
        yield 0.5 + 0.5 * k / count
    to_fine = np.diag([*factors, 1.0]).astype(np.float64)
    to_fine[:3, 3] = (np.array(factors) - 1) / 2
    return Volume(np.stack(slices), body.ijk_to_world @ to_fine)


def _block_mean(slab: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Means (rows, columns) of the blocks of one slab; one that is cut off at the end is the mean of what is there."""
    columns, rows, _ = factors
    plane = slab.sum(axis=0, dtype=np.float32) / np.float32(len(slab))
    for axis, factor in ((0, rows), (1, columns)):
        starts = np.arange(0, plane.shape[axis], factor)
        lengths = np.diff([*starts, plane.shape[axis]]).astype(np.float32)
        plane = np.add.reduceat(plane, starts, axis=axis) / (lengths[:, None] if axis == 0 else lengths)
    return plane
