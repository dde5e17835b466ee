"""What stands in the views: edges over the X-ray, beam and bone in 3D, slice views at the detectors."""

from __future__ import annotations

import numpy as np
import pytest
from mrml_nodes import CARM, FLIP, new_scene, rigid, transform_node, xray_node
from XrayCTRegistrationLib.geometry import Pose, common_isocenter, view_from_carm
from XrayCTRegistrationLib.overlay import edge_view, edges
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.volume import Volume

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from XrayCTRegistrationLib.mrml.frames import ijk_to_ras  # noqa: E402
from XrayCTRegistrationLib.mrml.inputs import inputs_of  # noqa: E402
from XrayCTRegistrationLib.mrml.models import beam_node, bone_node, show_beam, show_bone  # noqa: E402
from XrayCTRegistrationLib.mrml.overlay import clear_edges, overlay_node, show_edges  # noqa: E402
from XrayCTRegistrationLib.mrml.views import LAYOUT_OF, add_layouts, look_over_sources, show_xrays  # noqa: E402
from XrayCTRegistrationLib.mrml.volumes import add_ct_node, voxels  # noqa: E402
from XrayCTRegistrationLib.mrml.xrays import view_of  # noqa: E402
from XrayCTRegistrationLib.preview import Preview, PreviewCt  # noqa: E402


@pytest.fixture
def scene():
    return new_scene()


def outer_corners_ras(node) -> np.ndarray:
    columns, rows, _ = node.GetImageData().GetDimensions()
    ends = [(-0.5, -0.5), (columns - 0.5, -0.5), (-0.5, rows - 0.5)]
    return np.array([(ijk_to_ras(node) @ [*end, 0, 1])[:3] for end in ends])


@pytest.mark.parametrize("longest_px", [9, 40])
def test_edges_cover_the_field_of_the_xray_under_a_parent_at_any_resolution(scene, longest_px):
    node = xray_node(scene)
    node.SetAndObserveTransformNodeID(transform_node(scene, "room", rigid((0.2, -0.4, 0.1), (30, -10, 5))).GetID())
    view = view_of(node)
    fine = edge_view(view, longest_px)
    mask = np.zeros(fine.size_px[::-1], bool)
    mask[0, 1] = True
    overlay = show_edges(node, mask, fine)
    assert overlay_node(node) is overlay
    columns, rows = view.size_px
    ends = np.array([(-0.5, -0.5), (columns - 0.5, -0.5), (-0.5, rows - 0.5)])
    np.testing.assert_allclose(outer_corners_ras(overlay), view.detector_points(ends) * (-1, -1, 1), atol=1e-6)
    assert overlay.GetImageData().GetScalarComponentAsDouble(1, 0, 0, 0) == 255
    assert voxels(overlay).sum() == 255


def test_edges_are_green_where_they_are_and_nothing_elsewhere(scene):
    node = xray_node(scene)
    view = view_of(node)
    mask = np.zeros(view.size_px[::-1], bool)
    mask[2, 3] = True
    display = show_edges(node, mask, view).GetDisplayNode()
    display.UpdateImageDataPipeline()
    shown = display.GetOutputImageDataConnection().GetProducer()
    shown.Update()
    image = shown.GetOutputDataObject(0)
    rgba = [[image.GetScalarComponentAsDouble(i, 2, 0, k) for k in range(4)] for i in (3, 4)]
    assert rgba[0] == pytest.approx([0, 255, 0, 255], abs=1)
    assert rgba[1][3] == 0


def test_new_edges_replace_the_old_ones_without_a_new_node(scene):
    node = xray_node(scene)
    view = view_of(node)
    mask = np.eye(*view.size_px[::-1], dtype=bool)
    first = show_edges(node, mask, view)
    image = first.GetImageData()
    before = image.GetMTime()
    assert show_edges(node, ~mask, view) is first
    assert first.GetImageData() is image
    assert image.GetMTime() > before
    np.testing.assert_array_equal(voxels(first)[0] > 0, ~mask)
    clear_edges(node)
    assert not voxels(first).any()


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
    surface = show_bone(ct, Volume(array, matrix))
    assert bone_node(ct) is surface
    assert surface.GetTransformNodeID() == ct.GetTransformNodeID()
    points = np.array([surface.GetPolyData().GetPoint(k) for k in range(surface.GetPolyData().GetNumberOfPoints())])
    middle = matrix @ [13.5, 16.5, 13.5, 1]
    np.testing.assert_allclose(
        (points.min(axis=0) + points.max(axis=0)) / 2, (FLIP @ middle)[:3], atol=1.5
    )  # half a voxel
    reach = np.linalg.norm(points - (FLIP @ middle)[:3], axis=1).max()
    assert reach == pytest.approx(np.linalg.norm(np.array([6, 5, 4]) * (2.0, 2.5, 3.0)), abs=3.0)  # one voxel


