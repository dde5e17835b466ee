"""Journeys with bones: chosen in a segmentation, shown, moved, registered each for itself, saved, disturbed."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from panel_case import (
    LONGEST_S,
    MOVED_BONE,
    PIXEL_MM,
    REFINE,
    SEGMENTS,
    bone_rows,
    bone_transforms,
    check,
    choose_bones,
    segment_id,
    xrays,
)

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")


def selection(host):
    return host.panel.panel.selection


def register(host):
    host.ui.methodComboBox.currentText = REFINE
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)


def matrix(node):
    return slicer.util.arrayFromTransformMatrix(node)


def world(node):
    return slicer.util.arrayFromTransformMatrix(node, toWorld=True)


def error_mm(pose, true, center):
    points = np.asarray(center) + 20.0 * np.concatenate([np.eye(3), -np.eye(3)])
    return float(np.linalg.norm(pose.apply(points) - true.apply(points), axis=1).mean())


def test_checked_bones_stand_under_the_pose_in_their_colours_and_the_segmentation_stays_as_it_is(host):
    from XrayCTRegistrationLib.mrml.models import bone_node, surface_node

    case = choose_bones(host, "L2", MOVED_BONE)
    pose_node = host.ui.poseSelector.currentNode()
    nodes = bone_transforms(host)
    assert set(nodes) == {"L2", MOVED_BONE}
    segmentation = case.segmentation_node.GetSegmentation()
    for name, node in nodes.items():
        assert node.GetParentTransformNode() is pose_node
        np.testing.assert_array_equal(matrix(node), np.eye(4))
        color = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(name)).GetColor()
        surface = surface_node(node)
        np.testing.assert_allclose(surface.GetDisplayNode().GetColor(), color)
        assert surface.GetDisplayNode().GetVisibility()
    assert segmentation.GetNumberOfSegments() == len(SEGMENTS)
    assert segmentation.ContainsRepresentation("Binary labelmap")
    assert not segmentation.ContainsRepresentation("Closed surface")
    with_bones = bone_node(case.ct_node).GetPolyData().GetNumberOfPoints()
    check(host)
    surface_of_all = bone_node(case.ct_node)
    host.wait(lambda: surface_of_all.GetPolyData().GetNumberOfPoints() > with_bones)  # they are in it again


def test_bones_that_are_chosen_no_more_leave_nothing_unless_they_have_moved(host):
    from XrayCTRegistrationLib.mrml.models import surface_node

    choose_bones(host, "L2", "L4")
    host.ui.movesComboBox.currentIndex = 2
    host.ui.shiftLeftSlider.value = 4
    moved = bone_transforms(host)["L4"]
    check(host, MOVED_BONE)
    assert set(bone_transforms(host)) == {"L4", MOVED_BONE}
    assert not surface_node(moved).GetDisplayNode().GetVisibility()
    check(host, "L4")
    assert surface_node(moved).GetDisplayNode().GetVisibility()
    assert matrix(moved)[0, 3] != 0
    models = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLModelNode")}
    assert "L2 surface" not in models
    assert "L3 surface" not in models


def test_none_checked_is_the_whole_ct_as_ever(host):
    choose_bones(host, at_true_pose=True)
    register(host)
    assert bone_transforms(host) == {}
    assert bone_rows(host) == []
    assert not host.ui.boneResultsTable.isVisibleTo(host.module.widgetRepresentation())
    assert not host.ui.movesComboBox.isVisibleTo(host.module.widgetRepresentation())


def test_a_bone_that_moved_is_found_and_undo_and_redo_take_all_along(host, tmp_path):
    from XrayCTRegistrationLib.mrml.poses import pose_of

    case = choose_bones(host, *SEGMENTS)
    register(host)
    pose_node, nodes = host.ui.poseSelector.currentNode(), bone_transforms(host)
    center = {bone.name: bone.center for bone in selection(host).bones.standing}[MOVED_BONE]
    whole, alone = (error_mm(pose_of(node), case.bone_pose, center) for node in (pose_node, nodes[MOVED_BONE]))
    assert whole > 2 * PIXEL_MM  # one pose for all is wrong
    assert alone < PIXEL_MM  # of voxels of 3 mm
    found = {name: figures for name, *figures in bone_rows(host)}
    assert set(found) == set(SEGMENTS)
    assert float(found[MOVED_BONE][0]) > 0.2
    assert "mm" in found[MOVED_BONE][1]
    assert all(re.match(r"(High|Moderate|Low), \d", figures[2]) for figures in found.values())
    _assert_undone_and_redone(host, [pose_node, *nodes.values()])
    _assert_table_has_bodies(host, ["", *SEGMENTS])
    _assert_reported(host, tmp_path)
    assert not host.messages.shown


def _assert_undone_and_redone(host, nodes):
    after = [world(node) for node in nodes]
    host.press(host.ui.undoButton)
    for node in nodes[1:]:
        np.testing.assert_allclose(matrix(node), np.eye(4), atol=1e-9)
    assert not np.allclose(world(nodes[0]), after[0])
    host.press(host.ui.redoButton)
    for node, matrix_after in zip(nodes, after, strict=True):
        np.testing.assert_allclose(world(node), matrix_after, atol=1e-9)


def _assert_reported(host, folder):
    """The report has the poses of bones as files, a row for each, and a figure of them where all are checked."""
    from PIL import Image
    from PySide6.QtWidgets import QMessageBox
    from XrayCTRegistrationLib.io.poses import read_pose
    from XrayCTRegistrationLib.mrml.poses import pose_of

    host.messages.files.append([str(folder)])
    host.press(host.ui.saveReportButton)
    poses = {f"pose-{name}.tfm": pose_of(node) for name, node in bone_transforms(host).items()}
    files = {"pose.tfm", "overlay.png", "report.json", *poses}
    assert {path.name for path in folder.iterdir()} == files | {"bones.png"}
    for name, pose in poses.items():
        np.testing.assert_allclose(read_pose(folder / name).matrix, pose.matrix, atol=1e-5)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert [row["file"] for row in report["bones"]] == list(poses)
    assert report["segmentation"] == "Vertebrae"
    picture = np.asarray(Image.open(folder / "bones.png")).astype(int)
    for row in report["bones"]:
        color = np.round(255 * np.array(row["color"]))
        assert (np.abs(picture - color).max(axis=2) < 3).sum() > 100  # its edges, in both poses and both X-rays
    check(host, "L2")  # the others cannot be drawn any more: the figure of before goes, too
    host.messages.files.append([str(folder)])
    host.messages.answers.append(QMessageBox.StandardButton.Ok)
    host.press(host.ui.saveReportButton)
    assert {path.name for path in folder.iterdir()} == files
    assert "bones.png" in host.messages.shown.pop().text


def _assert_table_has_bodies(host, bodies):
    from XrayCTRegistrationLib.mrml.tables import results_table

    table = results_table(selection(host).parameters.parameterNode)
    column = table.GetTable().GetColumnByName("body")
    assert [column.GetValue(row) for row in range(table.GetNumberOfRows())] == bodies


def test_edges_of_bones_are_drawn_in_their_colours_where_they_stand(host):
    """A bone that is moved takes its own lines along, and no others."""
    case = choose_bones(host, "L2", "L4")
    xray = case.xray_nodes[0]
    host.wait(lambda: set(lines_by_color(xray)) == {0, 1, 2})
    host.idle(1.0)  # until they are fine
    colors = xray.GetNodeReference("XrayCTRegistration.EdgeColors").GetLookupTable()
    before = lines_by_color(xray)
    by_name = {bone.name: bone.color for bone in selection(host).bones.standing}
    np.testing.assert_allclose(colors.GetTableValue(2)[:3], by_name["L4"], atol=0.01)
    host.ui.movesComboBox.currentIndex = 2
    host.ui.shiftSuperiorSlider.value = 20
    host.wait(lambda: not np.array_equal(lines_by_color(xray)[2], before[2]))
    after = lines_by_color(xray)
    for unmoved in (0, 1):
        np.testing.assert_array_equal(after[unmoved], before[unmoved])
    rise = after[2][:, 2].mean() - before[2][:, 2].mean()
    assert rise == pytest.approx(20 * 1020 / 700, rel=0.15)  # as the detector magnifies


def lines_by_color(xray_node):
    """The middles of the edge lines over an X-ray, (N, 3) RAS, by the number of their colour."""
    from vtk.util.numpy_support import vtk_to_numpy
    from XrayCTRegistrationLib.mrml.overlay import overlay_node

    node = overlay_node(xray_node)
    polydata = node.GetPolyData() if node is not None else None
    if polydata is None or not polydata.GetNumberOfLines():
        return {}
    points = vtk_to_numpy(polydata.GetPoints().GetData())
    segments = vtk_to_numpy(polydata.GetLines().GetConnectivityArray()).reshape(-1, 2)
    colors = vtk_to_numpy(polydata.GetCellData().GetScalars())
    return {int(color): points[segments[colors == color]].mean(axis=1) for color in np.unique(colors)}


def test_sliders_and_handles_move_the_bone_that_is_chosen(host):
    choose_bones(host, "L2", "L4")
    pose_node, nodes = host.ui.poseSelector.currentNode(), bone_transforms(host)
    before = {node.GetName(): world(node) for node in (pose_node, *nodes.values())}
    host.ui.movesComboBox.currentIndex = 1
    ui = host.ui
    assert [ui.shiftLeftSlider.value, ui.turnSuperiorSlider.value] == [0, 0]  # it stands with the CT
    ui.shiftLeftSlider.value = 5
    ui.turnSuperiorSlider.value = 10
    bone = {one.name: one for one in selection(host).bones.standing}["L2"]
    moved = bone.pose.apply(bone.center) - selection(host).pose.apply(bone.center)
    np.testing.assert_allclose(moved, (5, 0, 0), atol=1e-6)
    for name, node in {"pose": pose_node, "L4": nodes["L4"]}.items():
        np.testing.assert_allclose(world(node), before[node.GetName()], err_msg=name)
    ui.handlesCheckBox.checked = True
    assert nodes["L2"].GetDisplayNode().GetEditorVisibility()
    assert not (pose_node.GetDisplayNode() and pose_node.GetDisplayNode().GetEditorVisibility())
    np.testing.assert_allclose(nodes["L2"].GetCenterOfTransformation(), bone.center * (-1, -1, 1))
    assert not ui.presetPaButton.enabled  # which would turn the patient
    ui.movesComboBox.currentIndex = 0
    assert not nodes["L2"].GetDisplayNode().GetEditorVisibility()
    ui.shiftLeftSlider.value = ui.shiftLeftSlider.value + 3
    np.testing.assert_allclose(matrix(nodes["L4"]), np.eye(4), atol=1e-9)  # goes along
    ui.movesComboBox.currentIndex = 1
    assert ui.shiftLeftSlider.value == pytest.approx(5, abs=0.05)
    host.press(ui.restoreInitialPoseButton)
    np.testing.assert_allclose(matrix(nodes["L2"]), np.eye(4), atol=1e-9)


def test_a_bone_that_comes_to_rest_can_be_gone_back_to(host):
    choose_bones(host, "L2")
    host.ui.movesComboBox.currentIndex = 1
    host.idle(1.0)
    host.ui.shiftLeftSlider.value = 5
    host.idle(1.0)
    host.press(host.ui.undoButton)
    np.testing.assert_allclose(matrix(bone_transforms(host)["L2"]), np.eye(4), atol=1e-9)
    host.press(host.ui.redoButton)
    assert np.linalg.norm(matrix(bone_transforms(host)["L2"])[:3, 3]) == pytest.approx(5, abs=1e-6)


def test_a_saved_scene_brings_bones_back_whole_under_the_room_they_stand_in(host, tmp_path):
    from mrml_nodes import rigid, transform_node
    from XrayCTRegistrationLib.mrml.models import surface_node
    from XrayCTRegistrationLib.mrml.poses import set_pose

    case = choose_bones(host, "L2", MOVED_BONE)
    pose_node = host.ui.poseSelector.currentNode()
    room = transform_node(host.scene, "room", rigid((0.1, -0.2, 0.3), (8, -30, 5)))
    pose_node.SetAndObserveTransformNodeID(room.GetID())
    set_pose(pose_node, case.true_pose)
    register(host)
    host.idle(1.0)
    before = {name: world(node) for name, node in bone_transforms(host).items()}
    shown, lines = bone_rows(host), lines_by_color(case.xray_nodes[0])
    assert set(lines) == {0, 1, 2}
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    host.scene.Clear(0)
    assert host.ui.segmentsListWidget.count == 0
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    host.wait(lambda: host.ui.registerButton.enabled, LONGEST_S)
    host.idle(1.0)
    nodes = bone_transforms(host)
    assert set(nodes) == {"L2", MOVED_BONE}
    for name, node in nodes.items():
        np.testing.assert_allclose(world(node), before[name], atol=1e-5)
        assert node.GetParentTransformNode().GetParentTransformNode().GetName() == "room"
        assert surface_node(node).GetParentTransformNode() is node
    assert bone_rows(host) == shown
    assert [bone.name for bone in selection(host).bones.standing] == ["L2", MOVED_BONE]
    again = lines_by_color(xrays(host)[0])
    for color, middles in lines.items():
        np.testing.assert_allclose(again[color], middles, atol=1e-3)
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLNode")]
    assert len([name for name in names if "surface" in name or "edge colors" in name]) == 4  # not made a second time
    register(host)  # and it can go on


def test_a_bone_outside_the_xray_stays_with_the_ct_and_says_so(host):
    from XrayCTRegistrationLib.mrml.poses import set_pose

    case = choose_bones(host, "L2", "L4", views=1)
    center = {bone.name: bone.center for bone in selection(host).bones.standing}["L4"]
    leave_out_below(host, case, center)
    set_pose(host.ui.poseSelector.currentNode(), case.true_pose)
    register(host)
    found = {name: figures for name, *figures in bone_rows(host)}
    assert found["L4"] == ["", "not in the X-ray: stays with the CT", ""]
    assert found["L2"][0]
    np.testing.assert_allclose(matrix(bone_transforms(host)["L4"]), np.eye(4), atol=1e-9)


def leave_out_below(host, case, center):
    """Mask the X-ray from above the bone with this centre, (3,) in the CT's LPS, downwards."""
    from XrayCTRegistrationLib.mrml.volumes import vtk_image
    from XrayCTRegistrationLib.mrml.xrays import size_px, view_of

    xray = case.xray_nodes[0]
    pixel, _ = view_of(xray).project_points(case.true_pose.apply(center)[None])
    columns, line = size_px(xray)
    drawn = np.zeros((1, line, columns), np.uint8)
    drawn[:, max(0, int(pixel[0, 1]) - 14) :] = 1
    label = host.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "below")
    label.SetAndObserveImageData(vtk_image(drawn))
    host.ui.maskSelector.setCurrentNode(label)


