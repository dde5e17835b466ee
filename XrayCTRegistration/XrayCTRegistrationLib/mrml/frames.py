"""RAS of the scene and LPS of the library; VTK matrices and arrays; parent transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse


def matrix_array(matrix: Any) -> np.ndarray:
    """The 4x4 array of a vtkMatrix4x4."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def vtk_matrix(array: np.ndarray) -> Any:
    """The vtkMatrix4x4 of a 4x4 array."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=np.float64).ravel().tolist())
    return matrix


def ijk_to_ras(volume_node: Any) -> np.ndarray:
    """4x4, into the volume's own RAS, before its parent transforms."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return matrix_array(matrix)


def parent_to_world(node: Any) -> np.ndarray:
    """4x4 of all transforms above a node, in RAS; the identity where there are none.

    Raises InputError that names the node when they are not linear.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if (matrix := transform_to_world(parent)) is None:
        raise InputError(
            f"{node.GetName()}: it is under the transform {parent.GetName()}, which is not linear. Harden that "
            "transform, or take it away, in the Transforms module."
        )
    return matrix


def transform_to_world(transform_node: Any) -> np.ndarray | None:
    """4x4 of a transform node and all above it, in RAS; None where they are not linear."""
    import vtk

    if not transform_node.IsTransformToWorldLinear():  # asked first, since VTK would log an error
        return None
    matrix = vtk.vtkMatrix4x4()
    transform_node.GetMatrixTransformToWorld(matrix)
    return matrix_array(matrix)


def lps_points(ras_points: np.ndarray) -> np.ndarray:
    """Points (..., 3) of RAS in LPS, or the other way about."""
    return np.asarray(ras_points, dtype=np.float64) * (-1.0, -1.0, 1.0)


def lps_motion(ras_matrix: np.ndarray) -> np.ndarray:
    """A 4x4 transform from RAS to RAS as one from LPS to LPS, or the other way about."""
    return RAS_FROM_LPS @ ras_matrix @ RAS_FROM_LPS
