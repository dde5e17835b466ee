"""Poses and rotations against closed forms, exact up to float64 rounding."""

from __future__ import annotations

import numpy as np
import pytest
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import (
    Pose,
    rotation_from_euler,
    rotation_from_vector,
    vector_from_rotation,
)

EXACT_MM = 1e-9  # float64 at lengths of 1000 mm keeps 1e-13, times some operations


def some_pose(seed: int = 0) -> Pose:
    random = np.random.default_rng(seed)
    return Pose.from_parts(rotation_from_vector(random.normal(size=3)), random.normal(scale=100, size=3))


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.diag([1.0, 1, 0, 1]), "singular"),
        (np.diag([1.1, 1.1, 1.1, 1]), "not rigid"),
        (np.diag([1.001, 1, 1, 1]), "not rigid"),
        (np.diag([-1.0, 1, 1, 1]), "mirrors"),
        (np.array([[1.0, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "shears"),
        (np.full((4, 4), np.nan), "finite"),
        (np.diag([1.0, 1, 1, np.inf]), "finite"),
        (np.eye(3), "4x4"),
        (np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0.1, 1]]), "last row"),
    ],
)
def test_pose_rejects_what_is_not_rigid_and_says_why(matrix, reason):
    with pytest.raises(InputError, match=reason):
        Pose(matrix)


def test_pose_written_with_six_digits_becomes_a_rotation_again():
    exact = some_pose()
    rounded = np.array([[float(f"{value:.6f}") for value in row] for row in exact.matrix])
    assert np.abs(rounded[:3, :3] @ rounded[:3, :3].T - np.eye(3)).max() > 1e-8  # or the test would show nothing
    pose = Pose(rounded)
    np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(pose.matrix, exact.matrix, atol=2e-6)  # the nearest rotation: no farther than rounding


def test_pose_keeps_no_hold_on_the_array_it_was_made_from():
    matrix = np.eye(4)
    pose = Pose(matrix)
    matrix[0, 3] = 5
    assert pose.translation_mm[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        pose.matrix[0, 3] = 5


def test_pose_inverse_and_composition_carry_points_as_their_matrices_do():
    first, second = some_pose(1), some_pose(2)
    points = np.random.default_rng(3).normal(scale=100, size=(5, 7, 3))
    np.testing.assert_allclose((first @ second).apply(points), first.apply(second.apply(points)), atol=EXACT_MM)
    np.testing.assert_allclose(first.inverse().apply(first.apply(points)), points, atol=EXACT_MM)
    np.testing.assert_allclose(first.inverse().matrix, np.linalg.inv(first.matrix), atol=EXACT_MM)
    expected = np.einsum("ij,...j->...i", first.matrix, np.append(points, np.ones((5, 7, 1)), axis=-1))[..., :3]
    np.testing.assert_allclose(first.apply(points), expected, atol=EXACT_MM)


def test_moved_by_a_rotation_leaves_the_centre_fixed_wherever_it_is():
    pose, center = some_pose(4), np.array([30.0, -500, 1200])
    moved = pose.moved(np.array([0.4, -0.2, 0.9, 0, 0, 0]), center)
    np.testing.assert_allclose(moved.apply(pose.inverse().apply(center)), center, atol=EXACT_MM)
    difference = (moved @ pose.inverse()).rotation_angle_deg()
    assert difference == pytest.approx(np.degrees(np.linalg.norm([0.4, -0.2, 0.9])), abs=1e-9)


def test_moved_turns_and_shifts_along_world_axes_whatever_the_pose():
    pose, moved = some_pose(5), some_pose(5).moved(np.array([0, 0, np.pi / 2, 1, 2, 3]), np.array([10.0, 20, 30]))
    right_of_center = pose.inverse().apply(np.array([11.0, 20, 30]))
    np.testing.assert_allclose(moved.apply(right_of_center), [10 + 1, 21 + 2, 30 + 3], atol=EXACT_MM)


def test_rotation_vectors_and_euler_angles_follow_their_definitions():
    nearly_half = [[3.1, 0, 0], [0.1, -3.1, 0], [0, 0, 3.1], [-1.8, -1.8, 1.8], [0, np.pi - 1e-9, 0]]
    for vector in ([0.0, 0, 0], [0.3, -0.2, 1.1], [1e-9, 0, 0], *nearly_half):
        rotation = rotation_from_vector(np.array(vector))
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-15)
        np.testing.assert_allclose(vector_from_rotation(rotation), vector, atol=1e-12)
    np.testing.assert_allclose(np.abs(vector_from_rotation(np.diag([-1.0, 1, -1]))), [0, np.pi, 0], atol=1e-15)
    np.testing.assert_allclose(rotation_from_vector([0, 0, np.pi / 2]) @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    turns = [rotation_from_vector(angle * axis) for angle, axis in zip((0.3, -0.7, 1.2), np.eye(3))]
    expected = turns[2] @ turns[1] @ turns[0]  # fixed axes: x first
    np.testing.assert_allclose(rotation_from_euler(np.array([0.3, -0.7, 1.2])), expected, atol=1e-15)
