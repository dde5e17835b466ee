"""What people draw on an X-ray becomes the mask of its pixels, wherever the X-ray and the drawing stand."""

from __future__ import annotations

import numpy as np
import pytest
from mrml_nodes import CARM, grid_transform_node, new_scene, rigid, transform_node, volume_node, xray_node
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import view_from_carm

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from XrayCTRegistrationLib.mrml.frames import ijk_to_ras, parent_to_world, vtk_matrix  # noqa: E402
from XrayCTRegistrationLib.mrml.masks import (  # noqa: E402
    KINDS,
    Drawn,
    drawing_key,
    marked_pixels,
    mask_of,
    pixels_inside,
    set_meaning,
)
from XrayCTRegistrationLib.mrml.volumes import vtk_image  # noqa: E402

COLUMNS, ROWS = 40, 30
VIEW = view_from_carm({**CARM, "image_size_px": [COLUMNS, ROWS], "principal_point_px": [15.0, 17.0]})
DRAWN = np.zeros((ROWS, COLUMNS), bool)
DRAWN[5:12, 20:33] = True


@pytest.fixture
def scene():
    return new_scene()


@pytest.fixture(params=[False, True], ids=["free", "under a transform"])
def node(request, scene):
    """An X-ray at its detector, oblique, with non-square pixels."""
    pixels = np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(ROWS, COLUMNS)
    xray = xray_node(scene, "AP", VIEW, pixels)
    if request.param:
        xray.SetAndObserveTransformNodeID(transform_node(scene, "room", rigid((0.4, -0.2, 1.1), (8, -30, 5))).GetID())
    return xray


def world(node, pixels: list[tuple[float, float]], off_plane: float = 0.0) -> np.ndarray:
    """Points of pixels (column, row) of an X-ray in the world's RAS."""
    matrix = parent_to_world(node) @ ijk_to_ras(node)
    return np.array([(matrix @ [*pixel, off_plane, 1])[:3] for pixel in pixels])


def label_map(scene, array: np.ndarray, matrix: np.ndarray):
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "label")
    node.SetAndObserveImageData(vtk_image(array.astype(np.uint8)))
    node.SetIJKToRASMatrix(vtk_matrix(matrix))
    return node


def test_what_is_drawn_is_left_out_unless_it_is_the_field(scene, node):
    label = label_map(scene, DRAWN[None], ijk_to_ras(node))
    np.testing.assert_array_equal(mask_of(label, node), ~DRAWN)
    set_meaning(label, Drawn.KEPT)
    np.testing.assert_array_equal(mask_of(label, node), DRAWN)
    assert mask_of(None, node) is None


def test_a_label_map_of_the_xrays_size_counts_pixel_by_pixel_wherever_it_stands(scene, node):
    np.testing.assert_array_equal(marked_pixels(label_map(scene, 3 * DRAWN[None], np.eye(4)), node), DRAWN)


def test_a_label_map_of_another_grid_counts_where_it_stands(scene, node):
    """Twice as fine, of a part of the X-ray, with the rows upwards."""
    part = DRAWN[2:20, 10:36]
    fine = part.repeat(2, axis=0).repeat(2, axis=1)[::-1]
    to_pixel = np.diag([0.5, -0.5, 1.0, 1.0])
    to_pixel[:2, 3] = 10 - 0.25, 2 - 0.25 + 0.5 * (len(fine) - 1)
    label = label_map(scene, fine[None], parent_to_world(node) @ ijk_to_ras(node) @ to_pixel)
    np.testing.assert_array_equal(marked_pixels(label, node), DRAWN)


