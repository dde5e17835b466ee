"""What stands in the views: edges over the X-ray, beam and bone in 3D, slice views at the detectors."""

from __future__ import annotations

import numpy as np
import pytest
from mrml_nodes import CARM, FLIP, new_scene, rigid, transform_node, xray_node
from scipy.spatial import cKDTree
from XrayCTRegistrationLib.edge_lines import EdgeLines, edge_lines
from XrayCTRegistrationLib.geometry import Pose, common_isocenter, view_from_carm
from XrayCTRegistrationLib.overlay import edge_view
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.volume import Volume

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from XrayCTRegistrationLib.mrml.display import show_as_registered  # noqa: E402
from XrayCTRegistrationLib.mrml.frames import ijk_to_ras  # noqa: E402
from XrayCTRegistrationLib.mrml.inputs import inputs_of  # noqa: E402
from XrayCTRegistrationLib.mrml.models import beam_node, bone_node, bone_surface_steps, show_beam, show_bone  # noqa: E402
from XrayCTRegistrationLib.mrml.overlay import (  # noqa: E402
    Drawn,
    add_edges,
    clear_edges,
    edge_colors_node,
    edge_points,
    overlay_node,
    show_edges,
    show_edges_in,
)
from XrayCTRegistrationLib.mrml.views import (  # noqa: E402
    fit_views,
    layout_for,
    look_over_sources,
    show_images,
    show_xrays,
    show_xrays_steps,
)
from XrayCTRegistrationLib.mrml.volumes import add_ct_node  # noqa: E402
from XrayCTRegistrationLib.mrml.xrays import view_of  # noqa: E402
from XrayCTRegistrationLib.preview import Preview, PreviewCt  # noqa: E402


@pytest.fixture
def scene():
    return new_scene()


def square(low: float, high: float) -> EdgeLines:
    """The outline of a square, (column, row) from low to high."""
    corners = np.array([(low, low), (high, low), (high, high), (low, high)], np.float32)
    return EdgeLines(corners, np.array([(0, 1), (1, 2), (2, 3), (3, 0)]))


@pytest.mark.parametrize("longest_px", [9, 40])
def test_edges_lie_on_the_detector_of_the_xray_under_a_parent_at_any_resolution(scene, longest_px):
    node = xray_node(scene)
    node.SetAndObserveTransformNodeID(transform_node(scene, "room", rigid((0.2, -0.4, 0.1), (30, -10, 5))).GetID())
    view = view_of(node)
    fine = edge_view(view, longest_px)
    columns, rows = fine.size_px
    corners = np.array([(-0.5, -0.5), (columns - 0.5, -0.5), (columns - 0.5, rows - 0.5)], np.float32)
    overlay = show_edges(node, [Drawn(EdgeLines(corners, np.array([(0, 1), (1, 2)])), fine)])
    assert overlay_node(node) is overlay
    columns, rows = view.size_px
    expected = view.detector_points(np.array([(-0.5, -0.5), (columns - 0.5, -0.5), (columns - 0.5, rows - 0.5)]))
    before, behind = np.split(edge_points(node), 2)
    np.testing.assert_allclose((before + behind) / 2, expected * (-1, -1, 1), atol=1e-4)  # single precision
    np.testing.assert_allclose(np.linalg.norm(before - behind, axis=1), 1.0, atol=1e-4)
    assert overlay.GetPolyData().GetNumberOfLines() == 4


def test_what_edges_are_shown_by_is_added_once_and_told_once(scene):
    node, told = xray_node(scene), []
    node.AddObserver("ModifiedEvent", lambda caller, event: told.append(event))
    assert add_edges(node)
    assert overlay_node(node) is not None
    assert edge_colors_node(node) is not None
    assert len(told) == 1
    assert not add_edges(node)
    show_edges(node, [Drawn(square(1, 4), view_of(node))])
    assert len(told) == 1


def test_new_edges_replace_the_old_ones_without_a_new_node(scene):
    node = xray_node(scene)
    view = view_of(node)
    first = show_edges(node, [Drawn(square(1, 4), view)])
    before = edge_points(node)
    assert show_edges(node, [Drawn(square(2, 4), view)]) is first
    assert not np.array_equal(edge_points(node), before)
    count = scene.GetNumberOfNodes()
    clear_edges(node)
    assert len(edge_points(node)) == 0
    assert scene.GetNumberOfNodes() == count