def choose_label_map(host, upper, lower):
    """A label map whose bone bears one number in the upper half of the CT, another one in the lower."""
    from XrayCTRegistrationLib.mrml.frames import ijk_to_ras, vtk_matrix
    from XrayCTRegistrationLib.mrml.volumes import voxels, vtk_image

    case = choose_bones(host)
    bone = voxels(case.ct_node) > 300
    labels = np.where(bone, np.where(np.arange(len(bone)) < len(bone) // 2, lower, upper)[:, None, None], 0)
    labels = labels.astype(np.uint8)
    node = host.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    node.SetAndObserveImageData(vtk_image(labels))
    node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras(case.ct_node)))
    host.ui.segmentationSelector.setCurrentNode(node)
    host.wait(lambda: host.ui.segmentsListWidget.count == (1 if upper == lower else 2))
    host.wait(lambda: host.ui.stageLabel.text == "", LONGEST_S)


def test_a_label_map_is_offered_and_its_bones_named(host):
    choose_label_map(host, 28, 28)
    check(host, "L4")
    assert list(bone_transforms(host)) == ["L4"]


def test_a_label_map_of_another_numbering_is_listed_by_number(host):
    choose_label_map(host, 24, 25)  # L5 and L6 of VerSe; TotalSegmentator calls 25 the sacrum
    assert [host.ui.segmentsListWidget.item(row).text() for row in range(2)] == ["24", "25"]
    check(host, "25")
    assert list(bone_transforms(host)) == ["25"]


