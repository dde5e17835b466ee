"""What is known of the motion between neighbours: small, but for joints that are free.

A single view does not tell a bone's depth, and hardly its turns out of the image. Where the neighbours stand does: a
vertebra moves by a few degrees and millimetres from the next. Every bone is tied so to the bones beside it, and to
the rest of the CT, from which its own soft tissue and all bones that are not registered do not part either. All ties
of a bone together weigh as one, or a bone with many neighbours would not be let go.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..errors import InputError
from ..geometry import Pose, vector_from_rotation
from .anatomy import Bone

_BESIDE_MM = 15.0  # from the surface of a bone to that of a neighbour, a disc included
_POINTS = 400  # of a bone, enough to tell how far it is from another


@dataclass(frozen=True)
class Joint:
    """Standard deviations of the motion between neighbours about each axis, in degrees, and along each, in mm.

    Infinite where a bone moves freely, as in a wrist.
    """

    rotation_deg: float = 3.0
    shift_mm: float = 2.0

    def __post_init__(self) -> None:
        for value, unit in ((self.rotation_deg, "degrees"), (self.shift_mm, "mm")):
            if math.isnan(value) or value <= 0:
                raise InputError(f"The motion between neighbours is {value:g} {unit}. Give more than 0, or infinity.")


FREE = Joint(math.inf, math.inf)


@dataclass(frozen=True, eq=False)
class Tie:
    """Two bodies that are neighbours, by their numbers, 0 for the rest of the CT, and the point (3,) of the CT's own
    world between them. weight: of the tie, 1 where it is the only one of a bone."""

    first: int
    second: int
    point: np.ndarray
    weight: float


def ties_of(bones: Sequence[Bone]) -> list[Tie]:
    """Every bone with the rest, and with every bone beside it."""
    found = [(0, number, bone.center) for number, bone in enumerate(bones, start=1)]
    trees = [cKDTree(bone.points[:: max(1, len(bone.points) // _POINTS)]) for bone in bones]
    for first, tree in enumerate(trees):
        for second in range(first + 1, len(trees)):
            gaps, nearest = tree.query(trees[second].data, distance_upper_bound=_BESIDE_MM)
            if np.isfinite(gaps).any():
                closest = int(np.argmin(gaps))
                between = (tree.data[nearest[closest]] + trees[second].data[closest]) / 2
                found.append((first + 1, second + 1, between))
    count = Counter(body for first, second, _ in found for body in (first, second))
    count[0] = 0  # the rest is no bone, and may have any number
    return [Tie(first, second, point, 1 / max(count[first], count[second])) for first, second, point in found]


def prior(
    ties: Sequence[Tie], joint: Joint, poses: Sequence[Pose], centers: Sequence[np.ndarray]
) -> tuple[float, np.ndarray, np.ndarray]:
    """Half the squared deviations of neighbours from where they stand in the CT, and what changes them.

    poses, centers: of every body, the rest first, the points (3,) in world that their twists are about. Returns the
    sum, its Gauss-Newton matrix (6 n, 6 n) in the twists and the way down (6 n,).
    """
    size = 6 * len(poses)
    cost, matrix, way = 0.0, np.zeros((size, size)), np.zeros(size)
    deviations = np.array([np.radians(joint.rotation_deg)] * 3 + [joint.shift_mm] * 3)
    for tie in ties:
        one, other = poses[tie.first], poses[tie.second]
        apart = other @ one.inverse()
        point = one.apply(tie.point)
        residual = np.concatenate([vector_from_rotation(apart.rotation), apart.apply(point) - point]) / deviations
        slopes = np.zeros((6, size))
        for body, sign in ((tie.first, -1.0), (tie.second, 1.0)):
            slopes[:, 6 * body : 6 * body + 6] = sign * _carried(point - centers[body]) / deviations[:, None]
        cost += 0.5 * tie.weight * float(residual @ residual)
        matrix += tie.weight * slopes.T @ slopes
        way -= tie.weight * slopes.T @ residual
    return cost, matrix, way


def _carried(lever: np.ndarray) -> np.ndarray:
    """(6, 6) turn, and shift of a point, by a twist about a center from which the point is lever (3,) away."""
    x, y, z = lever
    matrix = np.eye(6)
    matrix[3:, :3] = [[0, z, -y], [-z, 0, x], [y, -x, 0]]  # turn x lever
    return matrix
