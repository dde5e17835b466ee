"""Journeys through registration in the panel: to the end, cancelled, disturbed, undone, of a run of frames."""

from __future__ import annotations

import numpy as np
import pytest
from panel_case import LEARNED, LONGEST_S, PIXEL_MM, REFINE, SLOW, choose_case

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")


def start(host):
    """Press Register and wait until it runs."""
    host.press(host.ui.registerButton)
    assert host.ui.registerButton.text == "Cancel"


def finish(host):
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)


def running_stage(host):
    """The library's name of what runs now."""
    state = host.panel.panel.runner.session.state
    return state.stage if state is not None else ""


def pose(host):
    from XrayCTRegistrationLib.mrml.poses import pose_of

    return pose_of(host.ui.poseSelector.currentNode())


def matrix(host):
    return slicer.util.arrayFromTransformMatrix(host.ui.poseSelector.currentNode())


def test_register_finds_the_pose_and_reports_it(host):
    case = choose_case(host)
    assert case.error_mm(pose(host)) > 10
    start(host)
    assert host.ui.progressBar.isVisibleTo(host.module.widgetRepresentation())
    finish(host)
    assert case.error_mm(pose(host)) < PIXEL_MM  # two views, Poisson noise: below a pixel
    assert "before" in host.ui.similarityLabel.text
    assert "mm" in host.ui.movedLabel.text
    assert host.ui.confidenceLabel.text.startswith(("High", "Moderate"))
    assert not host.ui.progressBar.isVisibleTo(host.module.widgetRepresentation())
    assert not host.messages.shown


def test_the_learned_similarity_registers_with_the_shipped_weights(host):
    case = choose_case(host)
    before = case.error_mm(pose(host))
    host.ui.methodComboBox.currentText = LEARNED
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.stageLabel.text == "Following the learned similarity", LONGEST_S)
    finish(host)
    assert not host.messages.shown
    assert case.error_mm(pose(host)) < before


def test_undo_and_redo_go_between_start_and_result(host):
    choose_case(host)
    before = matrix(host)
    start(host)
    finish(host)
    after = matrix(host)
    assert not np.allclose(before, after)
    host.press(host.ui.undoButton)
    np.testing.assert_allclose(matrix(host), before, atol=1e-9)
    assert not host.ui.undoButton.enabled
    host.press(host.ui.redoButton)
    np.testing.assert_allclose(matrix(host), after, atol=1e-9)
    host.press(host.ui.restoreInitialPoseButton)
    np.testing.assert_allclose(matrix(host), before, atol=1e-9)


def test_cancel_keeps_the_best_pose_so_far_and_the_initial_pose(host):
    choose_case(host)
    before = matrix(host)
    host.ui.methodComboBox.currentText = SLOW
    start(host)
    host.wait(lambda: not np.allclose(matrix(host), before), LONGEST_S)
    session = host.panel.panel.runner.session
    host.press(host.ui.registerButton)
    assert host.ui.registerButton.text == "Register"
    np.testing.assert_allclose(pose(host).matrix, session.pose.matrix, atol=1e-9)
    assert not np.allclose(matrix(host), before)
    kept = matrix(host)
    host.idle(0.3)
    np.testing.assert_array_equal(matrix(host), kept)  # nothing goes on behind the panel's back
    host.press(host.ui.undoButton)
    np.testing.assert_allclose(matrix(host), before, atol=1e-9)


def test_the_window_stays_alive_while_registering(host):
    """Events of the window are handled between steps; how long one takes is in the benchmark, not on a busy machine."""
    import qt

    choose_case(host)
    host.ui.methodComboBox.currentText = SLOW
    beats: list[None] = []
    timer = qt.QTimer()
    timer.interval = 10
    timer.connect("timeout()", lambda: beats.append(None))
    start(host)
    host.wait(lambda: "CMA-ES" in running_stage(host), LONGEST_S)
    timer.start()
    host.wait(lambda: len(beats) > 20 or host.ui.registerButton.text == "Register", LONGEST_S)
    timer.stop()
    assert host.ui.registerButton.text == "Cancel"
    host.press(host.ui.registerButton)


