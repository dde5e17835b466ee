"""The rays of a view in the voxel coordinates of a posed volume, shared by every projector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import XrayView


@dataclass(frozen=True, eq=False)
class RayFrames:
    """For B poses: voxel = origins + t * (column * column_steps + row * row_steps + first) / length(column, row).

    The vectors (B, 3) are in voxel indices (i, j, k); t and length are world mm, length the distance from the source
    to the pixel. world_to_ijk: (B, 3, 3), the linear part that carries world directions to voxel steps.
    """

    origins: np.ndarray
    column_steps: np.ndarray
    row_steps: np.ndarray
    first: np.ndarray
    world_to_ijk: np.ndarray


def ray_frames(poses: np.ndarray, view: XrayView, ijk_to_world: np.ndarray) -> RayFrames:
    """Ray frames of poses (B, 4, 4) ct_to_world, float64."""
    world_to_ijk = np.linalg.inv(poses @ ijk_to_world)
    linear = world_to_ijk[:, :3, :3]
    return RayFrames(
        origins=linear @ view.source + world_to_ijk[:, :3, 3],
        column_steps=linear @ view.pixel_to_world[:3, 0],
        row_steps=linear @ view.pixel_to_world[:3, 1],
        first=linear @ (view.pixel_to_world[:3, 3] - view.source),
        world_to_ijk=linear,
    )


def world_directions(view: XrayView) -> tuple[np.ndarray, np.ndarray]:
    """Unit ray directions (rows, columns, 3) in world, and distances (rows, columns) from the source to the pixels."""
    columns, rows = np.meshgrid(np.arange(view.size_px[0]), np.arange(view.size_px[1]))
    offsets = view.detector_points(np.stack([columns, rows], axis=-1).astype(np.float64)) - view.source
    lengths = np.linalg.norm(offsets, axis=-1)
    return offsets / lengths[..., None], lengths
