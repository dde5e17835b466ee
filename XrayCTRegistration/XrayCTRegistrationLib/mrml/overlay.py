"""The edges as a node, green those of the CT, bones in colours of their own: lines on the X-ray's detector, thin at
whatever resolution a view has.

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

_ROLE, _COLORS_ROLE = "XrayCTRegistration.Edges", "XrayCTRegistration.EdgeColors"
GREEN = (0.1, 0.95, 0.3)
_COLORS = "color"  # the array of the lines' colours, as numbers of a table: slice views log errors of direct ones
_MOST_COLORS = 256
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


def edge_colors_node(xray_node: Any) -> Any | None:
    """The table of the colours of the edges over an X-ray node, if it has one."""
    return xray_node.GetNodeReference(_COLORS_ROLE)


def add_edges(xray_node: Any) -> bool:
    """Add the nodes that edges over an X-ray are shown by; False where it has them."""
    if overlay_node(xray_node) is not None and edge_colors_node(xray_node) is not None:
        return False
    was = xray_node.StartModify()  # who follows the X-ray is told once
    if overlay_node(xray_node) is None:
        _added(xray_node)
    if edge_colors_node(xray_node) is None:
        _added_colors(xray_node)
    xray_node.EndModify(was)
    return True


def show_edges(xray_node: Any, drawn: Sequence[Drawn]) -> Any:
    """Show edges over an X-ray, and no others; returns the node of the model."""
    add_edges(xray_node)
    node = overlay_node(xray_node)
    palette = list(dict.fromkeys((GREEN, *(one.color for one in drawn))))[:_MOST_COLORS]
    _show_palette(edge_colors_node(xray_node), palette)
    node.SetAndObservePolyData(_lines_on_detector(drawn, palette))
    return node


def show_edges_in(xray_node: Any, slice_node: Any) -> None:
    """Draw the edges of an X-ray in a slice view that stands at its detector, and in no other slice view."""
    add_edges(xray_node)
    display = overlay_node(xray_node).GetNthDisplayNode(1)
    display.SetViewNodeIDs([slice_node.GetID()])
    display.SetVisibility(True)


def clear_edges(xray_node: Any) -> None:
    """Show no edges over an X-ray."""
    node = overlay_node(xray_node)
    if node is not None and node.GetPolyData() is not None and node.GetPolyData().GetNumberOfPoints():
        node.SetAndObservePolyData(_lines_on_detector([], [GREEN]))


def edge_points(xray_node: Any) -> np.ndarray:
    """(N, 3) points of the edges that are shown over an X-ray, in RAS."""
    from vtk.util.numpy_support import vtk_to_numpy

    node = overlay_node(xray_node)
    polydata = node.GetPolyData() if node is not None else None
    there = polydata is not None and polydata.GetNumberOfPoints()
    return vtk_to_numpy(polydata.GetPoints().GetData()).astype(np.float64) if there else np.zeros((0, 3))


def _lines_on_detector(drawn: Sequence[Drawn], palette: Sequence[tuple[float, float, float]]) -> Any:
    """The lines twice, just before and just behind the detector, in RAS, each with the number of its colour."""
    points, segments, colors, count = [np.zeros((0, 3))], [NO_EDGES.segments], [np.zeros(0, np.uint8)], 0
    for one in drawn:
        on_detector = one.view.detector_points(one.lines.points.astype(np.float64))
        color = palette.index(one.color) if one.color in palette else 0
        for aside_mm in (-_ASIDE_MM, _ASIDE_MM):
            points.append(lps_points(on_detector + aside_mm * one.view.axes[:, 2]))
            segments.append(one.lines.segments + count)
            colors.append(np.full(len(one.lines.segments), color, np.uint8))
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


def _added_colors(xray_node: Any) -> Any:
    """A table of colours, by which the lines over an X-ray are drawn from now on; scenes of before have none."""
    import vtk

    scene = xray_node.GetScene()
    colors = scene.AddNewNodeByClass("vtkMRMLColorTableNode", f"{xray_node.GetName()} edge colors")
    colors.SetHideFromEditors(True)
    colors.SetTypeToUser()
    _show_palette(colors, [GREEN])
    for index in range(overlay_node(xray_node).GetNumberOfDisplayNodes()):
        display = overlay_node(xray_node).GetNthDisplayNode(index)
        display.SetAndObserveColorNodeID(colors.GetID())
        display.SetActiveScalar(_COLORS, vtk.vtkAssignAttribute.CELL_DATA)
        display.SetScalarRangeFlag(display.UseColorNodeScalarRange)
        display.SetScalarVisibility(True)
    xray_node.SetNodeReferenceID(_COLORS_ROLE, colors.GetID())
    return colors


def _show_palette(colors: Any, palette: Sequence[tuple[float, float, float]]) -> None:
    """Give a table these colours, where it has others."""
    table, wanted = colors.GetLookupTable(), [(*color, 1.0) for color in palette]
    there = [table.GetTableValue(index) for index in range(table.GetNumberOfTableValues())] if table else []
    if len(there) == len(wanted) and np.allclose(there, wanted, atol=0.003):  # of bytes
        return
    was = colors.StartModify()
    colors.SetNumberOfColors(len(palette))
    for index, color in enumerate(wanted):
        colors.SetColor(index, str(index), *color)
    colors.GetLookupTable().SetTableRange(-0.5, len(palette) - 0.5)
    colors.Modified()
    colors.EndModify(was)


def _added(xray_node: Any) -> Any:
    """A model without lines, shown in 3D, and in a slice view once there is one for the X-ray."""
    scene = xray_node.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", f"{xray_node.GetName()} edges")
    node.SetSelectable(False)  # clicks go through it, to the X-ray
    for in_slices in (False, True):
        display = scene.AddNewNodeByClass("vtkMRMLModelDisplayNode")
        display.SetColor(*GREEN)
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
