"""Bones that are disturbed while they are registered, and segmentations that cannot be used: each a clear message."""

from __future__ import annotations

import numpy as np
import pytest
from panel_case import LONGEST_S, REFINE, SLOW, bone_rows, bone_transforms, check, choose_bones, segment_id

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")


def selection(host):
    return host.panel.panel.selection


def matrix(node):
    return slicer.util.arrayFromTransformMatrix(node)


def started(host, *names):
    case = choose_bones(host, *names, at_true_pose=False)
    host.ui.methodComboBox.currentText = SLOW
    host.press(host.ui.registerButton)
    host.idle(0.2)
    return case


@pytest.mark.parametrize("what", ["segment", "segmentation"])
def test_a_segment_that_is_removed_while_registering_ends_it_with_the_reason(host, what):
    case = started(host, "L2", "L4")
    if what == "segment":
        case.segmentation_node.GetSegmentation().RemoveSegment(segment_id(case, "L4"))
    else:
        host.scene.RemoveNode(case.segmentation_node)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)
    name = "L4" if what == "segment" else "Vertebrae"
    said = f"{name} was removed: the registration has ended."
    host.wait(lambda: host.ui.stageLabel.text == said, LONGEST_S)
    host.wait(lambda: host.ui.registerButton.enabled, LONGEST_S)  # with what is left
    assert [bone.name for bone in selection(host).bones.standing] == (["L2"] if what == "segment" else [])


def test_a_segment_that_is_renamed_while_registering_is_registered_as_it_was(host):
    case = choose_bones(host, "L2")
    host.ui.methodComboBox.currentText = REFINE
    host.press(host.ui.registerButton)
    host.idle(0.1)
    assert host.ui.registerButton.text == "Cancel"
    case.segmentation_node.GetSegmentation().GetSegment(segment_id(case, "L2")).SetName("lumbar two")
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)
    host.wait(lambda: host.ui.registerButton.enabled, LONGEST_S)
    assert "edited meanwhile" in host.ui.stageLabel.text
    assert list(bone_transforms(host)) == ["lumbar two"]
    assert bone_rows(host)[0][0] == "lumbar two"


def test_a_bones_transform_that_is_removed_while_registering_loses_nothing_else(host):
    choose_bones(host, "L2", "L4")
    host.ui.methodComboBox.currentText = REFINE
    host.press(host.ui.registerButton)
    host.idle(0.1)
    host.scene.RemoveNode(bone_transforms(host)["L4"])
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)
    host.wait(lambda: host.ui.registerButton.enabled, LONGEST_S)
    assert [row[0] for row in bone_rows(host)] == ["L2"]
    assert not host.messages.shown


def test_cancelling_leaves_bones_where_they_stood_in_the_ct(host):
    started(host, "L2")
    host.press(host.ui.registerButton)
    np.testing.assert_allclose(matrix(bone_transforms(host)["L2"]), np.eye(4), atol=1e-9)
    assert bone_rows(host) == []


def test_an_empty_segment_is_refused_by_name_and_the_others_can_go_on(host):
    case = choose_bones(host)
    node = case.segmentation_node
    slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, segment_id(case, "L2"))[:] = 0
    node.GetSegmentation().GetSegment(segment_id(case, "L2")).GetRepresentation("Binary labelmap").Modified()
    node.GetSegmentation().GetSegment(segment_id(case, "L2")).Modified()
    host.wait(lambda: host.ui.stageLabel.text == "", LONGEST_S)
    check(host, "L2", "L4")
    assert "L2: the segment is empty" in host.ui.bonesMessageLabel.text
    assert not host.ui.registerButton.enabled
    assert "L2" in host.ui.registerButton.toolTip
    check(host, "L4")
    assert host.ui.registerButton.enabled


def test_the_segmentation_of_another_ct_is_refused(host):
    from mrml_nodes import transform_node

    case = choose_bones(host)
    far = np.eye(4)
    far[:3, 3] = 400.0
    case.segmentation_node.SetAndObserveTransformNodeID(transform_node(host.scene, "far", far).GetID())
    check(host, "L4")
    assert "L4: 100% of the segment lie outside the CT" in host.ui.bonesMessageLabel.text
    assert not host.ui.registerButton.enabled


