"""What training makes small: how far a network's way leads past the true pose, and what each architecture adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ..evaluation.protocol import ROTATION_DEG, TRANSLATION_MM
from ..geometry import XrayView, common_isocenter
from ..losses import cosines, decomposition_loss, embedding_losses, geodesic_gradient, gradient_approximation_loss
from ..networks.dual_branch import DualBranch
from ..networks.interface import Compared, SimilarityNetwork, carried, paired, slope_at
from ..networks.pose_guess import Guesses, motions_in_view
from ..networks.sopi import Sopi, centred_cube, motion_shares
from ..projector import VolumeTensor
from .samples import Batch


@dataclass(frozen=True, eq=False)
class Losses:
    """Of a batch.

    similarity: what the similarity makes small, gradient approximation first, those of the architecture last; empty
    where it does not learn. guess: of `PoseGuess`, None where there is none or it does not learn. cosines: (B, 2)
    between the network's way and the true one, of rotation and translation; of the guess where the similarity does
    not learn. decomposition: that loss, NaN for networks without branches.
    """

    similarity: list[torch.Tensor]
    guess: torch.Tensor | None
    cosines: torch.Tensor
    decomposition: float = math.nan


def similarity_losses(network: SimilarityNetwork, moving: VolumeTensor, batch: Batch) -> Losses:
    """What the similarity, and the guess if there is one, make of a batch. moving: the `moving_volume`."""
    compared, ways, geodesic = pose_directions(network, moving, batch, create_graph=True)
    true, posed = (pose_coordinates(poses, batch.isocenters, batch.fixed.views) for poses in (batch.true, batch.poses))
    together, in_pairs = embedding_losses(*compared.embeddings, true, posed)
    losses = [gradient_approximation_loss(ways, geodesic), together, in_pairs]
    decomposition, guess = math.nan, None
    if isinstance(network, DualBranch):
        guess = _guess_loss(network.guess(compared.pairs), batch, geodesic)
        losses.append(decomposition_loss(*compared.pairs))
        decomposition = float(losses[-1].detach())
    if isinstance(network, Sopi):
        losses.append(_sopis_guess_loss(network, moving, batch))
    return Losses(losses, guess, cosines(ways.detach(), geodesic), decomposition)


def guess_losses(network: DualBranch, moving: VolumeTensor, batch: Batch) -> Losses:
    """What the guess alone makes of a batch, on features that stay as they are."""
    with torch.no_grad():
        pairs = paired(moving, batch.fixed, batch.poses, batch.extent)
        compared = network.compared(pairs.fixed, pairs.moving)
        geodesic = -geodesic_gradient(batch.poses, batch.true, batch.isocenters)
    guesses = network.guess(compared.pairs)
    missing = motions_in_view(geodesic, batch.fixed.views)
    return Losses([], _guess_loss(guesses, batch, geodesic), cosines(guesses.likeliest.detach(), missing))


def pose_directions(
    network: SimilarityNetwork, moving: VolumeTensor, batch: Batch, create_graph: bool = False
) -> tuple[Compared, torch.Tensor, torch.Tensor]:
    """What was compared, the network's ways down (B, 6), and the geodesic ways to the true poses (B, 6). With
    create_graph, the former can be differentiated to the parameters."""
    centers = carried(batch.isocenters, batch.poses)
    slope = slope_at(network, moving, batch.fixed, batch.poses, centers, create_graph, batch.extent)
    return slope.compared, slope.ways, -geodesic_gradient(batch.poses, batch.true, batch.isocenters)


def pose_coordinates(poses: torch.Tensor, isocenters: torch.Tensor, views: Sequence[XrayView]) -> torch.Tensor:
    """(B, 12) float32 coordinates of poses (B, 4, 4), ct_to_world, in which the geodesic ways are straight to first
    order: the rotation matrix in the C-arm's axes, and the shift of the CT's isocentre (B, 3), in deviations of the
    protocol.

    Half the squared distance of two rotation matrices is 4 sin^2(angle / 2), whose gradient points along the geodesic;
    a difference of rotation vectors or of Euler angles would not. The depth counts for less, since the image
    shows less of it.
    """
    axes = torch.from_numpy(np.stack([view.axes for view in views])).to(poses)
    world = torch.from_numpy(np.stack([common_isocenter([view]) for view in views])).to(poses)
    rotation = axes.mT @ poses[:, :3, :3] @ axes
    shift = (carried(isocenters, poses) - world)[:, None] @ axes
    turns = rotation.flatten(1) / (math.radians(ROTATION_DEG) * math.sqrt(2))
    return torch.cat([turns, shift[:, 0] / shift.new_tensor(TRANSLATION_MM)], dim=1).float()


def _guess_loss(guesses: Guesses, batch: Batch, geodesic: torch.Tensor) -> torch.Tensor:
    """How unlikely the guesses hold the geodesic ways (B, 6) to the true poses."""
    return guesses.negative_log_likelihood(motions_in_view(geodesic, batch.fixed.views)).mean()


def _sopis_guess_loss(network: Sopi, moving: VolumeTensor, batch: Batch) -> torch.Tensor:
    """How far SOPI's first guess is from the true motion."""
    guess = network.initial_motion(centred_cube(moving).expand(len(batch.true), -1, -1, -1, -1), batch.fixed.images)
    return functional.mse_loss(guess, motion_shares(batch.true, batch.isocenters, batch.fixed.views).to(guess))
