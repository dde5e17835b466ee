"""Poses that a learned descent begins with: what a network guesses from the start and from poses about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..geometry import Pose, rotation_from_euler
from ..levels import Level, LevelSteps, Problem
from ..networks.interface import SimilarityNetwork, paired
from ..networks.pose_coordinates import pose_moved_by
from .global_search import SearchRange
from .learned_scene import Look, Scene

HYPOTHESES = 24
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


def beginnings(look: Look, span: SearchRange, seed: int) -> Iterator[Pose]:
    """HYPOTHESES poses to begin with, and one for each further view, the likeliest first: what each view guesses from
    its guess from the start, the start itself, and what the first view guesses from poses drawn about the start."""
    problem = look.problem
    for index in range(len(problem.views)):
        yield guessed(look, guessed(look, problem.start, index), index)
    yield problem.start
    rng, axes = np.random.default_rng(seed), problem.views[0].axes
    for _ in range(HYPOTHESES - 2):
        turn, shift = np.split(rng.standard_normal(6), 2)
        turn = rotation_from_euler(np.radians(span.rotation_deg) * turn)
        shift = shift * (span.in_plane_mm / 2, span.in_plane_mm / 2, span.depth_mm)
        drawn = Pose.about(problem.center(problem.start), axes @ turn @ axes.T, axes @ shift) @ problem.start
        yield guessed(look, drawn, 0)


def guessed(look: Look, pose: Pose, index: int) -> Pose:
    """The true pose as a network guesses it from the X-ray of one view and the DRR at a pose.

    Embeddings are trained to be coordinates of poses, but for what all of a CT have in common: the difference between
    those of the X-ray and of the DRR is the way from the DRR's pose to the true one.
    """
    missing = look.attempt(lambda scene: _missing(look.network, scene, pose, index))
    return pose_moved_by(missing, pose, look.problem.isocenter, look.problem.views[index])


@torch.no_grad()
def _missing(network: SimilarityNetwork, scene: Scene, pose: Pose, index: int) -> np.ndarray:
    """(12,) what the embedding of a DRR lacks of that of the X-ray of one view."""
    matrix = torch.from_numpy(pose.matrix.copy())[None].to(scene.fixed.images.device)
    pairs = paired(scene.moving, scene.fixed.one(index), matrix, scene.extent)
    fixed, moving = network.compared(pairs.fixed, pairs.moving).embeddings
    return (fixed - moving)[0].double().cpu().numpy()
