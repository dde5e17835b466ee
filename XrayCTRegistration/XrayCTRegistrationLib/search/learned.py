"""Descent on a learned similarity, the seed's inference: theta <- theta - alpha dL/dtheta."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from ..errors import InputError
from ..geometry import Pose, XrayView, common_isocenter
from ..levels import Problem
from ..networks.interface import (
    VOXEL_MM,
    WINDOW_MM,
    WINDOW_PX,
    FixedXrays,
    SimilarityNetwork,
    carried,
    descent_directions,
    fixed_xrays,
    moving_volume,
    slope_at,
)
from ..networks.sopi import Sopi, guessed_pose
from ..projector import VolumeTensor, device_for
from ..state import RegistrationState, Steps
from ..weights import Extent
from ..xray import XrayImage

_LEAST_BELIEVED = 0.1  # share of the window
_ITERATIONS = 100
# Turn (radians), shift across the ray, and shift along it (mm): the first step and the one that ends a descent.
_FIRST_STEPS, _LAST_STEPS = np.array([0.07, 8.0, 8.0]), np.array([0.002, 0.2, 1.0])
_LONGER, _SHORTER = 1.1, 0.6  # than the step before: one that goes on, and one that turns back

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Scene:
    """What a network compares: the X-rays, the CT's plain attenuation, what of it is projected, and where it ends."""

    fixed: FixedXrays
    attenuation: VolumeTensor
    moving: VolumeTensor
    extent: Extent


def learned_descent(problem: Problem, network: SimilarityNetwork, start: Pose) -> Steps[Pose]:
    """The pose of the lowest value that a descent on the network's value meets.

    A network is trained for the directions of its gradient, whose lengths mean nothing: the turn, the shift across the
    first view's ray and the shift along it each take steps of a length of their own, which grows while they go on and
    shrinks where they turn back (as in Rprop, Riedmiller and Braun 1993). Ends where all have become short. A network
    that guesses poses (SOPI) begins with its guess. Where the GPU's memory does not suffice, it goes on with the CPU
    from the same pose.
    Raises InputError when the X-rays show too little of what the views see at their isocentre.
    """
    yield RegistrationState("learned", 0.0, start, -1.0)
    scene = _scene(problem, network, device_for(problem.device))
    pose = (
        guessed_pose(network, scene.attenuation, scene.fixed, problem.isocenter) if isinstance(network, Sopi) else start
    )
    best, lowest = start, math.inf
    steps, before = _FIRST_STEPS, None
    ray = problem.views[0].axes[:, 2]
    for iteration in range(_ITERATIONS):
        yield RegistrationState("learned", iteration / _ITERATIONS, best, -1.0)
        try:
            value, way = _value_and_way(network, scene, pose, problem.isocenter)
        except torch.OutOfMemoryError:
            log.warning("The GPU's memory does not suffice for the learned similarity: it goes on with the CPU.")
            scene = _scene(problem, network, torch.device("cpu"))
            value, way = _value_and_way(network, scene, pose, problem.isocenter)
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


def _scene(problem: Problem, network: SimilarityNetwork, device: torch.device) -> _Scene:
    network.to(device)
    views = [learned_view(view) for view in problem.views]
    seen = [_resampled(*item) for item in zip(problem.images, problem.views, views)]
    images, weights = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*seen))
    if weights.mean() < _LEAST_BELIEVED:
        raise InputError(
            "The X-rays show next to nothing about their isocentre, where the learned similarity looks. Check the "
            "geometry's isocentre, or choose a method without it."
        )
    factors = problem.attenuation.factors_to(VOXEL_MM)
    attenuation = VolumeTensor.of(problem.attenuation.downsampled(factors), device)
    with torch.no_grad():
        fixed = fixed_xrays(views, images, weights)
        return _Scene(fixed, attenuation, moving_volume(network, attenuation), problem.extent)


def _value_and_way(
    network: SimilarityNetwork, scene: _Scene, pose: Pose, isocenter: np.ndarray
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


def learned_view(view: XrayView) -> XrayView:
    """The part of a view, about where it sees its isocentre, that networks are trained on; it may reach beyond it."""
    isocenter = common_isocenter([view])
    middle, _ = view.project_points(isocenter)
    step_px = WINDOW_MM / WINDOW_PX / view.millimetres_per_pixel_at(isocenter)
    to_view = np.diag([*step_px, 1.0, 1.0])
    to_view[:2, 3] = middle - step_px * (WINDOW_PX - 1) / 2
    return XrayView(view.source, view.pixel_to_world @ to_view, (WINDOW_PX, WINDOW_PX), view.isocenter)


def _resampled(image: XrayImage, view: XrayView, window: XrayView) -> tuple[np.ndarray, np.ndarray]:
    """Line integrals and weights (rows, columns), float32, of a window of a view: means over the window's pixels."""
    first, second = (
        np.linalg.lstsq(view.pixel_to_world[:3, [0, 1]], edge, rcond=None)[0]
        for edge in (
            window.pixel_to_world[:3, 3] - view.pixel_to_world[:3, 3],
            window.pixel_to_world[:3, 0] + window.pixel_to_world[:3, 1],
        )
    )
    samples = [max(1, math.ceil(step - 1e-6)) for step in second]
    columns, rows = (
        start + step * (np.arange(WINDOW_PX * n) + 0.5 - n / 2) / n for start, step, n in zip(first, second, samples)
    )
    at = np.meshgrid(rows, columns, indexing="ij")
    mask = image.mask.astype(np.float32)
    shape = (WINDOW_PX, samples[1], WINDOW_PX, samples[0])
    share, total = (
        map_coordinates(values, at, order=1, mode="constant", cval=0.0).reshape(shape).mean(axis=(1, 3))
        for values in (mask, image.line_integrals.astype(np.float32) * mask)
    )
    return total / np.maximum(share, 1e-6), share