def test_edges_are_drawn_in_3d_and_in_the_slice_view_of_their_xray_alone(scene):
    node = xray_node(scene)
    slice_node = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    in_3d, in_slices = (show_edges(node, [Drawn(square(1, 4), view_of(node))]).GetNthDisplayNode(k) for k in (0, 1))
    assert (in_3d.GetVisibility(), in_3d.GetVisibility2D(), in_3d.GetVisibility3D()) == (1, False, True)
    assert not in_slices.GetVisibility()  # no view shows the X-ray yet
    show_edges_in(node, slice_node)
    assert (in_slices.GetVisibility(), in_slices.GetVisibility2D(), in_slices.GetVisibility3D()) == (1, True, False)
    assert in_slices.GetViewNodeIDs() == (slice_node.GetID(),)


def test_the_beam_goes_from_the_source_to_the_outer_corners_of_the_detector(scene):
    node = xray_node(scene)
    view = view_of(node)
    model = show_beam(node, view)
    assert beam_node(node) is model
    points = np.array([model.GetPolyData().GetPoint(k) for k in range(5)])
    np.testing.assert_allclose(points[0], view.source * (-1, -1, 1), atol=1e-3)
    columns, rows = view.size_px
    last = view.detector_points(np.array([columns - 0.5, rows - 0.5])) * (-1, -1, 1)
    np.testing.assert_allclose(points[3], last, atol=1e-3)
    assert show_beam(node, view) is model


def test_the_bone_surface_stands_where_the_bone_is_and_moves_with_the_ct(scene):
    matrix = rigid((0.3, -0.5, 0.8), (20, -30, 40))
    matrix[:3, :3] = matrix[:3, :3] @ np.diag([2.0, 2.5, 3.0])
    array = np.full((30, 32, 34), -1000, np.int16)
    array[3:27, 3:29, 3:31] = 0
    array[10:18, 12:22, 8:20] = 800  # a block of bone
    ct = add_ct_node(scene, "CT", Volume(array, matrix))
    ct.SetAndObserveTransformNodeID(transform_node(scene, "pose", np.eye(4)).GetID())
    surface = show_bone(ct, finished(bone_surface_steps(Volume(array, matrix))))
    assert bone_node(ct) is surface
    assert surface.GetTransformNodeID() == ct.GetTransformNodeID()
    points = np.array([surface.GetPolyData().GetPoint(k) for k in range(surface.GetPolyData().GetNumberOfPoints())])
    middle = matrix @ [13.5, 16.5, 13.5, 1]
    np.testing.assert_allclose(
        (points.min(axis=0) + points.max(axis=0)) / 2, (FLIP @ middle)[:3], atol=1.5
    )  # half a voxel
    reach = np.linalg.norm(points - (FLIP @ middle)[:3], axis=1).max()
    assert reach == pytest.approx(np.linalg.norm(np.array([6, 5, 4]) * (2.0, 2.5, 3.0)), abs=3.0)  # one voxel


def add_slice_view(scene, tag: str):
    """The slice and the composite node of a slice view with a singleton tag."""
    views = []
    for kind in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
        one = getattr(slicer, kind)()
        one.SetSingletonTag(tag)
        one.SetLayoutName(tag)
        views.append(scene.AddNode(one))
    views[0].SetDimensions(400, 200, 1)
    return views


def test_slice_views_show_the_xray_upright_at_its_detector_with_its_edges(scene):
    node = xray_node(scene)
    view = view_of(node)
    slice_node, composite = add_slice_view(scene, "Xray1")
    show_xrays(scene, [node])
    assert composite.GetBackgroundVolumeID() == node.GetID()
    assert overlay_node(node).GetNthDisplayNode(1).GetViewNodeIDs() == (slice_node.GetID(),)
    xy_to_ras = np.array([[slice_node.GetXYToRAS().GetElement(i, j) for j in range(4)] for i in range(4)])
    to_pixel = np.linalg.inv(ijk_to_ras(node)) @ xy_to_ras
    left_top, right_bottom = (to_pixel @ [*xy, 0, 1] for xy in ((0, 200), (400, 0)))
    columns, rows = view.size_px
    assert left_top[0] < 0 < columns - 1 < right_bottom[0]
    assert left_top[1] < 0 < rows - 1 < right_bottom[1]  # rows go down
    assert left_top[2] == pytest.approx(0, abs=1e-9)
    assert slice_node.GetSliceVisible()
    show_xrays(scene, [node, xray_node(scene, "second")])  # a view that the layout does not have


