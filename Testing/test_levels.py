"""The step of a linearised level, and what happens where the X-ray tells nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from XrayCTRegistrationLib.geometry import Pose
from XrayCTRegistrationLib.levels import Linearised
from XrayCTRegistrationLib.search.descent import CORRELATED_PIXELS
from XrayCTRegistrationLib.search.soft_tissue import settled
from XrayCTRegistrationLib.state import finished


def linearised(matrix: np.ndarray, way: np.ndarray) -> Linearised:
    return Linearised(similarity=0.5, compared=1.0, matrix=matrix, way=way, noise=0.0)


def test_a_step_solves_the_system_and_damping_shortens_it():
    matrix, twist = np.array([[4.0, 1.0], [1.0, 3.0]]), np.array([0.2, -0.7])
    at = linearised(matrix, matrix @ twist)
    np.testing.assert_allclose(at.step(0.0), twist, atol=1e-9)
    assert np.linalg.norm(at.step(1.0)) < np.linalg.norm(twist)


class Blank:
    """A level where no pixel counts: nothing changes whatever moves."""

    fixed = (SimpleNamespace(view=SimpleNamespace(source=np.array([0.0, 0.0, -700.0]))),)

    def linearised(self, poses, center):
        yield
        size = 6 * len(poses)
        return linearised(np.zeros((size, size)), np.zeros(size))


def test_where_nothing_can_be_compared_bones_and_soft_tissue_stay_where_they_are():
    start = Pose.from_parts(np.eye(3), np.array([3.0, -4.0, 5.0]))
    end = finished(settled(Blank(), start, np.zeros(3)))
    np.testing.assert_array_equal(end.pose.matrix, start.matrix)
    assert np.isfinite(end.covariance).all()
    assert not end.parted


class Quadratic:
    """A level where bones and soft tissue are each drawn to a place of their own, known to sd mm and radians. steeper:
    how much steeper than it is the linearised similarity curves along the ray, the third axis."""

    fixed = (SimpleNamespace(view=SimpleNamespace(source=np.array([0.0, 0.0, -700.0]))),)

    def __init__(self, bones: np.ndarray, soft: np.ndarray, sd: float, steeper: float = 1.0) -> None:
        self.goals, self.matrix = (bones, soft), np.eye(12)
        self.matrix[[5, 11], [5, 11]] = steeper
        self.noise = sd**2 / CORRELATED_PIXELS

    def linearised(self, poses, center):
        yield
        way = np.concatenate([_twist_to(pose, goal) for pose, goal in zip(poses, self.goals)])
        return Linearised(0.5, 1.0, self.matrix, way, self.noise)

    def similarity_of_two(self, poses):
        yield
        of_bones, of_soft = (
            np.array([np.square(_twist_to(pose, goal)).sum() for pose in of_body])
            for of_body, goal in zip(poses, self.goals)
        )
        return -(of_bones[:, None] + of_soft) / 2


def _twist_to(pose: Pose, goal: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(3), goal - pose.matrix[:3, 3]])


def test_soft_tissue_that_has_moved_lets_the_bones_go_where_they_belong():
    bones, soft = np.array([1.0, 0.0, -0.5]), np.array([-3.0, 2.0, 1.0])
    end = finished(settled(Quadratic(bones, soft, 0.1), Pose(np.eye(4)), np.zeros(3)))
    assert end.parted
    np.testing.assert_allclose(end.pose.matrix[:3, 3], bones, atol=0.01)  # a weak prior ties them


def test_depths_that_gauss_newton_stays_short_of_are_found():
    bones, soft = np.array([1.0, 0.0, -2.5]), np.array([-3.0, 2.0, 4.0])
    end = finished(settled(Quadratic(bones, soft, 0.1, steeper=100.0), Pose(np.eye(4)), np.zeros(3)))
    np.testing.assert_allclose(end.pose.matrix[:3, 3], bones, atol=0.01)


def test_soft_tissue_that_has_not_parted_leaves_one_pose_for_all():
    bones, soft = np.array([0.1, 0.0, 0.0]), np.array([-0.1, 0.1, 0.0])  # two deviations apart
    end = finished(settled(Quadratic(bones, soft, 0.1), Pose(np.eye(4)), np.zeros(3)))
    assert not end.parted
    np.testing.assert_array_equal(end.pose.matrix, np.eye(4))
