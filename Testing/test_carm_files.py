"""C-arm files in and out, and what bad ones are told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bad_files import assert_names_fault_and_remedy, empty_folder, text_file
from image_files import GREY, write_image
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import XrayView
from XrayCTRegistrationLib.io.carm_files import check_image_size, read_carm, write_carm
from XrayCTRegistrationLib.io.radiographs import read_radiograph
from XrayCTRegistrationLib.xray import Radiograph

CARM = {
    "source_to_detector_mm": 1020,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [0.3, 0.4],
    "image_size_px": [640, 480],
    "primary_angle_deg": 20,
}


@pytest.mark.parametrize("camera", ["cam1", "cam2"])
def test_real_calibration_fits_its_image(shared_data, camera):
    folder = shared_data / "xray" / "wrist"
    view = read_carm(folder / f"{camera}.json")
    check_image_size(read_radiograph(folder / f"frame0099_{camera}.png"), view, f"{camera}.json")
    assert view.size_px == (1760, 1760)


def test_written_carm_reads_back_as_the_same_view(tmp_path):
    (tmp_path / "parametric.json").write_text(json.dumps(CARM), encoding="utf-8-sig")  # with a byte order mark
    view = read_carm(tmp_path / "parametric.json")
    write_carm(tmp_path / "calibrated.json", view)
    again = read_carm(tmp_path / "calibrated.json")
    assert again.size_px == view.size_px == (640, 480)
    np.testing.assert_allclose(again.source, view.source, atol=1e-6)  # through the inverse of a matrix
    np.testing.assert_allclose(again.pixel_to_world, view.pixel_to_world, atol=1e-6)
    np.testing.assert_allclose(again.isocenter, view.isocenter, atol=1e-9)


BAD_CARMS = {
    "missing": (lambda d: d / "none.json", "no such file", "Check the path"),
    "folder": (lambda d: empty_folder(d / "carm.json"), "cannot be read", "Give a JSON file"),
    "invalid": (
        lambda d: text_file(d / "carm.json", '{\n  "image_size_px": [640, 480],\n  "view": PA\n}'),
        "line 3, column 11",
        "Correct it there",
    ),
    "empty": (lambda d: text_file(d / "carm.json", ""), "line 1", "Correct it there"),
    "a list": (lambda d: text_file(d / "carm.json", "[1, 2]"), "expected a JSON object", "README"),
    "an image": (lambda d: write_image(d / "carm.png", GREY), "no JSON text", "Give the C-arm"),
    "a trial": (lambda d: text_file(d / "wrist.cfg", "mayaCam_csv cam1.csv"), "several cameras", "mayaCam_csv"),
    "an entry missing": (lambda d: text_file(d / "carm.json", "{}"), "image_size_px is missing", "takes 2 numbers"),
}


@pytest.mark.parametrize("case", BAD_CARMS)
def test_bad_carm_file_is_refused_with_name_and_remedy(tmp_path, case):
    make, fault, remedy = BAD_CARMS[case]
    path = make(tmp_path)
    with pytest.raises(InputError) as error:
        read_carm(path)
    assert_names_fault_and_remedy(error, path, fault, remedy)


def test_carm_that_cannot_be_written_is_told(tmp_path):
    view = XrayView(np.array([0, 0, -700.0]), np.eye(4), (6, 5))
    with pytest.raises(InputError, match=r"^carm\.json: .*folder"):
        write_carm(tmp_path / "absent" / "carm.json", view)


@pytest.mark.parametrize(("shape", "hint"), [((640, 480), r"swapped: .*\[480, 640\]"), ((240, 320), "neither cropped")])
def test_image_of_another_size_than_the_geometry_is_told(tmp_path, shape, hint):
    view = read_carm(text_file(tmp_path / "carm.json", json.dumps(CARM)))
    check_image_size(Radiograph(np.zeros((480, 640), np.float32), "x.png"), view, "carm.json")
    radiograph = Radiograph(np.zeros(shape, np.float32), "x.png")
    sizes = rf"640 x 480 pixels.*x\.png has {shape[1]} x {shape[0]}\."
    with pytest.raises(InputError, match=rf"^carm\.json: .*{sizes}.*{hint}"):
        check_image_size(radiograph, view, "carm.json")
