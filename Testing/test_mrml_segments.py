"""Segmentations and label maps become segments in the CT's own LPS; bones stand in the scene under the CT's pose."""

from __future__ import annotations

import numpy as np
import pytest
import vtk
from mrml_nodes import grid_transform_node, new_scene, oblique_ijk_to_ras, rigid, transform_node, volume_node
from XrayCTRegistrationLib.bones.segments import Segment, place_in
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.volume import Volume

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from XrayCTRegistrationLib.mrml import segments as segments_module  # noqa: E402
from XrayCTRegistrationLib.mrml.bone_transforms import (  # noqa: E402
    bone_node_of,
    bone_nodes,
    in_ct,
    remove_unmoved,
    set_in_ct,
    show_bone_of,
    standing_bone,
)
from XrayCTRegistrationLib.mrml.frames import RAS_FROM_LPS, vtk_matrix  # noqa: E402
from XrayCTRegistrationLib.mrml.history import Standing  # noqa: E402
from XrayCTRegistrationLib.mrml.models import mask_surface_steps, surface_node  # noqa: E402
from XrayCTRegistrationLib.mrml.poses import pose_of, set_pose  # noqa: E402
from XrayCTRegistrationLib.mrml.segments import (  # noqa: E402
    LABELS,
    add_segmentation_node,
    chosen_steps,
    follow_ct,
    is_taken_as_unmoved,
    listing_steps,
    naming_steps,
    segmentation_to_ct,
    segments_key,
)
from XrayCTRegistrationLib.mrml.volumes import ct_volume, vtk_image  # noqa: E402

SHAPE = (16, 14, 12)
NAMES = ("os capitatum, links", "第五腰椎")


@pytest.fixture
def scene():
    return new_scene()


@pytest.fixture
def ct(scene):
    """Soft tissue with two boxes of bone, oblique and left-handed."""
    array = np.full(SHAPE, 20, np.int16)
    for box in boxes():
        array[box] = 700
    return volume_node(scene, "CT", array, oblique_ijk_to_ras())


def boxes() -> tuple[tuple[slice, ...], ...]:
    return (slice(2, 6), slice(3, 8), slice(2, 9)), (slice(9, 14), slice(4, 10), slice(3, 7))


def masks(matrix: np.ndarray) -> list[Segment]:
    result = []
    for name, box, color in zip(NAMES, boxes(), ((1.0, 0.5, 0.0), (0.0, 0.25, 1.0))):
        mask = np.zeros(SHAPE, bool)
        mask[box] = True
        result.append(Segment(name, Volume(mask, matrix), None, color))
    return result


def whole(segment: Segment, ct_node) -> np.ndarray:
    """A segment's voxels in the CT's grid."""
    place, inside = place_in(segment, ct_volume(ct_node)), np.zeros(SHAPE, bool)
    inside[place.box] = place.inside
    return inside


def listed(node):
    return finished(listing_steps(node))


def label_map(scene, array: np.ndarray, ras: np.ndarray):
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    node.SetAndObserveImageData(vtk_image(array))
    node.SetIJKToRASMatrix(vtk_matrix(ras))
    return node


def test_segments_are_listed_with_names_and_colours_and_lie_where_the_ct_has_them(scene, ct):
    node = add_segmentation_node(scene, "Segmentation", masks(RAS_FROM_LPS @ oblique_ijk_to_ras()))
    found = listed(node)
    assert tuple(one.name for one in found) == NAMES
    np.testing.assert_allclose(found[1].color, (0, 0.25, 1))
    for one, segment in zip(found, masks(np.eye(4))):
        assert one.labels.shape == tuple(b.stop - b.start for b in boxes()[found.index(one)])  # no more than the bone
        np.testing.assert_array_equal(whole(one.taken(segmentation_to_ct(node, ct)), ct), segment.mask.array)


def test_segments_that_share_a_layer_which_begins_elsewhere_are_told_apart(scene, ct):
    """As the Segment Editor stores them: one image with a value each, cut to what was drawn."""
    first = np.array([2, 1, 1])  # (k, j, i), an odd corner of the CT's grid
    labels = np.zeros(SHAPE, np.uint8)
    for value, box in enumerate(boxes(), start=1):
        labels[box] = value
    cut = labels[first[0] :, first[1] :, first[2] :]
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(vtk_image(cut))
    k, j, i = (int(n) for n in first)
    image.SetExtent(i, i + cut.shape[2] - 1, j, j + cut.shape[1] - 1, k, k + cut.shape[0] - 1)
    image.SetImageToWorldMatrix(vtk_matrix(oblique_ijk_to_ras()))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    for value, name in enumerate(NAMES, start=1):
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetLabelValue(value)
        segment.AddRepresentation(LABELS, image)
        node.GetSegmentation().AddSegment(segment)
    for one, box in zip(listed(node), boxes()):
        expected = np.zeros(SHAPE, bool)
        expected[box] = True
        np.testing.assert_array_equal(whole(one.taken(np.eye(4)), ct), expected)


