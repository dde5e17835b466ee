"""The coordinates of poses that embeddings are trained to be, and the way back to poses: a guess on the encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ..geometry import Pose, XrayView, common_isocenter
from .interface import carried

_TURN = math.radians(20.0) * math.sqrt(2)  # of the rotation matrix, and below of the shift (mm): deviations of the
_SHIFT_MM = (30.0, 30.0, 60.0)  # seed's protocol


def pose_coordinates(poses: torch.Tensor, isocenters: torch.Tensor, views: Sequence[XrayView]) -> torch.Tensor:
    """(B, 12) float32 coordinates of poses (B, 4, 4), ct_to_world, in which the geodesic ways are straight to first
    order: the rotation matrix in the C-arm's axes, and the shift of the CT's isocentre (B, 3), in deviations of the
    protocol.

    Half the squared distance of two rotation matrices is 4 sin^2(angle / 2), whose gradient points along the geodesic;
    a difference of rotation vectors or of Euler angles would not. The depth counts for less, since the image
    shows less of it.
    """
    axes = torch.from_numpy(np.stack([view.axes for view in views])).to(poses)
    world = torch.from_numpy(np.stack([common_isocenter([view]) for view in views])).to(poses)
    rotation = axes.mT @ poses[:, :3, :3] @ axes
    shift = (carried(isocenters, poses) - world)[:, None] @ axes
    return torch.cat([rotation.flatten(1) / _TURN, shift[:, 0] / shift.new_tensor(_SHIFT_MM)], dim=1).float()


def pose_moved_by(difference: np.ndarray, pose: Pose, isocenter: np.ndarray, view: XrayView) -> Pose:
    """The pose whose `pose_coordinates` are nearest to those of a pose plus a difference (12,): its rotation matrix is
    the nearest proper one (Kabsch 1976)."""
    rotation = view.axes.T @ pose.rotation @ view.axes + _TURN * difference[:9].reshape(3, 3)
    left, _, right = np.linalg.svd(rotation)
    nearest = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    turn = view.axes @ nearest @ view.axes.T @ pose.rotation.T
    return Pose.about(pose.apply(isocenter), turn, view.axes @ (difference[9:] * _SHIFT_MM)) @ pose
