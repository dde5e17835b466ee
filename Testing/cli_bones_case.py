"""Files that `xrayct register --bones` is tried on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from test_bones import CENTERS, TO_WORLD, VIEW, ellipsoids, segment_of, xray_of
from typer.testing import CliRunner
from XrayCTRegistrationLib.cli import app
from XrayCTRegistrationLib.geometry import Pose
from XrayCTRegistrationLib.io.poses import write_pose
from XrayCTRegistrationLib.io.volumes import write_ct
from XrayCTRegistrationLib.registration import centered

CARM = {
    "source_to_detector_mm": 1000.0,
    "source_to_isocenter_mm": 700.0,
    "pixel_spacing_mm": [1.5, 1.5],
    "image_size_px": [160, 160],
    "view": "PA",
}
MOTION = Pose(np.eye(4)).moved(np.array([0, np.radians(4.0), 0, 2.0, 0, 1.5]), np.array(CENTERS["second"]))
NAMES = {"first": "Wirbel fünf", "second": "a/b: links"}  # with what file names cannot hold


def write_labels(path: str, array: np.ndarray, matrix: np.ndarray = TO_WORLD, **entries: str) -> None:
    """Labels (slices, rows, columns), or (..., layers), of voxels that stand straight."""
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetSpacing(np.diag(matrix)[:3].tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    for key, value in entries.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, path)


def label_array() -> np.ndarray:
    array = np.zeros((64, 64, 64), np.uint8)
    for number, name in enumerate(CENTERS, start=1):
        array[segment_of(name).mask.array] = number
    return array


def moved_into(folder: Path) -> Path:
    """Write a CT of two ellipsoids in a block, their labels, a C-arm, an X-ray after the second has moved, and the
    CT's pose."""
    ct = ellipsoids({})
    pose = centered(ct, [VIEW])
    write_ct(folder / "ct.nrrd", ct)
    write_pose(folder / "start.tfm", pose)
    pixels = 60000 * xray_of(ellipsoids({"second": MOTION}), pose).pixels
    sitk.WriteImage(sitk.GetImageFromArray(pixels.astype(np.uint16)), str(folder / "xray.png"))
    (folder / "carm.json").write_text(json.dumps(CARM))
    write_labels(str(folder / "labels.nii.gz"), label_array())
    (folder / "names.json").write_text(json.dumps({"1": NAMES["first"], "2": NAMES["second"]}), encoding="utf-8")
    return folder


REGISTER = ["register", "ct.nrrd", "xray.png", "-g", "carm.json", "--polarity", "dark", "--method", "gradient"]


def register(*options: str, output: str = "out"):
    return CliRunner().invoke(app, [*REGISTER, "--init", "start.tfm", "-o", output, *options])


def report_of(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))