def test_a_voxel_may_belong_to_several_segments(scene, ct):
    both = masks(RAS_FROM_LPS @ oblique_ijk_to_ras())
    overlapping = [both[0], Segment("all", Volume(both[0].mask.array | both[1].mask.array, both[0].mask.ijk_to_world))]
    found = [one.taken(np.eye(4)) for one in listed(add_segmentation_node(scene, "Segmentation", overlapping))]
    assert whole(found[1], ct)[whole(found[0], ct)].all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_label_map_is_listed_by_number_with_totalsegmentators_names(scene, ct, dtype):
    array = np.zeros(SHAPE, dtype)
    array[boxes()[0]], array[boxes()[1]] = 27, 5
    found = listed(label_map(scene, array, oblique_ijk_to_ras()))
    assert [(one.id, one.name) for one in found] == [("27", "L5"), ("5", "5")]  # a number without a name comes last
    np.testing.assert_array_equal(whole(found[0].taken(np.eye(4)), ct), array == 27)


@pytest.mark.parametrize(("numbers", "names"), [((27, 28), ["L5", "L4"]), ((20, 26), ["20", "26"])])
def test_a_label_map_of_another_numbering_goes_by_number_once_the_ct_is_there(scene, ct, numbers, names):
    array = np.zeros(SHAPE, np.uint8)
    for number, box in zip(numbers, boxes()):
        array[box] = number
    found = listed(label_map(scene, array, oblique_ijk_to_ras()))
    named = finished(naming_steps(found, np.eye(4), ct_volume(ct), "labels"))
    assert [one.name for one in named] == names
    again = finished(naming_steps(named, np.eye(4), ct_volume(ct), "labels"))
    assert [one.name for one in again] == names
    nothing = Volume(np.full(SHAPE, -1000.0, np.float32), ct_volume(ct).ijk_to_world)
    other = finished(naming_steps(named, np.eye(4), nothing, "labels"))  # another CT says otherwise
    assert [one.name for one in other] == (["S1", "20"] if 20 in numbers else names)


def test_a_label_map_is_named_by_a_table_of_its_own(scene):
    array = np.zeros(SHAPE, np.uint8)
    array[boxes()[0]] = 2
    array[boxes()[1]] = 27
    node = label_map(scene, array, np.eye(4))
    colors = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "carpals")
    colors.SetTypeToUser()
    colors.SetNumberOfColors(3)
    for index, name in enumerate(("background", "scaphoid", "lunate")):
        colors.SetColor(index, name, 0.1 * index, 0.5, 0.5, 1)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
    one, other = listed(node)
    assert one.name == "lunate"
    assert (other.name, other.supposed) == ("27", False)
    np.testing.assert_allclose(one.color, (0.2, 0.5, 0.5), atol=0.01)  # of bytes


def test_large_segmentations_are_read_in_many_steps_that_find_the_same(scene, monkeypatch):
    node = add_segmentation_node(scene, "Segmentation", masks(np.eye(4)))
    at_once = listed(node)
    monkeypatch.setattr(segments_module, "_VOXELS_AT_ONCE", 2 * SHAPE[1] * SHAPE[2])
    progress = list(listing_steps(node))
    assert len(progress) == 2 * SHAPE[0] // 2  # of each of two images, two slices at once
    assert progress == sorted(progress)
    for one, other in zip(at_once, listed(node)):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.ijk_to_own, other.ijk_to_own)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full(SHAPE, 0.5, np.float32), "not all whole numbers"),
        (np.full(SHAPE, -5, np.int16), "the least value is -5"),
        (np.zeros(SHAPE, np.uint8), "every voxel is 0"),
    ],
)
def test_what_is_no_label_map_is_refused_by_name(scene, array, message):
    with pytest.raises(InputError, match=f"labels: .*{message}"):
        listed(label_map(scene, array, np.eye(4)))


def test_a_segmentation_without_segments_or_without_label_map_is_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    with pytest.raises(InputError, match="Segmentation: the segmentation is empty"):
        listed(node)
    node.SetSourceRepresentationToClosedSurface()
    node.AddSegmentFromClosedSurfaceRepresentation(vtk.vtkSphereSource().GetOutput(), "L5", (1, 1, 1))
    with pytest.raises(InputError, match="has no binary label map"):
        listed(node)


def test_an_empty_segment_is_listed_and_refused_by_name_when_it_is_placed(scene, ct):
    empty = Segment("L5", Volume(np.zeros((2, 2, 2), bool), np.eye(4)))
    (one,) = listed(add_segmentation_node(scene, "Segmentation", [empty]))
    with pytest.raises(InputError, match="L5: the segment is empty"):
        place_in(one.taken(np.eye(4)), ct_volume(ct))


