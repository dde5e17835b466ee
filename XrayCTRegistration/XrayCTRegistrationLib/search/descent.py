"""Levenberg-Marquardt on the analytic pose Jacobian of the DRRs (Levenberg 1944, Marquardt 1963)."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from ..geometry import Pose
from ..levels import LEAST_CURVATURE, Level, Linearised, Problem
from ..similarity import SCALES
from ..state import shown

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-4, 1e-6, 10.0
_STRETCH, _LONGEST_STRETCH = 1.5, 4.0  # far from the truth the similarity curves less than Gauss-Newton believes
_LEAST_GAIN = 1e-4  # of a step, below which the next scale, depth or stage goes on
DEPTH_ROUNDS, DEPTH_GAIN = 4, 2e-5
_VALLEY_DAMPING = 1e-6  # of the curvatures: a turn that changes nothing goes along with nothing
DEPTH_PROBE_MM, _FARTHEST_VERTEX = 3.0, 4.0  # within 12 mm the similarity is a parabola of the depth, nearly
_CROSSING_COSINE = np.cos(np.radians(15.0))  # of two views' rays
_LARGEST_TURN_RAD, _LARGEST_SHIFT_MM = 0.35, 60.0
CORRELATED_PIXELS = 9.0  # neighbouring residuals are not independent; as many pixels count as one
_LEAST_COMPARED = 0.1  # a step after which less of the X-ray counts is not taken


@dataclass(frozen=True, eq=False)
class Descended:
    """A pose and how alike it is, linearised in the twist of `Pose.moved` about `center`."""

    pose: Pose
    at: Linearised
    center: np.ndarray

    @property
    def similarity(self) -> float:
        return self.at.similarity

    @property
    def covariance(self) -> np.ndarray:
        """(6, 6) of the twist, from the residuals alone."""
        return CORRELATED_PIXELS * self.at.noise * np.linalg.pinv(self.at.matrix, rcond=1e-9, hermitian=True)


Descent = Generator[Descended, None, Descended]


def descend(
    level: Level,
    start: Pose,
    center: np.ndarray,
    iterations: int,
    scale: float = SCALES[-1],
    least_gain: float = 1e-5,
) -> Descent:
    """Climb the similarity from a start; yields the best so far after every part of a rendering, returns the end.

    center: (3,) where the CT's isocentre stands under the start, the centre of all rotations. Ends after so many
    iterations, or where a step gains less than least_gain.
    """
    best = yield from _linearised(level, start, center, scale, None)
    damping, stretch = _FIRST_DAMPING, 1.0
    for _ in range(iterations):
        twist = shortened(stretch * best.at.step(damping), _LARGEST_TURN_RAD, _LARGEST_SHIFT_MM)
        trial = yield from _linearised(level, best.pose.moved(twist, center), center, scale, best)
        gain = trial.similarity - best.similarity
        if gain > 0 and trial.at.compared > _LEAST_COMPARED:
            best = trial
            damping = max(damping / 5, _LEAST_DAMPING)
            stretch = min(stretch * _STRETCH, _LONGEST_STRETCH)
            if gain < least_gain:
                break
        elif stretch > 1:
            stretch = max(stretch / 2, 1.0)
        else:
            damping = max(damping * 10, 1e-3)
            if damping > _MOST_DAMPING:
                break
    return best


def shortened(twist: np.ndarray, turn_rad: float, shift_mm: float) -> np.ndarray:
    """A twist (6,) that turns and shifts no farther than it may."""
    turn, shift = float(np.linalg.norm(twist[:3])), float(np.linalg.norm(twist[3:]))
    return twist * np.repeat([min(1.0, turn_rad / max(turn, 1e-12)), min(1.0, shift_mm / max(shift, 1e-12))], 3)


def descend_through(level: Level, start: Pose, center: np.ndarray, iterations: int) -> Descent:
    """As `descend_in_depth`, after the larger scales of the similarity, from one that sees far to one that sees past
    what does not fit."""
    pose = start
    for scale in SCALES[:-1]:
        pose = (yield from descend(level, pose, center, iterations, scale, _LEAST_GAIN)).pose
    return (yield from descend_in_depth(level, pose, center, iterations))


def descend_at(problem: Problem, start: Pose, pixels: int, iterations: int) -> Descent:
    """As `descend_through`, with so many pixels along the longest side of what the views see of the CT."""
    pixel_mm, center = problem.extent_mm(start) / pixels, problem.center(start)
    level = yield from shown(problem.level(start, pixel_mm, 1.5 * pixel_mm), Descended(start, _UNKNOWN, center))
    return (yield from descend_through(level, start, center, iterations))


def descend_in_depth(level: Level, start: Pose, center: np.ndarray, iterations: int) -> Descent:
    """As `descend`, no longer than it gains something, then from the best depth along the first view's ray through the
    CT's isocentre, and again, while that gains.

    In depth the similarity hardly changes, and the noise of the interpolation's derivative makes Gauss-Newton believe
    in a much steeper curvature there than there is: its steps are far too short. Several views that cross tell the
    depth of each other; there, nothing is tried.
    """
    ray = depth_ray(level, center)
    best = yield from descend(level, start, center, iterations, least_gain=DEPTH_GAIN)
    if ray is None:
        return best
    for _ in range(DEPTH_ROUNDS):
        per_mm, values = valley(best.at.matrix, ray), []
        for step_mm in (-DEPTH_PROBE_MM, DEPTH_PROBE_MM):
            there = [best.pose.moved(step_mm * per_mm, center)]
            values.append(float((yield from shown(level.similarity_steps(there), best))[0]))
        place, gain = best_of_parabola(values[0] - best.similarity, values[1] - best.similarity)
        if gain < DEPTH_GAIN:
            break
        pose, before = best.pose.moved(DEPTH_PROBE_MM * place * per_mm, center), best
        best = yield from _at_least(best, descend(level, pose, center, iterations, least_gain=DEPTH_GAIN))
        if best is before:
            break
    return best


def valley(matrix: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """The twist (6,) of 1 mm along a ray (3,) with the turn and the shift across that go with it: those at which the
    similarity of a Gauss-Newton matrix (6, 6) falls least. A CT that is farther away looks tilted, too."""
    others = np.zeros((5, 6))
    others[:3, :3] = np.eye(3)
    others[3:, 3:] = np.linalg.svd(ray[None])[2][1:]  # across the ray
    depth = np.concatenate([np.zeros(3), ray])
    curvature = others @ matrix @ others.T
    curvature += np.diag(_VALLEY_DAMPING * np.diag(curvature) + LEAST_CURVATURE)
    return depth - others.T @ np.linalg.solve(curvature, others @ matrix @ depth)


def depth_ray(level: Level, center: np.ndarray) -> np.ndarray | None:
    """(3,) unit vector along the first view's ray through the CT's isocentre, where no other view's ray crosses it."""
    rays = [center - fixed.view.source for fixed in level.fixed]
    rays = [ray / np.linalg.norm(ray) for ray in rays]
    return None if any(rays[0] @ other < _CROSSING_COSINE for other in rays) else rays[0]


