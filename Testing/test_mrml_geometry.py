"""The C-arm geometry of X-ray nodes: edited entry by entry, each with its origin."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mrml_nodes import CARM, new_scene, rigid, transform_node, volume_node, xray_node
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import XrayView, rotation_from_vector, view_from_carm
from XrayCTRegistrationLib.geometry.entries import DEFAULT, TYPICAL, USER, Entry, carm_of_view

pytest.importorskip("slicer", reason="slicer-core is not installed")

from XrayCTRegistrationLib.mrml.geometry import (
    check_geometry,
    entries_of,
    fill_in_typical_values,
    is_parametric,
    is_started,
    read_geometry,
    set_entries,
    set_entry,
    start_geometry,
)
from XrayCTRegistrationLib.mrml.xrays import has_geometry, own_view, view_of


@pytest.fixture
def scene():
    return new_scene()


@pytest.fixture
def bare(scene):
    """An X-ray of which nothing is known: 9 columns, 7 rows."""
    return volume_node(scene, "bare", np.arange(63.0).reshape(1, 7, 9), np.eye(4))


@pytest.mark.parametrize("name", ["PA", "AP", "LAT"])
@pytest.mark.parametrize("angles", [(0, 0), (25, -10), (-120, 40)])
def test_a_view_gives_back_the_carm_it_was_made_from(name, angles):
    primary, secondary = angles
    carm = {**CARM, "view": name, "primary_angle_deg": float(primary), "secondary_angle_deg": float(secondary)}
    back = carm_of_view(view_from_carm(carm), name)
    for entry in back:
        if entry == "view":
            assert back[entry] == name
        elif entry != "isocenter_mm":
            np.testing.assert_allclose(back[entry], carm[entry], atol=1e-9, err_msg=entry)


def test_a_detector_turned_in_its_plane_has_no_parametric_carm():
    view = view_from_carm(CARM)
    turn = rotation_from_vector(0.1 * view.axes[:, 2])
    matrix = view.pixel_to_world.copy()
    matrix[:3, :2] = turn @ matrix[:3, :2]
    assert carm_of_view(XrayView(view.source, matrix, view.size_px, view.isocenter)) is None
    assert carm_of_view(XrayView(view.source, view.pixel_to_world, view.size_px)) is None  # no isocentre


def test_the_image_is_placed_once_nothing_is_missing(bare):
    start_geometry(bare, {"source_to_detector_mm": Entry(1000.0, "DICOM (0018,1110)")})
    assert is_started(bare)
    assert not has_geometry(bare)
    with pytest.raises(InputError, match=r"bare: .*distance from source to isocentre and the pixel spacing"):
        check_geometry(bare)
    set_entry(bare, "source_to_isocenter_mm", 650.0)
    set_entry(bare, "pixel_spacing_mm", [0.5, 0.7])
    check_geometry(bare)
    expected = view_from_carm({**CARM, "principal_point_px": [4, 3], "primary_angle_deg": 0, "secondary_angle_deg": 0})
    np.testing.assert_allclose(view_of(bare).world_to_pixel, expected.world_to_pixel, atol=1e-9)
    origins = {name: entry.origin for name, entry in entries_of(bare).items()}
    assert origins["source_to_detector_mm"] == "DICOM (0018,1110)"
    assert origins["source_to_isocenter_mm"] == USER
    assert origins["primary_angle_deg"] == DEFAULT


def test_typical_values_fill_only_what_is_missing_and_say_so(bare):
    start_geometry(bare, {"source_to_detector_mm": Entry(1200.0, "DICOM (0018,1110)")})
    fill_in_typical_values(bare)
    entries = entries_of(bare)
    assert entries["source_to_detector_mm"].value == pytest.approx(1200)
    assert {entries[name].origin for name in ("source_to_isocenter_mm", "pixel_spacing_mm")} == {TYPICAL}


def test_the_spacing_of_the_image_header_is_taken_unless_it_is_one(scene, bare):
    start_geometry(bare, {})
    assert "pixel_spacing_mm" not in entries_of(bare)
    spaced = volume_node(scene, "spaced", np.arange(63.0).reshape(1, 7, 9), np.diag([-0.3, -0.4, 1.0, 1.0]))
    start_geometry(spaced, {})
    assert entries_of(spaced)["pixel_spacing_mm"] == Entry([0.4, 0.3], "image header")  # between rows, columns


def test_a_geometry_that_cannot_be_is_kept_and_can_be_corrected(scene):
    node = xray_node(scene)
    set_entries(node, {"source_to_detector_mm": Entry(1000.0, "x"), "source_to_isocenter_mm": Entry(650.0, "x")})
    with pytest.raises(InputError, match=r"AP: source_to_detector_mm \(600\) must be larger"):
        set_entry(node, "source_to_detector_mm", 600.0)
    with pytest.raises(InputError, match="must be larger"):
        check_geometry(node)
    set_entry(node, "source_to_isocenter_mm", 400.0)
    check_geometry(node)
    assert own_view(node).source_to_detector_mm == pytest.approx(600)


def test_an_edit_leaves_the_other_values(scene):
    node = xray_node(scene)
    set_entry(node, "primary_angle_deg", -5.0)
    expected = view_from_carm({**CARM, "primary_angle_deg": -5.0})
    np.testing.assert_allclose(own_view(node).world_to_pixel, expected.world_to_pixel, atol=1e-6)


def test_moving_the_image_by_hand_shows_in_the_values_and_their_origin(scene):
    node = xray_node(scene)
    set_entry(node, "source_to_detector_mm", 1000.0)
    view = own_view(node)
    from XrayCTRegistrationLib.mrml.xrays import place_at_detector

    shift = np.eye(4)
    shift[:3, 3] = 50 * view.axes[:, 2]
    place_at_detector(node, XrayView(view.source, shift @ view.pixel_to_world, view.size_px, view.isocenter))
    entry = entries_of(node)["source_to_detector_mm"]
    assert entry.value == pytest.approx(1050)
    assert entry.origin == "image orientation"


def test_a_parent_transform_moves_the_view_but_not_its_entries(scene):
    node = xray_node(scene)
    before = {name: entry.value for name, entry in entries_of(node).items()}
    node.SetAndObserveTransformNodeID(transform_node(scene, "room", rigid((0.3, 0, 0), (9, 9, 9))).GetID())
    after = {name: entry.value for name, entry in entries_of(node).items()}
    assert before == after
    assert not np.allclose(view_of(node).source, own_view(node).source)


def test_a_calibrated_file_is_taken_as_it_is_and_not_edited(bare, tmp_path):
    view = view_from_carm(CARM)
    turned = rotation_from_vector(np.array([0.1, 0.2, 0.3])) @ np.hstack([np.eye(3)])
    matrix = view.world_to_pixel @ np.block([[turned, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])
    path = tmp_path / "calibrated.json"
    path.write_text(
        json.dumps({"world_to_pixel": matrix.tolist(), "image_size_px": [9, 7], "source_to_detector_mm": 1000})
    )
    read_geometry(bare, path)
    scale = matrix[2, :3] @ matrix[2, :3]
    np.testing.assert_allclose(view_of(bare).world_to_pixel, matrix / np.sqrt(scale), atol=1e-9)
    assert not is_parametric(bare)
    assert entries_of(bare)["source_to_detector_mm"].origin == "calibrated.json"
    with pytest.raises(InputError, match=r"bare: this geometry is a calibration \(calibrated\.json\)"):
        set_entry(bare, "primary_angle_deg", 5.0)


def test_a_parametric_file_can_be_edited_and_a_wrong_size_is_refused(bare, tmp_path):
    path = tmp_path / "carm.json"
    path.write_text(json.dumps(CARM))
    read_geometry(bare, path)
    np.testing.assert_allclose(view_of(bare).world_to_pixel, view_from_carm(CARM).world_to_pixel, atol=1e-9)
    assert entries_of(bare)["primary_angle_deg"].origin == "carm.json"
    path.write_text(json.dumps({**CARM, "image_size_px": [7, 9]}))
    with pytest.raises(InputError, match=r"carm\.json: .*swapped"):
        read_geometry(bare, path)


def test_geometry_survives_the_scene_file(scene, tmp_path):
    import slicer

    node = xray_node(scene, 'L & R "50 %"')
    set_entry(node, "source_to_detector_mm", 1100.0)
    before = own_view(node), entries_of(node)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    for one in (node,):
        storage = slicer.vtkMRMLNRRDStorageNode()
        storage.SetFileName(str(tmp_path / "xray.nrrd"))
        scene.AddNode(storage)
        one.SetAndObserveStorageNodeID(storage.GetID())
        assert storage.WriteData(one)
    assert scene.Commit(str(tmp_path / "scene.mrml"))
    again = new_scene()
    again.SetURL(str(tmp_path / "scene.mrml"))
    again.Import()
    loaded = again.GetFirstNodeByName('L & R "50 %"')
    np.testing.assert_allclose(own_view(loaded).world_to_pixel, before[0].world_to_pixel, rtol=1e-6)
    assert entries_of(loaded)["source_to_detector_mm"] == before[1]["source_to_detector_mm"]
