"""X-ray images: from stored pixels to line integrals, with a mask of what can be believed."""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
from scipy import ndimage

from .errors import InputError
from .field import irradiated_field
from .foreign import foreign_objects
from .state import finished

_LEAST_USABLE = 0.01  # of an X-ray, in the field and inside its mask

log = logging.getLogger(__name__)


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
    valued: (rows, columns) bool, False where the file holds no value (NaN) and `pixels` the nearest one there is; None
        where every pixel has its own. What has none is masked.
    """

    pixels: np.ndarray
    where: str = "the X-ray"
    polarity: Polarity | None = None
    logarithmic: bool = False
    valued: np.ndarray | None = None

    @property
    def stored(self) -> np.ndarray:
        """(rows, columns) float32 pixels as the file holds them: NaN where it has no value."""
        return self.pixels if self.valued is None else np.where(self.valued, self.pixels, np.float32(np.nan))

    @cached_property
    def irradiated(self) -> np.ndarray:
        """(rows, columns) bool, which pixels lie in the beam, whatever the polarity; see `irradiated_field`."""
        return irradiated_field(np.asarray(self.pixels, dtype=np.float32)).mask(self.pixels.shape)


@dataclass(frozen=True, eq=False)
class XrayImage:
    """An X-ray as registration compares it.

    line_integrals: (rows, columns) float32, up to an unknown scale and offset.
    mask: (rows, columns) bool, False where no ray of the beam passed, where something foreign is, or the user masked.
    """

    line_integrals: np.ndarray
    mask: np.ndarray


def radiograph_of_pixels(
    pixels: np.ndarray, where: str, polarity: Polarity | None = None, logarithmic: bool = False
) -> Radiograph:
    """A radiograph of pixels (rows, columns) as its file holds them, which may be NaN; the log tells how many are.

    Raises InputError, beginning with `where`, when pixels are infinite, or those that have a value are all alike.
    """
    pixels = np.asarray(pixels, dtype=np.float32)
    low, high = float(pixels.min()), float(pixels.max())  # which NaN passes through
    valued = None
    if not (np.isfinite(low) and np.isfinite(high)):
        infinite = np.count_nonzero(np.isinf(pixels))
        if infinite:
            raise InputError(
                f"{where}: {infinite} pixels of the X-ray are infinite. Set them to NaN, or export it again."
            )
        valued = ~np.isnan(pixels)
        if not valued.any():
            raise InputError(f"{where}: no pixel of the X-ray has a value (all are NaN). Export it again.")
        low, high = float(pixels[valued].min()), float(pixels[valued].max())
    if low == high:
        raise InputError(
            f"{where}: every pixel of the X-ray is {low:g}, so there is nothing to register. Check the file."
        )
    if valued is None:
        return Radiograph(pixels, where, polarity, logarithmic)
    count = np.count_nonzero(~valued)
    log.warning(
        "%s: %d pixels of the X-ray (%.2g %%) hold no value (NaN). They are masked.",
        where,
        count,
        100 * count / pixels.size,
    )
    nearest = ndimage.distance_transform_edt(~valued, return_distances=False, return_indices=True)
    return Radiograph(pixels[tuple(nearest)], where, polarity, logarithmic, valued)


def xray_image(radiograph: Radiograph, polarity: Polarity, mask: np.ndarray | None = None) -> XrayImage:
    """Line integrals of a radiograph, with what cannot be compared with a CT masked.

    That is whatever has no value or lies outside the irradiated field, its penumbra, and objects that are plainly
    foreign (see `foreign_objects`), found whatever the polarity.
    Dark polarity: minus the logarithm of the intensity (Beer-Lambert), or minus the pixels where they are logarithmic.
    Bright polarity: the pixels as they are, since images made bright on dark went through a logarithm.
    mask: (rows, columns), nonzero where the image may be used.
    Raises InputError when pixels are not finite or all alike, or when the mask does not fit or leaves too little.
    """
    return finished(xray_image_steps(radiograph, polarity, mask))


def xray_image_steps(
    radiograph: Radiograph, polarity: Polarity, mask: np.ndarray | None = None
) -> Generator[None, None, XrayImage]:
    """As `xray_image`, with pauses."""
    pixels, where = np.asarray(radiograph.pixels, dtype=np.float32), radiograph.where
    if pixels.ndim != 2:
        raise InputError(f"{where}: an X-ray must be a 2D image, this one has shape {pixels.shape}.")
    if not np.isfinite(pixels).all():
        raise InputError(f"{where}: the X-ray holds values that are not finite (NaN or infinite). Export it again.")
    if pixels.min() == pixels.max():
        raise InputError(f"{where}: every pixel of the X-ray is {pixels.min():g}, so there is nothing to register.")
    yield
    usable = radiograph.irradiated.copy()
    yield
    if radiograph.valued is not None:
        usable &= radiograph.valued
    if mask is not None:
        if mask.shape != pixels.shape:
            raise InputError(f"{where}: the mask has {mask.shape[::-1]} pixels, the X-ray {pixels.shape[::-1]}.")
        usable &= mask > 0
    if usable.mean() < _LEAST_USABLE:
        raise InputError(
            f"{where}: less than {100 * _LEAST_USABLE:g} % of the X-ray is left inside the mask. Widen or drop it."
        )
    integrals = line_integrals_of(radiograph, polarity)
    yield
    return XrayImage(integrals, usable & ~foreign_objects(integrals, usable))


def line_integrals_of(radiograph: Radiograph, polarity: Polarity) -> np.ndarray:
    """Line integrals (rows, columns) of finite pixels that are not all alike, float32, the least of them 0; see
    `xray_image`."""
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