def test_xrays_come_into_their_views_one_after_the_other_and_one_that_goes_meanwhile_is_left_out(scene):
    first, second = xray_node(scene), xray_node(scene, "second")
    (_, shown), (_, other) = add_slice_view(scene, "Xray1"), add_slice_view(scene, "Xray2")
    steps = show_xrays_steps(scene, [first, second])
    next(steps)
    assert shown.GetBackgroundVolumeID() == first.GetID()
    assert other.GetBackgroundVolumeID() is None
    scene.RemoveNode(second)
    finished(steps)
    assert other.GetBackgroundVolumeID() is None


def test_a_view_shows_the_image_as_registered_or_as_stored_and_stays_where_it_was_moved(scene):
    node = xray_node(scene)
    slice_node, composite = add_slice_view(scene, "Xray1")
    shown = show_as_registered(node)
    show_xrays(scene, [node])
    assert composite.GetBackgroundVolumeID() == shown.GetID()
    slice_node.SetFieldOfView(10, 5, 1)
    show_images(scene, [node], as_stored=True)
    assert composite.GetBackgroundVolumeID() == node.GetID()
    show_images(scene, [node])
    assert composite.GetBackgroundVolumeID() == shown.GetID()
    assert slice_node.GetFieldOfView()[:2] == (10, 5)
    fit_views(scene, [node])
    assert slice_node.GetFieldOfView()[0] != 10


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_layouts_have_one_slice_view_per_xray(scene, count):
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    number = layout_for(layout, count)
    assert layout_for(layout, count) == number  # once is enough
    assert number != layout_for(layout, count + 1)
    description = layout.GetLayoutDescription(number)
    assert description.count("vtkMRMLSliceNode") == count
    assert description.count("vtkMRMLViewNode") == 1
    assert all(f'singletontag="Xray{index}"' in description for index in range(1, count + 1))


@pytest.mark.parametrize("angles", [(0.0,), (0.0, 90.0), (0.0, 180.0)])
def test_the_camera_looks_at_the_isocentre_from_the_side_of_the_sources(scene, angles):
    views = [view_from_carm({**CARM, "primary_angle_deg": angle, "secondary_angle_deg": 0.0}) for angle in angles]
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode")
    look_over_sources(camera, views)
    np.testing.assert_allclose(camera.GetFocalPoint(), common_isocenter(views) * (-1, -1, 1), atol=1e-6)
    back = np.array(camera.GetPosition()) - np.array(camera.GetFocalPoint())
    assert back[2] > 0  # from above
    if len(angles) < 2 or angles[1] == 90.0:
        assert all((view.source * (-1, -1, 1)) @ back > 0 for view in views)


def test_a_preview_is_most_similar_at_the_true_pose_and_says_when_the_ct_is_out_of_view(scene):
    from XrayCTRegistrationLib.mrml.sample import sample_steps

    sample = finished(sample_steps(scene))
    inputs = inputs_of(sample.ct_node, sample.xray_nodes)
    preview = Preview(PreviewCt.of(inputs.ct), inputs.radiographs, inputs.views)
    at_truth = preview.similarity(sample.true_pose)
    for shift_mm in 4.0 * np.concatenate([np.eye(3), -np.eye(3)]):  # about five pixels of the sample at the isocentre
        moved = sample.true_pose.moved(np.array([0, 0, 0, *shift_mm]), np.zeros(3))
        assert preview.similarity(moved) < 0.8 * at_truth
    away = Pose.from_parts(np.eye(3), np.array([0, 0, 5000.0]))
    assert np.isnan(preview.similarity(away))
    assert not len(preview.edges(0, away, 96)[0].segments)


def test_the_edges_of_a_preview_are_those_of_the_full_drr(scene):
    from XrayCTRegistrationLib.overlay import overlay_projector

    ct = synthetic_spine(spacing_mm=2.0)
    view = view_from_carm(
        {**CARM, "image_size_px": [256, 256], "pixel_spacing_mm": [1.2, 1.2], "principal_point_px": [127.5, 127.5]}
    )
    pose = Pose.identity()
    preview = Preview(PreviewCt.of(ct), (), (view,))
    found, shown = preview.edges(0, pose, 256)
    import torch

    drr = overlay_projector(ct).images(torch.from_numpy(pose.matrix.copy())[None], shown)[0].numpy()
    expected = edge_lines(drr)
    assert shown.size_px == (256, 256)
    nearest, _ = cKDTree(expected.points).query(found.points)
    assert (nearest < 0.1).mean() > 0.95  # 2 mm voxels are not made coarser
    assert len(found.points) == pytest.approx(len(expected.points), rel=0.05)
