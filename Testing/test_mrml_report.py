"""What is left of a registration beside the pose: a folder as of the command line, and a row in the scene's table."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

import numpy as np
import pytest
from mrml_nodes import CARM, new_scene, transform_node, xray_node
from XrayCTRegistrationLib.confidence import Confidence, Evidence
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose, rotation_from_euler, view_from_carm
from XrayCTRegistrationLib.io.poses import read_pose
from XrayCTRegistrationLib.overlay import overlay_projector
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.registration import RegistrationResult, Settings, centered
from XrayCTRegistrationLib.simulation import line_integrals
from XrayCTRegistrationLib.xray import Meaning, Polarity

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from XrayCTRegistrationLib.mrml.geometry import set_entry  # noqa: E402
from XrayCTRegistrationLib.mrml.report import FILES, files_replaced, keep_report, kept_report, save_report  # noqa: E402
from XrayCTRegistrationLib.mrml.results import keep_result, kept_result  # noqa: E402
from XrayCTRegistrationLib.mrml.tables import COLUMNS, add_result_row, results_table  # noqa: E402
from XrayCTRegistrationLib.mrml.volumes import add_ct_node  # noqa: E402
from XrayCTRegistrationLib.scatter import Scatter  # noqa: E402
from XrayCTRegistrationLib.tone import ToneCurve  # noqa: E402

SIZE = {"image_size_px": [96, 80], "pixel_spacing_mm": [3.0, 3.0], "principal_point_px": [48, 40]}
VIEW = view_from_carm(CARM | SIZE)


@pytest.fixture(scope="module")
def spine():
    return synthetic_spine(spacing_mm=4.0)


@pytest.fixture
def scene():
    return new_scene()


@pytest.fixture
def result(spine):
    start = centered(spine, [VIEW])
    turn = rotation_from_euler(np.radians((3.0, -2.0, 5.0)))
    return RegistrationResult(
        pose=Pose.about(start.apply(spine.center), turn, np.array([4.0, -5.0, 6.0])) @ start,
        start=start,
        similarity_before=0.4,
        similarity=0.97,
        moved_deg=6.2,
        moved_mm=8.8,
        confidence=Confidence("high", "the DRR explains 97% of what the X-ray shows", 0.99, 0.2),
        evidence=Evidence(
            similarity=0.97, inlying=0.99, compared=1.0, runner_up_gap=0.5, agreement=1.0, uncertainty_mm=0.2
        ),
        kept_start=False,
        meanings=(Meaning(Polarity.BRIGHT, True, Scatter(0.6, 0.12, 3.5), ToneCurve(0.4, -0.2)),),
        seconds={"prepare": 0.5, "search": 1.5},
    )


@pytest.fixture
def nodes(scene, spine, result):
    """CT, X-ray and pose nodes."""
    xray = xray_node(scene, "Frontal", VIEW, line_integrals(spine, VIEW, result.pose))
    return add_ct_node(scene, "Spine", spine), xray, transform_node(scene, "CT pose", np.eye(4))


@pytest.fixture
def registered(nodes, result):
    ct, xray, pose = nodes
    keep_report(pose, result, Settings(method="auto", device="cpu", seed=7), "near the pose that was set", ct, [xray])
    return nodes


def test_the_folder_holds_what_the_command_line_writes(registered, spine, result, tmp_path):
    from PIL import Image

    _, xray, pose = registered
    written = save_report(tmp_path / "new" / "folder", pose, [xray], overlay_projector(spine))
    assert sorted(path.name for path in written) == sorted(FILES)
    np.testing.assert_allclose(read_pose(written[0]).matrix, result.pose.matrix, atol=1e-9)
    picture = np.asarray(Image.open(written[1])).astype(int)
    assert ((picture[..., 1] > picture[..., 0] + 60) & (picture[..., 1] > picture[..., 2] + 60)).sum() > 500  # edges
    report = json.loads(written[2].read_text())
    assert report == kept_report(pose)
    assert report["similarity"] == 0.97
    assert report["confidence"] == asdict(result.confidence)
    assert (report["method"], report["seed"], report["init"]) == ("auto", 7, "near the pose that was set")
    assert (report["ct"], report["xrays"][0]["file"]) == ("Spine", "Frontal")
    assert (report["xrays"][0]["high_absorption_is"], report["xrays"][0]["logarithmic"]) == ("bright", True)
    assert report["xrays"][0]["scatter"] == {"per_primary": 0.6, "spread": 0.12, "per_value": 3.5}
    assert report["xrays"][0]["tone"] == {"bend": 0.4, "wave": -0.2}
    np.testing.assert_allclose(report["xrays"][0]["geometry"]["world_to_pixel"], VIEW.world_to_pixel, atol=1e-9)


def test_the_report_has_the_entries_of_the_command_lines(registered, spine, result, tmp_path):
    from XrayCTRegistrationLib.cli.inputs import Inputs
    from XrayCTRegistrationLib.cli.report import Registered, write_result
    from XrayCTRegistrationLib.mrml.xrays import radiograph_of
    from XrayCTRegistrationLib.registration import problem_of

    _, xray, pose = registered
    inputs = Inputs(spine, (radiograph_of(xray),), (VIEW,), (None,), "ct", ("x.png",), ("carm.json",), (None,))
    settings = Settings(method="auto", polarity=result.meanings[0].polarity, device="cpu")
    problem = problem_of(spine, inputs.radiographs, inputs.views, result.start, settings)
    write_result(tmp_path, inputs, settings, "center", Registered(problem.attenuation, problem.images, result))
    theirs, ours = json.loads((tmp_path / "report.json").read_text()), kept_report(pose)
    assert set(ours) == set(theirs)
    assert set(ours["xrays"][0]) == set(theirs["xrays"][0])
    np.testing.assert_allclose(ours["ct_to_world"], theirs["ct_to_world"])


def test_a_kept_result_tells_how_the_pixels_were_read(nodes, result):
    *_, pose = nodes
    keep_result(pose, result, "auto")
    assert kept_result(pose).meanings == list(result.meanings)


def test_nothing_is_written_where_nothing_was_registered(nodes, spine, tmp_path):
    _, xray, pose = nodes
    with pytest.raises(InputError, match="CT pose: nothing was registered with this pose"):
        save_report(tmp_path, pose, [xray], overlay_projector(spine))
    assert not list(tmp_path.iterdir())


def test_a_geometry_that_was_changed_since_is_told_and_leaves_the_earlier_report(registered, spine, tmp_path):
    _, xray, pose = registered
    projector = overlay_projector(spine)
    save_report(tmp_path, pose, [xray], projector)
    before = (tmp_path / "report.json").read_bytes()
    assert files_replaced(tmp_path, pose) == list(FILES)
    set_entry(xray, "source_to_detector_mm", 1100.0)
    for chosen in ([xray], []):
        with pytest.raises(InputError, match="CT pose: it was registered to other X-rays, or to another geometry"):
            save_report(tmp_path, pose, chosen, projector)
    assert (tmp_path / "report.json").read_bytes() == before


def test_files_of_an_earlier_results_bones_go_and_those_of_a_person_stay(registered, spine, tmp_path):
    _, xray, pose = registered
    for name in ("pose-L4.tfm", "bones.png", "pose-of-mine.tfm"):
        (tmp_path / name).write_text("earlier")
    rows = [{"file": "pose-L4.tfm"}, {"file": "../pose-outside.tfm"}, {"file": None}]
    (tmp_path / "report.json").write_text(json.dumps({"bones": rows}))
    assert files_replaced(tmp_path, pose) == ["bones.png", "pose-L4.tfm", "report.json"]
    save_report(tmp_path, pose, [xray], overlay_projector(spine))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "pose-of-mine.tfm"])


def test_a_folder_that_cannot_be_made_is_told(registered, spine, tmp_path):
    _, xray, pose = registered
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="the report cannot be written there"):
        save_report(tmp_path / "file" / "folder", pose, [xray], overlay_projector(spine))


def test_every_run_is_a_row_and_numbers_are_numbers(scene, nodes, result):
    ct, xray, pose = nodes
    owner = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    kept = keep_result(pose, result, "auto")
    first = add_result_row(owner, kept, ct, [xray], datetime(2025, 3, 4, 5, 6, 7))
    second = add_result_row(owner, kept, ct, [xray, xray], datetime(2025, 3, 4, 5, 7, 8), "L5")
    assert first is second is results_table(owner)
    assert (first.GetNumberOfRows(), first.GetNumberOfColumns()) == (2, len(COLUMNS))
    row = {name: first.GetCellText(1, index) for index, name in enumerate(COLUMNS)}
    assert row["time"] == "2025-03-04 05:07:08"
    assert (row["xrays"], row["body"], row["confidence"]) == ("Frontal, Frontal", "L5", "high")
    frame = {name: first.GetTable().GetColumnByName(name) for name in COLUMNS}
    assert frame["similarity"].IsA("vtkDoubleArray")
    assert frame["similarity"].GetValue(0) == 0.97
    assert frame["seconds"].GetValue(0) == pytest.approx(2.0)
    assert frame["x_mm"].GetValue(0) == pytest.approx(result.pose.matrix[0, 3])
    angles = [frame[f"about_{axis}_deg"].GetValue(0) for axis in "xyz"]
    np.testing.assert_allclose(rotation_from_euler(np.radians(angles)), result.pose.rotation, atol=1e-9)


def test_the_table_is_saved_with_the_scene_and_goes_on_after_it_was_read(scene, nodes, result, tmp_path):
    ct, xray, pose = nodes
    owner = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "parameters")
    kept = keep_result(pose, result, "auto")
    add_result_row(owner, kept, ct, [xray], datetime(2025, 3, 4))
    scene.SetURL(str(tmp_path / "scene.mrml"))
    scene.SetRootDirectory(str(tmp_path))
    table = results_table(owner)
    table.AddDefaultStorageNode()
    table.GetStorageNode().SetFileName(str(tmp_path / "results.tsv"))
    assert table.GetStorageNode().WriteData(table)
    scene.Commit()
    again = new_scene()
    again.SetURL(str(tmp_path / "scene.mrml"))
    again.Connect()
    owner = again.GetFirstNodeByName("parameters")
    table = add_result_row(owner, kept, again.GetFirstNodeByName("Spine"), [], datetime(2025, 3, 5))
    assert table.GetNumberOfRows() == 2
    values = table.GetTable().GetColumnByName("similarity")
    assert values.IsA("vtkDataArray")
    assert values.GetTuple1(0) == values.GetTuple1(1) == 0.97
