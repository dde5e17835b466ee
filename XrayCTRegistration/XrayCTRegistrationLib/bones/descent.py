"""The poses of bones: Gauss-Newton in those of some bodies while all others stand still behind them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..geometry import Pose
from ..search.descent import CORRELATED_PIXELS
from ..state import Result
from .anatomy import Bone
from .joints import Joint, Tie, prior
from .levels import Resolution

_STILL_MM, _STILL_RAD = 0.02, 0.0005
_LARGEST_TURN_RAD, _LARGEST_SHIFT_MM = 0.1, 8.0  # of one step


@dataclass(frozen=True, eq=False)
class Bodies:
    """Where all bodies stand, the rest of the CT first, and what ties them.

    bones: those of the anatomy. views: for every bone, which of the X-rays show it. poses: one more than bones.
    """

    bones: tuple[Bone, ...]
    views: tuple[tuple[int, ...], ...]
    ties: tuple[Tie, ...]
    joint: Joint
    poses: tuple[Pose, ...]

    def centers(self, isocenter: np.ndarray) -> np.ndarray:
        """(bodies, 3) points in world that twists are about: the CT's isocentre, and the bones' middles."""
        own = (isocenter, *(bone.center for bone in self.bones))
        return np.array([pose.apply(point) for pose, point in zip(self.poses, own)])


@dataclass(frozen=True, eq=False)
class Climbed:
    """Where bodies came to stand. covariance: (6 n, 6 n) of the twists of those that moved, by the last step."""

    bodies: Bodies
    covariance: np.ndarray


def climbed(
    resolution: Resolution, bodies: Bodies, moving: Sequence[int], scale: float, steps: int
) -> Generator[Bodies, None, Climbed]:
    """Gauss-Newton steps in the poses of some bodies, the prior of their ties included; yields where they stand.

    scale: of the similarity. The bodies' shadows at the beginning say what of the X-rays counts.
    """
    leveling = resolution.level(moving, bodies.poses, bodies.views)
    level = yield from _showing(leveling, bodies)
    rows = np.concatenate([np.arange(6 * number, 6 * number + 6) for number in moving])
    isocenter = resolution.problem.isocenter
    covariance = np.zeros((len(rows), len(rows)))
    for _ in range(steps):
        centers = bodies.centers(isocenter)
        linearising = level.linearised([bodies.poses[number] for number in moving], centers[list(moving)], scale)
        at = yield from _showing(linearising, bodies)
        _, tied, back = prior(bodies.ties, bodies.joint, bodies.poses, list(centers))
        noise = CORRELATED_PIXELS * at.noise
        matrix = at.matrix + noise * tied[np.ix_(rows, rows)]
        matrix += np.diag(1e-6 * np.diag(matrix) + 1e-12)
        twists = np.linalg.solve(matrix, at.way + noise * back[rows]).reshape(-1, 6)
        covariance = noise * np.linalg.inv(matrix)
        poses = list(bodies.poses)
        for number, twist in zip(moving, twists):
            twist[:3] *= min(1.0, _LARGEST_TURN_RAD / max(float(np.linalg.norm(twist[:3])), 1e-12))
            twist[3:] *= min(1.0, _LARGEST_SHIFT_MM / max(float(np.linalg.norm(twist[3:])), 1e-12))
            poses[number] = poses[number].moved(twist, centers[number])
        bodies = replace(bodies, poses=tuple(poses))
        yield bodies
        if np.abs(twists[:, :3]).max() < _STILL_RAD and np.abs(twists[:, 3:]).max() < _STILL_MM:
            break
    return Climbed(bodies, covariance)


def _showing(steps: Generator[None, None, Result], bodies: Bodies) -> Generator[Bodies, None, Result]:
    """Steps that yield nothing of their own, showing where the bodies stand meanwhile."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        yield bodies
