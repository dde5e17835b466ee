"""Poses that a network guesses, looked at again from there: the hypotheses that a learned descent begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..geometry import Pose
from ..levels import Level, LevelSteps, Problem
from ..networks.dual_branch import DualBranch
from ..networks.interface import paired
from ..networks.pose_guess import twists_in_world
from ..networks.sopi import Sopi, guessed_pose
from ..state import RegistrationState, Steps
from .global_search import SearchRange
from .learned_scene import Look, Scene

_ROUNDS, _FOLLOWED = 6, 3  # of guesses, and poses that are guessed from in each
_LEAST_LOG_SHARE = -3.5  # of a hypothesis that is looked at
_JUDGED_PIXELS, _REACH_MM = 64, 70.0  # along the longest side; how far across the central ray poses may be
_OTHER_POSE_MM = 8.0


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A pose, and its similarity at the level that hypotheses are judged at."""

    pose: Pose
    similarity: float


def judging_level(problem: Problem) -> LevelSteps:
    """The level that says which of several poses is the most alike."""
    pixel_mm = problem.extent_mm(problem.start) / _JUDGED_PIXELS
    return (yield from problem.level(problem.start, pixel_mm, 2 * pixel_mm, _REACH_MM))


def judged(level: Level, poses: Sequence[Pose]) -> list[Hypothesis]:
    """Poses with their similarities, the most alike first."""
    found = [Hypothesis(pose, float(value)) for pose, value in zip(poses, level.similarity(poses))] if poses else []
    return sorted(found, key=lambda one: -one.similarity)


def hypotheses(look: Look, level: Level, span: SearchRange, count: int) -> Steps[list[Hypothesis]]:
    """Up to `count` poses that differ, the most alike first: the start, and what a network guesses from it, from the
    best of its guesses, and so on. A network that does not guess gives the start alone."""
    problem, network = look.problem, look.network
    found = judged(level, [problem.start])
    if isinstance(network, Sopi):
        guess = look.attempt(
            lambda scene: guessed_pose(network, scene.attenuation, scene.fixed, problem.isocenter)
        )
        return _distinct(problem, found + judged(level, [guess]), count)
    if not isinstance(network, DualBranch):
        return found
    followed: list[Pose] = []
    for number in range(_ROUNDS):
        ahead = [one.pose for one in _distinct(problem, found, _FOLLOWED) if one.pose not in followed]
        if not ahead:
            break
        followed += ahead
        for pose in ahead:
            yield RegistrationState("learned", number / _ROUNDS, found[0].pose, -1.0)
            guesses = look.attempt(lambda scene, pose=pose: _guessed(network, problem, scene, pose))
            found += judged(level, [one for one in guesses if span.holds(*problem.motion(one))])
        found.sort(key=lambda one: -one.similarity)
    return _distinct(problem, found, count)


@torch.no_grad()
def _guessed(network: DualBranch, problem: Problem, scene: Scene, pose: Pose) -> list[Pose]:
    """The poses that are guessed from a pose, by each view on its own."""
    matrices = torch.from_numpy(np.tile(pose.matrix, (len(scene.fixed.views), 1, 1))).to(scene.fixed.images.device)
    pairs = paired(scene.moving, scene.fixed, matrices, scene.extent)
    guesses = network.guess(network.compared(pairs.fixed, pairs.moving).pairs)
    twists = twists_in_world(guesses.motions, scene.fixed.views)[guesses.log_shares > _LEAST_LOG_SHARE]
    return [pose.moved(twist, problem.center(pose)) for twist in twists.cpu().numpy()]


def _distinct(problem: Problem, found: Sequence[Hypothesis], count: int) -> list[Hypothesis]:
    """The most alike, without those that all but repeat a better one."""
    kept: list[Hypothesis] = []
    for one in sorted(found, key=lambda one: -one.similarity):
        if len(kept) < count and all(problem.distance_mm(one.pose, other.pose) > _OTHER_POSE_MM for other in kept):
            kept.append(one)
    return kept
