"""The gold standard of Utrecht: what is made of a set's files and their description, and the table of its paper."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner
from utrecht_files import STARTS, UtrechtFiles, write_utrecht
from XrayCTRegistrationLib.cli import app
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.evaluation.datasets import open_dataset
from XrayCTRegistrationLib.evaluation.datasets.table import group_rows
from XrayCTRegistrationLib.evaluation.datasets.utrecht import capture_range_mm
from XrayCTRegistrationLib.evaluation.runner import START, CaseResult
from XrayCTRegistrationLib.geometry import XrayView

CT = "CT/segment 1, vertebra 1"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> UtrechtFiles:
    return write_utrecht(tmp_path_factory.mktemp("utrecht"))


@pytest.fixture
def changed(files, tmp_path):
    """Write a copy of the set with another description; returns its folder."""

    def write(description: dict) -> Path:
        folder = tmp_path / "set"
        shutil.copytree(files.folder, folder, dirs_exist_ok=True)
        (folder / "utrecht.json").write_text(json.dumps(description))
        return folder

    return write


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def row(number: int, mtre: float, method: str = "auto", error: str = "") -> CaseResult:
    return CaseResult(CT, number, method, mtre, 5.0, 1.0, 1.0, 0.6, 0.6, 0.5, error=error)


# --- what the files say


def test_ct_views_masks_and_points_stand_as_the_description_places_them(files):
    data = open_dataset("utrecht", files.folder)
    assert data.names == [CT, "3DRX/segment 1, vertebra 1"]
    assert [(one.what, one.why) for one in data.skipped] == [("MR of segment 1", "it shows no attenuation")]
    case = data.case(CT, 0, 0)
    np.testing.assert_array_equal(case.given.array, files.ct.array)
    np.testing.assert_allclose(case.given.ijk_to_world, files.ct.ijk_to_world)
    np.testing.assert_allclose(case.points, files.points)
    for view, expected in zip(case.views, files.views):
        np.testing.assert_allclose(view.world_to_pixel, expected.world_to_pixel, atol=1e-9)
    assert [one.pixels.shape for one in case.radiographs] == [(64, 72)] * 2
    assert case.masks[0].shape == (64, 72)
    assert not case.masks[0][:4].any()


def test_values_of_another_scale_become_hounsfield_units(files):
    given = open_dataset("utrecht", files.folder).case("3DRX/segment 1, vertebra 1", 0, 0).given
    np.testing.assert_array_equal(given.array, np.roll(files.ct.array, -1, axis=2))
    # Rolled by a voxel and shifted by one: the same points of the body, but for those that went round the border.
    at = files.ct.points(np.array([20.0, 10, 10]))
    np.testing.assert_allclose(given.points(np.array([19.0, 10, 10])), at)


def test_starts_are_the_sets_own_shifts_and_turns_about_the_vertebras_centre(files):
    data = open_dataset("utrecht", files.folder)
    shifted, turned = (data.case(CT, n, seed) for n, seed in ((6, 0), (7, 5)))
    assert shifted.error_of(shifted.start).mtre_mm == pytest.approx(6)
    assert turned.error_of(turned.start).rotation_deg == pytest.approx(2)
    np.testing.assert_allclose(turned.start.apply(files.center), files.center + np.array([7, 0, 0]), atol=1e-9)


def test_turns_follow_each_other_about_fixed_axes_in_the_order_that_is_told(files, changed):
    description = files.description()
    description["starts"]["turns"] = "zxy"
    folder = changed(description)
    (folder / "starts.txt").write_text("30 20 10 0 0 0\n")  # z, y, x, by the description's columns
    start = open_dataset("utrecht", folder).case(CT, 0, 0).start
    expected = Rotation.from_euler("zxy", [30, 10, 20], degrees=True).as_matrix()
    np.testing.assert_allclose(start.rotation, expected, atol=1e-12)


def test_all_starts_are_taken_or_as_many_as_asked_from_the_nearest_to_the_farthest(files):
    data = open_dataset("utrecht", files.folder)
    assert list(data.starts(None)) == list(range(STARTS))
    assert list(data.starts(3)) == [0, 10, 20]
    with pytest.raises(InputError, match="there are 21 starts, not 22"):
        data.starts(22)


def test_points_that_the_description_gives_come_before_the_mask(files, changed):
    description = files.description()
    description["segments"][0]["vertebrae"][0]["points_mm"] = [[1, 2, 3], [4, 5, 6]]
    case = open_dataset("utrecht", changed(description)).case(CT, 0, 0)
    np.testing.assert_array_equal(case.points, [[1, 2, 3], [4, 5, 6]])


def test_the_example_in_the_documents_is_one_that_is_read(tmp_path):
    text = (REPOSITORY / "Resources" / "docs" / "datasets.md").read_text(encoding="utf-8")
    example = json.loads(text[text.index('    {"starts"') : text.index("\n\n| entry |")])
    (tmp_path / "utrecht.json").write_text(json.dumps(example))
    (tmp_path / "starts.txt").write_text("1 2 3 4 5 6\n")
    assert open_dataset("utrecht", tmp_path).names == [CT]
    projection = example["segments"][0]["projections"][0]
    view = XrayView(projection["source_mm"], projection["pixel_to_world"], projection["size"])
    assert view.source_to_detector_mm == pytest.approx(1100)
    assert np.abs(view.project_points(np.zeros(3))[0] - 255).max() < 1


# --- the command


def test_the_set_is_evaluated_by_one_command_with_the_table_of_its_paper(files, tmp_path):
    out = tmp_path / "out"
    arguments = ["evaluate", "--dataset", "utrecht", str(files.folder), "--method", "gradient", "--cases", "2"]
    result = run(*arguments, "-o", str(out))
    assert result.exit_code == 0, result.output
    for said in ("Kraats", "Image Sciences", "MR of segment 1"):
        assert said in " ".join(result.output.split())
    titles = "| group | method | cases | below 2 mm | below 10 mm | capture range | mean if right |"
    assert titles in (out / "summary.md").read_text()
    rows = {(one["group"], one["method"]): one for one in csv.DictReader((out / "summary.csv").open())}
    assert rows["CT", "start"]["below 2 mm"] == "50.0 %"  # the first of 21 is the truth, the last 20 mm off
    # Two views of 72 x 64 pixels, each 1.8 mm at the bone: a fraction of a pixel from the truth, if everything fits.
    for modality in ("CT", "3DRX"):
        assert float(rows[modality, "gradient"]["mean if right"]) < 0.6
    assert rows["CT", "gradient"]["capture range"] == "1"  # nothing was tried between 1 and 20 mm
    cases = list(csv.DictReader((out / "cases.csv").open()))
    assert {int(one["case"]) for one in cases} == {0, 20}


def test_the_capture_range_ends_where_more_than_one_in_twenty_fails():
    starts = [step + 0.5 for step in range(4) for _ in range(20)]
    good = [0.5] * 80
    assert capture_range_mm([row(n, mtre) for n, mtre in enumerate(good)], starts) == 4
    one_in_20 = [*good[:40], 3.0, *good[:39]]
    assert capture_range_mm([row(n, mtre) for n, mtre in enumerate(one_in_20)], starts) == 4
    two_in_20 = [*good[:40], 3.0, 3.0, *good[:38]]
    assert capture_range_mm([row(n, mtre) for n, mtre in enumerate(two_in_20)], starts) == 2
    assert capture_range_mm([row(0, 0.1), row(1, 0.1)], [0.0, 1.0 + 1e-13]) == 1  # no farther than was tried
    refused = [row(n, 0.1, error="refused" if n < 2 else "") for n in range(80)]
    assert capture_range_mm(refused, starts) == 0


def test_the_table_measures_each_method_by_the_starts_of_its_own_cases(files):
    data = open_dataset("utrecht", files.folder)
    cases = [row(0, 0.5, START), row(0, 0.2), row(1, 1.5, START), row(1, 5.0), row(2, 2.5, START), row(2, 0.4)]
    of_auto = next(one for one in group_rows(cases, data) if one.method == "auto")
    assert of_auto.measured == ("1", "0.30")
    assert of_auto.shares_percent == (pytest.approx(200 / 3), 100.0)


# --- what is wrong with a set


def test_a_set_without_a_description_is_not_guessed_at(files, tmp_path):
    (tmp_path / "a.raw").write_bytes(b"1")
    result = run("evaluate", "--dataset", "utrecht", str(tmp_path), "-o", str(tmp_path / "out"))
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "there is no utrecht.json (1 .raw files were found)" in said
    assert "does not guess" in said


def _at(description: dict, place: tuple):
    for step in place:
        description = description[step]
    return description


SEGMENT = ("segments", 0)
PROJECTION, VERTEBRA, VOLUME = (*SEGMENT, "projections", 0), (*SEGMENT, "vertebrae", 0), (*SEGMENT, "volumes", "CT")


@pytest.mark.parametrize(
    ("place", "name", "value", "said"),
    [
        (VOLUME, "size", [40, 37, 44], r"volumes\.CT: ct\.raw has \d+ bytes, but 40 x 37 x 44 values"),
        (VOLUME, "size", [40, 37], r"volumes\.CT\.size must be 3 finite numbers"),
        (VOLUME, "byte_order", None, r"volumes\.CT\.byte_order is missing"),
        (VOLUME, "type", "short", r"volumes\.CT\.type is 'short'\. Possible are: int8"),
        (VOLUME, "file", "none.raw", r"volumes\.CT\.file: there is no file none\.raw"),
        (VOLUME, "voxels_to_world", 1, r"volumes\.CT: unknown entry 'voxels_to_world'"),
        (VOLUME, "hounsfield", [1e-4, 0], r"volumes\.CT: values from .* are not Hounsfield units"),
        (PROJECTION, "source_mm", [0, "a", 0], r"projections\[0\]\.source_mm must be 3 finite numbers"),
        (PROJECTION, "pixel_to_world", np.eye(4).tolist(), r"projections\[0\]: .*source lies in the detector plane"),
        (PROJECTION, "polarity", "negative", r"projections\[0\]\.polarity is 'negative'"),
        (PROJECTION, "logarithmic", "yes", r"projections\[0\]\.logarithmic must be true or false"),
        (VERTEBRA, "center_mm", None, r"vertebrae\[0\]\.center_mm is missing"),
        (VERTEBRA, "volume_mask", None, r"vertebrae\[0\]\.volume_mask is missing"),
        (VERTEBRA, "projection_masks", [{}], r"projection_masks\[0\]\.file is missing"),
        (SEGMENT, "projections", [], r"segments\[0\]\.projections must be a list of objects"),
    ],
)
def test_what_is_wrong_in_a_description_is_told_with_its_place(files, changed, place, name, value, said):
    description = files.description()
    part = _at(description, place)
    if value is None:
        del part[name]
    else:
        part[name] = value
    folder = changed(description)
    with pytest.raises(InputError, match=rf"^utrecht\.json: .*{said}"):
        open_dataset("utrecht", folder).case(CT, 0, 0)


def test_two_vertebrae_of_one_name_are_told(files, changed):
    description = files.description()
    description["segments"][0]["vertebrae"] *= 2
    with pytest.raises(InputError, match=r"vertebrae\[1\]: there are two of the name 'CT/segment 1, vertebra 1'"):
        open_dataset("utrecht", changed(description))


def test_a_mask_of_another_size_than_its_projection_is_told_before_anything_is_registered(files, changed):
    description = files.description()
    description["segments"][0]["vertebrae"][0]["projection_masks"][1]["size"] = [64, 72]
    said = r"projection_masks\[1\]: the mask mask1\.raw has 64 x 72 pixels, its projection projection1\.raw 72 x 64"
    with pytest.raises(InputError, match=said):
        open_dataset("utrecht", changed(description))
    del description["segments"][0]["vertebrae"][0]["projection_masks"][1]
    with pytest.raises(InputError, match=r"projection_masks has 1 masks for 2 projections"):
        open_dataset("utrecht", changed(description))


@pytest.mark.parametrize(
    ("starts", "text", "said"),
    [
        ({"columns": ["x_mm"]}, None, r"utrecht\.json: starts\.columns must name"),
        ({"turns": "xx"}, None, r"utrecht\.json: starts\.turns is 'xx'"),
        ({}, "1 2 3\n", r"starts\.txt: has 3 numbers a line"),
        ({}, "a b c d e f\n", r"starts\.txt: holds something else"),
        ({}, "1 2 3 4 5 6\n1 2 nan 4 5 6\n", r"starts\.txt: has a number that is not finite"),
        ({}, "1 2 3 4 5 inf\n", r"starts\.txt: has a number that is not finite"),
        ({}, "", r"starts\.txt: holds no start"),
    ],
)
def test_what_is_wrong_with_the_starts_is_told(files, changed, starts, text, said):
    description = files.description()
    description["starts"] |= starts
    folder = changed(description)
    if text is not None:
        (folder / "starts.txt").write_text(text)
    with pytest.raises(InputError, match=rf"^{said}"):
        open_dataset("utrecht", folder)
