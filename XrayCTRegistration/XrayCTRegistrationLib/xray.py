"""X-ray images: from stored pixels to line integrals, with a mask of what can be believed."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

import numpy as np

from .block_means import weighted_block_means
from .errors import InputError
from .field import irradiated_field
from .foreign import foreign_objects
from .pixels import filled, in_bands
from .scatter import Scatter, without_scatter_steps
from .state import finished
from .tone import ToneCurve, straightened_steps

_LEAST_USABLE = 0.01  # of an X-ray, in the field and inside its mask

log = logging.getLogger(__name__)


class Polarity(str, Enum):
    """Which pixels are rays that lost most: DARK as a detector counts, BRIGHT as radiographs are shown."""

    DARK = "dark"
    BRIGHT = "bright"


@dataclass(frozen=True)
class Meaning:
    """What the pixels of an X-ray mean, None where it is not known.

    polarity, logarithmic: as in `Radiograph`. scatter: how many of the photons were scattered; None, too, for none.
    tone: what undoes the tone curve; None, too, where there is none.
    """

    polarity: Polarity | None = None
    logarithmic: bool | None = None
    scatter: Scatter | None = None
    tone: ToneCurve | None = None

    @classmethod
    def told(
        cls,
        polarity: str | None,
        logarithmic: bool | None,
        scatter: Mapping[str, float] | None,
        tone: Mapping[str, float] | None,
    ) -> Meaning:
        """Of what a report or a scene holds; those of old hold less."""
        return cls(
            Polarity(polarity) if polarity else None,
            logarithmic,
            Scatter(**scatter) if scatter else None,
            ToneCurve(**tone) if tone else None,
        )


@dataclass(frozen=True, eq=False)
class Radiograph:
    """An X-ray as its file holds it.

    pixels: (rows, columns) float32, untouched values.
    where: the file's or node's name, for messages.
    polarity: what the file's tags say, None where they do not.
    logarithmic: whether the pixels went through a logarithm already, whatever their polarity; None where nobody told.
    valued: (rows, columns) bool, False where the file holds no value (NaN) and `pixels` the nearest one there is; None
        where every pixel has its own. What has none is masked.
    scatter, tone: what is to be taken off, and undone after it.
    """

    pixels: np.ndarray
    where: str = "the X-ray"
    polarity: Polarity | None = None
    logarithmic: bool | None = None
    valued: np.ndarray | None = None
    scatter: Scatter | None = None
    tone: ToneCurve | None = None

    @property
    def stored(self) -> np.ndarray:
        """(rows, columns) float32 pixels as the file holds them: NaN where it has no value."""
        return self.pixels if self.valued is None else np.where(self.valued, self.pixels, np.float32(np.nan))

    def read_as(self, meaning: Meaning) -> Radiograph:
        """The same pixels, of which more is known by now; what is None stays as it was."""
        known = {name: value for name, value in vars(meaning).items() if value is not None}
        return replace(self, **known)

    @cached_property
    def irradiated(self) -> np.ndarray:
        """(rows, columns) bool, which pixels lie in the beam, whatever the polarity; see `irradiated_field`."""
        return irradiated_field(np.asarray(self.pixels, dtype=np.float32)).mask(self.pixels.shape)


@dataclass(frozen=True, eq=False)
class XrayImage:
    """An X-ray as registration compares it.

    line_integrals: (rows, columns) float32, up to an unknown scale and offset.
    mask: (rows, columns) bool, False where no ray of the beam passed, where something foreign is, or the user masked.
    logarithmic: whether the pixels were taken to have gone through a logarithm. told: whether somebody told so.
    scatter, tone: what was taken off, and undone. measured: (rows, columns) the line integrals before that.
    """

    line_integrals: np.ndarray
    mask: np.ndarray
    logarithmic: bool = False
    told: bool = True
    scatter: Scatter | None = None
    tone: ToneCurve | None = None
    measured: np.ndarray | None = None

    @property
    def as_measured(self) -> XrayImage:
        """The same with all its scattered photons and its tone curve."""
        return self if self.measured is None else XrayImage(self.measured, self.mask, self.logarithmic, self.told)

    def without_steps(self, scatter: Scatter | None, tone: ToneCurve | None = None) -> Generator[None, None, XrayImage]:
        """The same as measured, without so many scattered photons and, after them, a tone curve; with pauses."""
        measured = integrals = self.as_measured.line_integrals
        if scatter is not None:
            integrals = yield from without_scatter_steps(integrals, self.mask, scatter)
        if tone is not None:
            integrals = yield from straightened_steps(integrals, self.mask, tone)
        return replace(self, line_integrals=integrals, scatter=scatter, tone=tone, measured=measured)

    def downsampled_steps(self, rows: int, columns: int) -> Generator[None, None, XrayImage]:
        """The same in blocks of rows x columns pixels, with pauses; incomplete blocks at the end drop out."""
        means, share = yield from weighted_block_means(self.line_integrals, self.mask, rows, columns)
        return replace(self, line_integrals=means, mask=share > 0.5)

    @cached_property
    def others(self) -> tuple[XrayImage, ...]:
        """The same pixels, taken to have gone through a logarithm if they were not, and the other way about; none where
        it is known."""
        return finished(self._otherwise_steps())

    def others_steps(self) -> Generator[None, None, tuple[XrayImage, ...]]:
        """As `others`, with pauses where they are not made yet."""
        if "others" not in vars(self):
            vars(self)["others"] = yield from self._otherwise_steps()
        return self.others

    def _otherwise_steps(self) -> Generator[None, None, tuple[XrayImage, ...]]:
        if self.told:
            return ()
        values = self.as_measured.line_integrals
        if self.logarithmic:
            integrals = yield from _absorbed_steps(values.max() - values)
        else:
            integrals = yield from in_bands(values.shape, lambda rows: 1 - np.exp(-values[rows]))
        return (XrayImage(integrals, self.mask, not self.logarithmic, told=False),)


def radiograph_of_pixels(
    pixels: np.ndarray, where: str, polarity: Polarity | None = None, logarithmic: bool | None = None
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
    return Radiograph(filled(pixels, valued), where, polarity, logarithmic, valued)


def xray_image(radiograph: Radiograph, polarity: Polarity, mask: np.ndarray | None = None) -> XrayImage:
    """Line integrals of a radiograph, with what cannot be compared with a CT masked.

    That is whatever has no value or lies outside the irradiated field, its penumbra, and objects that are plainly
    foreign (see `foreign_objects`), found whatever the polarity.
    Pixels that count the beam, bone dark, or bright where that was turned about: minus their logarithm (Beer-Lambert).
    Pixels that went through a logarithm: as they are, bone bright. Where nobody told which, images of bright polarity
    are taken for logarithmic and others not; `XrayImage.others` holds the other choice.
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
    integrals = yield from line_integrals_steps(radiograph, polarity)
    taken, told = _logarithmic(radiograph, polarity), radiograph.logarithmic is not None
    image = XrayImage(integrals, usable & ~foreign_objects(integrals, usable), taken, told)
    if radiograph.scatter is None and radiograph.tone is None:
        return image
    return (yield from image.without_steps(radiograph.scatter, radiograph.tone))


