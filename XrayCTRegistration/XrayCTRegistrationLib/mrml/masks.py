"""What of an X-ray may be used, from what a person drew on it with 3D Slicer's own tools.

Drawn is what shall be left out, as people paint over instruments, a hand or a marker, unless `set_meaning` says that it
is the field that alone shall be used. A drawing is one of these:
- a label map: of the X-ray's size in pixels it counts pixel by pixel, of any other by where it stands;
- a segmentation, all of its segments, by where they stand;
- markups on the X-ray: a closed curve, a plane's rectangle, or a ROI box where the detector cuts it.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np

from ..errors import InputError
from .frames import ijk_to_ras, matrix_array, parent_to_world
from .segments import LABELS, image_voxels, label_image
from .volumes import voxels
from .xrays import size_px

KINDS = (
    "vtkMRMLLabelMapVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLMarkupsClosedCurveNode",
    "vtkMRMLMarkupsPlaneNode",
    "vtkMRMLMarkupsROINode",
)
_OFF_PLANE_MM = 10.0  # a curve's points are placed on the slice that shows the X-ray, give or take a slice's thickness
_MEANING = "XrayCTRegistration.Drawn"


class Drawn(str, Enum):
    """What a drawing means."""

    LEFT_OUT = "left out"
    KEPT = "kept"


def meaning_of(node: Any) -> Drawn:
    """What a drawing means: what was said of it with `set_meaning`, else that it is left out."""
    return Drawn(node.GetAttribute(_MEANING) or Drawn.LEFT_OUT.value)


def set_meaning(node: Any, drawn: Drawn) -> None:
    """Say, with the drawing, what it means."""
    node.SetAttribute(_MEANING, drawn.value)


def drawing_key(node: Any | None, xray_node: Any) -> Any:
    """What a mask depends on beside the X-ray's own image: while it is the same, so is the mask."""
    if node is None:
        return None
    times = [node.GetMTime()]
    if node.IsA("vtkMRMLLabelMapVolumeNode") and node.GetImageData() is not None:
        times.append(node.GetImageData().GetMTime())
    if node.IsA("vtkMRMLSegmentationNode"):
        images = [segment.GetRepresentation(LABELS) for segment in _segments(node)]
        times += [image.GetMTime() for image in images if image is not None]
    return node.GetID(), tuple(times), _pixel_to_world(xray_node).tolist(), parent_to_world(node).tolist()


def mask_of(node: Any | None, xray_node: Any) -> np.ndarray | None:
    """Which pixels of an X-ray may be used, bool (rows, columns), True where they may; None where there is no drawing.

    Raises InputError that names the drawing when it is of no kind that is known, marks no pixel, or leaves none.
    """
    if node is None:
        return None
    marked = marked_pixels(node, xray_node)
    where, xray = node.GetName(), xray_node.GetName()
    if not marked.any():
        raise InputError(
            f"{where}: nothing of it lies on {xray}. Draw on the X-ray where it stands now, or choose no mask."
        )
    mask = marked if meaning_of(node) is Drawn.KEPT else ~marked
    if not mask.any():
        raise InputError(f"{where}: it leaves nothing of {xray}. Draw over what shall be left out only.")
    return mask


def marked_pixels(node: Any, xray_node: Any) -> np.ndarray:
    """The pixels of an X-ray that a drawing covers with their centres, bool (rows, columns)."""
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        return _of_label_map(node, xray_node)
    if node.IsA("vtkMRMLSegmentationNode"):
        return _of_segmentation(node, xray_node)
    if node.IsA("vtkMRMLMarkupsClosedCurveNode"):
        return _inside(_curve(node), node, xray_node)
    if node.IsA("vtkMRMLMarkupsPlaneNode"):
        return _inside(_corners(node), node, xray_node)
    if node.IsA("vtkMRMLMarkupsROINode"):
        return _in_box(node, xray_node)
    raise InputError(
        f"{node.GetName()}: this is no drawing. Choose a label map, a segmentation, a closed curve, a plane or a ROI."
    )


def _of_label_map(node: Any, xray_node: Any) -> np.ndarray:
    labels = voxels(node)
    if labels is None:
        raise InputError(f"{node.GetName()}: the label map is empty. Draw in it, or choose no mask.")
    if labels.shape == (1, *size_px(xray_node)[::-1]):
        return labels[0] != 0
    return _sampled(labels != 0, parent_to_world(node) @ ijk_to_ras(node), xray_node)


