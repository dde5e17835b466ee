"""What is left of a registration: its report in a folder, the table of all of them, lengths in the unit that is set."""

from __future__ import annotations

import json

import numpy as np
import pytest
from panel_case import LONGEST_S, REFINE, choose_case, choose_xrays

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")


def register(host):
    host.ui.methodComboBox.currentText = REFINE
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)


def results_table(host):
    from XrayCTRegistrationLib.mrml.tables import results_table

    return results_table(host.panel.panel.selection.parameters.parameterNode)


def test_before_the_first_registration_there_is_nothing_to_save_or_show(host):
    choose_case(host)
    assert not host.ui.saveReportButton.enabled
    assert not host.ui.showTableButton.enabled


def test_the_report_of_the_panel_is_the_one_of_the_command_line(host, tmp_path):
    case = choose_case(host)
    register(host)
    found = slicer.util.arrayFromTransformMatrix(host.ui.poseSelector.currentNode())
    host.messages.files.append([str(tmp_path)])
    host.press(host.ui.saveReportButton)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["overlay.png", "pose.tfm", "report.json"]
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    flip = np.diag([-1, -1, 1, 1])
    np.testing.assert_allclose(flip @ report["ct_to_world"] @ flip, found, atol=1e-6)
    assert (report["method"], report["init"], report["ct"]) == ("gradient", "center", "Small CT")
    assert [xray["file"] for xray in report["xrays"]] == [node.GetName() for node in case.xray_nodes]
    assert not host.messages.shown


def test_an_earlier_report_is_replaced_only_where_a_person_agrees(host, tmp_path):
    from PySide6.QtWidgets import QMessageBox

    choose_case(host)
    register(host)
    (tmp_path / "report.json").write_text("of another day", encoding="utf-8")
    for answer in (QMessageBox.StandardButton.Cancel, QMessageBox.StandardButton.Ok):
        host.messages.files.append([str(tmp_path)])
        host.messages.answers.append(answer)
        host.press(host.ui.saveReportButton)
        replaced = (tmp_path / "report.json").read_text(encoding="utf-8") != "of another day"
        assert replaced is (answer == QMessageBox.StandardButton.Ok)
    assert all("report.json" in message.text for message in host.messages.shown)


def test_a_report_of_other_xrays_than_are_chosen_is_refused_in_words(host, tmp_path):
    case = choose_case(host)
    register(host)
    choose_xrays(host, case.xray_nodes[0])
    host.messages.files.append([str(tmp_path)])
    host.press(host.ui.saveReportButton)
    assert "registered to other X-rays" in host.messages.shown[0].text
    assert not list(tmp_path.iterdir())


def test_every_registration_is_a_row_of_the_scenes_table(host, tmp_path):
    choose_case(host)
    for _ in range(2):
        register(host)
    table = results_table(host)
    assert table.GetNumberOfRows() == 2
    similarity = table.GetTable().GetColumnByName("similarity")
    assert f"{similarity.GetValue(1):.3f} after" in host.ui.similarityLabel.text
    host.press(host.ui.showTableButton)
    assert slicer.app.applicationLogic().GetSelectionNode().GetActiveTableID() == table.GetID()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    host.scene.Clear(0)
    assert not host.ui.showTableButton.enabled
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    host.idle(0.1)
    assert results_table(host).GetNumberOfRows() == 2
    assert host.ui.showTableButton.enabled


@pytest.fixture
def in_centimetres(host):
    """Lengths are shown in centimetres, as chosen in 3D Slicer's settings; in millimetres again at the end."""
    node = _length_unit_node(host)
    before = (node.GetSuffix(), node.GetDisplayCoefficient())
    yield lambda: _show_in(node, "cm", 0.1)
    _show_in(node, *before)


def _length_unit_node(host):
    from XrayCTRegistrationLib.mrml.units import length_unit_node

    return length_unit_node(host.scene)


def _show_in(node, suffix, per_mm):
    was = node.StartModify()
    node.SetSuffix(suffix)
    node.SetDisplayCoefficient(per_mm)
    node.EndModify(was)


def test_lengths_follow_the_unit_that_is_set_and_mean_the_same(host, in_centimetres):
    from XrayCTRegistrationLib.mrml.xrays import view_of

    case = choose_case(host, views=1)
    register(host)
    pose = slicer.util.arrayFromTransformMatrix(host.ui.poseSelector.currentNode())
    shift = host.ui.shiftLeftSlider.value
    in_centimetres()
    ui = host.ui
    assert (ui.sourceToDetectorSpinBox.value, ui.sourceToDetectorSpinBox.suffix) == (102, " cm")
    assert ui.rowSpacingSpinBox.value == pytest.approx(0.3)
    assert ui.shiftLeftSlider.value == pytest.approx(shift / 10)
    assert ui.movedLabel.text.split("and ")[1].split(" from")[0].endswith(" cm")
    assert "cm" in ui.scopeWordsLabel.text or "without a search" in ui.scopeWordsLabel.text
    np.testing.assert_array_equal(slicer.util.arrayFromTransformMatrix(ui.poseSelector.currentNode()), pose)
    ui.sourceToDetectorSpinBox.value = 105
    assert view_of(case.xray_nodes[0]).source_to_detector_mm == pytest.approx(1050)
    ui.shiftLeftSlider.value = 2
    in_mm = host.panel.panel.selection
    middle = in_mm.pose.apply(in_mm.inputs.ct.center) - in_mm.inputs.isocenter
    assert middle[0] == pytest.approx(20, abs=1e-6)


def test_a_calibrated_view_is_told_in_numbers_instead_of_entries_that_are_needed(host):
    case = choose_case(host, views=1)
    _turn_detector_in_its_plane(case.xray_nodes[0])
    host.panel.panel.selection.update()
    ui, window = host.ui, host.module.widgetRepresentation()
    text = ui.calibrationLabel.text
    assert "Source to detector: 1020.0 mm" in text
    assert "Pixel spacing, rows x columns: 3.0000 x 3.0000 mm" in text
    assert not ui.sourceToDetectorSpinBox.isVisibleTo(window)
    assert host.ui.registerButton.enabled
    host.press(ui.typicalGeometryButton)  # which a calibration refuses in words
    assert "calibration" in ui.geometryMessageLabel.text or "calibrated" in ui.geometryMessageLabel.text


def _turn_detector_in_its_plane(node):
    from XrayCTRegistrationLib.geometry import XrayView, rotation_from_vector
    from XrayCTRegistrationLib.mrml.xrays import own_view, place_at_detector

    view = own_view(node)
    matrix = view.pixel_to_world.copy()
    matrix[:3, :2] = rotation_from_vector(0.3 * view.axes[:, 2]) @ matrix[:3, :2]
    middle = view.detector_points(view.principal_point_px)
    matrix[:3, 3] = middle - matrix[:3, :2] @ view.principal_point_px
    place_at_detector(node, XrayView(view.source, matrix, view.size_px, view.isocenter))


def test_help_leads_to_the_tutorial(host):
    assert "tutorial.md" in slicer.modules.xrayctregistration.helpText
