"""Descent on a network's value, the seed's inference: theta <- theta - alpha dL/dtheta."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..geometry import Pose
from ..networks.interface import SimilarityNetwork, carried, descent_directions, slope_at
from ..state import RegistrationState, Steps
from .learned_scene import Look, Scene

_ITERATIONS = 100
# Turn (radians), shift across the ray, and shift along it (mm): the first step and the one that ends a descent.
_FIRST_STEPS, _LAST_STEPS = np.array([0.07, 8.0, 8.0]), np.array([0.002, 0.2, 1.0])
_LONGER, _SHORTER = 1.1, 0.6  # than the step before: one that goes on, and one that turns back


def value_descent(look: Look, start: Pose) -> Steps[Pose]:
    """The pose of the lowest value that a descent on the network's value meets.

    A network is trained for the directions of its gradient, whose lengths mean nothing: the turn, the shift across the
    first view's ray and the shift along it each take steps of a length of their own, which grows while they go on and
    shrinks where they turn back (as in Rprop, Riedmiller and Braun 1993). Ends where all have become short.
    """
    problem, pose = look.problem, start
    best, lowest = start, math.inf
    steps, before = _FIRST_STEPS, None
    ray = problem.views[0].axes[:, 2]
    for iteration in range(_ITERATIONS):
        yield RegistrationState("learned", iteration / _ITERATIONS, best, -1.0)
        value, way = look.attempt(_value_and_way, look.network, pose, problem.isocenter)
        if value < lowest:
            best, lowest = pose, value
        along = (way[3:] @ ray) * ray
        parts = np.stack([_unit(part) for part in (way[:3], way[3:] - along, along)])
        if before is not None:
            steps = steps * np.where((parts * before).sum(axis=1) > 0, _LONGER, _SHORTER)
        if (steps < _LAST_STEPS).all():
            break
        turn, across, along = steps[:, None] * parts
        pose = pose.moved(np.concatenate([turn, across + along]), problem.center(pose))
        before = parts
    return best


def _value_and_way(
    scene: Scene, network: SimilarityNetwork, pose: Pose, isocenter: np.ndarray
) -> tuple[float, np.ndarray]:
    """The mean value over the views, and the way down (6,), a twist about the CT's isocentre."""
    device, count = scene.fixed.images.device, len(scene.fixed.views)
    poses = torch.from_numpy(np.tile(pose.matrix, (count, 1, 1))).to(device)
    centers = carried(torch.from_numpy(np.tile(isocenter, (count, 1))).to(device), poses)
    slope = slope_at(network, scene.moving, scene.fixed, poses, centers, extent=scene.extent)
    way = descent_directions(slope.gradients.sum(dim=0, keepdim=True), slope.metric.sum(dim=0, keepdim=True))
    return slope.compared.value.detach().mean().item(), way[0].cpu().numpy()


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-30)
