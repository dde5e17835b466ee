"""What a compiled projector offers: the four marches over all pixels of a batch, on tensors of one device."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from ..errors import InputError

_MOST_VOXELS = 2**31 - 1  # kernels count voxels in 32 bits


@dataclass(frozen=True, eq=False)
class StoredVolume:
    """A volume as a kernel reads it.

    values: C channels of flat arrays, on the kernels' own device. size: (slices, rows, columns), with a border of one
    voxel of zeros on every side. scale: attenuation per mm of one unit of the values.
    """

    values: Any
    size: tuple[int, int, int]
    scale: float = 1.0


class Kernels(Protocol):
    """Marches of one device. rays (B, 11, 3) float64: see `rays.ray_arrays`. size_px: (columns, rows)."""

    device: torch.device

    def quantised_steps(self, array: np.ndarray) -> Generator[None, None, StoredVolume]:
        """A float volume (slices, rows, columns), nowhere negative, as 16-bit integers, with the border of zeros; with
        pauses."""

    def stored(self, values: torch.Tensor) -> StoredVolume:
        """A padded float32 or float64 volume (C, slices, rows, columns), not copied where it is contiguous."""

    def draw(self, volume: StoredVolume, rays: torch.Tensor, step_mm: float, size_px: tuple[int, int]) -> torch.Tensor:
        """Images (B, C, rows, columns), of the volume's type, float32 for 16-bit volumes."""

    def draw_with_jacobian(
        self, volume: StoredVolume, rays: torch.Tensor, step_mm: float, size_px: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images, and their derivative (B, C, 6, rows, columns) to world twists about the rays' centers."""

    def spread(
        self, amounts: torch.Tensor, rays: torch.Tensor, step_mm: float, size: tuple[int, int, int]
    ) -> torch.Tensor:
        """The adjoint of `draw`: a volume (C, slices, rows, columns) from amounts (B, C, rows, columns)."""

    def spread_slopes(
        self,
        amounts: torch.Tensor,
        rays: torch.Tensor,
        fields: torch.Tensor,
        step_mm: float,
        size: tuple[int, int, int],
    ) -> torch.Tensor:
        """The adjoint of the images' derivative to motions of their samples, fields (B, 4, 3): `rays.motion_fields`."""


def checked_size(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The last three of a padded volume's shape, if a kernel can count its voxels; else InputError."""
    slices, rows, columns = (int(n) for n in shape[-3:])
    if slices * rows * columns > _MOST_VOXELS:
        raise InputError(
            f"The volume of {columns} x {rows} x {slices} voxels is too large: the projector takes up to 2^31. "
            "Crop or coarsen it first."
        )
    return slices, rows, columns


def quantised_values(
    array: np.ndarray, dtype: type[np.unsignedinteger]
) -> Generator[None, None, tuple[np.ndarray, float]]:
    """A volume in 65535 steps up to its highest value, in integers of a type and with a border of one voxel of zeros,
    and the attenuation per mm of one step; with a pause after every plane.

    Raises InputError for values that are no attenuation, and for a volume that is too large.
    """
    highest = float(array.max())
    if not (array.min() >= 0 and np.isfinite(highest)):  # 16 bits would wrap around to something bright
        raise InputError("The volume holds negative or non-finite values: convert the CT to attenuation first.")
    scale = highest / 65535 if highest > 0 else 1.0
    values = np.zeros(checked_size(tuple(length + 2 for length in array.shape)), dtype)
    steps = np.empty(array.shape[1:], np.float32)
    for plane, image in zip(values[1:], array):  # a plane at a time: no second copy in float
        np.divide(image, scale, out=steps, casting="same_kind")
        plane[1:-1, 1:-1] = np.rint(steps, out=steps)
        yield
    return values, scale