def best_of_parabola(before: float, after: float) -> tuple[float, float]:
    """Where the parabola through (-1, before), (0, 0) and (1, after) is highest, no farther than _FARTHEST_VERTEX, and
    how high it is there."""
    slope, bend = (after - before) / 2, -(before + after)  # slope x - bend x^2 / 2
    farthest = math.copysign(_FARTHEST_VERTEX, slope)
    place = farthest if bend <= abs(slope) / _FARTHEST_VERTEX else slope / bend
    return place, slope * place - bend * place**2 / 2


def best_of_paraboloid(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Where the paraboloid that is nearest to values (3, 3) at -1, 0 and 1 along both axes is highest, no farther than
    _FARTHEST_VERTEX along each of its own axes, and how much higher than in the middle."""
    x, y = (one.ravel() for one in np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], indexing="ij"))
    terms = np.stack([np.ones(9), x, y, x * x / 2, x * y, y * y / 2], axis=1)
    _, along_x, along_y, xx, xy, yy = np.linalg.lstsq(terms, values.ravel(), rcond=None)[0]
    bends, axes = np.linalg.eigh([[xx, xy], [xy, yy]])
    places = []
    for bend, slope in zip(bends, axes.T @ [along_x, along_y]):
        farthest = math.copysign(_FARTHEST_VERTEX, slope)
        places.append(farthest if -bend <= abs(slope) / _FARTHEST_VERTEX else -slope / bend)
    place = axes @ places
    gain = place @ [along_x, along_y] + (bends * np.square(places)).sum() / 2
    return place, float(gain)


def _at_least(best: Descended, steps: Descent) -> Descent:
    """A descent that yields the better of `best` and its own."""
    while True:
        try:
            one = next(steps)
        except StopIteration as end:
            return max(best, end.value, key=lambda scored: scored.similarity)
        yield max(best, one, key=lambda scored: scored.similarity)


def _linearised(level: Level, pose: Pose, center: np.ndarray, scale: float, best: Descended | None) -> Descent:
    """A pose linearised; yields the best so far, meanwhile."""
    steps = level.linearised([pose], center, scale)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return Descended(pose, end.value, center)
        yield best or Descended(pose, _UNKNOWN, center)


_UNKNOWN = Linearised(-1.0, 1.0, np.zeros((6, 6)), np.zeros(6), 0.0)
