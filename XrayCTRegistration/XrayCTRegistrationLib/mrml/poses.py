"""Linear transform nodes and poses: the transform node above the CT is the pose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import InputError
from ..geometry import Pose, XrayView
from .frames import lps_motion, parent_to_world, transform_to_world, vtk_matrix

_INITIAL = "XrayCTRegistration.InitialPose"

# Of the first X-ray at angles of zero: away from the source, and down the rows, in LPS.
_DIRECTIONS = {"PA": ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0)), "AP": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))}
_DIRECTIONS["LAT"] = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))


def pose_of(transform_node: Any) -> Pose:
    """The pose ct_to_world in LPS of a transform node, its parents included.

    Raises InputError that names the node when it is not linear or not rigid.
    """
    if (matrix := transform_to_world(transform_node)) is None:
        raise InputError(
            f"{transform_node.GetName()}: this transform is not linear, so it is no pose of a rigid body. Choose a "
            "linear transform."
        )
    try:
        return Pose(lps_motion(matrix))
    except InputError as error:
        raise InputError(f"{transform_node.GetName()}: {error}") from None


def set_pose(transform_node: Any, pose: Pose) -> None:
    """Let a transform node, under whatever parents, carry the CT to a pose ct_to_world in LPS."""
    to_parent = np.linalg.inv(parent_to_world(transform_node)) @ lps_motion(pose.matrix)
    transform_node.SetMatrixTransformToParent(vtk_matrix(to_parent))


def pose_node_for(scene: Any, ct_node: Any, pose: Pose) -> Any:
    """The transform node that carries a CT: the one it is under already, or a new one, at `pose`.

    Raises InputError when the CT is under a transform that is no linear transform node.
    """
    there = ct_node.GetParentTransformNode()
    if there is not None and not there.IsA("vtkMRMLLinearTransformNode"):
        raise InputError(
            f"{ct_node.GetName()}: it is under the transform {there.GetName()}, which is no linear transform. Harden "
            "that transform, or take it away, in the Transforms module."
        )
    if there is not None:
        return there
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", scene.GenerateUniqueName("CT pose"))
    set_pose(node, pose)
    ct_node.SetAndObserveTransformNodeID(node.GetID())
    return node


def check_moves_only_the_ct(transform_node: Any, xray_nodes: Sequence[Any]) -> None:
    """Raise InputError when an X-ray is under the pose, too, and so would move with the CT."""
    for node in xray_nodes:
        parent = node.GetParentTransformNode()
        while parent is not None:
            if parent.GetID() == transform_node.GetID():
                raise InputError(
                    f"{node.GetName()}: this X-ray is under the pose {transform_node.GetName()}, so it moves with the "
                    "CT. Take it out of that transform, or choose another pose."
                )
            parent = parent.GetParentTransformNode()


def centered_pose(center: np.ndarray, isocenter: np.ndarray, rotation: np.ndarray | None = None) -> Pose:
    """The pose that turns a CT by rotation (3, 3) and puts its centre (3,) at the isocentre (3,)."""
    rotation = np.eye(3) if rotation is None else rotation
    return Pose.from_parts(rotation, isocenter - rotation @ center)


def seen_from(view: XrayView, direction: str) -> np.ndarray:
    """The rotation (3, 3) of the patient after which a view looks along "PA", "AP" or "LAT", the head up.

    What is left and right in the image stays as the detector has it.
    """
    away, down = view.axes[:, 2], view.axes[:, 1]
    return _frame(away, down) @ _frame(*np.array(_DIRECTIONS[direction])).T


def _frame(away: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Right-handed orthonormal axes as columns, the first along `away`, the second as near `down` as can be."""
    second = down - (down @ away) * away
    second = second / np.linalg.norm(second)
    return np.stack([away, second, np.cross(away, second)], axis=1)


@dataclass(frozen=True)
class PlaceOfCt:
    """A pose as the six sliders show it.

    shift_mm: how far the CT's centre stands from the isocentre. turn_deg: rotations about the fixed axes through that
    centre, in this order. Both along left, posterior, superior.
    """

    shift_mm: tuple[float, float, float]
    turn_deg: tuple[float, float, float]


def place_of(pose: Pose, center: np.ndarray, isocenter: np.ndarray) -> PlaceOfCt:
    """How a CT with centre (3,) stands at a pose; `pose_at` is the inverse."""
    angles = Rotation.from_matrix(pose.rotation).as_euler("xyz", degrees=True)
    shift = pose.apply(center) - isocenter
    return PlaceOfCt(tuple(map(float, shift)), tuple(map(float, angles)))


def pose_at(place: PlaceOfCt, center: np.ndarray, isocenter: np.ndarray) -> Pose:
    """The pose at which a CT with centre (3,) stands so."""
    rotation = Rotation.from_euler("xyz", place.turn_deg, degrees=True).as_matrix()
    return centered_pose(center, isocenter + np.array(place.shift_mm), rotation)


def keep_initial_pose(transform_node: Any, pose: Pose) -> None:
    """Remember, with the scene, the pose that the user started from."""
    transform_node.SetAttribute(_INITIAL, json.dumps(pose.matrix.ravel().tolist()))


def initial_pose(transform_node: Any) -> Pose | None:
    """The pose that the user started from, if one was kept."""
    text = transform_node.GetAttribute(_INITIAL)
    return Pose(np.array(json.loads(text)).reshape(4, 4)) if text else None