def test_more_than_sixty_bones_are_told_how_long_they_take(host):
    from XrayCTRegistrationLib.bones.segments import Segment
    from XrayCTRegistrationLib.mrml.segments import add_segmentation_node
    from XrayCTRegistrationLib.volume import Volume

    choose_bones(host)
    cube = Volume(np.ones((4, 4, 4), bool), np.diag([5.0, 5.0, 5.0, 1.0]))
    node = add_segmentation_node(host.scene, "many", [Segment(f"bone {n}", cube) for n in range(61)])
    host.ui.segmentationSelector.setCurrentNode(node)
    host.wait(lambda: host.ui.segmentsListWidget.count == 61)
    selection(host).choose_segments(node, [one.id for one in selection(host).bones.listed])
    assert "61 bones are registered, each on its own: this takes at most 2 minutes" in host.ui.bonesMessageLabel.text


def test_a_run_of_frames_says_that_it_takes_no_bones(host):
    from XrayCTRegistrationLib.errors import InputError
    from XrayCTRegistrationLib.panel.choices import Method

    choose_bones(host, "L2")
    with pytest.raises(InputError, match="single images"):
        host.panel.panel.runner.start(Method.GRADIENT, near=False, frames=True)
    assert host.ui.registerButton.text == "Register"


@pytest.mark.parametrize("method", ["Search only", "Learned similarity only"])
def test_a_method_without_refinement_says_that_it_takes_no_bones(host, method):
    choose_bones(host, "L2")
    before = matrix(host.ui.poseSelector.currentNode())
    host.ui.methodComboBox.currentText = method
    host.press(host.ui.registerButton)
    host.wait(lambda: host.messages.shown, LONGEST_S)
    assert "too coarse for bones" in host.messages.shown[0].text
    assert host.ui.registerButton.text == "Register"
    np.testing.assert_array_equal(matrix(host.ui.poseSelector.currentNode()), before)


def test_a_segment_that_is_no_bone_is_told_by_name_at_once_and_the_ct_stays_where_it_stood(host):
    """Only the registration knows: it compares a segment with what is around it, at the CT's own resolution."""
    from XrayCTRegistrationLib.bones.segments import Segment
    from XrayCTRegistrationLib.mrml.segments import add_segmentation_node
    from XrayCTRegistrationLib.mrml.volumes import ct_volume
    from XrayCTRegistrationLib.volume import Volume

    case = choose_bones(host)
    ct = ct_volume(case.ct_node)
    mask = np.zeros(ct.array.shape, bool)
    mask[20:30, 10:20, 40:60] = True  # before the spine
    node = add_segmentation_node(host.scene, "organs", [Segment("liver", Volume(mask, ct.ijk_to_world))], case.ct_node)
    before = matrix(host.ui.poseSelector.currentNode())
    host.ui.segmentationSelector.setCurrentNode(node)
    host.wait(lambda: host.ui.segmentsListWidget.count == 1)
    check(host, "liver")
    host.ui.methodComboBox.currentText = REFINE
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)
    assert "liver: the CT is no denser there than around it" in host.messages.shown[0].text
    np.testing.assert_array_equal(matrix(host.ui.poseSelector.currentNode()), before)
    np.testing.assert_allclose(matrix(bone_transforms(host)["liver"]), np.eye(4), atol=1e-9)


def test_a_bones_transform_that_is_not_rigid_is_named(host):
    choose_bones(host, "L2")
    slicer.util.updateTransformMatrixFromArray(bone_transforms(host)["L2"], np.diag([1, 1, 1.2, 1]))
    host.idle(0.1)
    assert not host.ui.registerButton.enabled
    assert host.ui.registerButton.toolTip.startswith("L2: ")
    slicer.util.updateTransformMatrixFromArray(bone_transforms(host)["L2"], np.eye(4))
    host.idle(0.1)
    assert host.ui.registerButton.enabled
