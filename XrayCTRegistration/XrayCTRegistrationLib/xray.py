"""X-ray images: from stored pixels to line integrals, with a mask of what can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy import ndimage

from .errors import InputError

_FLAT_SHARE = 0.03  # of the grey values' range: the shadow of a collimator is flatter than this
_MIN_COLLIMATED_SHARE = 0.01  # of the image: fewer dark border pixels are anatomy
_CONVEX_SHARE = 0.95  # of its convex hull that an irradiated field fills


class Polarity(str, Enum):
    """Which pixels are rays that lost most: DARK as a detector counts, BRIGHT as radiographs are shown."""

    DARK = "dark"
    BRIGHT = "bright"


@dataclass(frozen=True, eq=False)
class Radiograph:
    """An X-ray as its file holds it.

    pixels: (rows, columns) float32, untouched values.
    where: the file's or node's name, for messages.
    polarity: what the file's tags say, None where they do not.
    logarithmic: whether the pixels went through a logarithm already, whatever their polarity.
    """

    pixels: np.ndarray
    where: str = "the X-ray"
    polarity: Polarity | None = None
    logarithmic: bool = False


@dataclass(frozen=True, eq=False)
class XrayImage:
    """An X-ray as registration compares it.

    line_integrals: (rows, columns) float32, up to an unknown scale and offset.
    mask: (rows, columns) bool, False where no ray of the beam passed or the user masked.
    """

    line_integrals: np.ndarray
    mask: np.ndarray


def xray_image(radiograph: Radiograph, polarity: Polarity, mask: np.ndarray | None = None) -> XrayImage:
    """Line integrals of a radiograph, with what lies outside the collimator masked.

    Dark polarity: minus the logarithm of the intensity (Beer-Lambert), or minus the pixels where they are logarithmic.
    Bright polarity: the pixels as they are, since images made bright on dark went through a logarithm.
    mask: (rows, columns), nonzero where the image may be used.
    Raises InputError when pixels are not finite or all alike, or when the mask does not fit or leaves too little.
    """
    pixels, where = np.asarray(radiograph.pixels, dtype=np.float32), radiograph.where
    if pixels.ndim != 2:
        raise InputError(f"{where}: an X-ray must be a 2D image, this one has shape {pixels.shape}.")
    if not np.isfinite(pixels).all():
        raise InputError(f"{where}: the X-ray holds values that are not finite (NaN or infinite). Export it again.")
    low, high = float(pixels.min()), float(pixels.max())
    if low == high:
        raise InputError(f"{where}: every pixel of the X-ray is {low:g}, so there is nothing to register.")
    usable = ~collimated(pixels if polarity is Polarity.DARK else -pixels)
    if mask is not None:
        if mask.shape != pixels.shape:
            raise InputError(f"{where}: the mask has {mask.shape[::-1]} pixels, the X-ray {pixels.shape[::-1]}.")
        usable &= mask > 0
    if usable.mean() < 0.01:
        raise InputError(f"{where}: less than 1 % of the X-ray is left inside the mask. Widen or drop the mask.")
    return XrayImage(line_integrals_of(radiograph, polarity), usable)


def line_integrals_of(radiograph: Radiograph, polarity: Polarity) -> np.ndarray:
    """Line integrals (rows, columns) of finite pixels that are not all alike, float32; see `xray_image`."""
    pixels = np.asarray(radiograph.pixels, dtype=np.float32)
    low, high = float(pixels.min()), float(pixels.max())
    if polarity is Polarity.BRIGHT:
        return (pixels - low) / (high - low)
    if radiograph.logarithmic:
        return (high - pixels) / (high - low)
    # Half the smallest step of the grey scale stands for "nothing counted".
    step = np.diff(np.unique(pixels[:: max(1, len(pixels) // 256)])).min(initial=high - low)
    floor = 0.5 * max(float(step), (high - min(low, 0.0)) * 1e-5)
    intensity = np.maximum(pixels - min(low, 0.0), floor)
    return np.log(intensity.max()) - np.log(intensity)


def collimated(pixels: np.ndarray) -> np.ndarray:
    """Which pixels (rows, columns) the collimator shadows, where the lowest values mean no X-rays.

    A shadow is a dark, flat region that covers at least three corners and leaves a convex field: a disc, a rectangle,
    an octagon. Anything else that is dark at the border is anatomy, and nothing is masked.
    """
    low, high = np.percentile(pixels, (0.1, 99.9))
    dark = pixels <= low + _FLAT_SHARE * (high - low)
    opened = ndimage.binary_opening(np.pad(dark, 2, mode="edge"), iterations=2)[2:-2, 2:-2]
    labels, _ = ndimage.label(opened)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    shadow = np.isin(labels, border[border > 0])
    corners = shadow[[0, 0, -1, -1], [0, -1, 0, -1]]
    if shadow.mean() < _MIN_COLLIMATED_SHARE or corners.sum() < 3:
        return np.zeros_like(shadow)
    field = ndimage.binary_fill_holes(~shadow)
    pieces, count = ndimage.label(field)
    if count > 1:  # letters and markers outside the field
        field = pieces == 1 + np.argmax(ndimage.sum_labels(field, pieces, np.arange(1, count + 1)))
    if field.sum() < _CONVEX_SHARE * _convex_area(field):
        return np.zeros_like(shadow)
    rim = max(1, round(0.01 * max(pixels.shape)))  # the penumbra
    return ~ndimage.binary_erosion(field, iterations=rim, border_value=1)


def _convex_area(field: np.ndarray) -> float:
    """Pixels inside the convex hull of a region."""
    from scipy.spatial import ConvexHull

    rows, columns = np.nonzero(field & ~ndimage.binary_erosion(field))
    points = np.stack([columns, rows], axis=1).astype(np.float64)
    if len(points) < 3 or np.ptp(points, axis=0).min() == 0:
        return float(field.sum())
    return max(float(ConvexHull(points).volume), 1.0)