@pytest.mark.parametrize("above", ["nothing", "the pose", "a transform below the pose", "the room, and so is the pose"])
def test_a_segmentation_lies_in_the_ct_wherever_both_were_moved_to(scene, ct, above):
    own = rigid((0.3, 0.1, -0.2), (4, 5, -6))
    room = transform_node(scene, "room", rigid((0.4, -0.2, 1.1), (8, -30, 5)))
    pose_node = transform_node(scene, "pose", rigid((-0.5, 0.2, 0.1), (30, 20, -10)), room)
    ct.SetAndObserveTransformNodeID(pose_node.GetID())
    has_own = above in ("a transform below the pose", "the room, and so is the pose")
    to_own = np.linalg.inv(own) if has_own else np.eye(4)
    node = add_segmentation_node(scene, "Segmentation", masks(RAS_FROM_LPS @ to_own @ oblique_ijk_to_ras()))
    if above == "the pose":
        node.SetAndObserveTransformNodeID(pose_node.GetID())
    elif above != "nothing":
        parent = pose_node if above == "a transform below the pose" else room
        node.SetAndObserveTransformNodeID(transform_node(scene, "own", own, parent).GetID())
    for one, segment in zip(listed(node), masks(np.eye(4))):
        np.testing.assert_array_equal(whole(one.taken(segmentation_to_ct(node, ct)), ct), segment.mask.array)


def test_a_segmentation_that_is_deformed_is_refused(scene, ct):
    node = add_segmentation_node(scene, "Segmentation", masks(np.eye(4)))
    node.SetAndObserveTransformNodeID(grid_transform_node(scene, "bent").GetID())
    with pytest.raises(InputError, match="Segmentation: it is under the transform bent, which is not linear"):
        segmentation_to_ct(node, ct)


def test_the_others_that_are_bone_are_copied_too_and_soft_tissue_is_not(scene, ct):
    matrix = RAS_FROM_LPS @ oblique_ijk_to_ras()
    organ = np.zeros(SHAPE, bool)
    organ[:, 11:] = True
    node = add_segmentation_node(scene, "Segmentation", [*masks(matrix), Segment("liver", Volume(organ, matrix))])
    found = listed(node)
    chosen = finished(chosen_steps(found, [found[1].id], np.eye(4), ct_volume(ct)))
    assert [one.name for one in chosen.segments] == [NAMES[1]]
    assert [one.name for one in chosen.others] == [NAMES[0]]
    every = finished(chosen_steps(found, None, np.eye(4), ct_volume(ct)))
    assert tuple(one.name for one in every.segments) == NAMES
    slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, found[0].id)[:] = 0
    assert chosen.others[0].mask.array.any()  # a copy: edits do not reach it


def test_the_key_follows_names_colours_and_voxels(scene):
    node = add_segmentation_node(scene, "Segmentation", masks(np.eye(4)))
    keys = [segments_key(node)]
    segment = node.GetSegmentation().GetNthSegment(0)
    for change in (
        lambda: segment.SetName("L4"),
        lambda: segment.SetColor(0, 1, 1),
        lambda: segment.GetRepresentation(LABELS).Modified(),
        lambda: node.GetSegmentation().RemoveSegment(node.GetSegmentation().GetNthSegmentID(1)),
    ):
        change()
        keys.append(segments_key(node))
        assert keys[-1] == segments_key(node)
    assert len({repr(key) for key in keys}) == 5


@pytest.fixture
def standing(scene, ct):
    """The CT under a pose under a room, its segmentation, and the transform of its first bone."""
    room = transform_node(scene, "room", rigid((0.4, -0.2, 1.1), (8, -30, 5)))
    pose_node = transform_node(scene, "pose", rigid((-0.5, 0.2, 0.1), (30, 20, -10)), room)
    ct.SetAndObserveTransformNodeID(pose_node.GetID())
    segmentation = add_segmentation_node(scene, "Segmentation", masks(RAS_FROM_LPS @ oblique_ijk_to_ras()))
    one = listed(segmentation)[0]
    segment = one.taken(np.eye(4))
    node = show_bone_of(pose_node, segmentation, one.id, segment, finished(mask_surface_steps(segment.mask)))
    return pose_node, segmentation, one, node


