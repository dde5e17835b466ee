"""What training makes small: how far a network's way leads past the true pose, and what each architecture adds."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..losses import cosines, decomposition_loss, geodesic_gradient, gradient_approximation_loss
from ..networks.dual_branch import DualBranch
from ..networks.interface import Compared, SimilarityNetwork, carried, compare, descent_directions, twist_gradient
from ..networks.sopi import Sopi, centred_cube, motion_shares
from ..projector import VolumeTensor
from .samples import Batch


def batch_losses(
    network: SimilarityNetwork, moving: VolumeTensor, batch: Batch
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The losses of a batch, gradient approximation first, and the cosines (B, 2) of rotation and translation.

    moving: the `moving_volume`.
    """
    compared, ways, geodesic = pose_directions(network, moving, batch, create_graph=True)
    losses = [gradient_approximation_loss(ways, geodesic)]
    if isinstance(network, DualBranch):
        losses.append(decomposition_loss(*compared.pairs))
    if isinstance(network, Sopi):
        losses.append(_guess_loss(network, moving, batch))
    return losses, cosines(ways.detach(), geodesic)


def pose_directions(
    network: SimilarityNetwork, moving: VolumeTensor, batch: Batch, create_graph: bool = False
) -> tuple[Compared, torch.Tensor, torch.Tensor]:
    """What was compared, the network's descent directions (B, 6), and the geodesic ways to the true poses (B, 6).

    With create_graph, the directions can be differentiated to the parameters, not to the poses: the projector has no
    Hessian, and training needs none.
    """
    poses = batch.poses.detach().requires_grad_()
    compared = compare(network, moving, batch.fixed, poses)
    (slope,) = torch.autograd.grad(compared.value.sum(), poses, create_graph=create_graph)
    centers = carried(batch.isocenters, batch.poses)
    ways = descent_directions(twist_gradient(slope, batch.poses, centers), batch.fixed.views, centers)
    return compared, ways, -geodesic_gradient(batch.poses, batch.true, batch.isocenters)


def _guess_loss(network: Sopi, moving: VolumeTensor, batch: Batch) -> torch.Tensor:
    """How far SOPI's first guess is from the true motion."""
    guess = network.initial_motion(centred_cube(moving).expand(len(batch.true), -1, -1, -1, -1), batch.fixed.images)
    return functional.mse_loss(guess, motion_shares(batch.true, batch.isocenters, batch.fixed.views).to(guess))