def test_edges_move_while_registering(host):
    from XrayCTRegistrationLib.mrml.overlay import edge_points

    case = choose_case(host)
    host.wait(lambda: len(edge_points(case.xray_nodes[0])) > 0)
    host.idle(0.6)
    host.ui.methodComboBox.currentText = SLOW
    start(host)
    images = {edge_points(case.xray_nodes[0]).tobytes()}
    while host.ui.registerButton.text == "Cancel" and len(images) < 3:
        host.idle(0.05)
        images.add(edge_points(case.xray_nodes[0]).tobytes())
    assert len(images) == 3
    host.press(host.ui.registerButton)


def test_search_starts_from_afar_and_can_be_refined(host):
    case = choose_case(host)
    host.ui.turnSuperiorSlider.value = 20
    away = case.error_mm(pose(host))
    host.press(host.ui.searchButton)
    finish(host)
    assert case.error_mm(pose(host)) < away / 2


@pytest.mark.parametrize("which", ["ct", "xray", "pose"])
def test_deleting_an_input_while_registering_ends_it_without_an_error(host, which):
    case = choose_case(host)
    host.ui.methodComboBox.currentText = SLOW
    start(host)
    host.idle(0.2)
    nodes = {"ct": case.ct_node, "xray": case.xray_nodes[0], "pose": host.ui.poseSelector.currentNode()}
    host.scene.RemoveNode(nodes[which])
    finish(host)
    assert "removed" in host.ui.stageLabel.text
    assert host.ui.registerButton.enabled is (which != "ct")  # one X-ray, or a new pose, is enough to go on


def test_closing_the_scene_while_registering_ends_it_without_an_error(host):
    choose_case(host)
    host.ui.methodComboBox.currentText = SLOW
    start(host)
    host.idle(0.2)
    host.scene.Clear(0)
    host.idle(0.2)
    assert host.ui.registerButton.text == "Register"
    assert not host.ui.registerButton.enabled


def test_registration_goes_on_while_another_module_is_open(host):
    case = choose_case(host)
    start(host)
    host.module.widgetRepresentation().exit()
    finish(host)
    host.module.widgetRepresentation().enter()
    assert case.error_mm(pose(host)) < PIXEL_MM


def test_a_run_of_frames_is_registered_into_a_transform_sequence(host):
    case, shifts = choose_case(host, views=1), (0, 3)
    browser = add_run(host, case, shifts)
    host.panel.panel.selection.update()
    start_from_truth(host, case)
    host.ui.methodComboBox.currentText = REFINE
    host.press(host.ui.registerFramesButton)
    finish(host)
    sequence = browser.GetSequenceNode(host.ui.poseSelector.currentNode())
    assert sequence.GetNumberOfDataNodes() == len(shifts)
    found = []
    for index in range(len(shifts)):
        browser.SetSelectedItemNumber(index)
        found.append(matrix(host)[:3, 3].copy())
    moved = found[1] - found[0]
    np.testing.assert_allclose(moved, (-shifts[1] * PIXEL_MM, 0, 0), atol=0.5 * PIXEL_MM)  # columns run to the left: -x


def start_from_truth(host, case):
    flip = np.diag([-1, -1, 1, 1])
    slicer.util.updateTransformMatrixFromArray(host.ui.poseSelector.currentNode(), flip @ case.true_pose.matrix @ flip)


def add_run(host, case, shifts_px):
    """A sequence whose frames show the X-ray moved by so many columns; the X-ray's node shows the first one."""
    node = case.xray_nodes[0]
    image = slicer.util.arrayFromVolume(node).copy()
    sequence = host.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "run")
    for index, shift in enumerate(shifts_px):
        slicer.util.updateVolumeFromArray(node, np.roll(image, shift, axis=2))
        sequence.SetDataNodeAtValue(node, str(index))
    browser = host.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "run browser")
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(node, sequence, False)
    browser.SetSelectedItemNumber(0)
    return browser
