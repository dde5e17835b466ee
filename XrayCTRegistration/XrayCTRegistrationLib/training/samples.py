"""Samples to train on: an X-ray at a true pose, and another pose from which the way to it is to be learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..evaluation.protocol import ROTATION_DEG, TRANSLATION_MM, protocol_view
from ..geometry import Pose, XrayView, common_isocenter, rotation_from_euler, rotation_from_vector
from ..networks.interface import FixedXrays, fixed_xrays
from ..realism import Realism, degraded
from ..weights import Extent
from .anatomy import Anatomy

_LEAST_SPREAD = 0.03  # of the protocol's deviations, between the two poses of a sample


@dataclass(frozen=True, eq=False)
class Batch:
    """fixed: X-rays at the true poses. poses, true: (B, 4, 4) ct_to_world, float64. isocenters: (B, 3) of the CT, of
    which `extent` tells where it ends; None: every ray counts."""

    fixed: FixedXrays
    poses: torch.Tensor
    true: torch.Tensor
    isocenters: torch.Tensor
    extent: Extent | None = None


def training_view(image_px: int) -> XrayView:
    """The protocol's view with image_px pixels along each side of the same detector."""
    view = protocol_view()
    factor = view.size_px[0] / image_px
    to_fine = np.diag([factor, factor, 1.0, 1.0])
    to_fine[:2, 3] = (factor - 1) / 2
    return XrayView(view.source, view.pixel_to_world @ to_fine, (image_px, image_px), view.isocenter)


def sampled_batch(
    anatomy: Anatomy, view: XrayView, generators: Sequence[np.random.Generator], realism: Realism
) -> Batch:
    """A sample for each generator, which it depends on alone.

    The true pose is of the seed's protocol. The other stands off by the protocol's deviations times a share that is
    drawn for rotation, shift across the ray and shift along it apart, evenly from nearly none to all: the way to the
    truth leads through all of these distances, and each kind of motion is also seen almost alone.
    """
    pairs = [pose_pair(view, anatomy.isocenter, rng, rng.uniform(_LEAST_SPREAD, 1, 3)) for rng in generators]
    poses, true = (torch.from_numpy(np.stack([pair[k].matrix for pair in pairs])) for k in (0, 1))
    imaged = true @ torch.from_numpy(anatomy.imaged_to_ct.matrix.copy())
    integrals = anatomy.fixed.images(imaged, view).cpu().numpy()
    images, weights = zip(*(degraded(image, rng, realism) for image, rng in zip(integrals, generators)))
    device = anatomy.moving.values.device
    stacked = (torch.from_numpy(np.stack(part)).to(device) for part in (images, weights))
    isocenters = torch.from_numpy(np.tile(anatomy.isocenter, (len(pairs), 1)))
    fixed = fixed_xrays([view] * len(pairs), *stacked)
    return Batch(fixed, poses.to(device), true.to(device), isocenters.to(device), anatomy.extent)


def pose_pair(view: XrayView, isocenter: np.ndarray, rng: np.random.Generator, spread: np.ndarray) -> tuple[Pose, Pose]:
    """A pose and the true pose, ct_to_world. spread: (3,) how far the one is from the other in rotation, across the ray
    and along it, in standard deviations of the protocol."""
    world = common_isocenter([view])
    turn, shift = _draw(rng)
    turn = view.axes @ rotation_from_euler(turn) @ view.axes.T
    true = Pose.about(world, turn, view.axes @ shift) @ Pose.from_parts(np.eye(3), world - isocenter)
    turn, shift = _draw(rng)
    turn = rotation_from_vector(view.axes @ (spread[0] * turn))
    return Pose.about(true.apply(isocenter), turn, view.axes @ (spread[[1, 1, 2]] * shift)) @ true, true


def _draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    draws = rng.standard_normal(6)
    return np.radians(ROTATION_DEG) * draws[:3], np.array(TRANSLATION_MM) * draws[3:]
