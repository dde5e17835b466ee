"""C-arm files in another unit: refused with the entry, and the value in millimetres."""

from __future__ import annotations

import json

import pytest
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry.entries import Entry, view_from_entries
from XrayCTRegistrationLib.io.carm_files import read_carm

CARM = {
    "source_to_detector_mm": 1020,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [0.8, 0.8],
    "image_size_px": [400, 400],
}
WRONG = {
    "m": ({"source_to_detector_mm": 1.02, "source_to_isocenter_mm": 0.7}, "source_to_detector_mm", "m: give 1020"),
    "cm": ({"source_to_detector_mm": 102, "source_to_isocenter_mm": 70}, "source_to_detector_mm", "cm: give 1020"),
    "isocentre in m": ({"source_to_isocenter_mm": 0.7}, "source_to_isocenter_mm", "m: give 700"),
    "micrometres": ({"pixel_spacing_mm": [800, 800]}, "pixel_spacing_mm", r"micrometres: give 0\.8"),
    "one in micrometres": ({"pixel_spacing_mm": [0.8, 800]}, "pixel_spacing_mm", r"micrometres: give 0\.8"),
    "spacing in m": ({"pixel_spacing_mm": [0.0008, 0.0008]}, "pixel_spacing_mm", r"m: give 0\.8"),
    "no unit": ({"source_to_detector_mm": 1e5}, "source_to_detector_mm", "Give it in millimetres"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_length_that_no_device_has_is_refused_with_the_unit_that_fits(tmp_path, case):
    wrong, entry, remedy = WRONG[case]
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(CARM | wrong))
    with pytest.raises(InputError, match=rf"^arm\.json: {entry} is .*{remedy}"):
        read_carm(path)
    entries = {name: Entry(value, "user") for name, value in (CARM | wrong).items() if name != "image_size_px"}
    with pytest.raises(InputError, match=rf"^node: {entry} is .*{remedy}"):
        view_from_entries(entries, (400, 400), "node")


@pytest.mark.parametrize(
    "lengths",
    [
        {},
        {"source_to_detector_mm": 360, "source_to_isocenter_mm": 250, "pixel_spacing_mm": [0.075, 0.075]},
        {
            "source_to_detector_mm": 2000,
            "source_to_isocenter_mm": 1850,
            "pixel_spacing_mm": [0.14, 0.14],
        },
        {"source_to_detector_mm": 500, "source_to_isocenter_mm": 77, "pixel_spacing_mm": [0.2, 0.2]},
    ],
    ids=["c_arm", "mini", "chest", "micro_ct"],
)
def test_devices_that_exist_pass(tmp_path, lengths):
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(CARM | lengths))
    assert read_carm(path).source_to_detector_mm == pytest.approx((CARM | lengths)["source_to_detector_mm"])
