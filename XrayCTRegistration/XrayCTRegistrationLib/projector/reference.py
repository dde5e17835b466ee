"""The projector as a specification: plain torch, any device, any floating-point type."""

from __future__ import annotations

import numpy as np
import torch

from ..geometry import XrayView
from ..volume import Volume
from .rays import world_directions

_SAMPLES_AT_ONCE = 4_000_000  # bounds the memory of one chunk of ray samples to some hundred MB


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
        self.dtype = dtype
        self.step_mm = step_mm
        padded = np.pad(np.asarray(volume.array), 1)  # zero one voxel outside the border
        self._values = torch.as_tensor(padded, dtype=dtype, device=self.device)
        shift = np.eye(4)
        shift[:3, 3] = -1
        self._ijk_to_world = self._tensor(volume.ijk_to_world @ shift)
        self._corners = self._tensor(volume.corners())
        self._reach_mm = float(volume.spacing_mm.max())  # the volume reaches half a voxel beyond its corners

    def images(self, poses: torch.Tensor, view: XrayView) -> torch.Tensor:
        return self._march(poses, view, None)[0]

    def images_with_jacobian(
        self, poses: torch.Tensor, view: XrayView, center: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self._march(poses, view, center)

    def _march(
        self, poses: torch.Tensor, view: XrayView, center: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        poses = poses.to(self.device, self.dtype)
        directions, _ = world_directions(view)
        directions = self._tensor(directions)  # (rows, columns, 3)
        source = self._tensor(view.source)
        first, last = self._depth_range(poses.detach(), source)
        distances = (torch.arange(first, last, device=self.device, dtype=self.dtype) + 0.5) * self.step_mm
        columns, rows = view.size_px
        chunk = max(1, _SAMPLES_AT_ONCE // max(1, len(poses) * columns * rows))
        images = torch.zeros(len(poses), rows, columns, dtype=self.dtype, device=self.device)
        jacobian = None if center is None else images.new_zeros(len(poses), 6, rows, columns)
        world_to_ijk = torch.linalg.inv(poses @ self._ijk_to_world)
        for start in range(0, len(distances), chunk):
            points = source + distances[start : start + chunk, None, None, None] * directions  # (T, rows, columns, 3)
            linear, offset = world_to_ijk[:, None, None, None, :3, :3], world_to_ijk[:, None, None, None, :3, 3]
            voxels = (linear @ points[..., None])[..., 0] + offset  # (B, T, rows, columns, 3)
            if center is None:
                images = images + self.step_mm * self._sample_with_gradient(voxels)[0].sum(dim=1)
                continue
            values, gradients = self._sample_with_gradient(voxels)
            images = images + self.step_mm * values.sum(dim=1)
            gradients = (linear.transpose(-1, -2) @ gradients[..., None])[..., 0]  # to world axes
            torque = torch.linalg.cross((points - center.to(points)).expand_as(gradients), gradients)
            parts = torch.cat([torque, gradients], dim=-1).sum(dim=1)
            jacobian = jacobian - self.step_mm * parts.permute(0, 3, 1, 2)
        return images, jacobian

    def _sample_with_gradient(self, voxels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Trilinear values (...) at padded voxel coordinates (..., 3), and their derivative (..., 3) to those."""
        size = torch.tensor(self._values.shape[::-1], device=self.device)
        inside = ((voxels > 0) & (voxels < size - 1)).all(dim=-1)
        corner = torch.minimum(torch.maximum(voxels.detach().floor().long(), size * 0), size - 2)
        fraction = voxels - corner
        weights = torch.stack([1 - fraction, fraction])  # (2, ..., 3)
        slopes = (-1.0, 1.0)
        value = torch.zeros_like(fraction[..., 0])
        gradient = [torch.zeros_like(value) for _ in range(3)]
        for di in (0, 1):
            for dj in (0, 1):
                for dk in (0, 1):
                    voxel = self._values[corner[..., 2] + dk, corner[..., 1] + dj, corner[..., 0] + di]
                    wi, wj, wk = weights[di][..., 0], weights[dj][..., 1], weights[dk][..., 2]
                    value = value + voxel * wi * wj * wk
                    gradient[0] = gradient[0] + voxel * slopes[di] * wj * wk
                    gradient[1] = gradient[1] + voxel * slopes[dj] * wi * wk
                    gradient[2] = gradient[2] + voxel * slopes[dk] * wi * wj
        zero = torch.zeros_like(value)
        gradients = torch.stack([torch.where(inside, part, zero) for part in gradient], dim=-1)
        return torch.where(inside, value, zero), gradients

    def _depth_range(self, poses: torch.Tensor, source: torch.Tensor) -> tuple[int, int]:
        """First and one past the last sample index that can meet the volume under any of the poses."""
        corners = self._corners @ poses[:, :3, :3].transpose(-1, -2) + poses[:, None, :3, 3]
        nearest_center = corners.mean(dim=1) - source
        radius = (corners - corners.mean(dim=1, keepdim=True)).norm(dim=-1).max() + self._reach_mm
        distance = nearest_center.norm(dim=-1)
        first = int(max(0.0, float(distance.min() - radius) / self.step_mm - 1))
        return first, int(float(distance.max() + radius) / self.step_mm + 2)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.array(array), dtype=self.dtype, device=self.device)
