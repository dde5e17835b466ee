"""What an X-ray of the operating room shows beyond a clean DRR: tools, scatter, noise, contrast, collimation.

For training, and for a harder evaluation. Every length is a share of the image, so that images of any resolution are
degraded alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from .errors import InputError
from .evaluation.exposures import OPAQUE, rectangle, rods
from .simulation import detector_counts

Occluding = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]

_METAL_PER_MM = 0.34  # titanium at 60 keV, NIST XCOM
_FIELD_MM = 140.0  # what the seed's detector sees at the isocentre
_RECOGNISED, _RIM_SHARE = 0.5, 0.01  # of opaque things: how many are masked, and with how much about them


@dataclass(frozen=True)
class Realism:
    """Probability of each effect in an image, 0 to 1. occluded: share of the image that `occlusion` covers, on average.

    inversion: registration turns an X-ray the right way round before it compares, so that this is off unless wanted.
    opaque: rods and a rectangle that let nothing through, over 2 to 20 % of the image; in half of the images where they
    are, they are masked, as registration masks what it recognises. window: clipped at percentiles that somebody chose.
    """

    tools: float = 0.2
    hardening: float = 0.3
    scatter: float = 0.3
    noise: float = 0.5
    blur: float = 0.3
    gamma: float = 0.3
    curve: float = 0.1
    inversion: float = 0.0
    occlusion: float = 0.15
    occluded: float = 0.15
    collimation: float = 0.15
    opaque: float = 0.0
    window: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) <= 1:
                raise InputError(f"The X-ray realism's {field.name} is {getattr(self, field.name)}. Give 0 to 1.")


CLEAN = Realism(**dict.fromkeys([field.name for field in fields(Realism)], 0.0))
HARD = Realism(
    **dict.fromkeys([field.name for field in fields(Realism)], 1.0)
    | {"inversion": 0.0, "occluded": 0.2, "opaque": 0.0, "window": 0.0}
)
ROBUST = Realism(
    hardening=0.4, scatter=0.5, noise=0.7, occlusion=0.25, occluded=0.2, collimation=0.4, opaque=0.35, window=0.25
)


def degraded(
    integrals: np.ndarray, rng: np.random.Generator, realism: Realism = HARD, occluding: Occluding | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Line integrals (rows, columns) as an imaging chain would leave them, and weights (rows, columns), 0 or 1.

    The result is float32 in an unknown scale, bone bright; the weights are 0 where the collimator shadows the detector,
    and on some opaque things. Tools and occlusions stay in: nobody masks them in an operating room. occluding: what
    lies over the image, `occluded` unless given.
    """
    size = float(max(integrals.shape))
    image, weights = integrals.astype(np.float64), np.ones(integrals.shape)
    if realism.opaque and rng.random() < realism.opaque:
        hidden = opaque(integrals.shape, rng)
        image = np.where(hidden, OPAQUE, image)
        if rng.random() < _RECOGNISED:
            weights[binary_dilation(hidden, iterations=max(1, round(_RIM_SHARE * size)))] = 0
    if rng.random() < realism.tools:
        image = image + tools(integrals.shape, rng)
    if rng.random() < realism.hardening:
        image = hardened(image, rng.uniform(0.1, 0.6))
    scatter = rng.uniform(0.1, 1.0) if rng.random() < realism.scatter else 0.0
    noisy = rng.random() < realism.noise
    if scatter or noisy:
        photons = 10 ** rng.uniform(3.0, 4.5) if noisy else 1e9
        counts = detector_counts(image, photons, rng, scatter, size * rng.uniform(0.05, 0.15))
        image = np.log(photons * (1 + scatter)) - np.log(np.maximum(counts, 0.5))
    if rng.random() < realism.blur:
        image = gaussian_filter(image, size * rng.uniform(0.003, 0.015))
    low, high = image.min(), image.max()
    image = (image - low) / max(high - low, 1e-9)
    if rng.random() < realism.gamma:
        image = image ** rng.uniform(0.7, 1.3)
    if rng.random() < realism.curve:
        image = image + rng.uniform(-0.12, 0.12) * np.sin(2 * np.pi * image)
    if realism.window and rng.random() < realism.window:
        image = np.clip(image, *np.percentile(image, (rng.uniform(0.5, 5.0), rng.uniform(95.0, 99.5))))
    if rng.random() < realism.inversion:
        image = 1 - image
    if rng.random() < realism.occlusion:
        image = (occluding or occluded)(image, rng, realism.occluded)
    if rng.random() < realism.collimation:
        weights = weights * collimator(image.shape, rng)
    return image.astype(np.float32), weights.astype(np.float32)


