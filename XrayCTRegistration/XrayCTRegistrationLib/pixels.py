"""What reading an X-ray does to all of its pixels: some rows at a time, and where pixels are not known."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
from scipy import ndimage

_PIXELS_AT_ONCE = 250_000  # between two pauses for the window


def in_bands(shape: tuple[int, ...], of_rows: Callable[[slice], np.ndarray]) -> Generator[None, None, np.ndarray]:
    """An image (rows, columns), float32, of what is made of some rows at a time, with pauses."""
    made = np.empty(shape, np.float32)
    at_once = max(1, _PIXELS_AT_ONCE // shape[1])
    for first in range(0, shape[0], at_once):
        rows = slice(first, min(first + at_once, shape[0]))
        made[rows] = of_rows(rows)
        yield
    return made


def filled(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """An image (rows, columns), the nearest known pixel where one is not; itself where all are known, or none is."""
    if known.all() or not known.any():
        return image
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return image[tuple(nearest)]
