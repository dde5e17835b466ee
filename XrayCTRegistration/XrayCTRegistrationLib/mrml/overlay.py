"""The edges as a node, green those of the CT, bones in colours of their own: lines on the X-ray's detector, thin at whatever resolution a view has.

In 3D they stand on the detector. In slice views they are drawn in the one that shows this X-ray, see `show_edges_in`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..edge_lines import NO_EDGES, EdgeLines
from ..geometry import XrayView
from .frames import lps_points

_ROLE = "XrayCTRegistration.Edges"
GREEN = (0.1, 0.95, 0.3)
_COLORS = "color"  # the array of the lines' colours
_WIDTH_IN_3D_PX, _WIDTH_IN_SLICES_PX = 1, 2
_ASIDE_MM = 0.5  # before and behind the detector: in its plane, lines and image would flicker in 3D


@dataclass(frozen=True, eq=False)
class Drawn:
    """Edges in the pixels of a view in the world's LPS, which may have another resolution than the X-ray, or be a part
    of its view. color: (red, green, blue) 0 to 1."""

    lines: EdgeLines
    view: XrayView
    color: tuple[float, float, float] = GREEN


def overlay_node(xray_node: Any) -> Any | None:
    """The model of the edges over an X-ray node, if it has one."""
    return xray_node.GetNodeReference(_ROLE)


def show_edges(xray_node: Any, drawn: Sequence[Drawn]) -> Any:
    """Show edges over an X-ray, and no others; returns the node of the model."""
    node = overlay_node(xray_node) or _added(xray_node)
    node.SetAndObservePolyData(_lines_on_detector(drawn))
    return node


def show_edges_in(xray_node: Any, slice_node: Any) -> None:
    """Draw the edges of an X-ray in a slice view that stands at its detector, and in no other slice view."""
    display = (overlay_node(xray_node) or _added(xray_node)).GetNthDisplayNode(1)
    display.SetViewNodeIDs([slice_node.GetID()])
    display.SetVisibility(True)


def clear_edges(xray_node: Any) -> None:
    """Show no edges over an X-ray."""
    node = overlay_node(xray_node)
    if node is not None and node.GetPolyData() is not None and node.GetPolyData().GetNumberOfPoints():
        node.SetAndObservePolyData(_lines_on_detector([]))


def edge_points(xray_node: Any) -> np.ndarray:
    """(N, 3) points of the edges that are shown over an X-ray, in RAS."""
    from vtk.util.numpy_support import vtk_to_numpy

    node = overlay_node(xray_node)
    polydata = node.GetPolyData() if node is not None else None
    there = polydata is not None and polydata.GetNumberOfPoints()
    return vtk_to_numpy(polydata.GetPoints().GetData()).astype(np.float64) if there else np.zeros((0, 3))


def _lines_on_detector(drawn: Sequence[Drawn]) -> Any:
    """The lines twice, just before and just behind the detector, in RAS, each in its colour."""
    points, segments, colors, count = [np.zeros((0, 3))], [NO_EDGES.segments], [np.zeros((0, 3), np.uint8)], 0
    for one in drawn:
        on_detector = one.view.detector_points(one.lines.points.astype(np.float64))
        color = np.rint(255 * np.array(one.color)).astype(np.uint8)
        for aside_mm in (-_ASIDE_MM, _ASIDE_MM):
            points.append(lps_points(on_detector + aside_mm * one.view.axes[:, 2]))
            segments.append(one.lines.segments + count)
            colors.append(np.tile(color, (len(one.lines.segments), 1)))
            count += len(on_detector)
    return _polydata(np.concatenate(points), np.concatenate(segments), np.concatenate(colors))


def _polydata(points: np.ndarray, segments: np.ndarray, colors: np.ndarray) -> Any:
    """vtkPolyData of segments between points, with a colour each, all of which it copies."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

    corners, cells, polydata = vtk.vtkPoints(), vtk.vtkCellArray(), vtk.vtkPolyData()
    corners.SetData(numpy_to_vtk(np.ascontiguousarray(points, np.float32).reshape(-1, 3), deep=True))
    cells.SetData(2, numpy_to_vtkIdTypeArray(np.ascontiguousarray(segments, np.int64).ravel(), deep=True))
    polydata.SetPoints(corners)
    polydata.SetLines(cells)
    shades = numpy_to_vtk(np.ascontiguousarray(colors), deep=True)
    shades.SetName(_COLORS)
    polydata.GetCellData().SetScalars(shades)
    return polydata


def _added(xray_node: Any) -> Any:
    """A model without lines, shown in 3D, and in a slice view once there is one for the X-ray."""
    import vtk

    scene = xray_node.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", f"{xray_node.GetName()} edges")
    node.SetSelectable(False)  # clicks go through it, to the X-ray
    for in_slices in (False, True):
        display = scene.AddNewNodeByClass("vtkMRMLModelDisplayNode")
        display.SetColor(*GREEN)
        display.SetActiveScalar(_COLORS, vtk.vtkAssignAttribute.CELL_DATA)
        display.SetScalarRangeFlag(display.UseDirectMapping)
        display.SetScalarVisibility(True)
        display.SetLighting(False)
        display.SetLineWidth(_WIDTH_IN_3D_PX)
        display.SetSliceIntersectionThickness(_WIDTH_IN_SLICES_PX)
        display.SetSliceDisplayModeToProjection()  # lines in the slice's plane do not intersect it
        display.SetVisibility2D(in_slices)
        display.SetVisibility3D(not in_slices)
        display.SetVisibility(not in_slices)
        node.AddAndObserveDisplayNodeID(display.GetID())
    xray_node.SetNodeReferenceID(_ROLE, node.GetID())
    return node
