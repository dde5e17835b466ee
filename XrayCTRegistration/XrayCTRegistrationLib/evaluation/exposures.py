"""X-ray images of line integrals, as files hold them: scatter, windows, and what stands between body and detector.

Every function takes line integrals (rows, columns) or their shape, and draws what is random from the generator given.
"""

from __future__ import annotations

import numpy as np

from ..simulation import detector_counts

OPAQUE = 15.0  # line integral of what lets nothing through: one photon in three million
LEAKAGE = (0.001, 0.004)  # of the open beam's photons that are counted behind a collimator all the same
_GREYS = 255


def with_scatter(
    integrals: np.ndarray, photons: float, rng: np.random.Generator, per_primary: tuple[float, float]
) -> np.ndarray:
    """Counts with scattered photons per primary one, on average, between the two, spread over 5 to 15 % of the image.

    The spread is a normal distribution's standard deviation.
    """
    spread_px = max(integrals.shape) * rng.uniform(0.05, 0.15)
    return detector_counts(integrals, photons, rng, rng.uniform(*per_primary), spread_px)


def absorbed(counts: np.ndarray, photons: float) -> np.ndarray:
    """Minus the logarithm of counts over photons, at half a photon where none was counted."""
    return np.log(photons) - np.log(np.maximum(counts, 0.5))


def windowed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """8 bits (0 to 255, float32) of the values between low and high; what lies beyond is clipped."""
    return np.round(_GREYS * np.clip((values - low) / (high - low), 0, 1)).astype(np.float32)


def unknown_window(values: np.ndarray, field: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """8 bits between percentiles 0.5 to 5 and 95 to 99.5 of the values within a field (rows, columns), True inside:
    somebody found that it looks well."""
    return windowed(values, *np.percentile(values[field], (rng.uniform(0.5, 5.0), rng.uniform(95.0, 99.5))))


def full_range(values: np.ndarray) -> np.ndarray:
    """8 bits between the least and the greatest of the values."""
    return windowed(values, float(values.min()), float(values.max()))


def inverted(pixels: np.ndarray) -> np.ndarray:
    """Black for white."""
    return pixels.max() - pixels


def behind_collimator(counts: np.ndarray, field: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Counts within the field (rows, columns), True where the beam is, and 0.1 to 0.4 % of leakage outside."""
    leakage = rng.poisson(photons * rng.uniform(*LEAKAGE), counts.shape)
    return np.where(field, counts, leakage).astype(np.float32)


def round_field(shape: tuple[int, int], share: float) -> np.ndarray:
    """A disc about the middle that leaves `share` of a square image outside it; True inside. It must fit the image."""
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in shape)
    radius = np.sqrt((1 - share) * shape[0] * shape[1] / np.pi)
    return rows[:, None] ** 2 + columns[None, :] ** 2 <= radius**2


def four_blades(shape: tuple[int, int], rng: np.random.Generator, share: float) -> np.ndarray:
    """A rectangle that leaves `share` of the image outside it, unequally to its four sides; True inside."""
    sides = rng.uniform(0.2, 1.0, 4)
    rows, columns = sides[:2].sum(), sides[2:].sum()  # (1 - rows s) (1 - columns s) = 1 - share gives s
    scale = (rows + columns - np.sqrt((rows + columns) ** 2 - 4 * rows * columns * share)) / (2 * rows * columns)
    top, bottom, left, right = np.round(sides * scale * np.repeat(shape, 2)).astype(int)
    field = np.zeros(shape, bool)
    field[top : shape[0] - bottom, left : shape[1] - right] = True
    return field


def rods(shape: tuple[int, int], rng: np.random.Generator, count: int, share: float) -> np.ndarray:
    """`count` rods of random place, direction, length and width, together over `share` of the image; True there."""
    middles, angles = rng.uniform(0.15, 0.85, (count, 2)) * shape, rng.uniform(0, np.pi, count)
    halves = rng.uniform(0.2, 0.6, count) * max(shape) / 2
    relative = rng.uniform(0.5, 1.0, count)
    grid = np.indices(shape).astype(np.float64)
    gaps = []  # distance from each rod's axis over its relative width
    for middle, angle, half, width in zip(middles, angles, halves, relative):
        along = np.array([np.sin(angle), np.cos(angle)])
        offset = grid - middle[:, None, None]
        t = np.clip(np.tensordot(along, offset, 1), -half, half)
        gaps.append(np.linalg.norm(offset - t * along[:, None, None], axis=0) / width)
    nearest = np.min(gaps, axis=0)
    return nearest <= np.quantile(nearest, share)


def rectangle(shape: tuple[int, int], rng: np.random.Generator, share: float) -> np.ndarray:
    """A rectangle over `share` of the image, one to two times as long as wide, turned at random; True inside.

    It lies within the image as a whole.
    """
    aspect, angle = rng.uniform(1.0, 2.0), rng.uniform(0, np.pi)
    half_width = np.sqrt(share * shape[0] * shape[1] / aspect) / 2
    halves = np.array([aspect * half_width, half_width])
    turn = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])
    reach = np.abs(turn.T) @ halves
    room = np.maximum((np.array(shape) - 1) / 2 - reach, 0.0)
    middle = (np.array(shape) - 1) / 2 + rng.uniform(-1, 1, 2) * room
    offset = np.tensordot(turn, np.indices(shape) - middle[:, None, None], 1)
    across, along = np.abs(offset) <= halves[:, None, None]
    return across & along