def stored(
    integrals: np.ndarray, rng: np.random.Generator, realism: Realism, occluding: Occluding | None = None
) -> np.ndarray:
    """`degraded` line integrals (rows, columns) as one image, the collimator's shadow as bright as anything in it."""
    image, weights = degraded(integrals, rng, realism, occluding)
    return np.where(weights > 0, image, image.max())


def hardened(integrals: np.ndarray, strength: float) -> np.ndarray:
    """What a beam of two energies measures, of which the softer one is absorbed 1 + strength times as much."""
    soft, hard = np.exp(-(1 + strength) * integrals), np.exp(-integrals / (1 + strength))
    return -np.log(0.5 * (soft + hard) + 1e-12)


def tools(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Line integrals (rows, columns) of one to four metal rods, screws or beads across the image."""
    rows, columns = np.indices(shape).astype(np.float64) / max(shape)
    ends = np.array(shape) / max(shape)
    total = np.zeros(shape)
    for _ in range(rng.integers(1, 5)):
        radius = rng.choice([0.004, 0.01, 0.02]) * rng.uniform(0.7, 1.4)
        length = rng.choice([0.0, 0.25, 1.2]) * rng.uniform(0.7, 1.3)  # a bead, a screw, a wire
        middle, angle = rng.uniform(0, 1, 2) * ends, rng.uniform(0, np.pi)
        along = np.array([np.sin(angle), np.cos(angle)])
        r, c = rows - middle[0], columns - middle[1]
        t = np.clip(r * along[0] + c * along[1], -length / 2, length / 2)
        squared = (r - t * along[0]) ** 2 + (c - t * along[1]) ** 2
        total += 2 * np.sqrt(np.maximum(radius**2 - squared, 0)) * _FIELD_MM * _METAL_PER_MM
    return total


def opaque(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Where (rows, columns), True, rods and a rectangle let nothing through: one of the two, or both."""
    kind = rng.integers(3)
    hidden = np.zeros(shape, bool)
    if kind != 0:
        hidden |= rectangle(shape, rng, rng.uniform(0.03, 0.16))
    if kind != 1:
        hidden |= rods(shape, rng, int(rng.integers(1, 5)), rng.uniform(0.02, 0.08))
    return hidden


def occluded(image: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """The image (rows, columns) with rectangles over `share` of it, flat or speckled: pads, drapes, cables."""
    image = image.copy()
    for part in _rectangles(image.shape, rng, share):
        value = rng.uniform(image.min(), image.max())
        image[part] = value + rng.uniform(0, 0.1) * rng.standard_normal(image[part].shape)
    return image


def covered(image: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """The image (rows, columns) with rectangles over `share` of it that show the same image upside down: structure as
    that of hands, which is like a body's and is not the CT's."""
    image, other = image.copy(), image[::-1, ::-1]
    for part in _rectangles(image.shape, rng, share):
        image[part] = other[part]
    return image


def _rectangles(shape: tuple[int, int], rng: np.random.Generator, share: float) -> Iterator[tuple[slice, slice]]:
    """Rectangles of random size and place, as many as cover `share` of an image (rows, columns), or a little less."""
    rows, columns = shape
    hidden = np.zeros(shape, bool)
    while hidden.mean() < share * rng.uniform(0.8, 1.0):
        height, width = (max(1, int(side * rng.uniform(0.1, 0.45))) for side in shape)
        top, left = rng.integers(0, rows - height + 1), rng.integers(0, columns - width + 1)
        part = (slice(top, top + height), slice(left, left + width))
        hidden[part] = True
        yield part


def collimator(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Weights (rows, columns): 1 in a round or a straight-edged field, else 0."""
    rows, columns = (np.linspace(-1, 1, side) for side in shape)
    if rng.random() < 0.5:
        radius = rng.uniform(0.85, 1.2)
        return ((rows[:, None] ** 2 + columns[None, :] ** 2) < radius**2).astype(np.float64)
    top, bottom, left, right = rng.uniform(0.65, 1.0, 4)
    return np.outer((rows > -top) & (rows < bottom), (columns > -left) & (columns < right)).astype(np.float64)
