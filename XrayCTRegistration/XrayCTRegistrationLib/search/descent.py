"""Levenberg-Marquardt on the analytic pose Jacobian of the DRRs (Levenberg 1944, Marquardt 1963)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..geometry import Pose, XrayView
from ..levels import Level
from ..projector import Projector
from ..similarity import gauss_newton, robust_weights, similarity

_PIXELS_AT_ONCE = 12_000  # of one rendering with Jacobian, between two pauses for the window
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-4, 1e-6, 10.0
_STRETCH, _LONGEST_STRETCH = 1.5, 4.0  # far from the truth the similarity curves less than Gauss-Newton believes
_DEPTH_ROUNDS, _DEPTH_GAIN = 4, 1e-5
_DEPTH_STEPS_MM = (-12.0, -6.0, -3.0, -1.5, -0.7, -0.3, 0.3, 0.7, 1.5, 3.0, 6.0, 12.0)
_LARGEST_TURN_RAD, _LARGEST_SHIFT_MM = 0.35, 60.0


@dataclass(frozen=True, eq=False)
class Descended:
    """A pose, its similarity, and the Gauss-Newton matrix (6, 6) of 1 - similarity there, in the twist of
    `Pose.moved` about `center`."""

    pose: Pose
    similarity: float
    matrix: np.ndarray
    center: np.ndarray


def descend(
    level: Level, start: Pose, center: np.ndarray, iterations: int, least_gain: float = 2e-6
) -> Generator[Descended, None, Descended]:
    """Climb the similarity from a start; yields the best so far after every part of a rendering, returns the end.

    center: (3,) where the CT's isocentre stands under the start, the centre of all rotations. Ends after so many
    iterations, or when an accepted step gains less than least_gain.
    """
    best, slope = yield from _linearised(level, start, center, None)
    damping, stretch = _FIRST_DAMPING, 1.0
    for _ in range(iterations):
        damped = best.matrix + damping * np.diag(np.diag(best.matrix)) + 1e-12 * np.eye(6)
        twist = stretch * np.linalg.solve(damped, slope)
        twist[:3] *= min(1.0, _LARGEST_TURN_RAD / max(np.linalg.norm(twist[:3]), 1e-12))
        twist[3:] *= min(1.0, _LARGEST_SHIFT_MM / max(np.linalg.norm(twist[3:]), 1e-12))
        trial, trial_slope = yield from _linearised(level, best.pose.moved(twist, center), center, best)
        gain = trial.similarity - best.similarity
        if gain > 0:
            best, slope = trial, trial_slope
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


def descend_in_depth(
    level: Level, start: Pose, center: np.ndarray, iterations: int
) -> Generator[Descended, None, Descended]:
    """As `descend`, then from the best of several depths along the first view's ray through the CT's isocentre, and
    again, while that gains.

    In depth the similarity hardly changes, and the noise of the interpolation's derivative makes Gauss-Newton believe
    in a much steeper curvature there than there is: its steps are far too short.
    """
    best = yield from descend(level, start, center, iterations)
    ray = center - level.fixed[0].view.source
    ray = ray / np.linalg.norm(ray)
    for _ in range(_DEPTH_ROUNDS):
        poses = [best.pose.moved(np.concatenate([np.zeros(3), step * ray]), center) for step in _DEPTH_STEPS_MM]
        values = np.zeros(len(poses))
        for index, pose in enumerate(poses):
            for fixed in level.fixed:
                image = yield from _rendered(level.projector, pose, fixed.view, best)
                values[index] += float(similarity(fixed, image[None])) / len(level.fixed)
        if values.max() <= best.similarity + _DEPTH_GAIN:
            break
        best = yield from _at_least(best, descend(level, poses[values.argmax()], center, iterations))
    return best


def descend_robustly(
    level: Level, start: Pose, center: np.ndarray, iterations: int, rounds: int = 2
) -> Generator[Descended, None, Descended]:
    """As `descend_in_depth`, then again with pixels that do not fit (instruments, beads, other bones) weighted down.

    Iteratively reweighted least squares with Cauchy weights.
    """
    best = yield from descend_in_depth(level, start, center, iterations)
    for _ in range(rounds):
        fixed = []
        for item in level.fixed:
            image = yield from _rendered(level.projector, best.pose, item.view, best)
            fixed.append(replace(item, weights=robust_weights(item, image)))
        best = yield from descend(replace(level, fixed=tuple(fixed)), best.pose, center, iterations)
    return best


def _at_least(best: Descended, steps: Generator[Descended, None, Descended]) -> Generator[Descended, None, Descended]:
    """A descent that yields the better of `best` and its own."""
    while True:
        try:
            one = next(steps)
        except StopIteration as end:
            return end.value
        yield max(best, one, key=lambda scored: scored.similarity)


def _linearised(
    level: Level, pose: Pose, center: np.ndarray, best: Descended | None
) -> Generator[Descended, None, tuple[Descended, np.ndarray]]:
    """Similarity of a pose, its Gauss-Newton matrix and ascent direction (6,), averaged over the views."""
    value, matrix, slope = 0.0, np.zeros((6, 6)), np.zeros(6)
    poses = torch.from_numpy(pose.matrix.copy())[None]
    for fixed in level.fixed:
        images, jacobians = [], []
        for part in _bands_of(fixed.view):
            image, jacobian = level.projector.images_with_jacobian(poses, part, torch.from_numpy(center.copy()))
            images.append(image[0])
            jacobians.append(jacobian[0])
            yield best or Descended(pose, -1.0, matrix, center)
        system = gauss_newton(fixed, torch.cat(images), torch.cat(jacobians, dim=1))
        value += system[0] / len(level.fixed)
        matrix += system[1].cpu().numpy() / len(level.fixed)
        slope += system[2].cpu().numpy() / len(level.fixed)
    return Descended(pose, value, matrix, center), slope


def _rendered(
    projector: Projector, pose: Pose, view: XrayView, best: Descended
) -> Generator[Descended, None, torch.Tensor]:
    """One DRR (rows, columns), with pauses."""
    poses = torch.from_numpy(pose.matrix.copy())[None]
    parts = []
    for part in _bands_of(view):
        parts.append(projector.images(poses, part)[0])
        yield best
    return torch.cat(parts)


def _bands_of(view: XrayView) -> list[XrayView]:
    """The view cut into bands of whole rows, each short to render."""
    columns, rows = view.size_px
    height = max(1, _PIXELS_AT_ONCE // columns)
    return [view.cropped((0, first), (columns, min(height, rows - first))) for first in range(0, rows, height)]
