"""Rigid poses on SE(3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError

_RIGID_TOLERANCE = 1e-4  # a .tfm written with six digits is still rigid


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid transform `ct_to_world` (4x4, mm): where the CT stands in the world of the X-ray views.

    Raises InputError when the matrix is not a proper rotation with a translation.
    """

    matrix: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError("The pose is not a finite 4x4 matrix. Give a rigid transform (rotation and translation).")
        if np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-9:
            raise InputError("The pose's last row is not 0 0 0 1, so it is not a rigid transform.")
        rotation = matrix[:3, :3]
        determinant = np.linalg.det(rotation)
        if abs(determinant) < 1e-6:
            raise InputError("The pose is singular: its 3x3 part cannot be inverted. Give a rigid transform.")
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > _RIGID_TOLERANCE or determinant < 0:
            raise InputError(
                "The pose is not rigid: it scales, shears or mirrors "
                f"(determinant {determinant:.4g} instead of 1). Harden or remove the non-rigid part first."
            )
        left, _, right = np.linalg.svd(rotation)  # the nearest rotation, so that rounding in files does not accumulate
        matrix[:3, :3] = left @ right
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls) -> Pose:
        return cls(np.eye(4))

    @classmethod
    def from_parts(cls, rotation: np.ndarray, translation_mm: np.ndarray) -> Pose:
        """The pose x -> rotation (3, 3) @ x + translation_mm (3,)."""
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = translation_mm
        return cls(matrix)

    @classmethod
    def about(cls, center: np.ndarray, rotation: np.ndarray, translation_mm: np.ndarray) -> Pose:
        """The motion that turns by rotation (3, 3) about center (3,) and then shifts by translation_mm (3,)."""
        center = np.asarray(center, dtype=np.float64)
        return cls.from_parts(rotation, center - rotation @ center + translation_mm)

    @property
    def rotation(self) -> np.ndarray:
        return self.matrix[:3, :3]

    @property
    def translation_mm(self) -> np.ndarray:
        return self.matrix[:3, 3]

    def inverse(self) -> Pose:
        return Pose.from_parts(self.rotation.T, -self.rotation.T @ self.translation_mm)

    def __matmul__(self, other: Pose) -> Pose:
        return Pose(self.matrix @ other.matrix)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Carry points (..., 3), mm."""
        return points @ self.rotation.T + self.translation_mm

    def moved(self, twist: np.ndarray, center: np.ndarray) -> Pose:
        """This pose followed by a small world motion.

        twist (6,): rotation vector in radians, then translation in mm, both in world axes; the rotation is about
        center (3,), normally the CT's isocentre, never the far-away source.
        """
        twist = np.asarray(twist, dtype=np.float64)
        return Pose.about(center, rotation_from_vector(twist[:3]), twist[3:]) @ self

    def rotation_angle_deg(self) -> float:
        return float(np.degrees(np.linalg.norm(vector_from_rotation(self.rotation))))


def rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) of a rotation vector (3,) in radians (Rodrigues)."""
    x, y, z = vector
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turns = np.linalg.norm(vector) / np.pi  # numpy's sinc is sin(pi t) / (pi t), and 1 where t is 0
    return np.eye(3) + np.sinc(turns) * skew + 0.5 * np.sinc(turns / 2) ** 2 * skew @ skew


def vector_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Rotation vector (3,) in radians, 0 to pi long, of a rotation matrix (3, 3).

    By its unit quaternion (x, y, z, w), of which the matrix holds all products; the row of the largest component loses
    nothing to rounding (Shepperd 1978).
    """
    trace = np.trace(rotation)
    products = np.empty((4, 4))
    products[:3, :3] = rotation + rotation.T + (1 - trace) * np.eye(3)
    products[3, :3] = products[:3, 3] = (rotation - rotation.T)[(2, 0, 1), (1, 2, 0)]
    products[3, 3] = 1 + trace
    row = products[products.diagonal().argmax()]
    *axis, cosine = row * np.copysign(1, row[3])
    sine = np.linalg.norm(axis)
    return np.array(axis) * (2 * np.arctan2(sine, cosine) / sine if sine else 0.0)


def rotation_from_euler(angles_rad: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3): turns about the fixed x, then y, then z axis by angles_rad (3,)."""
    about_x, about_y, about_z = (rotation_from_vector(angle * axis) for angle, axis in zip(angles_rad, np.eye(3)))
    return about_z @ about_y @ about_x
