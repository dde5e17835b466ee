"""Nodes to the library's types and back: what stands in the scene is what is registered."""

from __future__ import annotations

import numpy as np
import pytest
from mrml_nodes import (
    CARM,
    FLIP,
    grid_transform_node,
    new_scene,
    oblique_ijk_to_ras,
    rigid,
    transform_node,
    volume_node,
    xray_node,
)
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose, view_from_carm

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from XrayCTRegistrationLib.mrml.frames import ijk_to_ras, matrix_array  # noqa: E402
from XrayCTRegistrationLib.mrml.inputs import inputs_of  # noqa: E402
from XrayCTRegistrationLib.mrml.poses import (  # noqa: E402
    PlaceOfCt,
    centered_pose,
    check_moves_only_the_ct,
    initial_pose,
    keep_initial_pose,
    place_of,
    pose_at,
    pose_node_for,
    pose_of,
    seen_from,
    set_pose,
)
from XrayCTRegistrationLib.mrml.volumes import ct_volume, fill_volume  # noqa: E402
from XrayCTRegistrationLib.mrml.xrays import own_view, place_at_detector, radiograph_of, view_of  # noqa: E402

ROUNDING_MM = 1e-9  # of a way through VTK's matrices, which split spacing from direction


@pytest.fixture
def scene():
    return new_scene()


def hounsfield(shape=(4, 5, 6)) -> np.ndarray:
    """Different values everywhere, from air to bone."""
    return np.linspace(-1000, 1500, int(np.prod(shape))).astype(np.int16).reshape(shape)