def line_integrals_steps(radiograph: Radiograph, polarity: Polarity) -> Generator[None, None, np.ndarray]:
    """Line integrals (rows, columns) of finite pixels that are not all alike, float32, the least of them 0; see
    `xray_image`. With pauses."""
    pixels = np.asarray(radiograph.pixels, dtype=np.float32)
    low, high = float(pixels.min()), float(pixels.max())
    if _logarithmic(radiograph, polarity):
        return (pixels - low if polarity is Polarity.BRIGHT else high - pixels) / (high - low)
    return (yield from _absorbed_steps(high - pixels if polarity is Polarity.BRIGHT else pixels - min(low, 0.0)))


def _logarithmic(radiograph: Radiograph, polarity: Polarity) -> bool:
    told = radiograph.logarithmic
    return polarity is Polarity.BRIGHT if told is None else told


def _absorbed_steps(intensity: np.ndarray) -> Generator[None, None, np.ndarray]:
    """Minus the logarithm of intensities (rows, columns), the least 0, with pauses; half the smallest step of the grey
    scale stands for "nothing counted"."""
    most = float(intensity.max())
    step = np.diff(np.unique(intensity[:: max(1, len(intensity) // 256)])).min(initial=most)
    floor = np.float32(0.5 * max(float(step), most * 1e-5))
    yield
    top = np.float32(np.log(most))
    return (yield from in_bands(intensity.shape, lambda rows: top - np.log(np.maximum(intensity[rows], floor))))
