"""CT nodes to volumes in Hounsfield units, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..volume import Volume, check_hounsfield
from .frames import RAS_FROM_LPS, ijk_to_ras, vtk_matrix

_BONE_WINDOW_HU, _BONE_LEVEL_HU = 1000.0, 400.0
_LEAST_SLICES = 4  # fewer are no CT: a DRR of them says nothing about depth


def ct_volume(node: Any) -> Volume:
    """As `unchecked_ct`, every voxel looked at: InputError unless they can be Hounsfield units."""
    volume = unchecked_ct(node)
    check_hounsfield(volume, node.GetName())
    return volume


def unchecked_ct(node: Any) -> Volume:
    """The volume of a CT node in its own LPS, before any parent transform: those are the pose.

    The array is the node's own memory where its type allows. Raises InputError that names the node, in no time: what
    the voxels hold is left to be looked at.
    """
    where = node.GetName()
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(f"{where}: this is a label map. Choose the CT it belongs to.")
    if node.IsA("vtkMRMLVectorVolumeNode"):
        raise InputError(f"{where}: this volume has colours or vectors, not Hounsfield units. Choose a CT.")
    array = voxels(node)
    if array is None:
        raise InputError(f"{where}: the volume is empty. Load the CT again.")
    if min(array.shape) < _LEAST_SLICES:
        size = " x ".join(str(length) for length in array.shape[::-1])
        raise InputError(f"{where}: the volume has {size} voxels. Choose a CT, not a single image.")
    try:
        return Volume(array, RAS_FROM_LPS @ ijk_to_ras(node))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def voxels(node: Any) -> np.ndarray | None:
    """The node's own memory as (slices, rows, columns) or (slices, rows, columns, components); None if it is empty."""
    from vtk.util.numpy_support import vtk_to_numpy

    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or scalars.GetNumberOfTuples() != image.GetNumberOfPoints() or not image.GetNumberOfPoints():
        return None  # empty, or about to be filled
    shape = image.GetDimensions()[::-1]
    components = scalars.GetNumberOfComponents()
    return vtk_to_numpy(scalars).reshape(shape if components == 1 else (*shape, components))


def fill_volume(node: Any, array: np.ndarray, ijk_to_world: np.ndarray) -> None:
    """Give a scalar volume node voxels (slices, rows, columns), copied, and a place in LPS."""
    node.SetAndObserveImageData(vtk_image(array))
    node.SetIJKToRASMatrix(vtk_matrix(RAS_FROM_LPS @ ijk_to_world))


def vtk_image(array: np.ndarray) -> Any:
    """A vtkImageData with a copy of an array (slices, rows, columns)."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True))
    return image


def add_ct_node(scene: Any, name: str, volume: Volume) -> Any:
    """A new CT node, shown with a window for bone."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    fill_volume(node, volume.array, volume.ijk_to_world)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(_BONE_WINDOW_HU, _BONE_LEVEL_HU)
    return node
