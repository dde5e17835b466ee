"""Poses that match an X-ray, and poses about the best of them that match it better, generation after generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..geometry import Pose, rotation_from_euler
from ..levels import Level, Problem
from ..similarity import SCALES
from ..state import RegistrationState, Steps, shown
from .matching import Match, Matcher

_GENERATIONS, _SEEDS, _A_SEED = 4, 4, 16
_ELITE = 16  # that remain beside a generation's own
_LOOKED_THROUGH = 4  # poses, for every one that is wanted
_RANKED_AT, _SCORED_AT_ONCE = SCALES[1], 8  # similarity that poses are ranked by beside their correlation
SAME_POSE_MM = 8.0

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class _Seen:
    """A pose that was matched, its correlation there, and its similarity, both less its penalty."""

    pose: Pose
    correlation: float
    similarity: float


def evolved(
    problem: Problem,
    matcher: Matcher,
    level: Level,
    matches: Sequence[Match],
    penalty: Callable[[Pose], float],
    most: int,
    turn_deg: float,
    seed: Sequence[int],
    state: RegistrationState,
) -> Steps[list[Pose]]:
    """The best poses after some generations, `most` at most, the best first, no two of them the same.

    matches: the first generation. level: to rank poses at. penalty: what a pose loses beside others, by where it is.
    turn_deg: standard deviation, about each axis, by which the next generation is turned from the best of the one
    before. state: shown meanwhile.
    """
    rng = np.random.default_rng(seed)
    seen = yield from _seen(level, penalty, matches, state)
    for _ in range(_GENERATIONS):
        about = _about(problem, _best(problem, seen, _SEEDS), turn_deg, rng)
        for matched in matcher.matched(about):  # noqa: B007
            yield state
        seen = _by_both(seen)[:_ELITE] + (yield from _seen(level, penalty, matched, state))
    return _best(problem, seen, most)


def _seen(
    level: Level, penalty: Callable[[Pose], float], matches: Sequence[Match], state: RegistrationState
) -> Steps[list[_Seen]]:
    seen = []
    for first in range(0, len(matches), _SCORED_AT_ONCE):
        some = matches[first : first + _SCORED_AT_ONCE]
        similarity = yield from shown(level.similarity_steps([one.pose for one in some], _RANKED_AT), state)
        for one, value in zip(some, similarity):
            cost = penalty(one.pose)
            seen.append(_Seen(one.pose, one.correlation - cost, float(value) - cost))
    return seen


def _best(problem: Problem, seen: list[_Seen], most: int) -> list[Pose]:
    """No two of them the same: fewer than `most` where there are no others among the first."""
    poses = [one.pose for one in _by_both(seen)[: _LOOKED_THROUGH * most]]
    return distinct(poses, problem.distance_mm, SAME_POSE_MM)[:most]


def _by_both(seen: list[_Seen]) -> list[_Seen]:
    """The best first, by similarity and by correlation in turn: much that is in the way misleads the one, or the
    other."""
    by_similarity = sorted(seen, key=lambda one: -one.similarity)
    by_correlation = sorted(seen, key=lambda one: -one.correlation)
    in_turn = (one for pair in zip(by_similarity, by_correlation) for one in pair)
    return list(dict.fromkeys(in_turn))


def _about(problem: Problem, poses: list[Pose], turn_deg: float, rng: np.random.Generator) -> list[Pose]:
    """Poses about each of some, turned, with the isocentre where the start has it."""
    center, turned = problem.center(problem.start), []
    for pose in poses:
        back = Pose.from_parts(np.eye(3), center - problem.center(pose)) @ pose
        for _ in range(_A_SEED):
            turn = rotation_from_euler(np.radians(turn_deg) * rng.standard_normal(3))
            turned.append(Pose.about(center, turn, np.zeros(3)) @ back)
    return turned


def distinct(ones: Sequence[_T], apart_mm: Callable[[_T, _T], float], least_mm: float) -> list[_T]:
    """Those, the best first, that are farther than so much from every better one."""
    kept: list[_T] = []
    for one in ones:
        if all(apart_mm(one, other) > least_mm for other in kept):
            kept.append(one)
    return kept