def test_names_of_any_script_are_names_of_transforms(host):
    case = choose_bones(host)
    name = "第五腰椎, links oben"
    case.segmentation_node.GetSegmentation().GetSegment(segment_id(case, "L4")).SetName(name)
    widget = host.ui.segmentsListWidget
    host.wait(lambda: widget.count and widget.item(2).text() == name)
    check(host, name)
    assert list(bone_transforms(host)) == [name]
    assert host.ui.movesComboBox.itemText(1) == name


def test_a_script_registers_bones_by_name_or_id(host):
    from panel_case import add_bones_case
    from XrayCTRegistrationLib.mrml.bone_transforms import bone_nodes, kept_bone
    from XrayCTRegistrationLib.mrml.poses import pose_node_for, pose_of

    case = add_bones_case(host)
    pose_node = pose_node_for(host.scene, case.ct_node, case.true_pose)
    segments = [segment_id(case, "L2"), MOVED_BONE.lower()]
    result = host.logic.register(
        case.ct_node, case.xray_nodes, segmentationNode=case.segmentation_node, segments=segments, method="gradient"
    )
    assert [bone.name for bone in result.bones] == ["L2", MOVED_BONE]
    nodes = bone_nodes(pose_node)
    for node, bone in zip(nodes, result.bones, strict=True):
        np.testing.assert_allclose(pose_of(node).matrix, bone.pose.matrix, atol=1e-6)
        assert kept_bone(node).similarity == bone.similarity
    from XrayCTRegistrationLib.errors import InputError

    with pytest.raises(InputError, match="there is no bone 'L9'"):
        host.logic.register(
            case.ct_node, case.xray_nodes, segmentationNode=case.segmentation_node, segments=["L9"], method="gradient"
        )
