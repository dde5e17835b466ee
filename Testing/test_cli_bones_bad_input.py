"""`xrayct register --bones` and what a person can get wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_bones_case import label_array, moved_into, register, write_labels
from cli_case import link_into
from test_bones import TO_WORLD


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return moved_into(tmp_path_factory.mktemp("bones"))


@pytest.fixture
def inputs(made, tmp_path, monkeypatch) -> Path:
    link_into(tmp_path, made)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bad(array: np.ndarray, matrix: np.ndarray = TO_WORLD, names: tuple[str, str] | None = None) -> Callable[[], None]:
    """What writes bad.nrrd, as a segmentation of 3D Slicer where names of the segments 1 and 9 are given."""
    entries = {f"Segment{k}_Name": name for k, name in enumerate(names or ())}
    entries |= {f"Segment{k}_LabelValue": value for k, value in zip(range(len(names or ())), ("1", "9"))}
    return lambda: write_labels("bad.nrrd", array, matrix, **entries)


def with_single_voxel() -> np.ndarray:
    array = label_array()
    array[5, 5, 5] = 7
    return array


FAR = TO_WORLD + np.array([[0, 0, 0, 500.0]] * 3 + [[0, 0, 0, 0]])
WATER = (np.indices((64, 64, 64)).sum(axis=0) < 60).astype(np.uint8)
LABELS = bad(label_array())
BAD: dict[str, tuple[Callable[[], object], list[str], str]] = {
    "no such bone": (LABELS, ["--bone", "L9,1"], "bad.nrrd: there is no bone 'L9'. There are: 1 (1), 2 (2)."),
    "a single voxel": (
        bad(with_single_voxel()),
        ["--bone", "7"],
        "bad.nrrd: 7: the segment is a single voxel, which is no bone. Outline it, or leave it out.",
    ),
    "empty": (bad(0 * label_array()), [], "bad.nrrd: the label map is empty: every voxel is 0."),
    "an empty segment": (
        bad(label_array(), names=("L4", "L5")),
        ["--bone", "L5"],
        "bad.nrrd: L5: the segment is empty, which is no bone.",
    ),
    "no whole numbers": (
        bad(label_array() * np.float32(0.5)),
        [],
        "bad.nrrd: the values are not all whole numbers, as in an image or in a label map that was interpolated.",
    ),
    "another CT's": (
        bad(label_array(), FAR),
        [],
        "of the segment lie outside the CT, so it is the segmentation of another CT, or placed otherwise.",
    ),
    "another CT's, named": (bad(label_array(), FAR), ["--bone", "2"], "bad.nrrd: 2: 100% of the segment lie outside"),
    "no bone": (
        bad(WATER),
        [],
        "bad.nrrd: the CT is as dense as bone in none of the segments. Name the bones with --bone",
    ),
    "names twice": (
        bad(np.where(label_array() == 2, 9, label_array()).astype(np.uint8), names=("L5", "L5")),
        [],
        "bad.nrrd: L5: several segments bear this name. Rename them, or choose one of them.",
    ),
    "flat": (bad(np.ones((1, 64, 64), np.uint8)), [], "64 x 64 x 1 voxels, which is no segmentation of a CT."),
    "missing": (lambda: None, [], "bad.nrrd: there is no such file"),
    "joint": (LABELS, ["--joint", "3"], "--joint 3: this is not two numbers."),
    "joint of 0": (LABELS, ["--joint", "0,2"], "--joint 0,2: The motion between neighbours is 0 degrees."),
    "no names": (
        LABELS,
        ["--bone-names", "carm.json"],
        "carm.json: 'source_to_detector_mm': 1000.0 is no number with its name. Write",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_segmentation_that_cannot_be_used_is_refused_by_name_and_nothing_is_written(inputs, case):
    make, options, message = BAD[case]
    make()
    result = register("--bones", "bad.nrrd", *options)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output
    assert len([line for line in result.output.splitlines() if line.startswith("Error")]) == 1
    assert list(Path("out").iterdir()) == []


def test_what_a_segmentation_lacks_is_told_before_the_ct_is_read(inputs):
    Path("ct.nrrd").unlink()
    assert "there is no bone 'L9'" in register("--bones", "labels.nii.gz", "--bone", "L9").output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bone", "L5"], "--bone: the segmentation is missing that the bones are in. Give it with --bones"),
        (["--joint", "free"], "--joint: the segmentation is missing"),
        (["--bone-names", "names.json"], "--bone-names: the segmentation is missing"),
        (["--bones", "labels.nii.gz", "--trial", "x.cfg"], "--bones: a trial has a volume for each bone"),
    ],
)
def test_options_of_bones_that_do_not_go_together_are_refused(inputs, options, message):
    result = register(*options)
    assert result.exit_code == 2
    assert message in result.output
