"""The irradiated field: found whatever its shape and polarity, and nothing lost where there is no collimator."""

from __future__ import annotations

import numpy as np
import pytest
from XrayCTRegistrationLib.field import irradiated_field
from XrayCTRegistrationLib.xray import Polarity, Radiograph, xray_image

SIZE = 200
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE].astype(float)
FIELDS = {
    "disc": np.hypot(ROWS - 96, COLUMNS - 104) < 92,
    "rectangle": (np.abs(ROWS - 100) < 80) & (np.abs(COLUMNS - 95) < 85),
    "cut disc": (np.hypot(ROWS - 100, COLUMNS - 100) < 105) & (np.abs(ROWS - 100) < 85),
}


def absorption() -> np.ndarray:
    """Line integrals of a trunk with ribs, air at both sides."""
    trunk = 3 * np.sqrt(np.maximum(1 - ((COLUMNS - 100) / 80) ** 2, 0))
    return trunk + 0.4 * np.sin(ROWS / 6 + COLUMNS / 30) * (trunk > 0)


def counts(field: np.ndarray, leakage: float) -> np.ndarray:
    """Photons behind the trunk, in the field; a share of the open beam leaks through the blades."""
    rng = np.random.default_rng(0)
    return rng.poisson(20000 * np.where(field, np.exp(-absorption()), leakage)).astype(np.float32)


def shown(pixels: np.ndarray, grey: str) -> np.ndarray:
    """The pixels as an image of 8 bits, in one of the ways people store them."""
    if grey == "counts":
        return pixels
    log = np.log(np.maximum(pixels, 0.5))
    log = np.round(255 * (log - log.min()) / np.ptp(log)).astype(np.float32)
    return 255 - log if grey == "bright logarithm" else log


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / (found | true).sum())


@pytest.mark.parametrize("grey", ["counts", "logarithm", "bright logarithm"])
@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_found_in_either_polarity_and_any_grey_scale(name, grey):
    mask = irradiated_field(shown(counts(FIELDS[name], 0.002), grey)).mask((SIZE, SIZE))
    assert overlap(mask, FIELDS[name]) > 0.92  # the penumbra that is left out: two pixels of a radius of 90
    assert (mask & ~FIELDS[name]).sum() < 0.01 * FIELDS[name].sum()


def test_a_bright_row_of_markers_does_not_undo_the_field():
    pixels = counts(FIELDS["disc"], 0.0)
    pixels[0] = pixels.max()
    mask = irradiated_field(pixels).mask((SIZE, SIZE))
    assert overlap(mask, FIELDS["disc"]) > 0.92


@pytest.mark.parametrize("grey", ["counts", "logarithm", "bright logarithm"])
def test_nothing_is_lost_where_there_is_no_collimator(grey):
    assert irradiated_field(shown(counts(np.ones((SIZE, SIZE), bool), 0), grey)).mask((SIZE, SIZE)).all()


def test_something_opaque_within_the_image_is_not_the_outside_of_a_field():
    pixels = counts(np.ones((SIZE, SIZE), bool), 0)
    pixels[60:140, 50:120] = 3
    assert irradiated_field(pixels).mask((SIZE, SIZE)).mean() > 0.97


def test_rods_are_foreign_and_ribs_are_not():
    integrals = absorption()
    rod = np.abs(ROWS + COLUMNS - 190) < 4
    plain = xray_image(Radiograph(20000 * np.exp(-integrals)), Polarity.DARK)
    with_rod = xray_image(Radiograph(20000 * np.exp(-integrals - 6 * rod)), Polarity.DARK)
    assert plain.mask.all()
    assert not with_rod.mask[rod].any()
    assert with_rod.mask[~rod].mean() > 0.9