def _of_segmentation(node: Any, xray_node: Any) -> np.ndarray:
    to_world = parent_to_world(node)
    marked = np.zeros(size_px(xray_node)[::-1], bool)
    for segment in _segments(node):
        image = label_image(node, segment)
        if image is not None:
            labels, to_ras = image_voxels(image)
            marked |= _sampled(labels == segment.GetLabelValue(), to_world @ to_ras, xray_node)
    return marked


def _segments(node: Any) -> list[Any]:
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]


def _sampled(drawn: np.ndarray, ijk_to_world: np.ndarray, xray_node: Any) -> np.ndarray:
    """A drawing (slices, rows, columns) at the centres of the X-ray's pixels, by the nearest voxel; False outside."""
    columns, rows = size_px(xray_node)
    matrix = np.linalg.inv(ijk_to_world) @ _pixel_to_world(xray_node)
    ijk = [
        np.rint(matrix[k, 0] * np.arange(columns) + matrix[k, 1] * np.arange(rows)[:, None] + matrix[k, 3]).astype(int)
        for k in range(3)
    ]
    within = np.logical_and.reduce([(one >= 0) & (one < size) for one, size in zip(ijk, drawn.shape[::-1])])
    marked = np.zeros((rows, columns), bool)
    marked[within] = drawn[tuple(one[within] for one in reversed(ijk))]
    return marked


def _curve(node: Any) -> np.ndarray:
    """(N, 3) points of a closed curve in the world's RAS."""
    from vtk.util.numpy_support import vtk_to_numpy

    if node.GetNumberOfDefinedControlPoints() < 3:
        raise InputError(f"{node.GetName()}: a closed curve needs three points or more. Place them on the X-ray.")
    return vtk_to_numpy(node.GetCurvePointsWorld().GetData()).astype(np.float64)


def _corners(node: Any) -> np.ndarray:
    """(4, 3) corners of a plane's rectangle in the world's RAS."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    points = vtk.vtkPoints()
    node.GetPlaneCornerPointsWorld(points)
    if points.GetNumberOfPoints() != 4:
        raise InputError(f"{node.GetName()}: the plane has not been placed. Place it on the X-ray.")
    return vtk_to_numpy(points.GetData()).astype(np.float64)


def _inside(outline: np.ndarray, node: Any, xray_node: Any) -> np.ndarray:
    """The pixels inside an outline (N, 3) in the world's RAS that lies on the X-ray."""
    to_pixel = np.linalg.inv(_pixel_to_world(xray_node))
    corners = outline @ to_pixel[:3, :3].T + to_pixel[:3, 3]
    thickness_mm = np.linalg.norm(_pixel_to_world(xray_node)[:3, 2])
    if np.abs(corners[:, 2]).max() * thickness_mm > _OFF_PLANE_MM:
        raise InputError(
            f"{node.GetName()}: it was not drawn on {xray_node.GetName()} where that stands now. Draw it in the slice "
            "view that shows this X-ray."
        )
    return pixels_inside(corners[:, :2], size_px(xray_node))


def pixels_inside(outline: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie inside a closed outline (N, 2) of (column, row), bool (rows, columns).

    By the even-odd rule: a ray to the left crosses the outline an odd number of times.
    """
    columns, rows = size_px
    inside = np.zeros((rows, columns), bool)
    across = np.arange(columns)
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0)):
        first, last = (int(np.clip(np.ceil(y), 0, rows)) for y in sorted((y0, y1)))
        if first < last:
            crossing = x0 + (np.arange(first, last) - y0) * (x1 - x0) / (y1 - y0)
            inside[first:last] ^= crossing[:, None] < across
    return inside


def _in_box(node: Any, xray_node: Any) -> np.ndarray:
    """The pixels whose centres lie inside a ROI's box."""
    columns, rows = size_px(xray_node)
    from_world = np.linalg.inv(matrix_array(node.GetObjectToWorldMatrix()))
    matrix = from_world @ _pixel_to_world(xray_node)
    half = np.array(node.GetSize()) / 2
    marked = np.ones((rows, columns), bool)
    for k in range(3):
        place = matrix[k, 0] * np.arange(columns) + matrix[k, 1] * np.arange(rows)[:, None] + matrix[k, 3]
        marked &= np.abs(place) <= half[k]
    return marked


def _pixel_to_world(xray_node: Any) -> np.ndarray:
    return parent_to_world(xray_node) @ ijk_to_ras(xray_node)
