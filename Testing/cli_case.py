"""Files that the command line is tried on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner
from XrayCTRegistrationLib.cli import app
from XrayCTRegistrationLib.io.poses import read_pose, write_pose
from XrayCTRegistrationLib.io.volumes import write_ct
from XrayCTRegistrationLib.phantom import synthetic_spine

CARM = {
    "source_to_detector_mm": 1000,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [2.5, 2.5],
    "image_size_px": [64, 64],
}
RESULTS = ["overlay.png", "pose.tfm", "report.json", "scene.mrb"]
REGISTER = ["register", "ct.nrrd", "xray.png", "-g", "carm.json", "--method", "gradient", "-o", "out"]


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def simulate_into(folder: Path) -> Path:
    """Write a small CT, a C-arm, the X-ray that `xrayct simulate` makes of them, its true pose, and a start that is
    4 degrees and 5 mm off."""
    ct = synthetic_spine(0, spacing_mm=3.0, size_mm=(120.0, 110.0, 130.0))
    write_ct(folder / "ct.nrrd", ct)
    (folder / "carm.json").write_text(json.dumps(CARM))
    files = [str(folder / name) for name in ("ct.nrrd", "carm.json")]
    result = run("simulate", files[0], "-g", files[1], "--random-pose", "1", "-o", str(folder / "made"))
    assert result.exit_code == 0, result.output
    for name in ("xray.png", "pose.tfm", "geometry.json"):
        (folder / "made" / name).rename(folder / name)
    true = read_pose(folder / "pose.tfm")
    start = true.moved(np.array([0.04, -0.03, 0.05, 3.0, -4.0, 0.0]), true.apply(ct.center))
    write_pose(folder / "start.tfm", start)
    return folder


def link_into(folder: Path, files: Path) -> None:
    """Links in a working folder to the files of another."""
    for path in files.iterdir():
        if path.is_file():
            (folder / path.name).symlink_to(path)
