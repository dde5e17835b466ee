"""Regions of an X-ray that show nothing but one value and its grain: a plate that lets nothing through, a pad, a box
that hides a name.

Behind a body no two places are alike, and blur, of the detector or of an image's processing, makes the grain of
neighbouring pixels alike. Where there is nothing but grain, means of n pixels scatter by 1 / sqrt(n) of what single
pixels do, over the whole region. That, and a border at which the value or the grain changes at once, tell a thing from
a place where the body is dense or thin. Air beside a body looks the same, but absorbs least of all and reaches the rim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Chosen on hard X-rays of five CTs (seeds 44 to 49), of which nine tenths of what occludes them are found; in 35 others
# (seed 46, seven effects) and in all real ones at hand, none of which holds such a thing, three small places are.
_LEAST_PX = 128  # of the shorter side: of smaller images, windows would hold too much
_WINDOW_PX = 11  # in which single pixels and blocks of three by three are compared
_BLOCK_PX, _DRIFT_PX, _STEP_PX = 3, 5, 9  # sides of blocks, whose means scatter as of independent pixels
_SCATTER = 2.2  # times the variance of independent pixels, which blocks of three may have in one window
_DRIFT = (0.6, 1.4)  # deviations of independent pixels, which blocks of five have over a whole region: grain alone
_STEP = 3.0  # deviations between two neighbouring blocks of nine, from which on a border lies between them
_CLOSE, _APART = 1.0, 1.0  # deviations of a pixel, within which a region's blocks lie, and beyond which its border's
_GRAIN_ALIKE = 2.5  # times the grain's variance, up to which it is the same
_LEAST_GRAIN = 0.004  # of the image's range: without any, a place may be where the scale of greys ends
_LEAST_SHARE, _MOST_SHARE = 0.003, 0.35  # of the image
_GROWN_PX = 8  # from a region's inner part to its border: more than half a window
_BEYOND_PX = (3, 5)  # where its border must be over
_SHARP = 0.9  # of the border
_LOWER = 1 / 3  # deviations of a pixel, three of a block of nine: which absorbs so much less is no air like it
_LOWEST = 0.02  # of all other blocks absorb less than air does, at most


def featureless(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Which pixels (rows, columns), True, lie in such regions.

    image: (rows, columns), about 256 pixels long, absorbing bright, in any scale; in one below 128 none is sought.
    seen: (rows, columns) bool, where to look.
    """
    found = np.zeros_like(seen)
    low, high = np.percentile(image[seen], (2, 98)) if seen.any() else (0.0, 0.0)
    if high > low and min(image.shape) >= _LEAST_PX:
        grain = _Grain.of((image - low) / (high - low), seen)
        for inner, around in _pieces(grain.alone()):
            region = grain.within(around).region(inner)
            if region is not None:
                found[around] |= region
    return found


