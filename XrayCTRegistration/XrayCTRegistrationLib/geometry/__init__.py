"""Rigid poses, X-ray views and C-arm geometry. Millimetres, radians inside; pixel and voxel centres at integer indices.

Everything here is frame-agnostic: a caller stays in one world frame (LPS in files, RAS in MRML).
"""

from .carm import view_from_carm, view_to_carm
from .pose import Pose, rotation_from_euler, rotation_from_vector, vector_from_rotation
from .view import XrayView, common_isocenter

__all__ = [
    "Pose",
    "XrayView",
    "common_isocenter",
    "rotation_from_euler",
    "rotation_from_vector",
    "vector_from_rotation",
    "view_from_carm",
    "view_to_carm",
]
