"""Small projections that every set of compiled kernels is put through, whatever machine it runs on."""

from __future__ import annotations

import numpy as np
import torch
from XrayCTRegistrationLib.geometry import rotation_from_vector, view_from_carm
from XrayCTRegistrationLib.projector.kernels import Kernels
from XrayCTRegistrationLib.projector.quantised import padded_placement
from XrayCTRegistrationLib.projector.rays import motion_fields, ray_arrays
from XrayCTRegistrationLib.state import finished

STEP_MM = 0.9
SIZE_PX = (5, 4)  # less than a block of threads


def values(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Two channels (2, 6, 7, 8) of attenuation, random, with a border of zeros."""
    inner = np.random.default_rng(0).uniform(0, 0.05, (2, 4, 5, 6))
    return torch.from_numpy(np.pad(inner, ((0, 0), (1, 1), (1, 1), (1, 1)))).to(dtype)


def rays() -> torch.Tensor:
    """Two poses, one of them seen from inside the volume, an oblique and anisotropic one."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_vector(np.array([0.4, -0.3, 0.6])) * (1.0, -1.3, 1.7)
    matrix[:3, 3] = -matrix[:3, :3] @ np.array([2.5, 2.0, 1.5])
    carm = {"source_to_detector_mm": 60, "pixel_spacing_mm": [4.0, 5.0], "image_size_px": SIZE_PX}
    views = [view_from_carm({**carm, "source_to_isocenter_mm": distance}) for distance in (40, 1)]
    poses = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    poses[:, :3, :3] = torch.from_numpy(rotation_from_vector(np.array([-0.2, 0.5, 0.1])))
    centers = torch.tensor([[3.0, -4, 5], [0, 0, 0]], dtype=torch.float64)
    return ray_arrays(poses, views, padded_placement(matrix), centers)


def amounts() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(2, 2, SIZE_PX[1], SIZE_PX[0])))


def twists() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal(size=(2, 6)))


def _drawn(kernels: Kernels, dtype: torch.dtype | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and Jacobian of floating values, or of the first channel in 16 bits where dtype is None."""
    if dtype is None:
        volume = finished(kernels.quantised_steps(values()[0, 1:-1, 1:-1, 1:-1].numpy()))
    else:
        volume = kernels.stored(values(dtype).to(kernels.device))
    arguments = volume, rays().to(kernels.device), STEP_MM, SIZE_PX
    images, jacobian = kernels.draw_with_jacobian(*arguments)
    alone = kernels.draw(*arguments)
    torch.testing.assert_close(images, alone, rtol=0, atol=1e-6)
    return alone, jacobian


def _spread(kernels: Kernels) -> torch.Tensor:
    there = kernels.device
    return kernels.spread(amounts().to(there), rays().to(there), STEP_MM, tuple(values().shape[1:]))


def _spread_slopes(kernels: Kernels) -> torch.Tensor:
    there, fields = kernels.device, motion_fields(rays(), twists())
    return kernels.spread_slopes(
        amounts().to(there), rays().to(there), fields.to(there), STEP_MM, tuple(values().shape[1:])
    )


CASES = {
    "images": lambda kernels: _drawn(kernels, torch.float64)[0],
    "images_float32": lambda kernels: _drawn(kernels, torch.float32)[0],
    "images_16_bits": lambda kernels: _drawn(kernels, None)[0],
    "jacobian": lambda kernels: _drawn(kernels, torch.float64)[1],
    "jacobian_float32": lambda kernels: _drawn(kernels, torch.float32)[1],
    "jacobian_16_bits": lambda kernels: _drawn(kernels, None)[1],
    "spread": _spread,
    "spread_slopes": _spread_slopes,
}
