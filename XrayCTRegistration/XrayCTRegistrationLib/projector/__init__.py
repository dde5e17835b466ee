"""The DRR projector: line integrals of attenuation along the rays of an X-ray view, and their derivatives.

A DRR sums trilinear samples of the volume at fixed distances (k + 1/2) step from the source, times the step in mm; the
volume falls to zero within one voxel outside its border. Samples do not move with the pose, so the derivatives are the
exact ones of that sum.

    reference        what is meant, in plain torch, on any device
    march            one pixel's march, written once
    cpu, cuda        the march compiled for all pixels of a batch
    cores            the threads that the CPU's kernels run on
    differentiable   `project`: the marches as torch differentiates them
    quantised        volumes of 16 bits and projectors of them, for registration
    selection        which march runs on which device
"""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from typing import Protocol

import numpy as np
import torch

from ..geometry import XrayView
from ..state import finished
from ..volume import Volume
from .differentiable import VolumeTensor, project
from .quantised import QuantisedProjector, QuantisedVolume
from .reference import ReferenceProjector
from .selection import device_for, kernels_for, must_compile

__all__ = [
    "Projector",
    "QuantisedVolume",
    "VolumeTensor",
    "device_for",
    "kernels_for",
    "must_compile",
    "project",
    "projector_for",
    "projector_steps",
    "warm_up",
]


class Projector(Protocol):
    """Draws DRRs of one attenuation volume."""

    device: torch.device

    def images(self, poses: torch.Tensor, view: XrayView) -> torch.Tensor:
        """DRRs (B, rows, columns), float32, for poses (B, 4, 4) ct_to_world."""

    def images_with_jacobian(
        self, poses: torch.Tensor, view: XrayView, center: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """DRRs (B, rows, columns) and their derivative (B, 6, rows, columns) to a world twist about center (3,).

        The twist is that of `Pose.moved`: rotation vector (radians) about center, then translation (mm).
        """


def projector_for(volume: Volume, device: str = "auto", step_mm: float | None = None) -> Projector:
    """The fastest projector of an attenuation volume on a device, see `device_for`.

    step_mm: distance between samples; the smallest voxel spacing unless given.
    """
    return finished(projector_steps(volume, device, step_mm))


def projector_steps(
    volume: Volume, device: str = "auto", step_mm: float | None = None
) -> Generator[None, None, Projector]:
    """As `projector_for`, with pauses."""
    chosen = device_for(device)
    step_mm = float(volume.spacing_mm.min()) if step_mm is None else float(step_mm)
    if kernels_for(chosen) is None:
        return ReferenceProjector(volume, step_mm, chosen)
    return QuantisedProjector((yield from QuantisedVolume.steps(volume, device)), step_mm)


@cache
def warm_up() -> None:
    """Compile the CPU projector, or load it: some seconds the first time, then nothing."""
    if kernels_for(torch.device("cpu")) is None:
        return
    projector = projector_for(Volume(np.ones((2, 2, 2), np.float32), np.eye(4)), "cpu")
    view = XrayView(np.array([0.0, 0.0, -9.0]), np.eye(4), (2, 2))
    projector.images(torch.eye(4, dtype=torch.float64)[None], view)
    projector.images_with_jacobian(torch.eye(4, dtype=torch.float64)[None], view, torch.zeros(3))
