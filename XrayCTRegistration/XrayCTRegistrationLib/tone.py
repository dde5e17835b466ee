"""The tone curve of an X-ray undone: line integrals of pixels that a system's processing, or a window, made brighter
and darker than they were.

With x the line integrals, 0 and 1 at the ends of their range,

    x + bend x (1 - x) + wave sin(2 pi x) / (2 pi)

gives one half of the range more contrast and the other less, or the middle more and the ends less; beyond the ends it
goes on as it was.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from .block_means import weighted_block_means
from .pixels import in_bands

_RANGE_PIXELS, _RANGE = 96, (1.0, 99.0)  # percentiles of means, so that grain and pixel size hardly change the range


@dataclass(frozen=True)
class ToneCurve:
    """What undoes a tone curve, see above; rising everywhere where the two are together below 1."""

    bend: float
    wave: float


def straightened_steps(values: np.ndarray, mask: np.ndarray, curve: ToneCurve) -> Generator[None, None, np.ndarray]:
    """Line integrals (rows, columns) with a tone curve undone, float32, with pauses. mask: (rows, columns) bool, the
    pixels that the range is of."""
    factor = max(1, round(max(values.shape) / _RANGE_PIXELS))
    means, share = yield from weighted_block_means(values, mask, factor, factor)
    low, high = np.percentile(means[share > 0.5] if (share > 0.5).any() else means, _RANGE)
    span = np.float32(max(high - low, 1e-9))

    def straight(rows: slice) -> np.ndarray:
        x = np.clip((values[rows] - np.float32(low)) / span, 0, 1)
        return values[rows] + span * (curve.bend * x * (1 - x) + curve.wave * np.sin(2 * np.pi * x) / (2 * np.pi))

    return (yield from in_bands(values.shape, straight))
