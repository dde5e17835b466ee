"""Any number of X-rays: from files, by drop, from the scene; stacks made into images; rows that say what they are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from panel_case import CARM, LONGEST_S, PIXEL_MM, REFINE, SIZE_PX, add_case, choose_case, choose_xrays, xrays

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")


def rows(host):
    """What the table says, row by row."""
    table = host.ui.xrayTable
    return [tuple(table.item(row, column).text() for column in range(3)) for row in range(table.rowCount)]


def written(folder, name, value=0):
    """An X-ray of the case's size in a file."""
    import SimpleITK as sitk

    pixels = np.random.default_rng(value).integers(0, 4000, SIZE_PX[::-1]).astype(np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(folder / name))
    return folder / name


def carm_file(path, angle_deg=0.0):
    entries = {**CARM, "image_size_px": list(SIZE_PX), "primary_angle_deg": angle_deg}
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def test_rows_show_image_geometry_and_mask(host):
    choose_case(host)
    assert rows(host) == [("X-ray 1", "complete", "none"), ("X-ray 2", "complete", "none")]
    host.ui.xrayTable.selectRow(0)
    host.ui.sourceToIsocenterSpinBox.value = 5000
    assert rows(host)[0][1] == "needed"


def test_a_row_is_taken_out_by_its_button_and_the_image_stays_in_the_scene(host):
    case = choose_case(host)
    host.ui.xrayTable.cellWidget(0, 3).click()
    host.idle(0.05)
    assert xrays(host) == [case.xray_nodes[1]]
    assert case.xray_nodes[0].GetScene() is not None
    assert host.ui.xrayTable.rowCount == 1


def test_the_row_that_is_chosen_is_the_view_whose_geometry_is_shown(host):
    choose_case(host)
    host.ui.xrayTable.selectRow(1)
    assert host.ui.geometryViewComboBox.currentText == "X-ray 2"
    assert host.ui.primaryAngleSpinBox.value == 90
    host.ui.landmarksViewComboBox.currentIndex = 0
    assert host.ui.xrayTable.currentRow() == 0


def test_files_are_loaded_one_image_each_with_the_geometry_beside_them(host, tmp_path):
    """The names are numbered: 3D Slicer's own reader would make one volume of them."""
    paths = [written(tmp_path, f"case_{number}.mha", number) for number in range(2)]
    for number, path in enumerate(paths):
        carm_file(path.with_suffix(".json"), 90.0 * number)
    host.messages.files.append([str(path) for path in paths])
    host.press(host.ui.loadXrayButton)
    assert rows(host) == [("case_0", "complete", "none"), ("case_1", "complete", "none")]
    host.ui.xrayTable.selectRow(1)
    assert host.ui.primaryAngleSpinBox.value == 90
    assert host.ui.primaryAngleOriginLabel.text == "case_1.json"


def test_a_dialog_that_is_cancelled_changes_nothing(host):
    case = choose_case(host)
    host.press(host.ui.loadXrayButton)
    assert xrays(host) == list(case.xray_nodes)


def test_a_file_that_is_no_image_is_told_below_and_the_others_are_loaded(host, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    host.messages.files.append([str(broken), str(written(tmp_path, "good.mha"))])
    host.press(host.ui.loadXrayButton)
    assert [row[0] for row in rows(host)] == ["good"]
    assert "broken.png" in host.ui.imagesMessageLabel.text
    assert not host.messages.shown


def test_images_and_carm_files_can_be_dropped_onto_the_panel(host, tmp_path):
    assert host.drop(host.ui.xrayTable, [written(tmp_path, "dropped.mha")])
    assert rows(host) == [("dropped", "needed", "none")]
    assert host.drop(host.ui.registerButton, [carm_file(tmp_path / "elsewhere.json", 20.0)])
    assert host.ui.primaryAngleSpinBox.value == pytest.approx(20)
    assert rows(host) == [("dropped", "complete", "none")]


def test_what_the_panel_does_not_want_is_left_to_the_window(host, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("no image", encoding="utf-8")
    assert not host.drop(host.ui.xrayTable, [note])
    assert not host.drop(host.ui.xrayTable, [carm_file(tmp_path / "carm.json")])  # of no X-ray
    assert not xrays(host)


def test_a_geometry_that_is_dropped_can_be_undone(host, tmp_path):
    choose_case(host, views=1)
    assert host.drop(host.ui.geometryCollapsibleButton, [carm_file(tmp_path / "other.json", 33.0)])
    host.press(host.ui.undoButton)
    assert host.ui.primaryAngleSpinBox.value == 0


def stack(host, count=3):
    case = add_case(host)
    pixels = [slicer.util.arrayFromVolume(case.xray_nodes[index % 2])[0] for index in range(count)]
    host.ui.ctSelector.setCurrentNode(case.ct_node)
    node = slicer.util.addVolumeFromArray(np.stack(pixels), name="frames")
    choose_xrays(host, node)
    return node, pixels


def test_a_stack_says_so_and_is_split_into_single_images(host):
    node, pixels = stack(host)
    assert rows(host) == [("frames", "3 slices", "none")]
    assert "Split" in host.ui.registerMessageLabel.text
    host.press(host.ui.splitStackButton)
    assert len(xrays(host)) == 3
    for xray, expected in zip(xrays(host), pixels):
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(xray)[0], expected)
    assert node.GetScene() is not None
    assert not host.ui.splitStackButton.isVisibleTo(host.module.widgetRepresentation())


def test_a_stack_becomes_a_run_that_is_registered_frame_by_frame(host):
    stack(host)
    host.press(host.ui.stackAsRunButton)
    host.press(host.ui.typicalGeometryButton)
    assert len(xrays(host)) == 1
    assert host.ui.registerFramesButton.isVisibleTo(host.module.widgetRepresentation())


def test_chosen_xrays_and_their_order_are_saved_with_the_scene(host, tmp_path):
    case = choose_case(host)
    choose_xrays(host, case.xray_nodes[1], case.xray_nodes[0])
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    host.scene.Clear(0)
    assert not rows(host)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    host.idle(0.1)
    assert [row[0] for row in rows(host)] == ["X-ray 2", "X-ray 1"]


def test_five_xrays_are_registered_together(host):
    case = add_case(host)
    copies = [slicer.mrmlScene.CopyNode(case.xray_nodes[index % 2]) for index in range(3)]
    host.ui.ctSelector.setCurrentNode(case.ct_node)
    choose_xrays(host, *case.xray_nodes, *copies)
    assert len(rows(host)) == 5
    host.ui.methodComboBox.currentText = REFINE
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)
    assert not host.messages.shown
    assert "confidence" in host.ui.resultLineLabel.text


