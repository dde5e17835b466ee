"""Global pose search: many rendered poses, each carried to where it matches best, the best of them refined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ..geometry import Pose, rotation_from_euler
from ..levels import Level, Problem
from ..similarity import SCALES
from ..state import RegistrationState, Steps, reported, shown
from .descent import Descended, descend
from .matching import Match, matched
from .sobol import sobol_points

_MATCH_PIXELS, _REFINE_PIXELS = 40, 64  # along the longest side that the views see
_DEPTH_STEP_MM = 45.0
_POSES_A_ROUND, _MOST_ROUNDS, _REFINED_A_ROUND = 64, 12, 6
_SEEDS, _A_SEED, _CLOSER = 4, 16, 0.25  # matched again: poses about the best ones, turned by so much of the range
_KEPT, _ITERATIONS = (4, 2, 0), 6  # of the candidates after each scale, and of a descent at it
# Similarity at this resolution that ends the search at once, and similarity and lead over all other poses that end it
# where two rounds came to the same pose: no wrong pose was seen above 0.72 over 36 X-rays of three CTs with and without things in
# the way (seed 0).
_CONVINCING, _ALIKE, _AHEAD = 0.82, 0.2, 0.05
_SAME_POSE_MM, _OTHER_POSE_MM = 8.0, 40.0


@dataclass(frozen=True)
class SearchRange:
    """How far from the start the truth may be: standard deviations of the rotation about each axis of the C-arm and
    of the depth, and the largest shift across the central ray."""

    rotation_deg: float = 25.0
    depth_mm: float = 70.0
    in_plane_mm: float = 70.0

    @property
    def depths_mm(self) -> list[float]:
        """Depths, about the start's, that are tried: two deviations each way, no farther apart than can be told."""
        return list(np.linspace(-2, 2, 2 * max(1, round(2 * self.depth_mm / _DEPTH_STEP_MM)) + 1) * self.depth_mm)

    def holds(self, motion_deg: float, motion_mm: float) -> bool:
        """Whether a pose this far from the start can be the truth: nothing beyond four deviations is, but 10 degrees
        and the largest shift across the ray always are."""
        return motion_deg <= max(4 * self.rotation_deg, 10) and motion_mm <= max(4 * self.depth_mm, self.in_plane_mm)


NEAR = SearchRange(rotation_deg=8.0, depth_mm=15.0, in_plane_mm=20.0)  # about a start that somebody gave


@dataclass(frozen=True, eq=False)
class Found:
    """A pose, its similarity, and that of the best pose that is clearly another one (0 if there was none).

    convincing: whether there is nothing to be gained by looking elsewhere.
    """

    pose: Pose
    similarity: float
    runner_up: float
    convincing: bool


def global_search(problem: Problem, span: SearchRange, seed: int) -> Steps[Found]:
    """The start refined, then rounds of many poses matched and the best of them refined, until one is convincing by
    itself, or found again and ahead of all others."""
    center = problem.center(problem.start)
    extent_mm = problem.extent_mm(problem.start)
    pixel_mm = extent_mm / _MATCH_PIXELS
    matching = problem.level(problem.start, pixel_mm, 1.6 * pixel_mm)
    pixel_mm = extent_mm / _REFINE_PIXELS
    refining = problem.level(problem.start, pixel_mm, 2 * pixel_mm, span.in_plane_mm)
    unmoved = yield from reported(descend(refining, problem.start, center, 0), "search", 0.0, problem.start)
    rounds = [(yield from _refined(problem, refining, span, [problem.start], 0.0, unmoved)) or [unmoved]]
    for number in range(_MOST_ROUNDS):
        found = _found(problem, rounds)
        if found.convincing:
            break
        state = RegistrationState("search", number / _MOST_ROUNDS, found.pose, found.similarity)
        turned = turned_poses(problem, span, seed, _POSES_A_ROUND, number)
        for ranked in matched(matching, center, turned, span.in_plane_mm, span.depths_mm):  # noqa: B007
            yield state
        closer = _about(problem, [one.pose for one in ranked[:_SEEDS]], span, seed + number)
        for again in matched(matching, center, closer, span.in_plane_mm, span.depths_mm):  # noqa: B007
            yield state
        candidates = _distinct(problem, ranked + again)[:_REFINED_A_ROUND]
        rounds.append((yield from _refined(problem, refining, span, candidates, state.progress, found)))
    return _found(problem, rounds)


