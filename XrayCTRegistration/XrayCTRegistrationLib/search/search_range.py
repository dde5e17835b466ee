"""How far from the start a registration looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import Pose, vector_from_rotation
from ..levels import Problem

_DEPTH_STEP_MM = 45.0
# In the largest shift across the rays. With two of 35 mm, four of a hundred poses of the evaluation's protocol were out
# of its reach: of one, 106 mm off (seed 15), half of the X-rays were lost, clear ones, too.
_ACROSS_DEVIATIONS = 2.5
# How many squared standard deviations the truth is to be expected from the start, one for each degree of freedom, and
# what a pose loses, in similarity, for each beyond. Of 37 hard X-rays of five CTs (seeds 40, 41 and 45 to 51) a wrong
# pose was as alike as the right one, or more by up to 0.13, in 11: 8 to 19 from the start, the right one 1 to 7.
_EXPECTED, _A_DEVIATION_COSTS = 6.0, 0.01


@dataclass(frozen=True)
class SearchRange:
    """How far from the start the truth may be: standard deviations of the rotation about each axis of the C-arm and
    of the depth, and the largest shift across the central ray, which is two and a half standard deviations."""

    rotation_deg: float = 25.0
    depth_mm: float = 70.0
    in_plane_mm: float = 90.0

    @property
    def depths_mm(self) -> list[float]:
        """Depths, about the start's, that are tried: two deviations each way, no farther apart than can be told."""
        return list(np.linspace(-2, 2, 2 * max(1, round(2 * self.depth_mm / _DEPTH_STEP_MM)) + 1) * self.depth_mm)

    @property
    def deviations_mm(self) -> np.ndarray:
        """(3,) standard deviations of the shift along columns, rows and depth."""
        across_mm = self.in_plane_mm / _ACROSS_DEVIATIONS
        return np.array([across_mm, across_mm, self.depth_mm])

    @property
    def near(self) -> bool:
        """Whether it is no wider than about a start that somebody gave."""
        return self.rotation_deg <= NEAR.rotation_deg

    def holds(self, motion_deg: float, motion_mm: float) -> bool:
        """Whether a pose this far from the start can be the truth: nothing beyond four deviations is, but 10 degrees
        and the largest shift across the ray always are."""
        return motion_deg <= max(4 * self.rotation_deg, 10) and motion_mm <= max(4 * self.depth_mm, self.in_plane_mm)


NEAR = SearchRange(rotation_deg=8.0, depth_mm=15.0, in_plane_mm=25.0)  # about a start that somebody gave


def penalty(span: SearchRange, problem: Problem, pose: Pose) -> float:
    """What its distance from the start takes off a pose's similarity where poses are told apart: of two that are as
    alike, the nearer one is the likelier, unless both are as near as the truth is to be expected."""
    turn_deg = np.degrees(vector_from_rotation((pose @ problem.start.inverse()).rotation))
    shift_mm = problem.views[0].axes.T @ (problem.center(pose) - problem.center(problem.start))
    deviations = [*(turn_deg / span.rotation_deg), *(shift_mm / span.deviations_mm)]
    return _A_DEVIATION_COSTS * max(float(np.square(deviations).sum()) - _EXPECTED, 0.0)