@dataclass(frozen=True, eq=False)
class _Grain:
    """An image and its grain, all (rows, columns). seen: where to look. blocks: means about each pixel, by the side of
    the square. variance: of single pixels, in a window, if they were independent; local: the same, close by.
    sorted_means: of the largest blocks, about all seen pixels of the whole image."""

    image: np.ndarray
    seen: np.ndarray
    blocks: dict[int, np.ndarray]
    variance: np.ndarray
    local: np.ndarray
    sorted_means: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, seen: np.ndarray) -> _Grain:
        blocks = {side: _means(image, seen, side) for side in (_BLOCK_PX, _DRIFT_PX, _STEP_PX)}
        squares = np.square(image - blocks[_BLOCK_PX]) / (1 - 1 / _BLOCK_PX**2)
        variance, local = _means(squares, seen, _WINDOW_PX), _means(squares, seen, _DRIFT_PX)
        return cls(image, seen, blocks, variance, local, np.sort(blocks[_STEP_PX][seen]))

    def within(self, part: tuple[slice, ...]) -> _Grain:
        """The same of a part of the image."""
        blocks = {side: means[part] for side, means in self.blocks.items()}
        parts = (self.image[part], self.seen[part], blocks, self.variance[part], self.local[part])
        return _Grain(*parts, self.sorted_means)

    def alone(self) -> np.ndarray:
        """Where in its window a pixel's blocks scatter as those of independent pixels, and no border runs."""
        small = self.blocks[_BLOCK_PX]
        scatter = _means(np.square(small), self.seen, _WINDOW_PX) - np.square(_means(small, self.seen, _WINDOW_PX))
        alone = self.seen & (scatter * _BLOCK_PX**2 <= _SCATTER * self.variance) & (self.variance > _LEAST_GRAIN**2)
        neighbours = np.array([-1.0, *[0.0] * _STEP_PX, 1.0])  # of a pixel between them
        for axis in (0, 1):
            step = ndimage.correlate1d(self.blocks[_STEP_PX], neighbours, axis, mode="nearest")
            alone &= np.square(step) * _STEP_PX**2 <= 2 * _STEP**2 * self.variance
        return alone

    def region(self, inner: np.ndarray) -> np.ndarray | None:
        """The region (rows, columns) about its inner part, its rim included; None where it shows more than grain, or
        has no sharp border."""
        value, variance = float(np.median(self.image[inner])), float(self.variance[inner].mean())
        drift = self.blocks[_DRIFT_PX][inner].std() * _DRIFT_PX / np.sqrt(variance)
        if not _DRIFT[0] < drift < _DRIFT[1]:
            return None
        alike = (self.local * _GRAIN_ALIKE > variance) & (self.local < _GRAIN_ALIKE * variance)
        near = _grown(inner, _GROWN_PX) & self.seen & alike
        near &= np.square(self.blocks[_BLOCK_PX] - value) <= _CLOSE**2 * variance
        region = ndimage.binary_propagation(inner, mask=near | inner)
        region |= ndimage.binary_closing(region, np.ones((5, 5)))
        beyond = _grown(region, _BEYOND_PX[1]) & ~_grown(region, _BEYOND_PX[0]) & self.seen
        apart = (np.square(self.blocks[_DRIFT_PX] - value) > _APART**2 * variance) | ~alike
        if not beyond.any() or apart[beyond].mean() < _SHARP:
            return None
        if self._is_air(value - _LOWER * float(np.sqrt(variance)), region):
            return None
        return _grown(region, 1) & self.seen

    def _is_air(self, least: float, region: np.ndarray) -> bool:
        """Whether hardly anything absorbs less than the least of a region, and it reaches the rim of what is seen."""
        lower = np.searchsorted(self.sorted_means, least) - np.count_nonzero(self.blocks[_STEP_PX][region] < least)
        others = len(self.sorted_means) - np.count_nonzero(region)
        return bool(lower <= _LOWEST * others and (region & ~ndimage.binary_erosion(self.seen)).any())


def _pieces(regions: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[slice, ...]]]:
    """Each connected piece of a likely size, in the part of the image (rows, columns) that can matter to it, and which
    part that is."""
    labels, _ = ndimage.label(regions)
    areas = np.bincount(labels.ravel()) / labels.size
    margin = _GROWN_PX + _BEYOND_PX[1] + 1
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if _LEAST_SHARE <= areas[number] <= _MOST_SHARE:
            part = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in box)
            yield labels[part] == number, part


def _means(image: np.ndarray, seen: np.ndarray, side: int) -> np.ndarray:
    """Means of the seen pixels of squares about each pixel."""
    sums = ndimage.uniform_filter(np.where(seen, image, 0.0), side, mode="constant")
    return sums / np.maximum(ndimage.uniform_filter(seen.astype(np.float64), side, mode="constant"), 1e-6)


def _grown(region: np.ndarray, by_px: int) -> np.ndarray:
    """A region and all within a square of so many pixels about it."""
    return ndimage.maximum_filter(region, 2 * by_px + 1, mode="constant")