def test_a_bone_has_a_transform_of_its_name_under_the_cts_and_a_surface_in_its_colour(standing):
    pose_node, segmentation, one, node = standing
    assert (node.GetName(), node.GetParentTransformNode()) == (NAMES[0], pose_node)
    assert bone_node_of(pose_node, segmentation, one.id) is node
    surface = surface_node(node)
    assert surface.GetParentTransformNode() is node
    np.testing.assert_allclose(surface.GetDisplayNode().GetColor(), (1, 0.5, 0))
    corners = one.taken(np.eye(4)).mask.corners() * (-1, -1, 1)
    bounds = np.reshape(surface.GetPolyData().GetBounds(), (3, 2))
    spacing = np.linalg.norm(oblique_ijk_to_ras()[:3, :3], axis=0).max()
    np.testing.assert_allclose(bounds, np.stack([corners.min(axis=0), corners.max(axis=0)], axis=1), atol=spacing)
    bone = standing_bone(node)
    np.testing.assert_allclose(bone.pose.matrix, pose_of(pose_node).matrix, atol=1e-9)
    middle = one.taken(np.eye(4)).mask
    np.testing.assert_allclose(bone.center, middle.points((np.array(middle.size) - 1) / 2), atol=1e-6)


def test_a_bone_goes_along_with_the_ct_and_moves_on_its_own(standing):
    pose_node, _, _, node = standing
    motion = Pose(np.eye(4)).moved(np.array([0.1, 0, 0.05, 3.0, 1.0, 0]), np.zeros(3))
    set_pose(node, motion @ pose_of(pose_node))
    np.testing.assert_allclose(pose_of(node).matrix, (motion @ pose_of(pose_node)).matrix, atol=1e-9)
    before = in_ct(node)
    elsewhere = Pose(np.eye(4)).moved(np.array([0, 0.3, 0, 0, 0, 9.0]), np.zeros(3))
    set_pose(pose_node, elsewhere)
    assert in_ct(node) == before
    remove_unmoved(node)
    assert bone_nodes(pose_node) == [node]  # it has moved
    set_in_ct(node, np.eye(4).ravel())
    remove_unmoved(node)
    assert bone_nodes(pose_node) == []


def test_standings_know_bones_and_one_that_came_later_stood_with_the_ct(standing):
    pose_node, _, _, node = standing
    pose = pose_of(pose_node)
    without, unmoved = Standing.of(pose, []), Standing.of(pose, [], pose_node)
    assert without.is_as(unmoved)
    set_pose(node, pose.moved(np.array([0, 0, 0, 2.0, 0, 0]), np.zeros(3)))
    moved = Standing.of(pose, [], pose_node)
    assert not moved.is_as(unmoved)
    assert not moved.is_as(without)
    there = in_ct(node)
    without.restore_bones(pose_node)
    np.testing.assert_allclose(pose_of(node).matrix, pose.matrix, atol=1e-9)
    moved.restore_bones(pose_node)
    assert in_ct(node) == there


def test_a_bone_that_is_renamed_keeps_its_transform_and_place(standing):
    pose_node, segmentation, one, node = standing
    set_pose(node, pose_of(pose_node).moved(np.array([0, 0, 0, 2.0, 0, 0]), np.zeros(3)))
    there, mask = in_ct(node), one.taken(np.eye(4)).mask
    again = show_bone_of(pose_node, segmentation, one.id, Segment("L4", mask), finished(mask_surface_steps(mask)))
    assert again is node
    assert (node.GetName(), in_ct(node)) == ("L4", there)


def test_a_segmentation_that_no_transform_carries_follows_the_ct(scene, ct):
    node = add_segmentation_node(scene, "Segmentation", masks(RAS_FROM_LPS @ oblique_ijk_to_ras()))
    pose_node = transform_node(scene, "pose", rigid((-0.5, 0.2, 0.1), (30, 20, -10)))
    ct.SetAndObserveTransformNodeID(pose_node.GetID())
    before = segmentation_to_ct(node, ct)
    follow_ct(node, ct)
    assert node.GetParentTransformNode() is pose_node
    np.testing.assert_allclose(segmentation_to_ct(node, ct), before, atol=1e-9)
    own = transform_node(scene, "own", np.eye(4))
    node.SetAndObserveTransformNodeID(own.GetID())
    follow_ct(node, ct)
    assert node.GetParentTransformNode() is own


@pytest.mark.parametrize(
    ("moved", "carried", "assumed"), [(False, False, False), (True, False, True), (True, True, False)]
)
def test_where_a_segmentation_belongs_is_assumed_only_beside_a_ct_that_was_moved(scene, ct, moved, carried, assumed):
    to_world = rigid((-0.5, 0.2, 0.1), (30, 20, -10)) if moved else np.eye(4)
    pose_node = transform_node(scene, "pose", to_world)
    ct.SetAndObserveTransformNodeID(pose_node.GetID())
    node = add_segmentation_node(scene, "Segmentation", masks(np.eye(4)))
    if carried:
        node.SetAndObserveTransformNodeID(pose_node.GetID())
    assert is_taken_as_unmoved(node, ct) is assumed
