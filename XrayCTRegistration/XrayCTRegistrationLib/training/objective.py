"""What training makes small: how far a network's way leads past the true pose, and what each architecture adds."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..losses import cosines, decomposition_loss, embedding_losses, geodesic_gradient, gradient_approximation_loss
from ..networks.dual_branch import DualBranch
from ..networks.interface import Compared, SimilarityNetwork, carried, slope_at
from ..networks.pose_coordinates import pose_coordinates
from ..networks.sopi import Sopi, centred_cube, motion_shares
from ..projector import VolumeTensor
from .samples import Batch


def batch_losses(
    network: SimilarityNetwork, moving: VolumeTensor, batch: Batch
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The losses of a batch, gradient approximation first, those of the architecture last, and the cosines (B, 2) of
    rotation and translation.

    moving: the `moving_volume`.
    """
    compared, ways, geodesic = pose_directions(network, moving, batch, create_graph=True)
    true, posed = (pose_coordinates(poses, batch.isocenters, batch.fixed.views) for poses in (batch.true, batch.poses))
    together, in_pairs = embedding_losses(*compared.embeddings, true, posed)
    losses = [gradient_approximation_loss(ways, geodesic), together, in_pairs]
    if isinstance(network, DualBranch):
        losses.append(decomposition_loss(*compared.pairs))
    if isinstance(network, Sopi):
        losses.append(_guess_loss(network, moving, batch))
    return losses, cosines(ways.detach(), geodesic)


def pose_directions(
    network: SimilarityNetwork, moving: VolumeTensor, batch: Batch, create_graph: bool = False
) -> tuple[Compared, torch.Tensor, torch.Tensor]:
    """What was compared, the network's ways down (B, 6), and the geodesic ways to the true poses (B, 6). With
    create_graph, the former can be differentiated to the parameters."""
    centers = carried(batch.isocenters, batch.poses)
    slope = slope_at(network, moving, batch.fixed, batch.poses, centers, create_graph, batch.extent)
    return slope.compared, slope.ways, -geodesic_gradient(batch.poses, batch.true, batch.isocenters)


def _guess_loss(network: Sopi, moving: VolumeTensor, batch: Batch) -> torch.Tensor:
    """How far SOPI's first guess is from the true motion."""
    guess = network.initial_motion(centred_cube(moving).expand(len(batch.true), -1, -1, -1, -1), batch.fixed.images)
    return functional.mse_loss(guess, motion_shares(batch.true, batch.isocenters, batch.fixed.views).to(guess))
