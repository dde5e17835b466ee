"""Scrambled Sobol points in four dimensions: quasi-random, so that few of them leave no part of a range out.

The same points, to the last bit, as those of scipy.stats.qmc.Sobol(4, seed=seed). That package imports the whole of
scipy.stats, which takes longer than a search.
"""

from __future__ import annotations

import numpy as np

_BITS = 30
# Of each dimension the primitive polynomial's coefficients below the highest, and the first direction numbers:
# Joe and Kuo 2008, doi 10.1137/070709359, from its second dimension on.
_POLYNOMIALS = ((1,), (1, 1), (0, 1, 1))
_FIRST_NUMBERS = ((1,), (1, 3), (1, 3, 1))
DIMENSIONS = 1 + len(_POLYNOMIALS)


def sobol_points(count: int, seed: int) -> np.ndarray:
    """(count, 4) points of the unit cube; fewer than 2^30. The first of a longer sequence are those of a shorter one.

    Scrambled by a random lower triangular matrix and a digital shift (Matousek 1998).
    """
    random = np.random.default_rng(seed)
    shift = random.integers(0, 2, (DIMENSIONS, _BITS), dtype=np.uint32) @ 2 ** np.arange(_BITS, dtype=np.uint32)
    scramble = np.tril(random.integers(0, 2, (DIMENSIONS, _BITS, _BITS), dtype=np.uint32), -1)
    scramble += np.eye(_BITS, dtype=np.uint32)
    weights = 2 ** np.arange(_BITS - 1, -1, -1, dtype=np.uint32)
    digits = _directions()[:, :, None] // weights % 2  # (dimensions, numbers, digits), the highest digit first
    directions = digits @ scramble.transpose(0, 2, 1) % 2 @ weights
    index = np.arange(count, dtype=np.uint32)
    gray = index ^ (index >> 1)
    points = np.tile(shift.astype(np.uint32), (count, 1))
    for bit in range(count.bit_length()):
        points[gray >> bit & 1 > 0] ^= directions[:, bit].astype(np.uint32)
    return points / 2.0**_BITS


def _directions() -> np.ndarray:
    """Direction numbers (dimensions, bits) as integers of _BITS binary digits, by the recurrence of Joe and Kuo."""
    rows = [[1] * _BITS]
    for polynomial, first in zip(_POLYNOMIALS, _FIRST_NUMBERS):
        row, degree = list(first), len(polynomial)
        while len(row) < _BITS:
            number = row[-degree]
            for power, coefficient in enumerate(polynomial, start=1):
                number ^= coefficient * row[-power] << power
            row.append(number)
        rows.append(row)
    return np.array(rows, dtype=np.uint32) << np.arange(_BITS - 1, -1, -1, dtype=np.uint32)
