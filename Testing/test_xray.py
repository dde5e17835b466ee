"""From stored pixels to line integrals: logarithm, polarity, collimation, masks."""

from __future__ import annotations

import numpy as np
import pytest
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.xray import Polarity, Radiograph, xray_image


def absorption(shape: tuple[int, int] = (120, 160)) -> np.ndarray:
    """Line integrals of a round limb that leaves the image at the bottom, its end a dome."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    inside = 1 - ((columns - 80) / 30) ** 2 - (np.minimum(rows - 50, 0) / 30) ** 2
    return 2 * np.sqrt(np.maximum(inside, 0)) * (1 + 0.2 * np.sin(columns / 5))


def test_the_logarithm_gives_line_integrals_back_up_to_a_constant():
    integrals = absorption()
    image = xray_image(Radiograph((20000 * np.exp(-integrals)).astype(np.float32)), Polarity.DARK)
    difference = image.line_integrals - integrals
    assert np.ptp(difference) < 1e-5  # float32 logarithms
    assert image.mask.all()


def test_a_bright_image_keeps_its_order_and_a_logarithmic_dark_one_is_turned_over():
    integrals = absorption().astype(np.float32)
    bright = xray_image(Radiograph(integrals), Polarity.BRIGHT).line_integrals
    logarithmic = xray_image(Radiograph(9 - integrals, logarithmic=True), Polarity.DARK).line_integrals
    np.testing.assert_allclose(bright, integrals / integrals.max(), atol=1e-6)
    np.testing.assert_allclose(logarithmic, bright, atol=1e-6)


def test_counts_that_were_turned_black_for_white_are_read_as_counts():
    integrals = absorption()
    integrals[:10, :10] = 15.0  # opaque, so that the least count is none
    counts = np.round(20000 * np.exp(-integrals)).astype(np.float32)
    expected = xray_image(Radiograph(counts), Polarity.DARK).line_integrals
    told = xray_image(Radiograph(counts.max() - counts, logarithmic=False), Polarity.BRIGHT)
    np.testing.assert_allclose(told.line_integrals, expected, atol=1e-6)
    assert told.others == ()
    untold = xray_image(Radiograph(counts.max() - counts), Polarity.BRIGHT)
    (other,) = untold.others
    assert (untold.logarithmic, other.logarithmic) == (True, False)
    np.testing.assert_allclose(other.line_integrals, expected, rtol=1e-2, atol=1e-3)


def test_the_other_reading_of_dark_pixels_is_that_of_logarithmic_ones():
    pixels = (9 - absorption()).astype(np.float32)
    (other,) = xray_image(Radiograph(pixels), Polarity.DARK).others
    told = xray_image(Radiograph(pixels, logarithmic=True), Polarity.DARK).line_integrals
    np.testing.assert_allclose(other.line_integrals / other.line_integrals.max(), told, atol=1e-5)
    assert other.logarithmic


def test_pixels_without_a_count_stay_finite():
    pixels = np.full((50, 50), 100, np.float32)
    pixels[:, ::2] = 99
    pixels[20:30, 20:30] = 0
    values = xray_image(Radiograph(pixels), Polarity.DARK).line_integrals
    assert np.isfinite(values).all()
    assert values[25, 25] > values[0, 0] + 4


def test_a_mask_takes_pixels_out():
    mask = np.zeros((120, 160))
    mask[:60] = 1
    image = xray_image(Radiograph(np.exp(-absorption()).astype(np.float32)), Polarity.DARK, mask)
    np.testing.assert_array_equal(image.mask, mask > 0)


@pytest.mark.parametrize(
    ("pixels", "mask", "message"),
    [
        (np.zeros((4, 4, 4)), None, "2D image"),
        (np.full((4, 4), np.nan), None, "not finite"),
        (np.ones((4, 4)), None, "nothing to register"),
        (np.arange(16.0).reshape(4, 4), np.ones((3, 3)), "mask has"),
        (np.arange(16.0).reshape(4, 4), np.zeros((4, 4)), "Widen or drop"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(pixels, mask, message):
    with pytest.raises(InputError, match=message) as refusal:
        xray_image(Radiograph(pixels, "spot.png"), Polarity.DARK, mask)
    assert str(refusal.value).startswith("spot.png")
