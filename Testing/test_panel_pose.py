"""Journeys through the initial pose: presets, sliders, the transform itself, landmarks; the edges follow."""

from __future__ import annotations

import numpy as np
import pytest
from panel_case import choose_case

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")

SLIDERS = (
    "shiftLeftSlider",
    "shiftPosteriorSlider",
    "shiftSuperiorSlider",
    "turnLeftSlider",
    "turnPosteriorSlider",
    "turnSuperiorSlider",
)


def test_a_transform_is_made_that_centres_the_ct_at_the_isocentre(host):
    case = choose_case(host)
    node = host.ui.poseSelector.currentNode()
    assert node.IsA("vtkMRMLLinearTransformNode")
    assert case.ct_node.GetParentTransformNode() is node
    bounds = np.zeros(6)
    case.ct_node.GetRASBounds(bounds)
    np.testing.assert_allclose(bounds.reshape(3, 2).mean(axis=1), 0, atol=1e-6)
    assert [getattr(host.ui, name).value for name in SLIDERS] == pytest.approx([0] * 6, abs=1e-6)


@pytest.mark.parametrize("name", SLIDERS)
def test_each_slider_moves_the_ct_along_or_about_its_axis(host, name):
    """The CT's middle and its rotation in RAS: left is -x, posterior is -y, superior is z."""
    choose_case(host)
    getattr(host.ui, name).value = 12
    matrix = slicer.util.arrayFromTransformMatrix(host.ui.poseSelector.currentNode())
    axis = np.eye(3)[SLIDERS.index(name) % 3] * (-1, -1, 1)
    if name.startswith("shift"):
        np.testing.assert_allclose(_ct_middle(host), 12 * axis, atol=1e-6)
        np.testing.assert_allclose(matrix[:3, :3], np.eye(3), atol=1e-9)
    else:
        np.testing.assert_allclose(_ct_middle(host), 0, atol=1e-6)
        np.testing.assert_allclose(matrix[:3, :3], _rotation(12, axis), atol=1e-9)


def test_sliders_show_a_pose_that_was_set_elsewhere(host):
    choose_case(host)
    node = host.ui.poseSelector.currentNode()
    matrix = slicer.util.arrayFromTransformMatrix(node)
    matrix[:3, 3] += (-25, 0, 0)
    slicer.util.updateTransformMatrixFromArray(node, matrix)
    assert host.ui.shiftLeftSlider.value == pytest.approx(25, abs=0.06)


def test_presets_turn_the_ct_to_be_seen_from_that_side(host):
    """Frontal and lateral differ by a quarter turn, frontal and from the front by half a turn, about the long axis."""
    choose_case(host, views=1)
    seen = {}
    for name in ("presetPaButton", "presetApButton", "presetLateralButton"):
        host.press(getattr(host.ui, name))
        seen[name] = slicer.util.arrayFromTransformMatrix(host.ui.poseSelector.currentNode())[:3, :3].copy()
        np.testing.assert_allclose(_ct_middle(host), 0, atol=1e-6)
    assert _angle_deg(seen["presetPaButton"], np.eye(3)) == pytest.approx(0, abs=1e-4)
    assert _angle_deg(seen["presetLateralButton"], seen["presetPaButton"]) == pytest.approx(90, abs=1e-4)
    assert _angle_deg(seen["presetApButton"], seen["presetPaButton"]) == pytest.approx(180, abs=1e-4)


def test_edges_and_similarity_follow_the_slider_and_are_best_at_the_true_pose(host):
    case = choose_case(host)
    host.wait(lambda: len(_edges(case)) > 0 and host.ui.poseMessageLabel.text)
    host.idle(0.6)  # until the edges are fine
    before = _edges(case)
    away = host.ui.poseMessageLabel.text
    slicer.util.updateTransformMatrixFromArray(host.ui.poseSelector.currentNode(), _ras(case.true_pose))
    host.wait(lambda: host.ui.poseMessageLabel.text != away)
    host.idle(0.6)
    assert not np.array_equal(_edges(case), before)
    at_truth = _number(host.ui.poseMessageLabel.text)
    assert at_truth > 2 * _number(away)  # noise that no pose explains keeps it well below 1


