"""Scattered photons taken off an X-ray.

A detector counts P + s G * P where P photons came straight: scattered ones lie over the image as a veil, P itself
spread by a wide kernel G (Seibert and Boone 1988). Their logarithm shows dense parts flatter and larger than they are,
which a registration takes for another depth. With s and G known the veil is found in the Fourier domain,

    S = F^-1[ s G / (1 + s G) F(counts) ],

a smooth image, so that taking it off adds no grain.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from .block_means import weighted_block_means
from .pixels import filled, in_bands

_VEIL_PIXELS = 64  # along the longest side: kernels are far wider than a pixel of it
_LEAST_PRIMARY = 0.05  # of a pixel's counts, however large the veil: what is taken off may not be all of it


@dataclass(frozen=True)
class Scatter:
    """What lies over the photons that came straight.

    per_primary: scattered photons for each primary one, on average; 0 where there are none. spread: standard deviation
    of the kernel, a normal distribution, as a share of the image's longest side. per_value: line integral for each unit
    of the values of an `XrayImage`, 1 unless they went through a logarithm of unknown scale.
    """

    per_primary: float
    spread: float
    per_value: float = 1.0


def without_scatter_steps(values: np.ndarray, mask: np.ndarray, scatter: Scatter) -> Generator[None, None, np.ndarray]:
    """Line integrals of the photons that came straight, float32, of those that were measured, values (rows, columns) up
    to scale and offset. mask: (rows, columns), where they can be believed; elsewhere the nearest ones stand in for the
    veil. With pauses."""
    lowest = float(values[mask].min() if mask.any() else values.min())
    counts = yield from in_bands(values.shape, lambda rows: np.exp(-scatter.per_value * (values[rows] - lowest)))
    factor = max(1, round(max(values.shape) / _VEIL_PIXELS))
    means, share = yield from weighted_block_means(counts, mask, factor, factor)
    veil = _veil(filled(means, share > 0), scatter)

    def straight(rows: slice) -> np.ndarray:
        over = _between(veil, np.arange(rows.start, rows.stop), np.arange(values.shape[1]), factor)
        return -np.log(np.maximum(counts[rows] - over, _LEAST_PRIMARY * counts[rows])) / scatter.per_value

    return (yield from in_bands(values.shape, straight))


def _veil(counts: np.ndarray, scatter: Scatter) -> np.ndarray:
    """(rows, columns) scattered photons among counts (rows, columns), the image's rim going on beyond it."""
    beyond = [(side // 2, side // 2) for side in counts.shape]
    wide = np.pad(counts.astype(np.float64), beyond, mode="edge")
    waves = np.fft.fftfreq(wide.shape[0])[:, None], np.fft.rfftfreq(wide.shape[1])
    squared = waves[0] ** 2 + waves[1] ** 2
    kernel = scatter.per_primary * np.exp(-2 * (np.pi * scatter.spread * max(counts.shape)) ** 2 * squared)
    veil = np.fft.irfft2(np.fft.rfft2(wide) * kernel / (1 + kernel), s=wide.shape)
    return veil[tuple(slice(first, first + side) for (first, _), side in zip(beyond, counts.shape))]


def _between(blocks: np.ndarray, rows: np.ndarray, columns: np.ndarray, factor: int) -> np.ndarray:
    """An image at whole rows and columns, between the middles of blocks of factor x factor pixels, bilinear."""
    for axis, pixels in enumerate((rows, columns)):
        place = np.clip((pixels + 0.5) / factor - 0.5, 0, blocks.shape[axis] - 1)
        first = np.minimum(place.astype(int), max(blocks.shape[axis] - 2, 0))
        last = np.minimum(first + 1, blocks.shape[axis] - 1)
        share = np.expand_dims(place - first, 1 - axis)
        blocks = blocks.take(first, axis) * (1 - share) + blocks.take(last, axis) * share
    return blocks.astype(np.float32)
