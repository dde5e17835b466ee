"""The words beside a result that is not to be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from XrayCTRegistrationLib.cli.hints import hints
from XrayCTRegistrationLib.confidence import Confidence
from XrayCTRegistrationLib.geometry import view_from_carm
from XrayCTRegistrationLib.volume import Volume

CARM = {
    "source_to_detector_mm": 1000,
    "source_to_isocenter_mm": 500,
    "pixel_spacing_mm": [1.0, 1.0],
    "image_size_px": [400, 300],
}  # sees 200 mm at the isocentre
VIEW = view_from_carm(CARM)


def of_length(slices: int) -> Volume:
    """A CT of slices of 5 mm."""
    return Volume(np.zeros((slices, 40, 40), np.int16), np.diag([5.0, 5.0, 5.0, 1.0]))


def trusted(level: str) -> Confidence:
    return Confidence(level, "", 0.5, 5.0)


def test_a_result_to_be_trusted_needs_no_hint():
    assert hints(trusted("high"), of_length(200), [VIEW, VIEW]) == []


@pytest.mark.parametrize(("slices", "told"), [(81, True), (79, False)])  # 405 and 395 mm, beside twice 200 mm
def test_a_ct_much_longer_than_the_field_is_told_with_both_lengths(slices, told):
    found = [hint for hint in hints(trusted("low"), of_length(slices), [VIEW]) if "--init" in hint]
    assert bool(found) == told
    assert all("405 mm" in hint and "200 mm" in hint and "crop" in hint for hint in found)


@pytest.mark.parametrize("level", ["low", "moderate"])
def test_mistakes_that_images_do_not_show_are_named(level):
    one, two = (" ".join(hints(trusted(level), of_length(40), [VIEW] * count)) for count in (1, 2))
    for mistake in ("AP called PA", "mirrored", "at the detector"):
        assert mistake in one
        assert mistake in two
    assert "swapped" in two
    assert "swapped" not in one