def label_map(host, xray, drawn):
    """A label map of the X-ray's size that stands on it. drawn: bool (rows, columns)."""
    node = host.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "instrument")
    slicer.util.updateVolumeFromArray(node, drawn[None].astype(np.uint8))
    return node


def test_what_was_drawn_on_an_xray_is_left_out_of_it_alone_and_followed(host):
    case = choose_case(host)
    drawn = np.zeros(SIZE_PX[::-1], bool)
    drawn[:20] = True
    host.ui.xrayTable.selectRow(0)
    node = label_map(host, case.xray_nodes[0], drawn)
    host.ui.maskSelector.setCurrentNode(node)
    selection = host.panel.panel.selection
    assert [row[2] for row in rows(host)] == ["instrument", "none"]
    np.testing.assert_array_equal(selection.inputs.masks[0], ~drawn)
    assert selection.inputs.masks[1] is None
    slicer.util.arrayFromVolume(node)[0, 20:30] = 1
    slicer.util.arrayFromVolumeModified(node)
    assert not selection.inputs.masks[0][:30].any()
    host.ui.maskMeaningComboBox.currentText = "Use only"
    assert selection.inputs.masks[0][:30].all()
    assert not selection.inputs.masks[0][30:].any()
    host.ui.xrayTable.selectRow(1)
    assert host.ui.maskSelector.currentNode() is None
    assert selection.inputs.masks[0] is not None  # looking at another X-ray changes nothing


def test_a_mask_that_leaves_nothing_says_so_and_taking_it_away_helps(host):
    case = choose_case(host, views=1)
    host.ui.maskSelector.setCurrentNode(label_map(host, case.xray_nodes[0], np.ones(SIZE_PX[::-1], bool)))
    assert not host.ui.registerButton.enabled
    assert "leaves nothing" in host.ui.registerMessageLabel.text
    host.ui.maskSelector.setCurrentNode(None)
    assert host.ui.registerButton.enabled


def test_a_mask_that_is_deleted_leaves_the_xray_whole(host):
    case = choose_case(host, views=1)
    drawn = np.zeros(SIZE_PX[::-1], bool)
    drawn[:, :9] = True
    node = label_map(host, case.xray_nodes[0], drawn)
    host.ui.maskSelector.setCurrentNode(node)
    host.scene.RemoveNode(node)
    assert host.panel.panel.selection.inputs.masks == (None,)
    assert rows(host)[0][2] == "none"


def test_the_mask_reaches_the_registration(host):
    """Half of the X-rays is covered by something opaque: with a mask over it the pose is found nonetheless."""
    case = choose_case(host)
    drawn = np.zeros(SIZE_PX[::-1], bool)
    drawn[:, 70:] = True
    for row, xray in enumerate(case.xray_nodes):
        slicer.util.arrayFromVolume(xray)[0][drawn] = 1
        slicer.util.arrayFromVolumeModified(xray)
        host.ui.xrayTable.selectRow(row)
        host.ui.maskSelector.setCurrentNode(label_map(host, xray, drawn))
    host.ui.scopeComboBox.currentText = "Near the pose"
    host.press(host.ui.registerButton)
    np.testing.assert_array_equal(host.panel.panel.selection.inputs.masks[1], ~drawn)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)
    from XrayCTRegistrationLib.mrml.poses import pose_of

    assert case.error_mm(pose_of(host.ui.poseSelector.currentNode())) < PIXEL_MM
