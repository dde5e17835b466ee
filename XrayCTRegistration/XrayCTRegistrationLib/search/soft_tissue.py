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
from .descent import (
    CORRELATED_PIXELS,
    DEPTH_GAIN,
    DEPTH_PROBE_MM,
    DEPTH_ROUNDS,
    best_of_paraboloid,
    depth_ray,
    valley,
)

_ITERATIONS, _BETWEEN_DEPTHS, _DAMPING = 8, 3, 1e-9
# The soft tissue has parted where its motion is so many standard deviations, in all six degrees; asked after so many
# steps. Of five CTs (seeds 44 to 47): at most 1.6 in 10 X-rays where nothing moved, 5.7 in 10 of cut CTs, 15 in 20 of
# bent bodies, whose bones' own pose is the worse one; above 18 in 15 of 16 of trunks whose soft tissue moved by 3 to
# 5 mm.
_PARTED, _ASKED_AFTER = 14.0, 2
_STILL = 0.7  # standard deviations of the bones' pose: it is known no better than a shorter step would tell
_APART = np.hstack([-np.eye(6), np.eye(6)])  # the soft tissue's twist from the bones', of both twists
_SLACK = np.array([np.radians(1.0)] * 3 + [4.0] * 3)  # deviations of the soft tissue from the bones: turn, shift in mm


@dataclass(frozen=True, eq=False)
class Settled:
    """The bones' pose, and the covariance (6, 6) of its twist, the soft tissue's motion included. parted: whether the
    soft tissue has moved; if not, the pose is the start. deviations: how many standard deviations of it the soft tissue
    would move from the bones; many, too, where the body is bent, or where the CT lacks some of it."""

    pose: Pose
    covariance: np.ndarray
    parted: bool
    deviations: float


@dataclass(frozen=True, eq=False)
class _Bodies:
    """Where bones and soft tissue are. apart: (6,) twist of the soft tissue from the bones."""

    bones: Pose
    soft: Pose
    apart: np.ndarray

    def moved(self, twists: np.ndarray, center: np.ndarray) -> _Bodies:
        """By a twist (6,) each, the bones' first."""
        apart = self.apart + _APART @ twists
        return _Bodies(self.bones.moved(twists[:6], center), self.soft.moved(twists[6:], center), apart)


def settled(level: Level, start: Pose, center: np.ndarray) -> Generator[None, None, Settled]:
    """Gauss-Newton over both poses from a common start, then from the best depths of both, while that gains; level:
    `Problem.level_of_bones`. With pauses."""
    bodies = _Bodies(start, start, np.zeros(6))
    bodies, at = yield from _descended(level, bodies, center, _ASKED_AFTER, still=0.0)
    covariance = _covariance(at)
    deviations = _deviations(bodies.apart, _APART @ covariance @ _APART.T)
    if deviations < _PARTED:
        return Settled(start, covariance[:6, :6], False, deviations)
    bodies, at = yield from _descended(level, bodies, center, _ITERATIONS - _ASKED_AFTER)
    ray = depth_ray(level, center)
    if ray is None:
        return Settled(bodies.bones, _covariance(at)[:6, :6], True, deviations)
    for _ in range(DEPTH_ROUNDS):
        bodies, gain = yield from _at_best_depths(level, bodies, at, center, ray)
        if gain < DEPTH_GAIN:
            break
        bodies, at = yield from _descended(level, bodies, center, _BETWEEN_DEPTHS)
    return Settled(bodies.bones, _covariance(at)[:6, :6], True, deviations)


def _descended(
    level: Level, bodies: _Bodies, center: np.ndarray, iterations: int, still: float = _STILL
) -> Generator[None, None, tuple[_Bodies, Linearised]]:
    """The bodies after some steps, fewer where the bones' are within `still` standard deviations, and the system of
    the last."""
    for _ in range(iterations):
        at = _with_prior((yield from level.linearised([bodies.bones, bodies.soft], center)), bodies.apart)
        twists = at.step(_DAMPING)
        bodies = bodies.moved(twists, center)
        if _deviations(twists[:6], _covariance(at)[:6, :6]) < still:
            break
    return bodies, at


def _at_best_depths(
    level: Level, bodies: _Bodies, at: Linearised, center: np.ndarray, ray: np.ndarray
) -> Generator[None, None, tuple[_Bodies, float]]:
    """Both bodies where they are most alike along their valleys, the prior included, and what is gained by it; at: the
    system there. As in `descend_in_depth`, Gauss-Newton alone stays far short of that."""
    per_mm = np.zeros((2, 12))
    per_mm[0, :6], per_mm[1, 6:] = valley(at.matrix[:6, :6], ray), valley(at.matrix[6:, 6:], ray)
    steps = DEPTH_PROBE_MM * np.array([-1.0, 0.0, 1.0])
    of_bones = [bodies.bones.moved(step * per_mm[0, :6], center) for step in steps]
    of_soft = [bodies.soft.moved(step * per_mm[1, 6:], center) for step in steps]
    values = yield from level.similarity_of_two((of_bones, of_soft))
    twists = steps[:, None, None] * per_mm[0] + steps[:, None] * per_mm[1]
    apart = bodies.apart + twists @ _APART.T
    values = values - (_prior_weights(at.noise) * np.square(apart)).sum(axis=-1) / 2
    place, gain = best_of_paraboloid(values)
    return bodies.moved(DEPTH_PROBE_MM * place @ per_mm, center), gain


def _deviations(twist: np.ndarray, covariance: np.ndarray) -> float:
    """How many standard deviations a twist (6,) is away from none (Mahalanobis distance)."""
    return float(np.sqrt(max(twist @ np.linalg.pinv(covariance, rcond=1e-12, hermitian=True) @ twist, 0.0)))


def _covariance(at: Linearised) -> np.ndarray:
    """(12, 12) of both twists."""
    return CORRELATED_PIXELS * at.noise * np.linalg.pinv(at.matrix, rcond=1e-12, hermitian=True)


def _prior_weights(noise: float) -> np.ndarray:
    """(6,) of the squares of what parts the bodies, in units of the residuals' noise."""
    return CORRELATED_PIXELS * noise / _SLACK**2


def _with_prior(at: Linearised, apart: np.ndarray) -> Linearised:
    """The system with the prior's part."""
    weight = _prior_weights(at.noise)
    matrix, way = at.matrix.copy(), at.way.copy()
    for rows, sign in ((slice(0, 6), 1), (slice(6, 12), -1)):
        way[rows] += sign * weight * apart
        for columns, other in ((slice(0, 6), 1), (slice(6, 12), -1)):
            matrix[rows, columns] += sign * other * np.diag(weight)
    return replace(at, matrix=matrix, way=way)
