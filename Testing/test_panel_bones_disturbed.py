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


def test_a_segment_that_was_deleted_stays_unchosen_whatever_else_changes(host):
    case = choose_bones(host, "L2", "L4")
    case.segmentation_node.GetSegmentation().RemoveSegment(segment_id(case, "L4"))
    host.wait(lambda: len(selection(host).bones.ids) == 1 and host.ui.stageLabel.text == "", LONGEST_S)
    slicer.util.arrayFromVolume(case.ct_node)[:] += 0
    slicer.util.arrayFromVolumeModified(case.ct_node)  # whatever is prepared is so anew
    host.wait(lambda: host.ui.registerButton.enabled and host.ui.stageLabel.text == "", LONGEST_S)
    assert selection(host).bones.ids == (segment_id(case, "L2"),)
    assert [bone.name for bone in selection(host).bones.standing] == ["L2"]


@pytest.mark.parametrize("check_box", ["liveOverlayCheckBox", "showBoneCheckBox"])
def test_bones_stand_with_the_ct_when_something_is_switched_while_registering(host, check_box):
    """Edges of bones are drawn where the CT and they were read last: both are read at once, or neither."""
    from XrayCTRegistrationLib.mrml.poses import pose_of

    started(host, "L2")
    pose_node, session = host.ui.poseSelector.currentNode(), host.panel.panel.runner.session
    host.wait(lambda: not np.allclose(pose_of(pose_node).matrix, session.start.matrix, atol=0.1), LONGEST_S)
    box = getattr(host.ui, check_box)
    for _ in range(2):
        box.checked = not box.checked
        (bone,) = selection(host).bones.standing
        np.testing.assert_allclose(bone.pose.matrix, selection(host).pose.matrix, atol=1e-9)
    assert host.panel.panel.runner.session is session
    host.press(host.ui.registerButton)


@pytest.mark.parametrize("above", ["own", "own, below the pose"])
def test_a_changed_transform_above_the_segmentation_moves_its_bones_in_the_ct(host, above):
    from mrml_nodes import transform_node

    case = choose_bones(host, "L2")
    pose_node = host.ui.poseSelector.currentNode()
    own = transform_node(host.scene, "own", np.eye(4), pose_node if above.endswith("pose") else None)
    case.segmentation_node.SetAndObserveTransformNodeID(own.GetID())
    host.wait(lambda: host.ui.registerButton.enabled and host.ui.stageLabel.text == "", LONGEST_S)
    (before,), prepared = selection(host).bones.standing, selection(host).bones.prepared
    slicer.util.updateTransformMatrixFromArray(pose_node, np.diag([-1, -1, 1, 1]) @ matrix(pose_node))
    assert selection(host).bones.prepared is prepared  # the CT's own move changes nothing in it
    moved = np.eye(4)
    moved[:3, 3] = (0, 0, 6)
    slicer.util.updateTransformMatrixFromArray(own, moved)
    host.wait(lambda: host.ui.registerButton.enabled and host.ui.stageLabel.text == "", LONGEST_S)
    (after,) = selection(host).bones.standing
    np.testing.assert_allclose(after.center - before.center, (0, 0, 6), atol=1e-6)


@pytest.mark.parametrize("when", ["while it runs", "at its end"])
def test_a_pose_that_becomes_deformed_ends_the_registration_with_the_reason(host, when, monkeypatch):
    from mrml_nodes import grid_transform_node
    from XrayCTRegistrationLib.panel.pace import Pace

    choose_bones(host, "L2", at_true_pose=False)
    runner, pose_node = host.panel.panel.runner, host.ui.poseSelector.currentNode()
    if when == "at its end":
        monkeypatch.setattr(Pace, "is_due", lambda *_: False)  # nothing writes to the transform before
    host.ui.methodComboBox.currentText = REFINE
    host.press(host.ui.registerButton)
    host.idle(0.1)
    assert runner.session is not None
    pose_node.SetAndObserveTransformNodeID(grid_transform_node(host.scene, "bent").GetID())
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)
    assert not selection(host).running
    assert "it is under the transform bent, which is not linear" in host.messages.shown[0].text
    pose_node.SetAndObserveTransformNodeID(None)
    host.wait(lambda: host.ui.registerButton.enabled, LONGEST_S)  # and it can go on


def test_where_a_segmentation_was_taken_to_belong_is_said_until_a_transform_says_it(host):
    from mrml_nodes import transform_node

    case = choose_bones(host)
    said = "Vertebrae was under no transform: it is taken as outlined in Small CT before that was moved"
    assert host.ui.bonesMessageLabel.text.startswith(said)
    check(host, "L2")  # for which it is put under the CT's transform
    assert case.segmentation_node.GetParentTransformNode() is host.ui.poseSelector.currentNode()
    assert host.ui.bonesMessageLabel.text.startswith(said)
    case.segmentation_node.SetAndObserveTransformNodeID(transform_node(host.scene, "own", np.eye(4)).GetID())
    check(host, "L4")
    assert host.ui.bonesMessageLabel.text == ""
