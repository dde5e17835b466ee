"""The losses that make a similarity convex in the pose, and their weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

_EPSILON = 1e-8
_SHORT_WAY = 0.1  # squared, of coordinates: shorter ones are hardly to be told from none
_LEAST_CORRELATION = 0.1  # squared, in the denominator of the decomposition
_DECOMPOSITION_OFFSET = 50.0  # the seed's epsilon: the uncertainty weight, the inverse of the loss, stays below 1/50


def geodesic_gradient(poses: torch.Tensor, true: torch.Tensor, isocenters: torch.Tensor) -> torch.Tensor:
    """(B, 6) gradient of half the squared geodesic distance from poses to true poses, both (B, 4, 4), ct_to_world.

    isocenters: (B, 3) of the CTs in their own worlds. The gradient is to the twist of `Pose.moved` about the isocentre
    where it stands under `poses`: rotation (radians), translation (mm).

    With phi = log(R R_true^t), a turn by w adds J_l(phi)^-1 w to phi, J_l the left Jacobian of SO(3). So the gradient
    of |phi|^2 / 2 is J_l(phi)^-t phi, which is phi itself: phi is the axis that J_l leaves alone. The translation is
    the isocentre's, so that neither part depends on where the world's origin is.
    """
    rotation = rotation_log(poses[:, :3, :3] @ true[:, :3, :3].transpose(-1, -2))
    difference = poses - true
    shift = (difference[:, :3, :3] @ isocenters[..., None].to(poses))[..., 0] + difference[:, :3, 3]
    return torch.cat([rotation, shift], dim=1)


def rotation_log(rotations: torch.Tensor) -> torch.Tensor:
    """Rotation vectors (B, 3) in radians, 0 to pi long, of matrices (B, 3, 3).

    From the unit quaternion, whose largest component is computed first (Shepperd 1978): stable at 0 and at pi.
    """
    r = rotations
    trace = r.diagonal(dim1=-2, dim2=-1).sum(-1)
    squares = torch.stack([trace, r[:, 0, 0], r[:, 1, 1], r[:, 2, 2]], dim=1)
    squares = torch.cat([1 + trace[:, None], 1 - trace[:, None] + 2 * squares[:, 1:]], dim=1)  # 4 q_i^2
    products = torch.stack(  # 4 q_i q_j, scalar first
        [
            torch.stack([squares[:, 0], r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], 1),
            torch.stack([r[:, 2, 1] - r[:, 1, 2], squares[:, 1], r[:, 1, 0] + r[:, 0, 1], r[:, 0, 2] + r[:, 2, 0]], 1),
            torch.stack([r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] + r[:, 0, 1], squares[:, 2], r[:, 2, 1] + r[:, 1, 2]], 1),
            torch.stack([r[:, 1, 0] - r[:, 0, 1], r[:, 0, 2] + r[:, 2, 0], r[:, 2, 1] + r[:, 1, 2], squares[:, 3]], 1),
        ],
        dim=1,
    )
    largest = squares.argmax(dim=1)
    quaternion = products[torch.arange(len(r), device=r.device), largest]
    quaternion = quaternion / quaternion.norm(dim=1, keepdim=True)
    quaternion = torch.where(quaternion[:, :1] < 0, -quaternion, quaternion)
    sine = quaternion[:, 1:].norm(dim=1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[:, :1])
    return quaternion[:, 1:] * torch.where(sine > _EPSILON, angle / sine.clamp_min(_EPSILON), torch.full_like(sine, 2))


def cosines(gradients: torch.Tensor, geodesic: torch.Tensor) -> torch.Tensor:
    """(B, 2) cosines between the rotation parts and between the translation parts of twists (B, 6)."""
    return torch.stack(
        [
            (_direction(gradients[:, part]) * _direction(geodesic[:, part])).sum(dim=1)
            for part in (slice(0, 3), slice(3, 6))
        ],
        dim=1,
    )


def gradient_approximation_loss(gradients: torch.Tensor, geodesic: torch.Tensor) -> torch.Tensor:
    """L_appro, 0 to 8: the pose gradient of a network (B, 6) should point like the geodesic gradient (B, 6); or the
    descent direction of the one like that of the other.

    Squared differences of the unit rotation parts plus those of the unit translation parts (Gao et al. 2020), which are
    2 - 2 cos each; mean over the batch. Only directions count: lengths mean nothing to a normalised descent.
    """
    return (2 - 2 * cosines(gradients.to(geodesic), geodesic)).sum(dim=1).mean()


def decomposition_loss(far: tuple[torch.Tensor, torch.Tensor], near: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """L_decomp, 50 to 60: what the branches of X-ray and DRR share. far, near: pairs of features (B, C, rows, columns).

    The seed prints NCC(far) / NCC(near) + epsilon, which has no lower bound and jumps where NCC(near) passes 0.
    Squared, NCC(far)^2 / (NCC(near)^2 + 0.1) + 50 is smooth and bounded, and has the same aim: the local branch is to
    keep what X-ray and DRR have in common, the global branch what tells them apart. The mean over the samples.
    """
    ratio = _correlation(*far).square() / (_correlation(*near).square() + _LEAST_CORRELATION)
    return ratio.mean() + _DECOMPOSITION_OFFSET


def embedding_losses(
    fixed: torch.Tensor, moving: torch.Tensor, true: torch.Tensor, posed: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far embeddings are from coordinates of the poses, all (B, n): as they lie among each other, and in pairs.

    fixed, moving: embeddings of X-rays and DRRs of one CT. true, posed: the coordinates of their poses. What all
    embeddings of a CT have in common is free: only differences count. The second loss weighs the error of a pair's
    difference by that difference, so that small ways count as much as large ones: the gradient is made of those.
    """
    error = torch.cat([fixed - true, moving - posed])
    together = (error - error.mean(dim=0)).square().sum(dim=1).mean()
    way = posed - true
    missed = (moving - fixed - way).square().sum(dim=1) / (way.square().sum(dim=1) + _SHORT_WAY)
    return together, missed.mean()


class UncertaintyWeights(nn.Module):
    """Learned weights of several losses (Kendall et al. 2018): sum of exp(-s) L / 2 + s / 2 with s = log sigma^2.

    The logarithm is learned, so that sigma stays positive whatever the optimiser does.
    """

    def __init__(self, log_variances: Sequence[float]) -> None:
        """log_variances: to begin with, one per loss."""
        super().__init__()
        self.log_variances = nn.Parameter(torch.tensor(log_variances, dtype=torch.float32))

    def forward(self, losses: torch.Tensor) -> torch.Tensor:
        return 0.5 * (torch.exp(-self.log_variances) * losses + self.log_variances).sum()


def _direction(vectors: torch.Tensor) -> torch.Tensor:
    """Unit vectors; those of no length stay 0. Scaled before, since a gradient may be too small to be squared."""
    scaled = vectors / vectors.detach().abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
    return scaled / scaled.norm(dim=1, keepdim=True).clamp_min(_EPSILON)


def _correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(B,) normalised cross-correlations of features."""
    first, second = (part.flatten(1) - part.flatten(1).mean(dim=1, keepdim=True) for part in (first, second))
    return (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1) + _EPSILON)
