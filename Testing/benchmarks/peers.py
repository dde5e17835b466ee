"""DiffDRR and nanodrr brought to the geometry of this library, so that all draw the same picture from the same CT."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from XrayCTRegistrationLib.geometry import XrayView
from XrayCTRegistrationLib.projector import QuantisedVolume, VolumeTensor, project
from XrayCTRegistrationLib.volume import Volume

Renderer = Callable[[torch.Tensor], torch.Tensor]  # poses (B, 4, 4) ct_to_world to images (B, 1, rows, columns)


def ours(ct: Volume, view: XrayView, step_mm: float, device: str) -> Renderer:
    volume = QuantisedVolume.of(ct, device)
    return lambda poses: project(volume, poses, view, step_mm)


def ours_in_float32(ct: Volume, view: XrayView, step_mm: float, device: str) -> Renderer:
    volume = VolumeTensor.of(ct, device)
    return lambda poses: project(volume, poses, view, step_mm)


def nanodrr(ct: Volume, view: XrayView, step_mm: float, device: str) -> Renderer:
    """Its samples divide the part of a ray that is in the volume: as many as fit the longest chord at the step."""
    from nanodrr.data import Subject
    from nanodrr.drr import DRR

    image = torch.as_tensor(ct.array)[None, None]
    matrix = torch.tensor(ct.ijk_to_world, dtype=torch.float32)
    to_grid = Subject._make_voxel_to_grid(image.shape)
    center = torch.as_tensor(ct.center, dtype=torch.float32)
    subject = Subject(
        image, torch.zeros_like(image), matrix, torch.linalg.inv(matrix), to_grid, center, 0, convert_to_mu=False
    ).to(device)
    columns, rows = view.size_px
    spacing = [float(size) for size in view.pixel_spacing_mm]
    drr = DRR.from_carm_intrinsics(view.source_to_detector_mm, *spacing, 0.0, 0.0, rows, columns).to(device)
    camera = _camera_to_world(view, (1, 1, 1)).to(device)
    count = mean_samples(ct, view, step_mm)

    def render(poses: torch.Tensor) -> torch.Tensor:
        return drr(subject, torch.linalg.inv(poses.float()) @ camera, n_samples=count)

    return render


def diffdrr(ct: Volume, view: XrayView, step_mm: float, device: str) -> Renderer:
    """Its samples divide what is between the first and the last point of the volume that any ray meets."""
    from diffdrr.data import read
    from diffdrr.drr import DRR
    from diffdrr.pose import RigidTransform
    from torchio import ScalarImage

    values = torch.as_tensor(np.ascontiguousarray(ct.array.transpose(2, 1, 0)))[None]
    subject = read(ScalarImage(tensor=values, affine=ct.ijk_to_world), orientation=None, center_volume=False)
    subject.density.set_data(values)  # the attenuation as it is
    columns, rows = view.size_px
    spacing = [float(size) for size in view.pixel_spacing_mm]
    drr = DRR(subject, view.source_to_detector_mm, rows, spacing[0], columns, spacing[1], renderer="trilinear").to(
        device
    )
    camera = _camera_to_world(view, (-1, -1, 1)).to(device)
    corners = np.linalg.norm(ct.corners() - view.source, axis=1)
    near, far = view.project_points(ct.corners())[1].min(), corners.max()

    def render(poses: torch.Tensor) -> torch.Tensor:
        return drr(
            RigidTransform(torch.linalg.inv(poses.float()) @ camera), n_points=round(float(far - near) / step_mm)
        )

    return render


OURS = "ours"
PEERS = {OURS: ours, "ours, float32": ours_in_float32, "nanodrr": nanodrr, "DiffDRR": diffdrr}


def mean_samples(ct: Volume, view: XrayView, step_mm: float) -> int:
    """How many steps a ray that meets the CT spends in it, on average."""
    solid = Volume(np.ones_like(ct.array), ct.ijk_to_world)
    lengths = project(VolumeTensor.of(solid), torch.eye(4, dtype=torch.float64)[None], view, step_mm)
    return round(float(lengths[lengths > 0].mean()) / step_mm)


def _camera_to_world(view: XrayView, signs: tuple[int, int, int]) -> torch.Tensor:
    """4x4: the view's axes, columns and rows perhaps reversed, with the source as their origin."""
    matrix = np.eye(4)
    matrix[:3, :3] = view.axes * signs
    matrix[:3, 3] = view.source
    return torch.as_tensor(matrix, dtype=torch.float32)
