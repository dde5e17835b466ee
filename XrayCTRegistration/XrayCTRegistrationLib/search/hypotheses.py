"""Poses that a learned descent begins with: what a network guesses from the start and from poses about it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..geometry import Pose, rotation_from_euler
from ..levels import Level, Problem
from ..networks.interface import paired
from ..networks.pose_coordinates import pose_moved_by
from .learned_scene import Look, Scene
from .search_range import SearchRange

DESCENDED = 16  # of the hypotheses that are drawn
_DRAWN, _AT_ONCE = 192, 4


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A pose, and its similarity at the level that hypotheses are judged at."""

    pose: Pose
    similarity: float


def judged(level: Level, poses: Sequence[Pose]) -> list[Hypothesis]:
    """Poses with their similarities."""
    return [Hypothesis(pose, float(value)) for pose, value in zip(poses, level.similarity(poses))]


def likely(look: Look) -> list[Pose]:
    """What each view guesses from its guess from the start, and the start itself."""
    start = look.problem.start
    return [*(_guessed_twice(look, start, index) for index in range(len(look.problem.views))), start]


def _guessed_twice(look: Look, start: Pose, index: int) -> Pose:
    _, (pose,) = look.attempt(_guessed, look, [start], index)
    _, (pose,) = look.attempt(_guessed, look, [pose], index)
    return pose


def drawn_steps(look: Look, span: SearchRange, seed: int) -> Generator[None, None, list[Pose]]:
    """DESCENDED poses that the first view guesses from ones drawn about the start, with pauses: of all that are
    guessed, those of the lowest value of the network, the lowest first."""
    problem, rng = look.problem, np.random.default_rng(seed)
    drawn = [_drawn(problem, span, rng) for _ in range(_DRAWN)]
    values: list[float] = []
    poses: list[Pose] = []
    for first in range(0, _DRAWN, _AT_ONCE):
        guesses = look.attempt(_guessed, look, drawn[first : first + _AT_ONCE], 0)[1]
        yield
        values += look.attempt(_guessed, look, guesses, 0)[0]
        poses += guesses
        yield
    return [poses[index] for index in np.argsort(values)[:DESCENDED]]


def _drawn(problem: Problem, span: SearchRange, rng: np.random.Generator) -> Pose:
    """A pose about the start, normally distributed over the search range."""
    axes = problem.views[0].axes
    turn, shift = np.split(rng.standard_normal(6), 2)
    turn = axes @ rotation_from_euler(np.radians(span.rotation_deg) * turn) @ axes.T
    shift = axes @ (shift * span.deviations_mm)
    return Pose.about(problem.center(problem.start), turn, shift) @ problem.start


@torch.no_grad()
def _guessed(scene: Scene, look: Look, poses: Sequence[Pose], index: int) -> tuple[list[float], list[Pose]]:
    """The network's values at poses, from the X-ray of one view and DRRs, and the true pose as it guesses it from each.

    Embeddings are trained to be coordinates of poses, but for what all of a CT have in common: the difference between
    those of the X-ray and of a DRR is the way from the DRR's pose to the true one.
    """
    fixed = scene.fixed.repeated(index, len(poses))
    matrices = torch.from_numpy(np.stack([pose.matrix for pose in poses])).to(fixed.images.device)
    pairs = paired(scene.moving, fixed, matrices, scene.extent)
    compared = look.network.compared(pairs.fixed, pairs.moving)
    missing = torch.sub(*compared.embeddings).double().cpu().numpy()
    problem = look.problem
    guesses = [pose_moved_by(one, pose, problem.isocenter, problem.views[index]) for one, pose in zip(missing, poses)]
    return compared.value.tolist(), guesses
