"""Volumes, poses and views that the projectors are tested with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from XrayCTRegistrationLib.geometry import Pose, XrayView, rotation_from_vector, view_from_carm
from XrayCTRegistrationLib.projector.quantised import QuantisedProjector, QuantisedVolume
from XrayCTRegistrationLib.projector.rays import world_directions
from XrayCTRegistrationLib.projector.reference import ReferenceProjector
from XrayCTRegistrationLib.volume import Volume

BONE_PER_MM = 0.05


def reference_float64(volume: Volume, step_mm: float) -> ReferenceProjector:
    return ReferenceProjector(volume, step_mm, dtype=torch.float64)


def quantised(volume: Volume, step_mm: float) -> QuantisedProjector:
    return QuantisedProjector(QuantisedVolume.of(volume, "cpu"), step_mm)


both = pytest.mark.parametrize("make", [reference_float64, quantised], ids=["reference", "cpu"])


def carm_view(**changes) -> XrayView:
    carm = {
        "source_to_detector_mm": 1000,
        "source_to_isocenter_mm": 700,
        "pixel_spacing_mm": [4.0, 4.0],
        "image_size_px": [24, 20],
    }
    return view_from_carm({**carm, **changes})


SMALL_VIEW = carm_view(image_size_px=[12, 10], pixel_spacing_mm=[2.5, 2.5])


def grid(size: tuple[int, int, int], spacing=(1.0, 1, 1), turn=(0.0, 0, 0)) -> np.ndarray:
    """ijk_to_world of a volume with its middle at the world origin; a negative spacing flips its axis."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_vector(np.array(turn)) * np.array(spacing)
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(size) - 1) / 2)
    return matrix


def voxel_centers(size: tuple[int, int, int], matrix: np.ndarray) -> np.ndarray:
    """(slices, rows, columns, 3) in the volume's world."""
    empty = Volume(np.zeros(size[::-1], np.float32), matrix)
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij"), axis=-1)[..., ::-1]
    return empty.points(ijk)


def constant(size: tuple[int, int, int], spacing=(1.0, 1, 1)) -> Volume:
    return Volume(np.full(size[::-1], BONE_PER_MM, np.float32), grid(size, spacing))


def noise(size: tuple[int, int, int], matrix: np.ndarray, seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).uniform(0, BONE_PER_MM, size[::-1]).astype(np.float32), matrix)


def smooth(size: tuple[int, int, int], matrix: np.ndarray) -> Volume:
    """A sum of Gaussians of 2 to 4 voxels at random places."""
    random = np.random.default_rng(3)
    ijk = voxel_centers(size, np.eye(4))
    array = np.zeros(size[::-1])
    for _ in range(8):
        center, width = random.uniform(0.25, 0.75, 3) * size, random.uniform(2, 4)
        array += BONE_PER_MM * np.exp(-((ijk - center) ** 2).sum(axis=-1) / (2 * width**2))
    return Volume(array.astype(np.float32), matrix)


def stacked(*poses: Pose) -> torch.Tensor:
    return torch.from_numpy(np.stack([pose.matrix for pose in poses]))


def random_poses(count: int, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return stacked(
        *(
            Pose.from_parts(rotation_from_vector(random.normal(scale=0.5, size=3)), random.normal(scale=5, size=3))
            for _ in range(count)
        )
    )


IDENTITY = stacked(Pose.identity())


def rays_in_ct(view: XrayView, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """The source (3,) and unit directions (rows, columns, 3) of the view's rays in the CT's own world."""
    directions, _ = world_directions(view)
    return pose.inverse().apply(view.source), directions @ pose.rotation


def slabs(view: XrayView, pose: Pose, half: np.ndarray) -> np.ndarray:
    """Distances (2, rows, columns, 3) where rays enter and leave the slabs from -half to half (3,) of the CT's axes."""
    source, directions = rays_in_ct(view, pose)
    return np.sort(np.stack([(-half - source) / directions, (half - source) / directions]), axis=0)


def one_ray(start: list[float], end: list[float]) -> XrayView:
    """A view of a single pixel: its ray goes from start to end."""
    start, end = np.array(start, dtype=np.float64), np.array(end, dtype=np.float64)
    pixel_to_world = np.eye(4)
    across = np.eye(3)[np.argsort(np.abs(end - start))[:2]]  # two axes that are not along the ray
    pixel_to_world[:3, :2] = across.T
    pixel_to_world[:3, 3] = end
    return XrayView(start, pixel_to_world, (1, 1))
