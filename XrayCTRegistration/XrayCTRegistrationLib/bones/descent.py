"""The poses of bones: Gauss-Newton in those of some bodies while all others stand still behind them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..geometry import Pose
from ..search.descent import CORRELATED_PIXELS, shortened
from .anatomy import Bone
from .joints import Joint, Tie, prior
from .levels import Resolution

_STILL_MM, _STILL_RAD, _DAMPING = 0.02, 0.0005, 1e-6
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

    def moved(self, moving: Sequence[int], twists: np.ndarray, centers: np.ndarray) -> Bodies:
        """Some bodies moved by twists (n, 6) about centers (bodies, 3), no farther than one step may go."""
        poses = list(self.poses)
        for number, twist in zip(moving, twists, strict=True):
            short = shortened(twist, _LARGEST_TURN_RAD, _LARGEST_SHIFT_MM)
            poses[number] = poses[number].moved(short, centers[number])
        return replace(self, poses=tuple(poses))


@dataclass(frozen=True, eq=False)
class Climbed:
    """Where bodies came to stand. covariance: (6 n, 6 n) of the twists of those that moved, by the last step."""

    bodies: Bodies
    moving: tuple[int, ...]
    covariance: np.ndarray

    def covariance_of(self, number: int) -> np.ndarray:
        """(6, 6) of the twist of one body that moved, whatever the others may do."""
        first = 6 * self.moving.index(number)
        return self.covariance[first : first + 6, first : first + 6]


def climbed(
    resolution: Resolution, bodies: Bodies, moving: Sequence[int], scale: float, steps: int
) -> Generator[None, None, Climbed]:
    """Gauss-Newton steps in the poses of some bodies, the prior of their ties included; with pauses.

    scale: of the similarity. The bodies' shadows at the beginning say what of the X-rays counts.
    """
    level = yield from resolution.level(moving, bodies.poses, bodies.views)
    rows = np.concatenate([np.arange(6 * number, 6 * number + 6) for number in moving])
    covariance = np.zeros((len(rows), len(rows)))
    for _ in range(steps):
        centers = bodies.centers(resolution.problem.isocenter)
        at = yield from level.linearised([bodies.poses[number] for number in moving], centers[list(moving)], scale)
        _, tied, back = prior(bodies.ties, bodies.joint, bodies.poses, list(centers))
        noise = CORRELATED_PIXELS * at.noise
        at = replace(at, matrix=at.matrix + noise * tied[np.ix_(rows, rows)], way=at.way + noise * back[rows])
        covariance = noise * np.linalg.pinv(at.matrix, rcond=1e-12, hermitian=True)
        twists = at.step(_DAMPING).reshape(-1, 6)
        bodies = bodies.moved(moving, twists, centers)
        if np.abs(twists[:, :3]).max() < _STILL_RAD and np.abs(twists[:, 3:]).max() < _STILL_MM:
            break
    return Climbed(bodies, tuple(moving), covariance)
