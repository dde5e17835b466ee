"""Markups in CT and X-rays as paired landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..landmarks import Sighting
from .frames import lps_points, parent_to_world, transform_to_world
from .xrays import view_of


def ct_landmarks(node: Any, pose_node: Any) -> tuple[np.ndarray, list[str]]:
    """(N, 3) points in the CT's own LPS, and their labels.

    Markups that are under the pose, as the CT is, hold such points already; others were placed on the CT where it
    stands now, and are carried back.
    """
    points, labels = _placed_points(node)
    if (to_world := transform_to_world(pose_node)) is None:
        raise InputError(f"{pose_node.GetName()}: this transform is not linear. Choose a linear transform as pose.")
    from_world = np.linalg.inv(to_world)
    return lps_points(points @ from_world[:3, :3].T + from_world[:3, 3]), labels


def follow_ct(node: Any, pose_node: Any) -> None:
    """Put CT landmarks that were placed in the world under the pose, so that they move with the CT from now on."""
    if node.GetTransformNodeID() is not None:
        return
    import vtk

    from_world = vtk.vtkMatrix4x4()
    pose_node.GetMatrixTransformFromWorld(from_world)
    node.ApplyTransformMatrix(from_world)
    node.SetAndObserveTransformNodeID(pose_node.GetID())


def sighting_of(node: Any, xray_node: Any, ct_labels: Sequence[str]) -> Sighting:
    """The landmarks placed on an X-ray, paired with those of the CT.

    Paired by label where all of the X-ray's labels are known in the CT; else by place in the list, which takes as many
    in both. A point counts as where the ray from the source through it meets the detector.
    """
    points, labels = _placed_points(node)
    if len(set(labels)) == len(labels) and set(labels) <= set(ct_labels):
        indices = tuple(list(ct_labels).index(label) for label in labels)
    elif len(labels) == len(ct_labels):
        indices = tuple(range(len(labels)))
    else:
        raise InputError(
            f"{node.GetName()}: {len(labels)} landmarks in the X-ray and {len(ct_labels)} in the CT cannot be paired. "
            "Place as many in both, in the same order, or give the same landmarks the same labels."
        )
    view = view_of(xray_node)
    pixels, _ = view.project_points(lps_points(points))
    return Sighting(view, indices, pixels)


def _placed_points(node: Any) -> tuple[np.ndarray, list[str]]:
    """(N, 3) points in the world's RAS, and their labels, of those that were placed."""
    parent_to_world(node)  # says which transform is not linear
    points, labels = [], []
    for index in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(index) != node.PositionDefined:
            continue
        points.append(node.GetNthControlPointPositionWorld(index))
        labels.append(node.GetNthControlPointLabel(index))
    return np.array(points, dtype=np.float64).reshape(-1, 3), labels