def world_ras(node, index: tuple[int, int, int]) -> np.ndarray:
    """Where MRML itself puts a voxel."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetMatrixTransformToWorld(matrix)
    return (matrix_array(matrix) @ ijk_to_ras(node) @ [*index, 1])[:3]


@pytest.mark.parametrize("index", [(0, 0, 0), (5, 0, 0), (0, 4, 0), (0, 0, 3), (5, 4, 3)])
def test_an_oblique_ct_under_a_pose_under_a_parent_stands_where_mrml_shows_it(scene, index):
    parent = transform_node(scene, "table", rigid((0.1, 0.2, -0.3), (5, 6, 7)))
    pose_node = transform_node(scene, "pose", rigid((-0.5, 0.1, 0.9), (-40, 3, 12)), parent)
    ct = volume_node(scene, "CT", hounsfield(), oblique_ijk_to_ras())
    ct.SetAndObserveTransformNodeID(pose_node.GetID())
    volume = ct_volume(ct)
    in_world = pose_of(pose_node).apply(volume.points(np.array(index, dtype=float)))
    np.testing.assert_allclose(in_world * (-1, -1, 1), world_ras(ct, index), atol=ROUNDING_MM)
    i, j, k = index
    assert volume.array[k, j, i] == ct.GetImageData().GetScalarComponentAsDouble(i, j, k, 0)


def test_a_pose_is_written_below_its_parent(scene):
    parent = transform_node(scene, "table", rigid((0.1, 0.2, -0.3), (5, 6, 7)))
    node = transform_node(scene, "pose", np.eye(4), parent)
    pose = Pose(rigid((0.3, -1.0, 0.2), (10, -20, 30)))
    set_pose(node, pose)
    np.testing.assert_allclose(pose_of(node).matrix, pose.matrix, atol=ROUNDING_MM)


def test_the_pose_file_that_slicer_saves_of_the_node_is_the_librarys_own(scene, tmp_path):
    from XrayCTRegistrationLib.io.poses import read_pose

    node = transform_node(scene, "pose", np.eye(4))
    pose = Pose(rigid((0.3, -1.0, 0.2), (10, -20, 30)))
    set_pose(node, pose)
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(tmp_path / "pose.tfm"))
    assert storage.WriteData(node)
    np.testing.assert_allclose(read_pose(tmp_path / "pose.tfm").matrix, pose.matrix, atol=1e-9)


@pytest.mark.parametrize("parent", [None, rigid((0.2, -0.4, 0.1), (30, -10, 5))])
@pytest.mark.parametrize("pixel", [(0, 0), (8, 0), (0, 6), (8, 6)])
def test_xray_pixels_stand_where_mrml_shows_them_and_the_source_goes_along(scene, parent, pixel):
    view = view_from_carm(CARM)
    node = xray_node(scene, view=view)
    if parent is not None:
        node.SetAndObserveTransformNodeID(transform_node(scene, "room", parent).GetID())
    in_world = view_of(node).detector_points(np.array(pixel, dtype=float))
    np.testing.assert_allclose(in_world * (-1, -1, 1), world_ras(node, (*pixel, 0)), atol=ROUNDING_MM)
    moved = np.eye(4) if parent is None else FLIP @ parent @ FLIP
    np.testing.assert_allclose(view_of(node).source, (moved @ [*view.source, 1])[:3], atol=ROUNDING_MM)
    np.testing.assert_allclose(own_view(node).world_to_pixel, view.world_to_pixel, atol=1e-9)


def test_a_mirrored_skewed_detector_comes_back(scene):
    view = view_from_carm({**CARM, "view": "AP"})
    matrix = view.pixel_to_world.copy()
    matrix[:3, 1] += 0.01 * matrix[:3, 0]
    node = xray_node(scene)
    place_at_detector(node, type(view)(view.source, matrix, view.size_px))
    np.testing.assert_allclose(own_view(node).pixel_to_world[:, [0, 1, 3]], matrix[:, [0, 1, 3]], atol=1e-6)
    assert own_view(node).isocenter is None


def test_pixels_of_an_xray_are_those_stored(scene):
    pixels = np.random.default_rng(0).integers(0, 4000, (7, 9)).astype(np.int16)
    radiograph = radiograph_of(xray_node(scene, "AP", pixels=pixels))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert radiograph.where == "AP"
    assert radiograph.polarity is None


def test_a_grey_image_saved_in_colour_is_grey_and_a_coloured_one_is_refused(scene):
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    grey = np.arange(12, dtype=np.uint8)
    for channels, accepted in ([grey, grey, grey], True), ([grey, grey[::-1].copy(), grey], False):
        image = vtk.vtkImageData()
        image.SetDimensions(4, 3, 1)
        image.GetPointData().SetScalars(numpy_to_vtk(np.stack(channels, axis=1), deep=True))
        node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
        node.SetAndObserveImageData(image)
        if accepted:
            np.testing.assert_array_equal(radiograph_of(node).pixels, grey.reshape(3, 4))
        else:
            with pytest.raises(InputError, match=r"photo: the image has colours\. Save"):
                radiograph_of(node)


def test_what_is_no_xray_is_refused_with_its_name(scene):
    bad = {
        "2 slices": np.arange(24.0).reshape(2, 3, 4),
        "no pixel": np.full((1, 3, 4), np.nan),
        "every pixel": np.full((1, 3, 4), 7.0),
    }
    for reason, array in bad.items():
        with pytest.raises(InputError, match=f"odd: .*{reason}"):
            radiograph_of(volume_node(scene, "odd", array, np.eye(4)))
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "odd")
    with pytest.raises(InputError, match="odd: the image is empty"):
        radiograph_of(empty)
    label = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "odd")
    with pytest.raises(InputError, match="odd: this is a label map"):
        radiograph_of(label)


def test_what_is_no_ct_is_refused_with_its_name(scene):
    with pytest.raises(InputError, match="odd: the volume has 4 x 3 x 1 voxels"):
        ct_volume(volume_node(scene, "odd", np.arange(12.0).reshape(1, 3, 4), np.eye(4)))
    with pytest.raises(InputError, match=r"odd: .*not Hounsfield units"):
        ct_volume(volume_node(scene, "odd", np.arange(125.0).reshape(5, 5, 5), np.eye(4)))
    with pytest.raises(InputError, match="odd: the volume is empty"):
        ct_volume(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "odd"))
    with pytest.raises(InputError, match="odd: this is a label map"):
        ct_volume(scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "odd"))
    with pytest.raises(InputError, match="odd: this volume has colours"):
        ct_volume(scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "odd"))


def test_an_image_whose_scalars_do_not_fit_yet_counts_as_empty(scene):
    node = volume_node(scene, "CT", hounsfield(), np.eye(4))
    node.GetImageData().SetDimensions(9, 9, 9)  # as slicer.util leaves it for a moment
    with pytest.raises(InputError, match="CT: the volume is empty"):
        ct_volume(node)


def test_transforms_that_are_no_poses_are_refused_with_their_name(scene):
    with pytest.raises(InputError, match="stretch: The pose is not rigid"):
        pose_of(transform_node(scene, "stretch", np.diag([1.0, 1.0, 1.2, 1.0])))
    with pytest.raises(InputError, match="warp: this transform is not linear"):
        pose_of(grid_transform_node(scene, "warp"))
    xray = xray_node(scene)
    xray.SetAndObserveTransformNodeID(grid_transform_node(scene, "warp").GetID())
    with pytest.raises(InputError, match=r"AP: it is under the transform warp, which is not linear\. Harden"):
        view_of(xray)


def test_inputs_are_checked_together(scene):
    ct = volume_node(scene, "CT", hounsfield(), np.eye(4))
    xray = xray_node(scene)
    assert len(inputs_of(ct, [xray]).views) == 1
    for nodes, reason in [
        ((None, [xray]), "Choose a CT"),
        ((ct, []), "at least one X-ray"),
        ((ct, [ct]), "CT: this is the CT"),
        ((ct, [xray, xray]), "AP: this X-ray is chosen twice"),
    ]:
        with pytest.raises(InputError, match=reason):
            inputs_of(*nodes)
    bare = volume_node(scene, "bare", np.arange(12.0).reshape(1, 3, 4), np.eye(4))
    with pytest.raises(InputError, match="bare: the geometry is incomplete"):
        inputs_of(ct, [xray, bare])


def test_the_key_of_the_inputs_changes_with_all_they_depend_on_and_nothing_else(scene):
    from XrayCTRegistrationLib.mrml.geometry import set_entry
    from XrayCTRegistrationLib.mrml.inputs import inputs_key

    ct, xray = volume_node(scene, "CT", hounsfield(), np.eye(4)), xray_node(scene)
    pose, room = transform_node(scene, "pose", np.eye(4)), transform_node(scene, "room", np.eye(4))
    ct.SetAndObserveTransformNodeID(pose.GetID())
    xray.SetAndObserveTransformNodeID(room.GetID())
    before = inputs_key(ct, [xray])
    set_pose(pose, Pose(rigid((0, 0, 0.1), (1, 2, 3))))
    assert inputs_key(ct, [xray]) == before
    changes = [
        lambda: set_pose(room, Pose(rigid((0, 0, 0.1), (1, 2, 3)))),
        lambda: set_entry(xray, "primary_angle_deg", 3.0),
        lambda: xray.GetImageData().Modified(),
        lambda: ct.GetImageData().Modified(),
        lambda: xray.SetName("renamed"),
        lambda: xray.SetAndObserveTransformNodeID(grid_transform_node(scene, "warp").GetID()),
    ]
    for change in changes:
        change()
        after = inputs_key(ct, [xray])
        assert after != before
        before = after


def test_a_ct_keeps_the_transform_it_is_under_and_gets_one_otherwise(scene):
    ct = volume_node(scene, "CT", hounsfield(), np.eye(4))
    made = pose_node_for(scene, ct, Pose(rigid((0, 0, 0.1), (1, 2, 3))))
    assert ct.GetTransformNodeID() == made.GetID()
    np.testing.assert_allclose(pose_of(made).translation_mm, (1, 2, 3))
    assert pose_node_for(scene, ct, Pose.identity()) is made
    np.testing.assert_allclose(pose_of(made).translation_mm, (1, 2, 3))


def test_a_ct_under_a_transform_that_deforms_is_not_taken_out_of_it(scene):
    ct = volume_node(scene, "CT", hounsfield(), np.eye(4))
    warp = grid_transform_node(scene, "warp")
    ct.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(InputError, match=r"CT: it is under the transform warp, .* Harden"):
        pose_node_for(scene, ct, Pose.identity())
    assert ct.GetTransformNodeID() == warp.GetID()


def test_an_xray_that_would_move_with_the_ct_is_refused(scene):
    pose_node = transform_node(scene, "pose", np.eye(4))
    below = transform_node(scene, "below", np.eye(4), pose_node)
    xray = xray_node(scene)
    check_moves_only_the_ct(pose_node, [xray])
    xray.SetAndObserveTransformNodeID(below.GetID())
    with pytest.raises(InputError, match="AP: this X-ray is under the pose pose, so it moves with the CT"):
        check_moves_only_the_ct(pose_node, [xray])


def test_the_initial_pose_is_kept_with_the_node(scene):
    node = transform_node(scene, "pose", np.eye(4))
    assert initial_pose(node) is None
    pose = Pose(rigid((0.3, -1.0, 0.2), (10, -20, 30)))
    keep_initial_pose(node, pose)
    np.testing.assert_allclose(initial_pose(node).matrix, pose.matrix, atol=1e-12)


def test_sliders_and_pose_are_inverse_and_in_the_directions_they_name():
    center, isocenter = np.array([10.0, -20.0, 30.0]), np.array([1.0, 2.0, 3.0])
    place = PlaceOfCt((4.0, -5.0, 6.0), (20.0, -35.0, 50.0))
    back = place_of(pose_at(place, center, isocenter), center, isocenter)
    np.testing.assert_allclose(back.shift_mm, place.shift_mm, atol=1e-9)
    np.testing.assert_allclose(back.turn_deg, place.turn_deg, atol=1e-9)
    left = pose_at(PlaceOfCt((7.0, 0.0, 0.0), (0.0, 0.0, 0.0)), center, isocenter)
    np.testing.assert_allclose(left.apply(center), isocenter + np.array([7, 0, 0]))  # LPS: x is to the left
    turned = pose_at(PlaceOfCt((0.0, 0.0, 0.0), (0.0, 0.0, 90.0)), center, isocenter)
    np.testing.assert_allclose(turned.apply(center + np.array([1, 0, 0])) - isocenter, (0, 1, 0), atol=1e-12)


@pytest.mark.parametrize(("direction", "away"), [("PA", (0, -1, 0)), ("AP", (0, 1, 0)), ("LAT", (1, 0, 0))])
def test_presets_turn_the_patient_so_that_the_view_looks_along_them(direction, away):
    view = view_from_carm({**CARM, "primary_angle_deg": 40.0, "secondary_angle_deg": 15.0})
    rotation = seen_from(view, direction)
    np.testing.assert_allclose(rotation @ away, view.axes[:, 2], atol=1e-9)
    np.testing.assert_allclose(rotation @ (0, 0, -1), view.axes[:, 1], atol=1e-9)  # feet down the rows
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_a_centred_pose_puts_the_centre_at_the_isocentre():
    rotation = rigid((0.1, 0.7, -0.2), (0, 0, 0))[:3, :3]
    pose = centered_pose(np.array([3.0, 4.0, 5.0]), np.array([-1.0, 0.0, 2.0]), rotation)
    np.testing.assert_allclose(pose.apply(np.array([3.0, 4.0, 5.0])), (-1, 0, 2), atol=1e-12)


def test_filling_a_node_copies(scene):
    array = hounsfield()
    node = volume_node(scene, "CT", array, np.eye(4))
    fill_volume(node, array, np.eye(4))
    array[:] = 0
    assert ct_volume(node).array.max() == 1500