def test_no_edges_are_drawn_when_they_are_switched_off(host):
    case = choose_case(host)
    host.wait(lambda: len(_edges(case)) > 0)
    host.idle(0.6)
    host.ui.liveOverlayCheckBox.checked = False
    host.idle(0.1)
    assert len(_edges(case)) == 0


def test_handles_are_shown_about_the_ct(host):
    choose_case(host)
    host.ui.handlesCheckBox.checked = True
    display = host.ui.poseSelector.currentNode().GetDisplayNode()
    assert display.GetEditorVisibility()
    host.ui.handlesCheckBox.checked = False
    assert not display.GetEditorVisibility()


def test_bone_in_3d_can_be_hidden(host):
    choose_case(host)
    host.idle(0.2)
    shown = [model for model in slicer.util.getNodesByClass("vtkMRMLModelNode") if "bone" in model.GetName().lower()]
    assert len(shown) == 1
    assert shown[0].GetDisplayNode().GetVisibility()
    host.ui.showBoneCheckBox.checked = False
    assert not shown[0].GetDisplayNode().GetVisibility()


def test_paired_landmarks_give_the_true_pose(host):
    case = choose_case(host)
    ct_points = _placed_landmarks(host, case)
    assert len(ct_points) >= 6
    host.ui.landmarksGroupBox.collapsed = False
    host.press(host.ui.poseFromLandmarksButton)
    from XrayCTRegistrationLib.mrml.poses import pose_of

    assert case.error_mm(pose_of(host.ui.poseSelector.currentNode())) < 0.5  # landmarks without noise
    assert "mm" in host.ui.landmarkErrorLabel.text


def _placed_landmarks(host, case):
    """Landmarks in the CT and where both X-rays show them, chosen in the panel; the CT's points in its own LPS."""
    from XrayCTRegistrationLib.mrml.volumes import ct_volume
    from XrayCTRegistrationLib.mrml.xrays import view_of

    center = ct_volume(case.ct_node).center
    offsets = np.array([(40, 0, 50), (-40, 10, 40), (30, -30, -50), (-30, 30, -40), (0, -40, 10), (10, 40, 0)])
    points = center + offsets
    lists = [points, *(_seen(view_of(node), case.true_pose.apply(points)) for node in case.xray_nodes)]
    for number, lps in enumerate(lists):
        node = host.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"landmarks {number}")
        if number == 0:
            node.SetAndObserveTransformNodeID(host.ui.poseSelector.currentNode().GetID())
        for index, point in enumerate(lps * (-1, -1, 1)):
            node.AddControlPoint(point, f"P{index}")
        if number == 0:
            host.ui.ctLandmarksSelector.setCurrentNode(node)
        else:
            host.ui.landmarksViewComboBox.currentIndex = number - 1
            host.ui.xrayLandmarksSelector.setCurrentNode(node)
    return points


def _seen(view, points):
    """Points of the detector (N, 3) in LPS at which a view shows points (N, 3)."""
    pixels = np.c_[points, np.ones(len(points))] @ view.world_to_pixel.T
    return view.detector_points(pixels[:, :2] / pixels[:, 2:])


def _edges(case):
    from XrayCTRegistrationLib.mrml.overlay import edge_points

    return edge_points(case.xray_nodes[0])


def _number(text):
    return float(next(word for word in text.replace(":", " ").split() if word.replace(".", "").lstrip("-").isdigit()))


def _ct_middle(host):
    bounds = np.zeros(6)
    host.ui.ctSelector.currentNode().GetRASBounds(bounds)
    node = host.ui.poseSelector.currentNode()
    from XrayCTRegistrationLib.mrml.volumes import ct_volume

    center = np.append(ct_volume(host.ui.ctSelector.currentNode()).center * (-1, -1, 1), 1)
    return (slicer.util.arrayFromTransformMatrix(node) @ center)[:3]


def _ras(pose):
    flip = np.diag([-1, -1, 1, 1])
    return flip @ pose.matrix @ flip


def _rotation(angle_deg, axis):
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(np.radians(angle_deg) * axis).as_matrix()


def _angle_deg(first, second):
    return np.degrees(np.arccos(np.clip((np.trace(first.T @ second) - 1) / 2, -1, 1)))
