"""What a network of the learned similarity looks at: X-rays resampled to what it was trained on, and the CT."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from ..errors import InputError
from ..geometry import XrayView, common_isocenter
from ..levels import Problem
from ..networks.interface import (
    VOXEL_MM,
    WINDOW_MM,
    WINDOW_PX,
    FixedXrays,
    SimilarityNetwork,
    fixed_xrays,
    moving_volume,
)
from ..projector import VolumeTensor, device_for
from ..weights import Extent
from ..xray import XrayImage

_LEAST_BELIEVED = 0.1  # share of the window

Given = ParamSpec("Given")
Result = TypeVar("Result")
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Scene:
    """What a network compares: the X-rays, the CT's plain attenuation, what of it is projected, and where it ends."""

    fixed: FixedXrays
    attenuation: VolumeTensor
    moving: VolumeTensor
    extent: Extent


class Look:
    """A network and the scene it looks at, moved to the CPU where the GPU's memory does not suffice."""

    def __init__(self, problem: Problem, network: SimilarityNetwork) -> None:
        """Raises InputError as `scene_of` does."""
        self.problem, self.network = problem, network
        self._scene: Scene | None = None
        self.attempt(lambda scene: None)

    def attempt(
        self, work: Callable[Concatenate[Scene, Given], Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """What work makes of the scene and what else it is given, on the CPU if it must be."""
        try:
            if self._scene is None:
                self._scene = scene_of(self.problem, self.network, device_for(self.problem.device))
            return work(self._scene, *given, **named)
        except torch.OutOfMemoryError:
            log.warning("The GPU's memory does not suffice for the learned similarity: it goes on with the CPU.")
            self._scene = scene_of(self.problem, self.network, torch.device("cpu"))
            return work(self._scene, *given, **named)


def scene_of(problem: Problem, network: SimilarityNetwork, device: torch.device) -> Scene:
    """Raises InputError when the X-rays show too little of what the views see at their isocentre."""
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
        return Scene(fixed, attenuation, moving_volume(network, attenuation), problem.extent)


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
