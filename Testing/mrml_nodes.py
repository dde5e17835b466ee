"""Nodes that the tests of `mrml` share: asymmetric, oblique, under parent transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
from XrayCTRegistrationLib.geometry import XrayView, rotation_from_vector, view_from_carm

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
CARM = {
    "source_to_detector_mm": 1000.0,
    "source_to_isocenter_mm": 650.0,
    "pixel_spacing_mm": [0.5, 0.7],
    "image_size_px": [9, 7],
    "principal_point_px": [3.0, 4.5],
    "primary_angle_deg": 25.0,
    "secondary_angle_deg": -10.0,
}


def new_scene() -> Any:
    """A scene with the colours and node classes that 3D Slicer brings."""
    import slicer

    scene = slicer.vtkMRMLScene()
    for kind in (slicer.vtkMRMLSequenceNode, slicer.vtkMRMLSequenceBrowserNode):
        scene.RegisterNodeClass(kind())
    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLScene(scene)
    scene.colors = colors  # which otherwise takes the colour nodes with it
    return scene


def rigid(vector: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    """4x4, turning by a rotation vector in radians."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_vector(np.array(vector))
    matrix[:3, 3] = shift
    return matrix


def oblique_ijk_to_ras() -> np.ndarray:
    """Oblique, anisotropic, left-handed."""
    matrix = rigid((0.4, -0.9, 1.3), (12.0, -80.0, 300.0))
    matrix[:3, :3] = matrix[:3, :3] @ np.diag([0.7, 1.1, -2.5])
    return matrix


def volume_node(scene: Any, name: str, array: np.ndarray, ijk_to_ras: np.ndarray) -> Any:
    """A scalar volume with voxels (slices, rows, columns)."""
    from XrayCTRegistrationLib.mrml.volumes import fill_volume

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    fill_volume(node, array, FLIP @ ijk_to_ras)
    return node


def transform_node(scene: Any, name: str, to_parent: np.ndarray, parent: Any | None = None) -> Any:
    """A linear transform in RAS."""
    from XrayCTRegistrationLib.mrml.frames import vtk_matrix

    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(vtk_matrix(to_parent))
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def xray_node(scene: Any, name: str = "AP", view: XrayView | None = None, pixels: np.ndarray | None = None) -> Any:
    """An X-ray that stands at its detector."""
    from XrayCTRegistrationLib.mrml.xrays import add_xray_node

    view = view or view_from_carm(CARM)
    columns, rows = view.size_px
    pixels = np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns) if pixels is None else pixels
    return add_xray_node(scene, name, pixels, view)


def grid_transform_node(scene: Any, name: str) -> Any:
    """A transform that deforms."""
    import vtk

    grid = vtk.vtkImageData()
    grid.SetDimensions(3, 3, 3)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    transform = vtk.vtkGridTransform()
    transform.SetDisplacementGridData(grid)
    node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    node.SetAndObserveTransformToParent(transform)
    return node
