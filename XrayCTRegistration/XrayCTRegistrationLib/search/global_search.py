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
_MATCH_WINDOW_PX = 4
_DEPTH_STEP_MM = 45.0
_POSES_A_ROUND, _MOST_ROUNDS, _REFINED_A_ROUND = 128, 8, 8
_SEEDS, _A_SEED, _CLOSER = 8, 16, 0.25  # matched again: poses about the best ones, turned by so much of the range
_KEPT, _ITERATIONS = (5, 3, 0), 6  # of the candidates after each scale, and of a descent at it
# Similarity at this resolution that ends the search: no wrong pose was seen above 0.72, nor one that was ahead of all
# others that far off by more than 0.09, over 36 X-rays of three CTs with and without things in the way (seed 0).
_CONVINCING, _CLEAR = 0.82, 0.2
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
    """A pose, its similarity, and that of the best pose that is clearly another one (0 if there was none)."""

    pose: Pose
    similarity: float
    runner_up: float

    @property
    def convincing(self) -> bool:
        """Whether there is nothing to be gained by looking elsewhere."""
        return self.similarity > _CONVINCING or self.similarity - self.runner_up > _CLEAR


def global_search(problem: Problem, span: SearchRange, seed: int) -> Steps[Found]:
    """The start refined, then rounds of many poses matched and the best of them refined, until one is convincing or
    clearly ahead of all others."""
    center = problem.center(problem.start)
    extent_mm = problem.extent_mm(problem.start)
    pixel_mm = extent_mm / _MATCH_PIXELS
    matching = problem.level(problem.start, pixel_mm, 1.6 * pixel_mm, least_window_px=_MATCH_WINDOW_PX)
    pixel_mm = extent_mm / _REFINE_PIXELS
    refining = problem.level(problem.start, pixel_mm, 2 * pixel_mm, span.in_plane_mm)
    unmoved = yield from reported(descend(refining, problem.start, center, 0), "search", 0.0, problem.start)
    pool = [unmoved]
    pool += yield from _refined(problem, refining, span, [problem.start], 0.0, unmoved)
    for number in range(_MOST_ROUNDS):
        best = max(pool, key=_similarity)
        if best.similarity > _CONVINCING or (number and _found(problem, pool).convincing):
            break
        progress = number / _MOST_ROUNDS
        turned = turned_poses(problem, span, seed, _POSES_A_ROUND, number)
        for ranked in matched(matching, center, turned, span.in_plane_mm, span.depths_mm):  # noqa: B007
            yield RegistrationState("search", progress, best.pose, best.similarity)
        closer = _about(problem, [one.pose for one in ranked[:_SEEDS]], span, seed + number)
        for again in matched(matching, center, closer, span.in_plane_mm, span.depths_mm):  # noqa: B007
            yield RegistrationState("search", progress, best.pose, best.similarity)
        candidates = _distinct(problem, ranked + again)[:_REFINED_A_ROUND]
        pool += yield from _refined(problem, refining, span, candidates, progress, best)
    return _found(problem, pool)


def _found(problem: Problem, pool: list[Descended]) -> Found:
    """The best of the poses, beside the best of those that are clearly others."""
    best = max(pool, key=_similarity)
    others = [one.similarity for one in pool if problem.distance_mm(one.pose, best.pose) > _OTHER_POSE_MM]
    return Found(best.pose, best.similarity, max([0.0, *others]))


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
        if all(problem.distance_mm(match.pose, one) > _SAME_POSE_MM for one in kept):
            kept.append(match.pose)
    return kept


def _refined(
    problem: Problem, level: Level, span: SearchRange, poses: list[Pose], progress: float, best: Descended
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


def turned_poses(
    problem: Problem, span: SearchRange, seed: int, count: int, number: int = 0
) -> list[Pose]:
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