def _found(problem: Problem, rounds: list[list[Descended]]) -> Found:
    """The best of the poses of all rounds, beside the best of those that are clearly others."""
    pool = [one for of_one in rounds for one in of_one]
    best = max(pool, key=_similarity)
    runner_up = max(
        [0.0, *(one.similarity for one in pool if problem.distance_mm(one.pose, best.pose) > _OTHER_POSE_MM)]
    )
    again = [of_one for of_one in rounds if any(_same(problem, one.pose, best.pose) for one in of_one)]
    found_again = len(again) > 1 and best.similarity > max(_ALIKE, runner_up + _AHEAD)
    return Found(best.pose, best.similarity, runner_up, best.similarity > _CONVINCING or found_again)


def _same(problem: Problem, first: Pose, second: Pose) -> bool:
    return problem.distance_mm(first, second) <= _SAME_POSE_MM


def _about(problem: Problem, poses: list[Pose], span: SearchRange, seed: int) -> list[Pose]:
    """Poses about each of some, turned by a fraction of the range, with the isocentre where the start has it."""
    rng, center = np.random.default_rng(seed), problem.center(problem.start)
    turned = []
    for pose in poses:
        back = Pose.from_parts(np.eye(3), center - problem.center(pose)) @ pose
        for _ in range(_A_SEED):
            turn = rotation_from_euler(np.radians(_CLOSER * span.rotation_deg) * rng.standard_normal(3))
            turned.append(Pose.about(center, turn, np.zeros(3)) @ back)
    return turned


def _distinct(problem: Problem, matches: list[Match]) -> list[Pose]:
    """The poses, the best first, without those that all but repeat a better one."""
    kept: list[Pose] = []
    for match in sorted(matches, key=lambda one: -one.correlation)[: 4 * _REFINED_A_ROUND]:
        if not any(_same(problem, match.pose, one) for one in kept):
            kept.append(match.pose)
    return kept


def _refined(
    problem: Problem, level: Level, span: SearchRange, poses: list[Pose], progress: float, best: Descended | Found
) -> Steps[list[Descended]]:
    """All poses descended while the similarity sees far, then the better ones while it sees past what does not fit;
    those that leave the range are dropped."""
    for scale, kept in zip(SCALES, _KEPT):
        found = []
        for pose in poses:
            steps = descend(level, pose, problem.center(pose), _ITERATIONS, scale)
            found.append((yield from shown(steps, RegistrationState("search", progress, best.pose, best.similarity))))
        found = [one for one in found if span.holds(*problem.motion(one.pose))]
        values = [float(level.similarity([one.pose])[0]) for one in found]
        poses = [found[k].pose for k in np.argsort(values)[::-1][:kept]]
    return found


def _similarity(one: Descended) -> float:
    return one.similarity


def turned_poses(problem: Problem, span: SearchRange, seed: int, count: int, number: int = 0) -> list[Pose]:
    """Round `number` of `count` poses about the start, turned by a normal distribution, quasi-random (Sobol)."""
    axes, center = problem.views[0].axes, problem.center(problem.start)
    last = (number + 1) * count
    uniform = sobol_points(last, seed)[last - count :, :3]
    normal = ndtri(np.clip(uniform, 1e-6, 1 - 1e-6))
    poses = []
    for turns in normal:
        turn = axes @ rotation_from_euler(np.radians(span.rotation_deg) * turns) @ axes.T
        poses.append(Pose.about(center, turn, np.zeros(3)) @ problem.start)
    return poses
