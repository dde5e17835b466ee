"""Poses that a learned descent begins with: what a network guesses from the start, and that turned each way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..geometry import Pose, rotation_from_vector
from ..levels import Level, LevelSteps, Problem
from ..networks.interface import SimilarityNetwork, paired
from ..networks.pose_coordinates import pose_moved_by
from .global_search import SearchRange
from .learned_scene import Look, Scene

_GUESSES = 4  # one after the other: from the start, from the pose that was guessed there, ...
_TURNED = 0.8  # of the search range's rotation, each way about each axis of the C-arm
_JUDGED_PIXELS = 64  # along the longest side


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A pose, and its similarity at the level that hypotheses are judged at."""

    pose: Pose
    similarity: float


def judging_level(problem: Problem, span: SearchRange) -> LevelSteps:
    """The level that says which of several poses is the most alike."""
    pixel_mm = problem.extent_mm(problem.start) / _JUDGED_PIXELS
    return (yield from problem.level(problem.start, pixel_mm, 2 * pixel_mm, span.in_plane_mm))


def judged(level: Level, poses: Sequence[Pose]) -> list[Hypothesis]:
    """Poses with their similarities."""
    return [Hypothesis(pose, float(value)) for pose, value in zip(poses, level.similarity(poses))]


def beginnings(look: Look, span: SearchRange) -> list[Pose]:
    """The likeliest poses first: what each view guesses, the start, and the first guess turned each way."""
    start, axes = look.problem.start, look.problem.views[0].axes
    guesses = [guessed(look, start, index) for index in range(len(look.problem.views))]
    center, angle = look.problem.center(guesses[0]), _TURNED * np.radians(span.rotation_deg)
    turns = [rotation_from_vector(sign * angle * axis) for axis in axes.T for sign in (1, -1)]
    return [*guesses, start, *(Pose.about(center, turn, np.zeros(3)) @ guesses[0] for turn in turns)]


def guessed(look: Look, start: Pose, index: int) -> Pose:
    """The pose that the X-ray of one view and the DRRs of the CT let a network guess.

    Embeddings are trained to be coordinates of poses, but for what all of a CT have in common: the difference between
    those of the X-ray and of a DRR is the way from the DRR's pose to the true one. The farther it is, the more of it is
    missed, and the guess from a guess is better.
    """
    pose, isocenter = start, look.problem.isocenter
    for _ in range(_GUESSES):
        missing = look.attempt(lambda scene, pose=pose: _missing(look.network, scene, pose, index))
        pose = pose_moved_by(missing, pose, isocenter, look.problem.views[index])
    return pose


@torch.no_grad()
def _missing(network: SimilarityNetwork, scene: Scene, pose: Pose, index: int) -> np.ndarray:
    """(12,) what the embedding of a DRR lacks of that of the X-ray of one view."""
    matrix = torch.from_numpy(pose.matrix.copy())[None].to(scene.fixed.images.device)
    pairs = paired(scene.moving, scene.fixed.one(index), matrix, scene.extent)
    fixed, moving = network.compared(pairs.fixed, pairs.moving).embeddings
    return (fixed - moving)[0].double().cpu().numpy()
