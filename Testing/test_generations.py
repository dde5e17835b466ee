"""Generations of poses about the best matches: they draw near what matches best."""

from __future__ import annotations

import numpy as np
import pytest
from XrayCTRegistrationLib.geometry import Pose, rotation_from_euler
from XrayCTRegistrationLib.search.generations import SAME_POSE_MM, distinct, evolved
from XrayCTRegistrationLib.search.matching import Match
from XrayCTRegistrationLib.state import finished

TRUE = Pose.from_parts(rotation_from_euler(np.radians((28.0, -22.0, 17.0))), np.zeros(3))


def degrees_off(pose: Pose) -> float:
    return (pose @ TRUE.inverse()).rotation_angle_deg()


class Turning:
    """A problem whose CT turns about its isocentre in the world's origin."""

    start, isocenter = Pose.identity(), np.zeros(3)

    def center(self, pose: Pose) -> np.ndarray:
        return pose.apply(self.isocenter)

    def distance_mm(self, first: Pose, second: Pose) -> float:
        return float(np.radians((first @ second.inverse()).rotation_angle_deg()) * 50)


class Matching:
    """Poses match the better the nearer they are turned to the truth; yields after every few, as a matcher does."""

    def matched(self, poses):
        found = []
        for first in range(0, len(poses), 8):
            found += [Match(pose, 1 - degrees_off(pose) / 180) for pose in poses[first : first + 8]]
            found.sort(key=lambda match: -match.correlation)
            yield found


class Misled:
    """A level that is the more similar the farther a pose is off."""

    def similarity_steps(self, poses, scale):
        yield
        return np.array([degrees_off(pose) / 180 for pose in poses])


def first_generation() -> list[Match]:
    rng = np.random.default_rng(0)
    turns = [rotation_from_euler(np.radians(25.0) * rng.standard_normal(3)) for _ in range(16)]
    return list(Matching().matched([Pose.from_parts(turn, np.zeros(3)) for turn in turns]))[-1]


def nothing(pose: Pose) -> float:
    return 0.0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_generations_draw_near_the_best_match_though_the_similarity_misleads(seed):
    first = first_generation()
    before = min(degrees_off(match.pose) for match in first)
    poses = finished(evolved(Turning(), Matching(), Misled(), first, nothing, 6, 6.25, (seed, 1), None))
    assert min(degrees_off(pose) for pose in poses) < 0.4 * before


def test_no_two_poses_are_the_same_and_one_seed_gives_one_result():
    def poses() -> list[Pose]:
        return finished(evolved(Turning(), Matching(), Misled(), first_generation(), nothing, 6, 6.25, (3, 1), None))

    found = poses()
    assert 1 < len(found) <= 6
    assert distinct(found, Turning().distance_mm, SAME_POSE_MM) == found
    for one, again in zip(found, poses(), strict=True):
        np.testing.assert_array_equal(one.matrix, again.matrix)


def test_generations_stay_where_poses_lose_less():
    def beyond(pose: Pose) -> float:
        return max(0.0, pose.rotation_angle_deg() - 20.0)

    def turned_deg(penalty) -> float:
        found = finished(evolved(Turning(), Matching(), Misled(), first_generation(), penalty, 6, 6.25, (0, 1), None))
        return max(pose.rotation_angle_deg() for pose in found)

    assert turned_deg(beyond) < 25.0 < turned_deg(nothing)
