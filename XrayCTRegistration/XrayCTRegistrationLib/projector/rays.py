"""The rays of views in the voxel coordinates of posed volumes, shared by every projector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..errors import InputError
from ..geometry import XrayView


def ray_arrays(
    poses: torch.Tensor, views: Sequence[XrayView], ijk_to_world: np.ndarray, centers: torch.Tensor
) -> torch.Tensor:
    """The (B, 11, 3) arrays that the march reads, see `march`; float64, where the poses are.

    poses: (B, 4, 4) rigid ct_to_world. views: one for all poses, or one each. ijk_to_world: of the padded volume.
    centers: (B, 3) or (3,) that twists turn about, world mm.
    """
    poses = poses.detach().to(torch.float64)
    rows = torch.as_tensor(np.stack([_world_rows(view) for view in views]), device=poses.device)  # (1 or B, 4, 3)
    # Rigid: the inverse is the transpose. world -> ct -> voxel, points as rows.
    to_voxel = torch.as_tensor(np.linalg.inv(ijk_to_world), device=poses.device)
    linear = to_voxel[:3, :3] @ poses[:, :3, :3].transpose(1, 2)  # (B, 3, 3)
    shift = to_voxel[:3, 3] - (linear @ poses[:, :3, 3:])[..., 0]
    in_voxels = rows @ linear.transpose(1, 2)
    source = in_voxels[:, :1] + shift[:, None]
    lever = (rows[:, 0] - centers.to(rows)).expand(len(poses), 3)[:, None]
    world = rows[:, 1:].expand(len(poses), 3, 3)
    return torch.cat([source, in_voxels[:, 1:], world, linear, lever], dim=1).contiguous()


def motion_fields(rays: torch.Tensor, twists: torch.Tensor) -> torch.Tensor:
    """Velocities (B, 4, 3) of the samples, in voxels, as `march.March.spread_slopes` takes them, float64.

    A twist (B, 6) moves the volume, so samples move the other way: -(omega x (x - center) + v), in the volume's voxels.
    """
    twists = twists.detach().to(torch.float64)
    source, linear, lever = rays[:, 0], rays[:, 7:10], rays[:, 10]
    omega, shift = twists[:, :3], twists[:, 3:]
    turning = torch.linalg.cross(omega[:, None].expand_as(linear), torch.linalg.inv(linear).transpose(1, 2), dim=2)
    turning = -turning @ linear.transpose(1, 2)  # rows: the velocity that a step along i, j, k adds
    velocity = -(torch.linalg.cross(omega, lever) + shift)  # of the source
    offset = (linear @ velocity[..., None])[..., 0] - (source[:, None] @ turning)[:, 0]
    return torch.cat([turning, offset[:, None]], dim=1).contiguous()


def checked_poses(poses: torch.Tensor) -> torch.Tensor:
    """The poses, if they are (B, 4, 4), floating and finite; else InputError."""
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not poses.is_floating_point():
        raise InputError(f"Poses must be a floating-point tensor (B, 4, 4), not {poses.dtype} {tuple(poses.shape)}.")
    if not torch.isfinite(poses).all():
        raise InputError("A pose holds a value that is not finite (NaN or infinite).")
    return poses


def common_size(views: Sequence[XrayView], count: int) -> tuple[int, int]:
    """(columns, rows) of one view for all poses, or of `count` views for one pose each; else InputError."""
    if len(views) not in (1, count):
        raise InputError(f"There are {count} poses but {len(views)} views. Give one view, or one for every pose.")
    if len({view.size_px for view in views}) > 1:
        sizes = ", ".join(sorted({f"{columns} x {rows}" for columns, rows in (view.size_px for view in views)}))
        raise InputError(f"The views of one projection must have one image size, not {sizes} pixels.")
    return views[0].size_px


def world_directions(view: XrayView) -> tuple[np.ndarray, np.ndarray]:
    """Unit ray directions (rows, columns, 3) in world, and distances (rows, columns) from the source to the pixels."""
    columns, rows = np.meshgrid(np.arange(view.size_px[0]), np.arange(view.size_px[1]))
    offsets = view.detector_points(np.stack([columns, rows], axis=-1).astype(np.float64)) - view.source
    lengths = np.linalg.norm(offsets, axis=-1)
    return offsets / lengths[..., None], lengths


def _world_rows(view: XrayView) -> np.ndarray:
    """(4, 3): the source, and the steps of a column, of a row, and from the source to pixel (0, 0)."""
    return np.stack([view.source, *view.pixel_to_world[:3, :2].T, view.pixel_to_world[:3, 3] - view.source])
