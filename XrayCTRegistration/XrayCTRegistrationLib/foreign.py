"""What an X-ray alone shows not to be anatomy: metal, letters and lead markers, rows that the system wrote, and
whatever shows nothing but one value and grain.

Only what is plain is named, since registration gives outliers little weight anyhow: narrow things, far higher than the
anatomy's own narrow things (ribs seen along the chest wall, vertebral edges), with flat tops and steep sides, and what
is told in `featureless`.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .featureless import featureless

_WORKING_PX = 256  # the longer side in which metal is looked for
_WIDTH_SHARE = 0.06  # of the longer side: what is narrower is compared with what it stands on
_TALL = 8.0  # times as high as the upper quartile of what narrow things there are
_LEAST_HEIGHT_SHARE = 0.16  # of the range of line integrals, at least
_FOOT, _TOP = 0.35, 0.7  # of the height, at which a thing's areas are compared
_STEEP = 0.65  # of the area at its foot that a thing has at its top. Bones have less
_FEWEST_PX = 6
_FALL = 0.8  # from one height that is tried to the next
_RIM_SHARE = 0.008  # of the longer side, masked around what is found
_MOST_SHARE = 0.2  # of the image: more is not an object in the way
_MOST_FEATURELESS = 0.6  # the same, of things that show nothing at all
_MARKER_SHARE = 0.01  # of an image's side, in which rows of markers lie
_MARKER_ALIKE = 0.8  # of a marker row's pixels have one value, and differ from the next row


def foreign_objects(line_integrals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Which pixels (rows, columns) show things that are plainly not the patient.

    line_integrals: (rows, columns), in any scale, absorbing bright. mask: (rows, columns) bool, where to look.
    """
    if not mask.any():
        return np.zeros_like(mask)
    found = _marker_rows(line_integrals) | _marker_rows(line_integrals.T).T
    side = max(line_integrals.shape)
    factor = -(-side // _WORKING_PX)
    small, seen = _reduced(line_integrals, factor), _reduced(mask & ~found, factor) >= 1
    if min(small.shape) > 2 * _WIDTH_SHARE * max(small.shape) and seen.any():
        smooth = _without_specks(small)
        tall = _tall(smooth, seen)
        # Dark letters are written at the lowest value; gas and the gaps between fingers are not that uniform.
        lowest = seen & (small <= small[seen].min() + 1e-6 * float(np.ptp(small[seen])))
        if lowest.sum() >= _FEWEST_PX:
            tall |= _mostly(_tall(-smooth, seen), lowest)
        for things, most in ((tall, _MOST_SHARE), (featureless(small, seen), _MOST_FEATURELESS)):
            things = ndimage.binary_dilation(things, iterations=max(1, round(_RIM_SHARE * max(small.shape))))
            if things.any() and things[seen].mean() <= most:
                rows, columns = (np.minimum(np.arange(n) // factor, m - 1) for n, m in zip(mask.shape, small.shape))
                found = found | things[rows[:, None], columns]
    return found


def _reduced(image: np.ndarray, factor: int) -> np.ndarray:
    """Means over factor x factor pixels; what is left over at the last rows and columns is left out."""
    rows, columns = (side // factor for side in image.shape)
    bands = image[: rows * factor, : columns * factor].reshape(rows, factor, -1)
    sums = bands.sum(axis=1, dtype=np.float32)  # whole rows at a time, which is what makes it fast
    return sums.reshape(rows, columns, factor).sum(axis=2) / np.float32(factor**2)


def _without_specks(image: np.ndarray) -> np.ndarray:
    """Medians of three along rows, then along columns: single pixels without a count are no objects."""
    for _ in range(2):
        padded = np.pad(image, ((0, 0), (1, 1)), mode="edge")
        a, b, c = padded[:, :-2], image, padded[:, 2:]
        image = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c)).T
    return image


def _tall(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Narrow things that stand out of what is around them, steep on all sides: the stable regions of the top-hat."""
    heights = np.where(seen, image - _opened(image, seen), 0.0)
    spread = float(np.subtract(*np.percentile(image[seen], (98, 2))))
    least = max(_TALL * float(np.percentile(heights[seen], 75)), _LEAST_HEIGHT_SHARE * spread)
    found = np.zeros_like(seen)
    height = float(heights.max())
    while height > least:
        pieces, count = ndimage.label(heights > _FOOT * height)
        foot = np.bincount(pieces.ravel(), minlength=count + 1)
        top = np.bincount(pieces[heights > _TOP * height], minlength=count + 1)
        steep = (top >= _STEEP * foot) & (foot >= _FEWEST_PX)
        steep[0] = False
        found |= steep[pieces]
        height *= _FALL
    return found


def _opened(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The grey opening by a square, of the pixels that are seen alone, so that a mask's rim does not stand out."""
    width = max(3, round(_WIDTH_SHARE * max(image.shape)))
    lowest = ndimage.grey_erosion(np.where(seen, image, np.inf), size=(width, width), mode="nearest")
    return ndimage.grey_dilation(np.where(np.isinf(lowest), -np.inf, lowest), size=(width, width), mode="nearest")


def _mostly(things: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The things, connected pixels, of which at least half lie in a region."""
    pieces, count = ndimage.label(things)
    area = np.bincount(pieces.ravel(), minlength=count + 1)
    inside = np.bincount(pieces[where], minlength=count + 1)
    chosen = 2 * inside >= area
    chosen[0] = False
    return chosen[pieces]


def _marker_rows(image: np.ndarray) -> np.ndarray:
    """Which pixels lie in outermost rows of one value that the row inside them does not share."""
    found = np.zeros(image.shape, bool)
    for rows, mark in ((image, found), (image[::-1], found[::-1])):
        for last in range(max(2, round(_MARKER_SHARE * len(rows))), 0, -1):
            if last >= len(rows) - 1:
                continue
            row = rows[last - 1]
            uniform = np.mean(row == np.median(row)) >= _MARKER_ALIKE
            if uniform and np.mean(row != rows[last]) >= _MARKER_ALIKE:
                mark[:last] = True
                break
    return found