def test_slice_views_show_the_xray_upright_at_its_detector_with_the_edges_on_top(scene):
    node = xray_node(scene)
    view = view_of(node)
    overlay = show_edges(node, np.ones(view.size_px[::-1], bool), view)
    views = {}
    for kind in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
        one = getattr(slicer, kind)()
        one.SetSingletonTag("Xray1")
        one.SetLayoutName("Xray1")
        views[kind] = scene.AddNode(one)
    views["vtkMRMLSliceNode"].SetDimensions(400, 200, 1)
    show_xrays(scene, [node])
    composite, slice_node = views["vtkMRMLSliceCompositeNode"], views["vtkMRMLSliceNode"]
    assert composite.GetBackgroundVolumeID() == node.GetID()
    assert composite.GetForegroundVolumeID() == overlay.GetID()
    xy_to_ras = np.array([[slice_node.GetXYToRAS().GetElement(i, j) for j in range(4)] for i in range(4)])
    to_pixel = np.linalg.inv(ijk_to_ras(node)) @ xy_to_ras
    left_top, right_bottom = (to_pixel @ [*xy, 0, 1] for xy in ((0, 200), (400, 0)))
    columns, rows = view.size_px
    assert left_top[0] < 0 < columns - 1 < right_bottom[0]
    assert left_top[1] < 0 < rows - 1 < right_bottom[1]  # rows go down
    assert left_top[2] == pytest.approx(0, abs=1e-9)
    assert slice_node.GetSliceVisible()
    show_xrays(scene, [node, xray_node(scene, "second")])  # a view that the layout does not have


def test_layouts_have_one_slice_view_per_xray(scene):
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    add_layouts(layout)
    add_layouts(layout)  # once is enough
    for count, number in LAYOUT_OF.items():
        description = layout.GetLayoutDescription(number)
        assert description.count("vtkMRMLSliceNode") == count
        assert description.count("vtkMRMLViewNode") == 1


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
    from XrayCTRegistrationLib.state import finished

    sample = finished(sample_steps(scene))
    inputs = inputs_of(sample.ct_node, sample.xray_nodes)
    preview = Preview(PreviewCt.of(inputs.ct), inputs.radiographs, inputs.views)
    near = sample.true_pose.moved(np.array([0, 0, 0, 4.0, 0, 0]), np.zeros(3))
    assert preview.similarity(sample.true_pose) > 0.9 > preview.similarity(near)
    away = Pose.from_parts(np.eye(3), np.array([0, 0, 5000.0]))
    assert np.isnan(preview.similarity(away))
    assert not preview.edges(0, away, 96)[0].any()


def test_the_edges_of_a_preview_are_those_of_the_full_drr(scene):
    from XrayCTRegistrationLib.overlay import overlay_projector

    ct = synthetic_spine(spacing_mm=2.0)
    view = view_from_carm(
        {**CARM, "image_size_px": [256, 256], "pixel_spacing_mm": [1.2, 1.2], "principal_point_px": [127.5, 127.5]}
    )
    pose = Pose.identity()
    preview = Preview(PreviewCt.of(ct), (), (view,))
    mask, shown = preview.edges(0, pose, 256)
    import torch

    drr = overlay_projector(ct).images(torch.from_numpy(pose.matrix.copy())[None], shown)[0].numpy()
    expected = edges(drr)
    assert shown.size_px == (256, 256)
    assert (mask & expected).sum() > 0.95 * max(mask.sum(), expected.sum())  # 2 mm voxels are not made coarser
