"""The protocol of bones: how bodies are moved, how errors are measured, and the command with its files."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from test_bones import CENTERS, SIZE, TO_WORLD, ellipsoids, segment_of
from typer.testing import CliRunner
from XrayCTRegistrationLib.bones.names import is_vertebra
from XrayCTRegistrationLib.bones.registration import BoneResult, BonesResult
from XrayCTRegistrationLib.cli import app
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.evaluation.bones_protocol import LabelledSubject, bones_case, rows_of_result
from XrayCTRegistrationLib.evaluation.bones_tables import bones_summary
from XrayCTRegistrationLib.evaluation.moved_bones import with_bones_moved
from XrayCTRegistrationLib.geometry import Pose
from XrayCTRegistrationLib.io.volumes import write_ct
from XrayCTRegistrationLib.volume import Volume

NUMBERS = {"first": 27, "second": 28}  # L5 and L4, as TotalSegmentator numbers them


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A CT's file of two ellipsoids, its label map beside it."""
    folder = tmp_path_factory.mktemp("labelled")
    labels = np.zeros((SIZE, SIZE, SIZE), np.int16)
    for name, number in NUMBERS.items():
        labels[segment_of(name).mask.array] = number
    write_ct(folder / "ct.nii.gz", ellipsoids({}))
    write_ct(folder / "ct_labels.nii.gz", Volume(labels, TO_WORLD))
    return folder / "ct.nii.gz"


def test_moving_a_bones_voxels_gives_the_body_with_that_bone_elsewhere():
    ct = ellipsoids({})
    motion = Pose(np.eye(4)).moved(np.array([0.05, 0.0, -0.04, 3.0, -2.0, 1.0]), np.array(CENTERS["second"]))
    moved = with_bones_moved(ct, [segment_of("second")], [motion])
    expected = ellipsoids({"second": motion})
    assert np.abs(expected.array - ct.array).max() > 500
    assert np.percentile(np.abs(moved.array - expected.array), 99.9) < 60
    assert moved.array.sum() == pytest.approx(expected.array.sum(), rel=2e-3)


class Whole:
    """What rows tell of a registration of the whole."""

    def __init__(self, pose: Pose):
        self.pose, self.seconds = pose, {"search": 1.0, "report": 0.5}


def test_a_shift_along_the_ray_is_an_error_in_depth_alone(labelled):
    case = bones_case(LabelledSubject.read(labelled), 0, 0).seen_in(1)
    view = case.views[0]
    bones = []
    for segment, true, points in zip(case.segments, case.true, case.points):
        ray = true.apply(points).mean(axis=0) - view.source
        deep = Pose.from_parts(np.eye(3), 3.0 * ray / np.linalg.norm(ray)) @ true
        bones.append(BoneResult(segment.name, None, deep, 0.9, 0.0, 0.0, (0,), None, None))
    rows = rows_of_result(case, BonesResult(Whole(case.true[0]), tuple(bones), 2.0))
    for row in rows:
        assert row.error_mm == pytest.approx(3.0, abs=1e-6)
        assert row.in_plane_mm < 0.1
        assert (row.whole_seconds, row.seconds) == (1.5, 2.0)
    assert rows[0].whole_mm == pytest.approx(0.0, abs=1e-9)
    assert rows[1].whole_mm > 1.0  # the other bone moved on its own


def test_a_case_repeats_and_its_xrays_are_60_degrees_apart(labelled):
    subject = LabelledSubject.read(labelled)
    case, again = bones_case(subject, 1, 5), bones_case(subject, 1, 5)
    for a, b in zip(case.true, again.true):
        np.testing.assert_array_equal(a.matrix, b.matrix)
    for one, other in zip(case.radiographs, again.radiographs):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    first, second = (view.axes[:, 2] for view in case.views)
    assert np.degrees(np.arccos(first @ second)) == pytest.approx(60.0)
    assert len(case.seen_in(1).views) == len(case.seen_in(1).radiographs) == 1


def test_the_command_measures_each_bone_beside_the_whole_and_goes_on_after_an_interruption(labelled, tmp_path):
    arguments = ["evaluate", "--protocol", "bones", "--ct", str(labelled), "--cases", "1", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    with (tmp_path / "bones.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["bone"], row["views"]) for row in rows] == [("L5", "1"), ("L4", "1"), ("L5", "2"), ("L4", "2")]
    seen = [row for row in rows if row["in_field"] == "True"]
    assert {row["views"] for row in seen} == {"1", "2"}
    assert all(float(row["in_plane_mm"]) < float(row["whole_in_plane_mm"]) for row in seen)
    # One X-ray does not tell the depth of two smooth bodies: bones and whole are some 40 mm off alike.
    assert all(float(row["error_mm"]) < float(row["whole_mm"]) for row in seen if row["views"] == "2")
    assert "each bone, in plane" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    table = (tmp_path / "bones.csv").read_bytes()
    again = CliRunner().invoke(app, [*arguments, "--resume"])
    assert again.exit_code == 0, again.output
    assert (tmp_path / "bones.csv").read_bytes() == table  # seconds and all: nothing ran again


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "cmaes"], "--method is not for the protocol of bones"),
        (["--realistic"], "--realistic is not for the protocol of bones"),
    ],
)
def test_options_of_other_protocols_are_refused(labelled, tmp_path, options, message):
    result = CliRunner().invoke(
        app, ["evaluate", "--protocol", "bones", "--ct", str(labelled), *options, "-o", str(tmp_path)]
    )
    assert isinstance(result.exception, InputError) or result.exit_code != 0
    assert message in f"{result.exception} {result.output}"


def test_a_ct_without_labels_and_labels_without_vertebrae_are_told(labelled, tmp_path):
    write_ct(tmp_path / "lone.nii.gz", ellipsoids({}))
    with pytest.raises(InputError, match=r"Put it beside the CT as lone_labels\.nii\.gz"):
        LabelledSubject.read(tmp_path / "lone.nii.gz")
    spleen = np.zeros((SIZE, SIZE, SIZE), np.int16)
    spleen[20:30, 20:30, 20:30] = 1
    write_ct(tmp_path / "lone_labels.nii.gz", Volume(spleen, TO_WORLD))
    with pytest.raises(InputError, match="no label is a vertebra"):
        LabelledSubject.read(tmp_path / "lone.nii.gz")


def test_a_table_counts_what_lies_outside_the_field_apart(labelled):
    case = bones_case(LabelledSubject.read(labelled), 0, 0).seen_in(1)
    bones = [
        BoneResult(segment.name, None, true, 0.9, 0.0, 0.0, (0,), None, None)
        for segment, true in zip(case.segments, case.true)
    ]
    inside, outside = rows_of_result(case, BonesResult(Whole(case.true[0]), tuple(bones), 2.0))
    (row,) = bones_summary([replace(inside, in_field=True), replace(outside, in_field=False, error_mm=99.0)])
    assert (row.bones, row.elsewhere) == (1, 1)
    assert row.error_mm == (0.0, 0.0)


@pytest.mark.parametrize(("name", "is_one"), [("L5", True), ("vertebrae_T12", True), ("S1", True), ("sacrum", False)])
def test_what_is_called_a_vertebra(name, is_one):
    assert is_vertebra(name) == is_one
