"""What stands in the 3D view beside the X-ray: its beam, the surface of the CT's bone, and those of single bones."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from ..geometry import XrayView
from ..metrics import BONE_HU
from ..volume import Volume, prepared
from .frames import RAS_FROM_LPS, lps_points, vtk_matrix
from .volumes import vtk_image

_BEAM, _BONE, _SURFACE = (f"XrayCTRegistration.{name}" for name in ("Beam", "Bone", "BoneSurface"))
_SOURCE_RADIUS_MM = 8.0
_BEAM_COLOR, _BONE_COLOR = (0.95, 0.75, 0.25), (0.93, 0.89, 0.78)
_BONE_VOXEL_MM = 3.5  # coarse enough to be made and turned without waiting
_SINGLE_BONE_VOXEL_MM = 1.5


def show_beam(xray_node: Any, view: XrayView) -> Any:
    """Draw the source and the edges of the beam of a view in the world's LPS; returns the model's node."""
    node = _model(xray_node, _BEAM, f"{xray_node.GetName()} beam", _BEAM_COLOR)
    node.SetAndObservePolyData(_beam(view))
    show_model(node, True)
    return node


def show_bone(ct_node: Any, surface: Any) -> Any:
    """Draw the surface of a CT's bone, of `bone_surface_steps`, moving with the CT; returns the model's node."""
    node = _model(ct_node, _BONE, f"{ct_node.GetName()} bone", _BONE_COLOR)
    node.SetAndObservePolyData(surface)
    node.SetAndObserveTransformNodeID(ct_node.GetTransformNodeID())
    return node


def show_surface(transform_node: Any, name: str, color: tuple[float, float, float], surface: Any) -> Any:
    """Show the surface of the bone that a transform node carries, in its colour; returns the model's node.

    It is a model of our own, so that the segmentation, which has one transform for all of its segments, stays as it is.
    """
    node = _model(transform_node, _SURFACE, name, color)
    node.SetName(name)
    node.GetDisplayNode().SetColor(*color)
    node.SetAndObservePolyData(surface)
    node.SetAndObserveTransformNodeID(transform_node.GetID())
    return node


def show_model(node: Any, shown: bool) -> None:
    """Show a model in the 3D views, or hide it."""
    node.GetDisplayNode().SetVisibility(shown)


def beam_node(xray_node: Any) -> Any | None:
    return xray_node.GetNodeReference(_BEAM)


def bone_node(ct_node: Any) -> Any | None:
    return ct_node.GetNodeReference(_BONE)


def surface_node(transform_node: Any) -> Any | None:
    return transform_node.GetNodeReference(_SURFACE)


def bone_surface_steps(ct: Volume) -> Generator[None, None, Any]:
    """The surface between bone and the rest of a CT, coarse, with pauses: vtkPolyData in the CT's own RAS.

    ct: Hounsfield units in the CT's own LPS.
    """
    body = prepared(ct)
    coarse = body.downsampled(body.factors_to(_BONE_VOXEL_MM))
    yield
    return (yield from _surface_steps(coarse.array, coarse.ijk_to_world, BONE_HU, -1000.0))


def mask_surface_steps(mask: Volume) -> Generator[None, None, Any]:
    """The surface of a mask in the CT's own LPS, with pauses: vtkPolyData in its RAS."""
    coarse = mask.downsampled(mask.factors_to(_SINGLE_BONE_VOXEL_MM))
    return (yield from _surface_steps(coarse.array, coarse.ijk_to_world, 0.5, 0.0))


def _model(owner: Any, role: str, name: str, color: tuple[float, float, float]) -> Any:
    """The model that belongs to a node, made where it is missing."""
    node = owner.GetNodeReference(role)
    if node is None:
        node = owner.GetScene().AddNewNodeByClass("vtkMRMLModelNode", name)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetColor(*color)
        display.SetVisibility2D(False)
        node.SetSelectable(False)  # clicks go through it, to what it stands before
        owner.SetNodeReferenceID(role, node.GetID())
    return node


def _beam(view: XrayView) -> Any:
    """The outline of the detector, the four edges of the beam, and a ball at the source, in RAS."""
    import vtk

    columns, rows = view.size_px
    corners = [(-0.5, -0.5), (columns - 0.5, -0.5), (columns - 0.5, rows - 0.5), (-0.5, rows - 0.5)]
    ras = lps_points(np.vstack([view.source, view.detector_points(np.array(corners))]))
    points, lines = vtk.vtkPoints(), vtk.vtkCellArray()
    for point in ras:
        points.InsertNextPoint(*point)
    for first, second in [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1)]:
        lines.InsertNextCell(2, [first, second])
    outline = vtk.vtkPolyData()
    outline.SetPoints(points)
    outline.SetLines(lines)
    ball = vtk.vtkSphereSource()
    ball.SetCenter(*ras[0])
    ball.SetRadius(_SOURCE_RADIUS_MM)
    together = vtk.vtkAppendPolyData()
    together.AddInputData(outline)
    together.AddInputConnection(ball.GetOutputPort())
    together.Update()
    return together.GetOutput()


def _surface_steps(
    array: np.ndarray, ijk_to_lps: np.ndarray, value: float, outside: float
) -> Generator[None, None, Any]:
    """Where an image (slices, rows, columns) has a value, smoothed, in RAS; outside: what surrounds it."""
    import vtk

    surface = vtk.vtkFlyingEdges3D()
    surface.SetInputData(vtk_image(np.pad(array, 1, constant_values=outside)))
    surface.SetValue(0, value)
    surface.ComputeNormalsOff()
    to_ras = vtk.vtkTransform()
    to_ras.SetMatrix(vtk_matrix(RAS_FROM_LPS @ ijk_to_lps @ _shift(-1.0)))
    placed = vtk.vtkTransformPolyDataFilter()
    placed.SetInputConnection(surface.GetOutputPort())
    placed.SetTransform(to_ras)
    placed.Update()
    yield
    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(placed.GetOutputPort())
    smooth.SetNumberOfIterations(8)
    smooth.Update()
    yield
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(smooth.GetOutputPort())
    normals.SplittingOff()
    normals.ConsistencyOff()  # as the surface was made: looking for it takes most of the time
    normals.Update()
    return normals.GetOutput()


def _shift(voxels: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = voxels
    return matrix
