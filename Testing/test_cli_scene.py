"""The scene that `xrayct register` leaves: last, and as heavy as it was asked to be."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner
from XrayCTRegistrationLib.cli import app
from XrayCTRegistrationLib.io.volumes import read_ct, write_ct
from XrayCTRegistrationLib.phantom import synthetic_spine

CARM = {
    "source_to_detector_mm": 1000,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [5.0, 5.0],
    "image_size_px": [32, 32],
}


@pytest.fixture
def inputs(tmp_path, monkeypatch) -> Path:
    """A working folder with a CT, an X-ray of it and their C-arm."""
    monkeypatch.chdir(tmp_path)
    write_ct("ct.nii.gz", synthetic_spine(0, spacing_mm=6.0, size_mm=(120.0, 110.0, 130.0)))
    Path("carm.json").write_text(json.dumps(CARM))
    result = CliRunner().invoke(app, ["simulate", "ct.nii.gz", "-g", "carm.json", "-o", "."])
    assert result.exit_code == 0, result.output
    return tmp_path


def register(*options: str, ct: str = "ct.nii.gz"):
    arguments = ["register", ct, "xray.png", "-g", "carm.json", "--method", "gradient", "-o", "out", *options]
    return CliRunner().invoke(app, arguments)


def bundled() -> list[str]:
    with zipfile.ZipFile("out/scene.mrb") as bundle:
        return sorted(Path(name).name for name in bundle.namelist() if Path(name).name.startswith("CT."))


def test_the_scene_holds_a_copy_of_the_cts_file_unless_a_light_one_is_asked_for(inputs):
    assert register().exit_code == 0
    assert bundled() == ["CT.nhdr", "CT.nii.gz"]
    assert register("--scene", "light").exit_code == 0
    assert bundled() == ["CT.nhdr"]
    with zipfile.ZipFile("out/scene.mrb") as bundle:
        assert f"data file: {inputs / 'ct.nii.gz'}\n" in bundle.read("scene/Data/CT.nhdr").decode()


def test_a_ct_whose_file_a_scene_cannot_take_is_written_anew_and_no_light_scene_is_promised(inputs):
    image = sitk.GetImageFromArray(read_ct("ct.nii.gz").array)
    sitk.WriteImage(image, "ct.mha")
    assert register(ct="ct.mha").exit_code == 0
    assert bundled() == ["CT.nrrd"]
    refused = register("--scene", "light", ct="ct.mha")
    assert refused.exit_code == 2
    assert "ct.mha: --scene light needs a CT in one NIfTI or NRRD file" in refused.output


def test_pose_and_report_are_on_disk_before_the_scene_is_begun_and_survive_its_interruption(inputs, monkeypatch):
    assert register().exit_code == 0
    seen = []

    def interrupted(*_) -> None:
        seen.extend(sorted(path.name for path in Path("out").glob("*.*") if path.is_file()))
        raise KeyboardInterrupt

    monkeypatch.setattr("XrayCTRegistrationLib.cli.report.write_scene", interrupted)
    result = register("--seed", "1")
    assert result.exit_code == 130
    assert seen == ["overlay.png", "pose.tfm", "report.json"]  # and no scene of the run before
    assert "without scene.mrb" in result.output
    report = json.loads(Path("out/report.json").read_text())
    assert (report["interrupted"], report["seed"]) == (False, 1)
    assert np.isfinite(report["similarity"])
