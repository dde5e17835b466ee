"""Volumes of 16 bits, and projectors of them that only make images and Jacobians: what a registration draws with."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import InputError
from ..geometry import XrayView
from ..state import finished
from ..volume import Volume
from .kernels import Kernels, StoredVolume
from .rays import checked_poses, ray_arrays
from .selection import device_for, kernels_for


@dataclass(frozen=True, eq=False)
class QuantisedVolume:
    """A volume of attenuation kept as 16-bit integers on the device of its kernels: an error of 8e-6 of its highest
    value, half the memory of float32 and faster to march through. `of` makes it.

    ijk_to_world: 4x4 of the volume as it was given. center: (3,) its middle in its own world, mm.
    """

    stored: StoredVolume
    ijk_to_world: np.ndarray
    center: np.ndarray
    kernels: Kernels

    @classmethod
    def of(cls, volume: Volume, device: str = "auto") -> QuantisedVolume:
        """As `steps`, at once."""
        return finished(cls.steps(volume, device))

    @classmethod
    def steps(cls, volume: Volume, device: str = "auto") -> Generator[None, None, QuantisedVolume]:
        """Makes it, with pauses. device: see `selection.device_for`.

        Raises InputError when a value is negative or not finite, the volume is too large, or no compiled projector
        runs on the device.
        """
        kernels = kernels_for(device_for(device))
        if kernels is None:
            raise InputError(f"No compiled projector runs on {device}, so volumes of 16 bits cannot be drawn there.")
        stored = yield from kernels.quantised_steps(volume.array)
        return cls(stored, volume.ijk_to_world, volume.center, kernels)


class QuantisedProjector:
    """DRRs and Jacobians of one quantised volume, by compiled kernels, without a graph."""

    def __init__(self, volume: QuantisedVolume, step_mm: float) -> None:
        self.device = volume.kernels.device
        self.step_mm = step_mm
        self._volume = volume

    def images(self, poses: torch.Tensor, view: XrayView) -> torch.Tensor:
        rays = self._rays(poses, view, torch.zeros(3))
        return self._volume.kernels.draw(self._volume.stored, rays, self.step_mm, view.size_px)[:, 0]

    def images_with_jacobian(
        self, poses: torch.Tensor, view: XrayView, center: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rays = self._rays(poses, view, center)
        arguments = self._volume.stored, rays, self.step_mm, view.size_px
        images, jacobian = self._volume.kernels.draw_with_jacobian(*arguments)
        return images[:, 0], jacobian[:, 0]

    def _rays(self, poses: torch.Tensor, view: XrayView, center: torch.Tensor) -> torch.Tensor:
        placement = padded_placement(self._volume.ijk_to_world)
        return ray_arrays(checked_poses(poses), [view], placement, center).to(self.device)


def padded_placement(ijk_to_world: np.ndarray) -> np.ndarray:
    """ijk_to_world of a volume that has got one more voxel on every side."""
    shift = np.eye(4)
    shift[:3, 3] = -1
    return np.asarray(ijk_to_world) @ shift
