"""Levenberg-Marquardt on the differences of a network's features: what they miss is the residual, not one value."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch

from ..geometry import Pose
from ..networks.interface import carried, feature_differences
from .descent import shortened
from .learned_scene import Look, Scene

FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 0.03, 1e-3, 3.0  # of the mean of the diagonal
_LONGER, _SHORTER = 3.0, 4.0  # by which the damping falls after a step that is taken, and grows after one that is not
_LARGEST_TURN_RAD, _LARGEST_SHIFT_MM = 0.4, 60.0
_LEAST_CURVATURE = 1e-12  # a system without any can still be solved
_LEAST_GAIN = 2e-3  # of a step, as a share of what is left
_UNITS = np.array([np.radians(20.0)] * 3 + [30.0, 30.0, 60.0])  # of a twist in the C-arm's axes: as the seed's protocol


@dataclass(frozen=True, eq=False)
class System:
    """Half the squared differences of features, and their Gauss-Newton system in twists (6,) of `_UNITS` along the
    axes (3, 3) of a C-arm."""

    value: float
    matrix: np.ndarray
    way: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, residuals: torch.Tensor, jacobian: torch.Tensor, axes: np.ndarray) -> System:
        """Of differences (n,) and their derivative (n, 6), see `FeatureDifferences`."""
        missed, changes = (part.double().cpu().numpy() for part in (residuals, jacobian))
        changes = np.concatenate([part @ axes for part in np.split(changes, 2, axis=1)], axis=1) * _UNITS
        return cls(float(missed @ missed) / 2, changes.T @ changes, -changes.T @ missed, axes)

    def step(self, damping: float = FIRST_DAMPING) -> np.ndarray:
        """The twist (6,) down, in world; none where nothing changes."""
        even = (damping * np.trace(self.matrix) / 6 + _LEAST_CURVATURE) * np.eye(6)
        turn, shift = (self.axes @ part for part in np.split(_UNITS * np.linalg.solve(self.matrix + even, self.way), 2))
        return np.concatenate([turn, shift])


def feature_descent(look: Look, start: Pose, iterations: int) -> Generator[None, None, Pose]:
    """The pose at which the features of X-rays and DRRs are the most alike, on the way down from a start, with pauses.

    Ends after so many iterations, or where a step gains next to nothing.
    """
    problem = look.problem
    best, damping = start, FIRST_DAMPING
    at = look.attempt(_system, look, best)
    for _ in range(iterations):
        yield
        twist = shortened(at.step(damping), _LARGEST_TURN_RAD, _LARGEST_SHIFT_MM)
        pose = best.moved(twist, problem.center(best))
        trial = look.attempt(_system, look, pose)
        if trial.value < at.value:
            gain = 1 - trial.value / max(at.value, 1e-30)
            best, at = pose, trial
            damping = max(damping / _LONGER, _LEAST_DAMPING)
            if gain < _LEAST_GAIN:
                break
        else:
            damping *= _SHORTER
            if damping > _MOST_DAMPING:
                break
    return best


def _system(scene: Scene, look: Look, pose: Pose) -> System:
    """Of all views together."""
    device, count = scene.fixed.images.device, len(scene.fixed.views)
    poses = torch.from_numpy(np.tile(pose.matrix, (count, 1, 1))).to(device)
    centers = carried(torch.from_numpy(np.tile(look.problem.isocenter, (count, 1))).to(device), poses)
    found = feature_differences(look.network, scene.moving, scene.fixed, poses, centers, scene.extent)
    return System.of(found.residuals.flatten(), found.jacobian.flatten(0, 1), look.problem.views[0].axes)
