"""Projectors of one prepared volume, which only make images and Jacobians: what a registration draws with."""

from __future__ import annotations

import numpy as np
import torch

from ..geometry import XrayView
from ..volume import Volume
from .kernels import Kernels
from .rays import checked_poses, ray_arrays


class QuantisedProjector:
    """DRRs by compiled kernels. The volume is kept as 16-bit integers: an error of 8e-6 of its highest attenuation.

    Raises InputError when a value is negative or not finite, or the volume is too large.
    """

    def __init__(self, volume: Volume, step_mm: float, kernels: Kernels) -> None:
        self.device = kernels.device
        self.step_mm = step_mm
        self._kernels = kernels
        self._volume = kernels.quantised(np.pad(volume.array, 1))
        self._ijk_to_world = padded_placement(volume.ijk_to_world)

    def images(self, poses: torch.Tensor, view: XrayView) -> torch.Tensor:
        rays = self._rays(poses, view, torch.zeros(3))
        return self._kernels.draw(self._volume, rays, self.step_mm, view.size_px)[:, 0]

    def images_with_jacobian(
        self, poses: torch.Tensor, view: XrayView, center: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rays = self._rays(poses, view, center)
        images, jacobian = self._kernels.draw_with_jacobian(self._volume, rays, self.step_mm, view.size_px)
        return images[:, 0], jacobian[:, 0]

    def _rays(self, poses: torch.Tensor, view: XrayView, center: torch.Tensor) -> torch.Tensor:
        return ray_arrays(checked_poses(poses), [view], self._ijk_to_world, center).to(self.device)


def padded_placement(ijk_to_world: np.ndarray) -> np.ndarray:
    """ijk_to_world of a volume that has got one more voxel on every side."""
    shift = np.eye(4)
    shift[:3, 3] = -1
    return np.asarray(ijk_to_world) @ shift
