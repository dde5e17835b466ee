"""`xrayct register --bones`: from files to files, names, and the scene as 3D Slicer reads it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cli_bones_case import MOTION, NAMES, REGISTER, label_array, moved_into, register, report_of, write_labels
from cli_case import link_into
from mrml_nodes import FLIP
from test_bones import CENTERS, in_plane_mm, segment_of
from typer.testing import CliRunner
from XrayCTRegistrationLib.bones import registration as bones_registration
from XrayCTRegistrationLib.cli import app
from XrayCTRegistrationLib.cli.bones import joint_of
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.io.poses import read_pose


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return moved_into(tmp_path_factory.mktemp("bones"))


@pytest.fixture
def inputs(made, tmp_path, monkeypatch) -> Path:
    link_into(tmp_path, made)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def registered(made) -> tuple[Path, str]:
    """The folder of a whole run, and what the command said."""
    files = [str(made / name) if "." in name else name for name in REGISTER]
    bones = ["--bones", str(made / "labels.nii.gz"), "--bone-names", str(made / "names.json")]
    result = CliRunner().invoke(app, [*files, "--init", str(made / "start.tfm"), "-o", str(made / "out"), *bones])
    assert result.exit_code == 0, result.output
    return made / "out", result.output


def test_every_bone_has_its_pose_in_a_file_whatever_its_name(registered):
    folder, said = registered
    poses = {"pose.tfm", "pose-Wirbel fünf.tfm", "pose-a_b_ links.tfm"}
    assert {path.name for path in folder.iterdir()} == {*poses, "overlay.png", "bones.png", "report.json", "scene.mrb"}
    start = read_pose(folder.parent / "start.tfm")
    for file, true, center in (
        ("pose-Wirbel fünf.tfm", start, CENTERS["first"]),
        ("pose-a_b_ links.tfm", start @ MOTION, CENTERS["second"]),
    ):
        assert in_plane_mm(read_pose(folder / file), true, center) < 0.4  # as `test_bones` says of the same X-ray
    assert "all bones of labels.nii.gz are registered (2): Wirbel fünf, a/b: links." in said
    assert [line.split("  ")[0] for line in said.splitlines() if " degrees, " in line and ".png" in line] == [
        *NAMES.values()
    ]


def test_the_report_has_a_row_for_each_bone(registered):
    folder, _ = registered
    report = report_of(folder)
    assert report["joint"] == {"rotation_deg": 3.0, "shift_mm": 2.0}
    assert report["bones_seconds"] == report["seconds"]["bones"] > 0
    first, second = report["bones"]
    for number, (row, name) in enumerate(zip((first, second), NAMES.values()), start=1):
        assert (row["name"], row["number"], row["stays_with_ct"]) == (name, number, False)
        assert [Path(one).name for one in row["xrays"]] == ["xray.png"]
        np.testing.assert_allclose(row["ct_to_world"], read_pose(folder / row["file"]).matrix, atol=1e-9)
        assert len(row["color"]) == 3
    assert first["color"] != second["color"]
    moved = MOTION.apply(np.array(CENTERS["second"])) - CENTERS["second"]
    assert second["moved_deg"] == pytest.approx(4.0, abs=0.5)
    assert second["moved_mm"] == pytest.approx(np.linalg.norm(moved), abs=1.0)  # depth, of which one view says little
    assert first["moved_mm"] < 0.5


def test_the_figure_draws_each_bone_in_the_colour_of_its_row(registered):
    folder, _ = registered
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "bones.png")))
    width = (picture.shape[1] - 8) // 3  # a gap before each picture, and after the last
    places = []
    for row in report_of(folder)["bones"]:
        drawn = (np.abs(picture[:530].astype(int) - np.round(255 * np.array(row["color"])).astype(int)) < 3).all(axis=2)
        pieces = [drawn[:, column * width : (column + 1) * width] for column in range(3)]
        assert [piece.any() for piece in pieces] == [False, True, True]  # the X-ray alone, then both poses
        places.append([np.argwhere(piece).mean(axis=0) for piece in pieces[1:]])
    shifts = [np.linalg.norm(after - before) for before, after in places]
    assert shifts[0] < 2 < shifts[1]  # pixels: the second alone moved, by 2.6 mm or some 8 of them


def test_in_the_scene_every_bone_stands_at_its_pose_under_the_cts(registered, open_scene):
    folder, _ = registered
    scene = open_scene(folder / "scene.mrb")
    from slicer.util import arrayFromModelPoints, arrayFromTransformMatrix

    for row, center in zip(report_of(folder)["bones"], CENTERS.values()):
        pose = FLIP @ np.array(row["ct_to_world"]) @ FLIP
        transform, model = (scene.GetFirstNodeByName(row["name"] + end) for end in ("", " surface"))
        assert transform.IsA("vtkMRMLLinearTransformNode")
        assert transform.GetParentTransformNode().GetName() == "CT to world"
        assert model.GetParentTransformNode() is transform
        to_world = arrayFromTransformMatrix(transform, toWorld=True)
        np.testing.assert_allclose(to_world, pose, rtol=0, atol=1e-10)  # as of the CT, see `test_scene`
        np.testing.assert_allclose(model.GetDisplayNode().GetColor(), row["color"])
        assert model.GetDisplayNode().GetVisibility()
        # In the CT's own RAS, about its middle, the bone's two ellipsoids span this box; the surface passes within a
        # voxel of 2 mm of them. The model's own points and its transform lead there from the world, or do not.
        from_world = np.linalg.inv(pose) @ to_world
        points = np.c_[arrayFromModelPoints(model), np.ones(model.GetPolyData().GetNumberOfPoints())] @ from_world.T
        about = points[:, :3] * [-1, -1, 1] - center
        np.testing.assert_allclose(about.min(axis=0), [-12, -8, -16], atol=2.0)
        np.testing.assert_allclose(about.max(axis=0), [12, 13, 16], atol=2.0)


def test_a_bone_that_no_xray_shows_stays_with_the_ct_and_is_said_to(inputs):
    mask = np.ones((160, 160), np.uint8)
    mask[:, 75:] = 0  # the second, the right one
    sitk.WriteImage(sitk.GetImageFromArray(mask), "mask.png")
    result = register("--bones", "labels.nii.gz", "--mask", "mask.png")
    assert result.exit_code == 0, result.output
    first, second = report_of(Path("out"))["bones"]
    assert (first["stays_with_ct"], second["stays_with_ct"], second["xrays"]) == (False, True, [])
    assert second["similarity"] is None
    assert Path("out/pose-2.tfm").read_bytes() == Path("out/pose.tfm").read_bytes()
    (row,) = [line for line in result.output.splitlines() if line.startswith("2 ")]
    assert row.split() == ["2", "stays", "with", "the", "CT", "none"]


def test_overlapping_segments_of_3d_slicer_bring_their_own_names_and_colours(inputs):
    layers = np.zeros((64, 64, 64, 2), np.uint8)
    for layer, name in enumerate(CENTERS):
        layers[..., layer] = segment_of(name).mask.array
    layers[28:36, 28:36, 34:46, 0] = 1  # reaches into the second
    entries = {
        "Segment0_Name": "Lendenwirbel 5 ä",
        "Segment0_Color": "0.9 0.1 0.2",
        "Segment0_LabelValue": "1",
        "Segment0_Layer": "0",
        "Segment1_Name": "L4",
        "Segment1_Color": "0.1 0.2 0.9",
        "Segment1_LabelValue": "1",
        "Segment1_Layer": "1",
    }
    write_labels("bones.seg.nrrd", layers, **entries)
    result = register("--bones", "bones.seg.nrrd", "--bone", "lendenwirbel 5 ä", "--bone", "L4")
    assert result.exit_code == 0, result.output
    rows = report_of(Path("out"))["bones"]
    assert [(row["name"], row["color"], row["number"]) for row in rows] == [
        ("Lendenwirbel 5 ä", [0.9, 0.1, 0.2], None),  # a number that two layers use names neither
        ("L4", [0.1, 0.2, 0.9], None),
    ]
    assert Path("out/pose-Lendenwirbel 5 ä.tfm").is_file()


def test_a_segment_within_another_stays_with_the_ct_unless_it_was_asked_for(inputs):
    layers = np.zeros((64, 64, 64, 2), np.uint8)
    layers[..., 0] = segment_of("first").mask.array
    layers[30:34, 30:34, 20:24, 1] = 1
    entries = {
        f"Segment{k}_{entry}": value
        for k, name in enumerate(("bone", "core"))
        for entry, value in (("Name", name), ("LabelValue", "1"), ("Layer", str(k)))
    }
    write_labels("nested.seg.nrrd", layers, **entries)
    result = register("--bones", "nested.seg.nrrd")
    assert result.exit_code == 0, result.output
    assert "nested.seg.nrrd: core: the segment lies wholly within other segments" in result.output
    assert [row["name"] for row in report_of(Path("out"))["bones"]] == ["bone"]
    asked = register("--bones", "nested.seg.nrrd", "--bone", "bone,core", output="asked")
    assert asked.exit_code == 2
    assert "Error: nested.seg.nrrd: core: the segment lies wholly within other segments" in asked.output


def test_one_bone_is_registered_among_the_others_and_another_run_leaves_none_of_its_files(inputs):
    assert register("--bones", "labels.nii.gz", "--bone", "2", "--joint", "free").exit_code == 0
    report = report_of(Path("out"))
    assert [row["name"] for row in report["bones"]] == ["2"]
    assert report["joint"] == {"rotation_deg": "free", "shift_mm": "free"}
    Path("out/pose-of-mine.tfm").write_text("not of a run")
    assert register().exit_code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        *("overlay.png", "pose-of-mine.tfm", "pose.tfm", "report.json", "scene.mrb"),
    ]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, InputError("second: nothing of it is in the X-ray.")])
def test_what_ends_the_bones_leaves_the_pose_of_the_whole(inputs, monkeypatch, failure):
    def failing(*_):
        raise failure
        yield

    monkeypatch.setattr(bones_registration, "climbed", failing)
    result = register("--bones", "labels.nii.gz")
    assert sorted(path.name for path in Path("out").iterdir()) == ["pose.tfm", "report.json"]
    report = report_of(Path("out"))
    assert (report["interrupted"], report["interrupted_in"]) == (True, "bones")
    found, start = read_pose("out/pose.tfm"), read_pose("start.tfm")
    assert in_plane_mm(found, start, CENTERS["first"]) < 3.0  # between both bones
    assert "The best pose so far is in out/pose.tfm" in result.output
    assert result.exit_code == (130 if failure is KeyboardInterrupt else 2)
    assert ("Error: second: nothing of it" in result.output) is isinstance(failure, InputError)


def test_many_bones_are_told_with_the_time_they_take_before_it_is_taken(inputs, monkeypatch):
    array = label_array()
    for number, part in enumerate(np.array_split(np.argwhere(array == 2), 61), start=190):
        array[tuple(part.T)] = number
    write_labels("many.nrrd", array)

    def interrupted(*_):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(bones_registration, "prepared_steps", interrupted)
    result = register("--bones", "many.nrrd")
    assert result.exit_code == 130
    assert "62 bones are registered, each on its own: this takes at most 2 minutes." in result.output


def test_labels_of_another_numbering_go_by_number_and_none_is_lost(inputs):
    """As of VerSe: 24 is L5 there, 25 L6, which TotalSegmentator calls the sacrum."""
    array = label_array()
    array[array > 0] += 23
    write_labels("verse.nii.gz", array)
    result = register("--bones", "verse.nii.gz")
    assert result.exit_code == 0, result.output
    assert "verse.nii.gz: TotalSegmentator's names are not used" in result.output
    assert [row["name"] for row in report_of(Path("out"))["bones"]] == ["24", "25"]
    asked = register("--bones", "verse.nii.gz", "--bone", "sacrum", output="asked")
    assert asked.exit_code == 2
    assert "Error: verse.nii.gz: there is no bone 'sacrum'. There are: 24 (24), 25 (25)." in asked.output


def test_what_a_file_of_names_leaves_out_stays_with_the_ct_and_is_told(inputs):
    Path("one.json").write_text(json.dumps({"28": "radius", "2": "ulna"}))
    result = register("--bones", "labels.nii.gz", "--bone-names", "one.json")
    assert result.exit_code == 0, result.output
    assert "Names of segments are taken from one.json." in result.output
    assert "labels.nii.gz: what has no name stays with the CT: 1." in result.output
    assert [row["name"] for row in report_of(Path("out"))["bones"]] == ["ulna"]


def test_names_lie_beside_a_label_map_or_in_a_file_of_another_kind_that_is_told(inputs, caplog):
    write_labels("mine.nii.gz", label_array())
    Path("mine.json").write_text(json.dumps({"labels": {"background": 0, "radius": 1, "ulna": 2}}))
    result = register("--bones", "mine.nii.gz", "--bone", "humerus")
    assert "There are: radius (1), ulna (2)." in result.output
    assert "Names of segments are taken from mine.json." in result.output
    Path("mine.json").write_text(json.dumps({"Manual": True}))
    result = register("--bones", "mine.nii.gz", "--bone", "humerus")
    assert "There are: 1 (1), 2 (2)." in result.output
    assert "The file beside mine.nii.gz is not used for names. mine.json: 'Manual'" in result.output


@pytest.mark.parametrize("text", ["3,2", "0.5,10", "free", "5,inf"])
def test_a_joint_is_what_was_written(text):
    joint = joint_of(text)
    assert f"{joint.rotation_deg:g},{joint.shift_mm:g}" == text.replace("free", "inf,inf")
