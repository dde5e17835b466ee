"""The projector as a specification: plain torch, any device, any floating-point type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ..geometry import XrayView
from ..volume import Volume
from .rays import checked_poses, world_directions

_SAMPLES_AT_ONCE = 4_000_000  # bounds the memory of one chunk of ray samples to some hundred MB


def project_by_torch(
    values: torch.Tensor, ijk_to_world: np.ndarray, poses: torch.Tensor, views: Sequence[XrayView], step_mm: float
) -> torch.Tensor:
    """DRRs (B, C, rows, columns) of values (C, slices, rows, columns), as `differentiable.project` makes them.

    Differentiable in values and poses by torch's own autograd, any number of times; memory grows with the samples.
    """
    poses = poses.to(values.device, values.dtype)
    views = list(views) if len(views) > 1 else list(views) * len(poses)
    images = [_image(values, ijk_to_world, pose, view, step_mm) for pose, view in zip(poses, views)]
    return torch.stack(images)


def _image(
    values: torch.Tensor, ijk_to_world: np.ndarray, pose: torch.Tensor, view: XrayView, step_mm: float
) -> torch.Tensor:
    padded = torch.nn.functional.pad(values, (1,) * 6)
    image = values.new_zeros(len(values), view.size_px[1], view.size_px[0])
    for _, voxels, _ in _samples(values.shape, ijk_to_world, pose, view, step_mm):
        image = image + step_mm * _trilinear(padded, voxels + 1)[0].sum(dim=1)
    return image


class ReferenceProjector:
    """DRRs by trilinear samples, without any compiled code; differentiable in the poses by torch's own autograd.

    dtype: float32, or float64 where it is the yardstick for a faster projector.
    """

    def __init__(
        self,
        volume: Volume,
        step_mm: float,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device = torch.device(device)
        self.step_mm = step_mm
        self._values = torch.as_tensor(np.array(volume.array), dtype=dtype, device=self.device)[None]
        self._ijk_to_world = volume.ijk_to_world

    def images(self, poses: torch.Tensor, view: XrayView) -> torch.Tensor:
        return project_by_torch(self._values, self._ijk_to_world, checked_poses(poses), [view], self.step_mm)[:, 0]

    def images_with_jacobian(
        self, poses: torch.Tensor, view: XrayView, center: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        padded, (columns, rows) = torch.nn.functional.pad(self._values, (1,) * 6), view.size_px
        images = self._values.new_zeros(len(poses), rows, columns)
        jacobian = images.new_zeros(len(poses), 6, rows, columns)
        for n, pose in enumerate(checked_poses(poses).to(self._values)):
            placement = (self._values.shape, self._ijk_to_world, pose, view, self.step_mm)
            for points, voxels, linear in _samples(*placement):
                value, gradient = _trilinear(padded, voxels + 1)
                gradient = gradient[0] @ linear  # to world axes
                torque = torch.linalg.cross(points - center.to(points), gradient)
                images[n] += self.step_mm * value[0].sum(dim=0)
                jacobian[n] -= self.step_mm * torch.cat([torque, gradient], dim=-1).sum(dim=0).permute(2, 0, 1)
        return images, jacobian


def _samples(
    shape: torch.Size, ijk_to_world: np.ndarray, pose: torch.Tensor, view: XrayView, step_mm: float
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Chunks of a view's samples: in world (T, rows, columns, 3), in voxels of the posed volume, and the linear part
    (3, 3) of world to voxels. Samples that cannot meet the volume are left out."""
    directions = pose.new_tensor(world_directions(view)[0])  # (rows, columns, 3)
    source = pose.new_tensor(np.array(view.source))
    placed = pose @ pose.new_tensor(np.array(ijk_to_world))
    world_to_ijk = torch.linalg.inv(placed)
    linear, offset = world_to_ijk[:3, :3], world_to_ijk[:3, 3]
    size = pose.new_tensor(shape[:0:-1])
    half = (placed[:3, :3].detach() * ((size + 1) / 2)).norm(dim=0).sum()  # reaches every corner and one voxel more
    distance = float((placed[:3, :3] @ ((size - 1) / 2) + placed[:3, 3] - source).detach().norm())
    first, last = max(0, int((distance - float(half)) / step_mm) - 1), int((distance + float(half)) / step_mm) + 2
    at_once = max(1, _SAMPLES_AT_ONCE // directions[..., 0].numel())
    for start in range(first, last, at_once):
        numbers = torch.arange(start, min(start + at_once, last), device=pose.device, dtype=pose.dtype)
        points = source + ((numbers + 0.5) * step_mm)[:, None, None, None] * directions
        yield points, points @ linear.T + offset, linear


def _trilinear(padded: torch.Tensor, voxels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (C, ...) of a padded volume (C, slices, rows, columns) at voxel coordinates (..., 3), and their
    derivatives (C, ..., 3) to those; zero outside."""
    size = torch.tensor(padded.shape[:0:-1], device=padded.device)
    inside = ((voxels > 0) & (voxels < size - 1)).all(dim=-1)
    corner = torch.minimum(torch.maximum(voxels.detach().floor().long(), size * 0), size - 2)
    fraction = voxels - corner
    weights = (1 - fraction, fraction)
    slopes = (-1.0, 1.0)
    value, gi, gj, gk = (torch.zeros_like(fraction[..., 0]) for _ in range(4))
    for di in (0, 1):
        for dj in (0, 1):
            for dk in (0, 1):
                voxel = padded[:, corner[..., 2] + dk, corner[..., 1] + dj, corner[..., 0] + di]
                wi, wj, wk = weights[di][..., 0], weights[dj][..., 1], weights[dk][..., 2]
                value = value + voxel * (wi * wj * wk)
                gi = gi + voxel * (slopes[di] * wj * wk)
                gj = gj + voxel * (slopes[dj] * wi * wk)
                gk = gk + voxel * (slopes[dk] * wi * wj)
    gradient = torch.stack([gi, gj, gk], dim=-1)
    return torch.where(inside, value, 0), torch.where(inside[..., None], gradient, 0)
