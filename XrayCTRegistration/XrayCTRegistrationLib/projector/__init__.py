"""The DRR projector: line integrals of attenuation along the rays of an X-ray view, and their pose Jacobian.

A DRR sums trilinear samples of the volume at fixed distances (k + 1/2) step from the source, times the step in mm; the
volume falls to zero within one voxel outside its border. Samples do not move with the pose, so the Jacobian below is
the exact derivative of that sum. `reference` says what is meant, in torch, on any device; `cpu` is the same march
compiled for the CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Protocol

import numpy as np
import torch

from ..geometry import XrayView
from ..volume import Volume
from .reference import ReferenceProjector

log = logging.getLogger(__name__)


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
    """The fastest projector of an attenuation volume on a device: "auto", "cpu", "cuda" or another torch device.

    step_mm: distance between samples; the smallest voxel spacing unless given.
    """
    chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    step_mm = float(volume.spacing_mm.min()) if step_mm is None else float(step_mm)
    if chosen.type == "cpu" and (compiled := _compiled_for_cpu()) is not None:
        return compiled(volume, step_mm)
    return ReferenceProjector(volume, step_mm, chosen)


@cache  # so that the warning comes once, not for every level of the pyramid
def _compiled_for_cpu() -> Callable[[Volume, float], Projector] | None:
    try:
        from .cpu import CpuProjector
    except ImportError as error:
        log.warning("Numba cannot be used (%s): DRRs are made by the slower torch reference.", error)
        return None
    return CpuProjector


def must_compile() -> bool:
    """Whether the first projection on the CPU will have to be compiled first, for some seconds."""
    if _compiled_for_cpu() is None:
        return False
    from .cpu import is_compiled

    return not is_compiled()


@cache
def warm_up() -> None:
    """Compile the CPU projector, or load it, and start its threads: some seconds the first time, then nothing.

    Numba sets the number of torch's threads as it starts its own, so whoever sets that must do it afterwards.
    """
    if (compiled := _compiled_for_cpu()) is None:
        return
    projector = compiled(Volume(np.ones((2, 2, 2), np.float32), np.eye(4)), 1.0)
    view = XrayView(np.array([0.0, 0.0, -9.0]), np.eye(4), (2, 2))
    projector.images(torch.eye(4, dtype=torch.float64)[None], view)
    projector.images_with_jacobian(torch.eye(4, dtype=torch.float64)[None], view, torch.zeros(3, dtype=torch.float64))