def segmentation(scene, xray, drawings: dict[str, np.ndarray], offset=(0, 0)):
    """A segmentation with a segment per drawing (rows, columns), whose first pixel is `offset` (column, row)."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    for name, drawing in drawings.items():
        image = slicer.vtkOrientedImageData()
        rows, columns = drawing.shape
        image.DeepCopy(vtk_image(drawing.astype(np.uint8)[None]))
        image.SetExtent(offset[0], offset[0] + columns - 1, offset[1], offset[1] + rows - 1, 0, 0)
        image.SetImageToWorldMatrix(vtk_matrix(parent_to_world(xray) @ ijk_to_ras(xray)))
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)
    return node


def test_all_segments_count_also_where_their_image_is_of_a_part(scene, node):
    first, second = DRAWN[4:13, 18:34], np.zeros((9, 16), bool)
    second[0, 0] = True
    drawn = segmentation(scene, node, {"hand": first, "tool": second}, (18, 4))
    expected = DRAWN.copy()
    expected[4, 18] = True
    np.testing.assert_array_equal(marked_pixels(drawn, node), expected)


def test_segments_that_share_one_image_are_told_apart_by_their_value(scene, node):
    values = DRAWN.astype(np.uint8)
    values[20:25, 2:6] = 2
    drawn = segmentation(scene, node, {"one": values})
    segment = drawn.GetSegmentation().GetNthSegment(0)
    segment.SetLabelValue(2)
    np.testing.assert_array_equal(marked_pixels(drawn, node), values == 2)


def test_a_segment_without_a_label_map_is_told_by_name(scene, node):
    import vtk

    drawn = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    drawn.GetSegmentation().SetSourceRepresentationName("Closed surface")
    segment = slicer.vtkSegment()
    segment.SetName("surface only")
    segment.AddRepresentation("Closed surface", vtk.vtkPolyData())
    drawn.GetSegmentation().AddSegment(segment)
    with pytest.raises(InputError, match="drawn: the segment surface only has no binary label map"):
        mask_of(drawn, node)


CORNERS = [(19.5, 4.5), (32.5, 4.5), (32.5, 11.5), (19.5, 11.5)]


def test_the_inside_of_a_closed_curve_counts(scene, node):
    curve = scene.AddNewNodeByClass("vtkMRMLMarkupsClosedCurveNode", "curve")
    curve.SetCurveTypeToLinear()
    for point in world(node, CORNERS):
        curve.AddControlPointWorld(point.tolist())
    np.testing.assert_array_equal(marked_pixels(curve, node), DRAWN)


def test_the_rectangle_of_a_plane_counts(scene, node):
    plane = scene.AddNewNodeByClass("vtkMRMLMarkupsPlaneNode", "plane")
    plane.SetPlaneType(plane.PlaneTypePointNormal)
    corners = world(node, CORNERS)
    axes = [corners[1] - corners[0], corners[3] - corners[0]]
    lengths = [float(np.linalg.norm(axis)) for axis in axes]
    x, y = (axis / length for axis, length in zip(axes, lengths))
    plane.SetCenterWorld(corners.mean(axis=0).tolist())
    plane.SetAxesWorld(x.tolist(), y.tolist(), np.cross(x, y).tolist())
    plane.SetSizeWorld(lengths)
    np.testing.assert_array_equal(marked_pixels(plane, node), DRAWN)


def test_the_box_of_a_roi_counts_where_the_detector_cuts_it(scene, node):
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "roi")
    corners = world(node, CORNERS)
    matrix = np.eye(4)
    for column, (first, second) in enumerate(((0, 1), (0, 3))):
        axis = corners[second] - corners[first]
        matrix[:3, column] = axis / np.linalg.norm(axis)
    matrix[:3, 2] = np.cross(matrix[:3, 0], matrix[:3, 1])
    matrix[:3, 3] = corners.mean(axis=0)
    roi.SetAndObserveObjectToNodeMatrix(vtk_matrix(matrix))
    roi.SetSize(*(float(np.linalg.norm(corners[k] - corners[0])) for k in (1, 3)), 40.0)
    np.testing.assert_array_equal(marked_pixels(roi, node), DRAWN)
    matrix[:3, 3] += 21 * matrix[:3, 2]  # its end no longer reaches the detector
    roi.SetAndObserveObjectToNodeMatrix(vtk_matrix(matrix))
    with pytest.raises(InputError, match="roi: nothing of it lies on AP"):
        mask_of(roi, node)


def test_an_outline_holds_the_centres_inside_by_the_even_odd_rule():
    triangle = np.array([(0.0, 0.0), (10.0, 0.0), (0.0, 10.0)])
    rows, columns = np.mgrid[:12, :12]
    inside = pixels_inside(triangle + 0.25, (12, 12))
    np.testing.assert_array_equal(inside, (columns > 0.25) & (rows > 0.25) & (columns + rows < 10.5))
    twice = np.concatenate([triangle, triangle]) + 0.25  # around twice is outside
    assert not pixels_inside(twice, (12, 12)).any()
    beyond = np.array([(-50.0, -50.0), (50.0, -50.0), (50.0, 50.0), (-50.0, 50.0)])
    assert pixels_inside(beyond, (12, 12)).all()


def test_a_drawing_beside_the_xray_or_over_all_of_it_is_refused_by_name(scene, node):
    aside = label_map(scene, np.ones((1, 5, 5)), np.eye(4))
    with pytest.raises(InputError, match="label: nothing of it lies on AP"):
        mask_of(aside, node)
    everything = label_map(scene, np.ones((1, ROWS, COLUMNS)), np.eye(4))
    with pytest.raises(InputError, match="label: it leaves nothing of AP"):
        mask_of(everything, node)
    set_meaning(everything, Drawn.KEPT)
    assert mask_of(everything, node).all()


def test_a_curve_on_the_ct_or_with_two_points_is_refused(scene, node):
    curve = scene.AddNewNodeByClass("vtkMRMLMarkupsClosedCurveNode", "curve")
    for point in world(node, CORNERS, off_plane=300.0):
        curve.AddControlPointWorld(point.tolist())
    with pytest.raises(InputError, match="curve: it was not drawn on AP"):
        mask_of(curve, node)
    while curve.GetNumberOfControlPoints() > 2:
        curve.RemoveNthControlPoint(0)
    with pytest.raises(InputError, match="curve: a closed curve needs three points"):
        mask_of(curve, node)


def test_the_key_of_a_mask_changes_with_what_is_drawn_and_where_the_xray_stands(scene, node):
    label = label_map(scene, DRAWN[None], np.eye(4))
    drawn = segmentation(scene, node, {"tool": DRAWN})
    keys = [drawing_key(one, node) for one in (label, drawn)]
    assert keys == [drawing_key(one, node) for one in (label, drawn)]
    label.GetImageData().Modified()
    drawn.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap").Modified()
    changed = [drawing_key(one, node) for one in (label, drawn)]
    assert all(one != other for one, other in zip(keys, changed))
    node.SetOrigin(1, 2, 3)
    assert all(one != drawing_key(other, node) for one, other in zip(changed, (label, drawn)))
    assert drawing_key(None, node) is None


def test_what_is_no_drawing_is_refused(scene, node):
    with pytest.raises(InputError, match="CT: this is no drawing"):
        mask_of(volume_node(scene, "CT", np.zeros((4, 4, 4)), np.eye(4)), node)
    for kind in KINDS:
        assert hasattr(slicer, kind)


def test_a_drawing_under_a_transform_that_deforms_is_refused(scene, node):
    label = label_map(scene, np.ones((1, 5, 5)), np.eye(4))
    label.SetAndObserveTransformNodeID(grid_transform_node(scene, "warp").GetID())
    with pytest.raises(InputError, match="label: it is under the transform warp, which is not linear"):
        mask_of(label, node)
