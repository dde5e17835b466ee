"""Global pose search: many rendered poses, each carried to where it matches best, the best of them refined."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from ..geometry import Pose, rotation_from_euler
from ..levels import Level, LevelSteps, Problem
from ..similarity import SCALES
from ..state import RegistrationState, Steps, shown
from .descent import descend, descend_at
from .ends import otherwise_ending
from .generations import SAME_POSE_MM, distinct, evolved
from .matching import Matcher, matcher_steps
from .scatter import without_scatter
from .search_range import SearchRange, penalty
from .sobol import sobol_points

_MATCH_PIXELS, _REFINE_PIXELS = 40, 64  # along the longest side that the views see
_POSES_A_ROUND, _MOST_ROUNDS, _REFINED_A_ROUND = 64, 4, 6
_ENDING_ROUNDS = (2, 4)  # in which a body ends with its CT that goes on beyond it in all others
_CLOSER = 0.25  # of the range, by which poses about the best ones are turned
_KEPT = (4, 2, 0)  # of the candidates, after each scale
_ITERATIONS, _START_ITERATIONS = 6, 20  # of a descent at a scale, from a candidate and from the start
# Similarity at this resolution that ends the search at once: no wrong pose was seen above 0.72 over 36 X-rays of three
# CTs with and without things in the way (seed 0). And least similarity, lead over all others, and number of rounds that
# come to a pose, which together end it: two rounds where it is more alike, or where the start was given.
_CONVINCING = 0.82
_ALIKE, _AHEAD, _ROUNDS_AGREE = 0.2, 0.05, 3
_MORE_ALIKE = 0.6
_PROMISING = 0.4  # after the first scale; below, a single pose that is tried before others is left to them
_CLEARED_FROM = 0.4  # from which on a pose is near enough to tell how much scatter there is
_BEHIND = 0.15  # in similarity, of a reading of the polarity that is not tried any more after its first round
_OTHER_POSE_MM = 40.0
_SLIDES_MM = (-50.0, -37.5, -25.0, -12.5, 12.5, 25.0, 37.5, 50.0)  # vertebrae follow one another by 15 to 40 mm
_MOST_SLIDES = 3
# Poses that are looked at closer, how far apart at least, and how nearly as alike as a convincing one.
_RIVALS, _RIVAL_MM, _NEARLY = 6, 4.0, 0.05
_CLOSER_PIXELS, _CLOSER_ITERATIONS = 96, 25


@dataclass(frozen=True, eq=False)
class Candidate:
    """A pose that the search came to, in which round, in which of the problems, its similarity there, and what its
    distance from the start costs it."""

    problem: Problem
    pose: Pose
    similarity: float
    round: int
    penalty: float

    @classmethod
    def of(cls, problem: Problem, span: SearchRange, pose: Pose, similarity: float, number: int) -> Candidate:
        """With the penalty of a range."""
        return cls(problem, pose, similarity, number, penalty(span, problem, pose))

    @property
    def score(self) -> float:
        """What candidates are told apart by."""
        return self.similarity - self.penalty


@dataclass(frozen=True, eq=False)
class Found:
    """The best candidate, and the score of the best that is clearly another one (0 if there was none): another pose, or
    the X-rays read otherwise. convincing: whether there is nothing to be gained by looking elsewhere."""

    best: Candidate
    runner_up: float
    convincing: bool

    @property
    def lead(self) -> float:
        """Of the best, over the runner-up."""
        return self.best.score - self.runner_up


def global_search(problem: Problem, span: SearchRange, seed: int) -> Steps[Found]:
    """The start refined, then rounds of many poses matched and the best of them refined, until one is convincing by
    itself, or found again, the more often the less alike it is, and ahead of all others. The readings of the X-rays'
    polarity take turns, while they keep up; and where the body may end with its CT or go on beyond it, it ends there in
    every second round."""
    state = RegistrationState("search", 0.0, problem.start, -1.0)
    grounds = []
    for one in (problem, *problem.otherwise):
        grounds.append((yield from shown(_ground_steps(one, span), state)))
    pool = [grounds[0].candidate(problem.start, 0)]
    for number in range(_MOST_ROUNDS + 1):
        if number == min(_ENDING_ROUNDS) and not _found(pool, span).convincing:
            grounds += yield from shown(_ending(grounds), state)
        for index, ground in enumerate(grounds):
            found = _found(pool, span)
            if found.convincing:
                return (yield from _ended(pool, grounds, span))
            if not ground.takes_part(number):
                continue
            if number > 1 and found.best.score - _best_of(ground, pool) > _BEHIND:
                continue
            state = RegistrationState("search", number / (_MOST_ROUNDS + 1), found.best.pose, found.best.similarity)
            pool += yield from _round(ground, seed, number, pool, state)
            grounds[index], pool = yield from shown(_cleared(ground, pool), state)
    return (yield from _ended(pool, grounds, span))


def _ended(pool: list[Candidate], grounds: list[_Ground], span: SearchRange) -> Steps[Found]:
    """What is found, after the CT of a body was slid along it, where it is not alike beyond doubt, and turned about
    itself; and after a closer look at the best, where none is beyond doubt."""
    for _ in range(_MOST_SLIDES):
        best = _found(pool, span).best
        if best.similarity > _CONVINCING or best.problem.extent.bone_alone:
            break
        pool = pool + (yield from _slid(best, grounds))
        if _found(pool, span).best is best:
            break
    pool = pool + _turned_about_itself(_found(pool, span).best, grounds)
    return _found((yield from _seen_closer(pool, span)), span)


@dataclass(frozen=True, eq=False)
class _Ground:
    """Where a search takes place: a problem, how far from its start, the X-rays to match poses with, and the level to
    refine them at. cleared_at: the pose that told how much scatter to take off."""

    problem: Problem
    span: SearchRange
    matcher: Matcher
    refining: Level
    cleared_at: Pose | None = None

    def takes_part(self, number: int) -> bool:
        """Whether a round is its turn: where the body may end or go on, the rounds are shared."""
        may_do_either = otherwise_ending(self.problem) is not None
        return not may_do_either or self.problem.continuing.any() == (number not in _ENDING_ROUNDS)

    def candidate(self, pose: Pose, number: int) -> Candidate:
        """A pose that round `number` came to."""
        similarity = float(self.refining.similarity([pose])[0])
        return Candidate.of(self.problem, self.span, pose, similarity, number)


def _ground_steps(problem: Problem, span: SearchRange) -> Generator[None, None, _Ground]:
    start = problem.start
    match_mm = problem.extent_mm(start) / _MATCH_PIXELS
    matching = yield from problem.level(start, match_mm, 1.6 * match_mm)
    matcher = yield from matcher_steps(matching, problem.center(start), span.in_plane_mm, span.depths_mm)
    return _Ground(problem, span, matcher, (yield from refining_level(problem, span)))


def _ending(grounds: Sequence[_Ground]) -> Generator[None, None, list[_Ground]]:
    """The same grounds with the body ending with its CT, of those where it goes on beyond."""
    ending = []
    for ground in grounds:
        problem = otherwise_ending(ground.problem)
        if problem is not None:
            ending.append((yield from _ground_steps(problem, ground.span)))
    return ending


def _cleared(ground: _Ground, pool: list[Candidate]) -> Generator[None, None, tuple[_Ground, list[Candidate]]]:
    """The ground with scatter taken off its X-rays, as far as that makes its best candidate more alike, and the pool
    with its candidates judged there; both as they were where the best is alike beyond doubt already, or hardly."""
    of_ground = [one for one in pool if one.problem is ground.problem]
    best = max(of_ground, key=lambda one: one.score, default=None)
    if best is None or not _CLEARED_FROM < best.similarity < _CONVINCING or ground.cleared_at is best.pose:
        return ground, pool
    problem = yield from without_scatter(best.problem, best.pose, ground.refining.pixel_mm)
    if problem is ground.problem:
        return replace(ground, cleared_at=best.pose), pool
    cleared = replace((yield from _ground_steps(problem, ground.span)), cleared_at=best.pose)
    judged = []
    for one in of_ground:
        (similarity,) = yield from cleared.refining.similarity_steps([one.pose])
        judged.append(replace(one, problem=problem, similarity=float(similarity)))
    return cleared, [one for one in pool if one.problem is not ground.problem] + judged


def refining_level(problem: Problem, span: SearchRange) -> LevelSteps:
    """The level that poses all over a range are refined at, and told apart by."""
    pixel_mm = problem.extent_mm(problem.start) / _REFINE_PIXELS
    return (yield from problem.level(problem.start, pixel_mm, 2 * pixel_mm, span.in_plane_mm))


def _found(pool: list[Candidate], span: SearchRange) -> Found:
    best = max(pool, key=lambda one: one.score)
    others = [one for one in pool if _apart_mm(one, best) > _OTHER_POSE_MM]
    runner_up = max([0.0, *(one.score for one in others)])
    rounds = {one.round for one in pool if _apart_mm(one, best) <= SAME_POSE_MM}
    enough = 2 if best.similarity > _MORE_ALIKE or span.near else _ROUNDS_AGREE
    found_again = len(rounds) >= enough and best.similarity > _ALIKE and best.score > runner_up + _AHEAD
    return Found(best, runner_up, best.similarity > _CONVINCING or found_again)


def _best_of(ground: _Ground, pool: list[Candidate]) -> float:
    """The score of the best whose X-rays are read as on a ground."""
    return max((one.score for one in pool if one.problem.polarities == ground.problem.polarities), default=-1.0)


def _ground_of(candidate: Candidate, grounds: list[_Ground]) -> _Ground:
    return next(one for one in grounds if one.problem is candidate.problem)


def _slid(best: Candidate, grounds: list[_Ground]) -> Steps[list[Candidate]]:
    """The best pose's CT slid along the body, and refined: the neighbouring vertebra looks alike, and poses that begin
    at it do not leave it."""
    ground = _ground_of(best, grounds)
    slides = [Pose.from_parts(np.eye(3), np.array([0.0, 0.0, slide])) for slide in _SLIDES_MM]
    state = RegistrationState("search", 1.0, best.pose, best.similarity)
    return (yield from _refined(ground, [best.pose @ slide for slide in slides], best.round, state))


def _seen_closer(pool: list[Candidate], span: SearchRange) -> Steps[list[Candidate]]:
    """The best of the pool that are not the same, descended at a finer resolution: a wrong pose, alike by accident at
    one resolution, is not at the next. Where one is convincing, but not beyond doubt, that decides between those which
    are nearly as alike."""
    found = _found(pool, span)
    if found.best.similarity > _CONVINCING:
        return pool
    rivals = distinct(sorted(pool, key=lambda one: -one.score), _apart_mm, _RIVAL_MM)[:_RIVALS]
    if found.convincing:
        rivals = [one for one in rivals if found.best.score - one.score < _NEARLY]
        if len(rivals) == 1:
            return pool
    closer = []
    for one in rivals:
        state = RegistrationState("search", 1.0, rivals[0].pose, rivals[0].similarity)
        end = yield from shown(descend_at(one.problem, one.pose, _CLOSER_PIXELS, _CLOSER_ITERATIONS), state)
        if span.holds(*one.problem.motion(end.pose)):
            closer.append(Candidate.of(one.problem, span, end.pose, end.similarity, one.round))
    if not found.convincing:
        return closer or rivals
    best = max(closer, key=lambda one: one.score, default=found.best)
    return [replace(best, similarity=found.best.similarity), *pool]


def _turned_about_itself(best: Candidate, grounds: list[_Ground]) -> list[Candidate]:
    """The CT turned by a quarter and a half about each of its axes: as alike where it looks the same when turned, which
    the start cannot tell, and no farther from it."""
    problem = best.problem
    level = _ground_of(best, grounds).refining
    turns = [rotation_from_euler(np.radians(angle) * axis) for axis in np.eye(3) for angle in (90.0, 180.0)]
    poses = [best.pose @ Pose.about(problem.isocenter, turn, np.zeros(3)) for turn in turns]
    return [replace(best, pose=pose, similarity=float(level.similarity([pose])[0])) for pose in poses]


def _apart_mm(first: Candidate, second: Candidate) -> float:
    """How far two candidates are apart; those of X-rays read otherwise are never the same."""
    if first.problem.polarities != second.problem.polarities:
        return math.inf
    return first.problem.distance_mm(first.pose, second.pose)


def _round(
    ground: _Ground, seed: int, number: int, pool: list[Candidate], state: RegistrationState
) -> Steps[list[Candidate]]:
    """The candidates of a round: in round 0 of the start, then of poses that match, many about the start and more about
    the best of those. Whatever matches better than all before is refined at once: where that is convincing beside the
    pool, the round is over."""
    problem, span = ground.problem, ground.span
    if number == 0:
        return (yield from _refined(ground, [problem.start], number, state, _ALIKE))
    found: list[Candidate] = []
    best = -1.0
    for ranked in ground.matcher.matched(turned_poses(problem, span, seed, _POSES_A_ROUND, number - 1)):
        yield state
        if ranked[0].correlation > best:
            best = ranked[0].correlation
            found += yield from _refined(ground, [ranked[0].pose], number, state, _PROMISING)
            if found and _found(pool + found, ground.span).convincing:
                return found
    poses = yield from evolved(
        problem,
        ground.matcher,
        ground.refining,
        ranked,
        lambda pose: penalty(span, problem, pose),
        _REFINED_A_ROUND,
        _CLOSER * span.rotation_deg,
        (seed, number),
        state,
    )
    return found + (yield from _refined(ground, poses, number, state))


def _refined(
    ground: _Ground,
    poses: list[Pose],
    number: int,
    state: RegistrationState,
    least: float = -math.inf,
) -> Steps[list[Candidate]]:
    """All poses descended while the similarity sees far, then the better ones, and at least so similar ones, while it
    sees past what does not fit; those that leave the range are dropped."""
    problem, level = ground.problem, ground.refining
    iterations = _ITERATIONS if number else _START_ITERATIONS
    for scale, kept in zip(SCALES, _KEPT):
        found = []
        for pose in poses:
            end = yield from shown(descend(level, pose, problem.center(pose), iterations, scale), state)
            if ground.span.holds(*problem.motion(end.pose)):
                found.append(end.pose)
        candidates = [ground.candidate(pose, number) for pose in found]
        candidates.sort(key=lambda one: -one.score)
        poses = [one.pose for one in candidates[:kept] if one.similarity >= least]
        if not poses:
            break
    return candidates


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
