"""The bones' pose where soft tissue has moved: bones and soft tissue as two bodies whose DRRs add up.

What lies around the bones (organs, fat, breath) never stands as it stood in the CT, and one pose for all pulls the
bones along. Here the soft tissue has a pose of its own, tied to the bones' by a prior. Where the images do not tell
that it has parted from them, one pose for all is the better one: it has fewer unknowns, and depth is the worst known.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from ..geometry import Pose
from ..levels import Level, Linearised
from .descent import CORRELATED_PIXELS

_ITERATIONS, _DAMPING = 8, 1e-9
# Standard deviations of the soft tissue's motion, in all six degrees, from which on it has parted, and after how many
# steps that is asked: at most 4.1 in 21 cases where nothing moved, 6.3 to 40 in 6 where it did by 3 to 5 mm.
_PARTED, _ASKED_AFTER = 6.0, 2
_STILL = 0.7  # standard deviations of the bones' pose: it is known no better than a shorter step would tell
_APART = np.hstack([-np.eye(6), np.eye(6)])  # the soft tissue's twist from the bones', of both twists
_SLACK = np.array([np.radians(1.0)] * 3 + [4.0] * 3)  # deviations of the soft tissue from the bones: turn, shift in mm


@dataclass(frozen=True, eq=False)
class Settled:
    """The bones' pose, and the covariance (6, 6) of its twist, the soft tissue's motion included. parted: whether the
    soft tissue has moved; if not, the pose is the start."""

    pose: Pose
    covariance: np.ndarray
    parted: bool


def settled(level: Level, start: Pose, center: np.ndarray) -> Generator[None, None, Settled]:
    """Gauss-Newton over both poses from a common start; level: `Problem.level_of_bones`. With pauses."""
    bones = soft = start
    apart = np.zeros(6)  # twist of the soft tissue from the bones
    for step in range(1, _ITERATIONS + 1):
        at = yield from level.linearised([bones, soft], center)
        tied = _with_prior(at, apart)
        twist = tied.step(_DAMPING)
        bones, soft = bones.moved(twist[:6], center), soft.moved(twist[6:], center)
        apart = apart + twist[6:] - twist[:6]
        covariance = CORRELATED_PIXELS * at.noise * np.linalg.pinv(tied.matrix, rcond=1e-12, hermitian=True)
        if step == _ASKED_AFTER and _deviations(apart, _APART @ covariance @ _APART.T) < _PARTED:
            return Settled(start, covariance[:6, :6], parted=False)
        if step > _ASKED_AFTER and _deviations(twist[:6], covariance[:6, :6]) < _STILL:
            break
    return Settled(bones, covariance[:6, :6], parted=True)


def _deviations(twist: np.ndarray, covariance: np.ndarray) -> float:
    """How many standard deviations a twist (6,) is away from none (Mahalanobis distance)."""
    return float(np.sqrt(max(twist @ np.linalg.pinv(covariance, rcond=1e-12, hermitian=True) @ twist, 0.0)))


def _with_prior(at: Linearised, apart: np.ndarray) -> Linearised:
    """The system with the prior's part in units of the residuals' noise."""
    weight = CORRELATED_PIXELS * at.noise / _SLACK**2
    matrix, way = at.matrix.copy(), at.way.copy()
    for rows, sign in ((slice(0, 6), 1), (slice(6, 12), -1)):
        way[rows] += sign * weight * apart
        for columns, other in ((slice(0, 6), 1), (slice(6, 12), -1)):
            matrix[rows, columns] += sign * other * np.diag(weight)
    return replace(at, matrix=matrix, way=way)
