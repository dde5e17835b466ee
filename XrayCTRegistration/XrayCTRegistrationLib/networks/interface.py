"""What a learned similarity is: a network that compares X-rays with DRRs of a volume it may change first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..errors import InputError
from ..geometry import XrayView
from ..projector import VolumeTensor, project
from ..weights import Extent, ray_weights

EMBEDDED = 12  # channels of the features whose means over the image hold a pose
_LEVER_MM, _DAMPING = 100.0, 0.1  # of `descent_directions`: a turn of 1 radian, and a share of the mean
_PROBES = (0.02, 0.02, 0.02, 1.5, 1.5, 1.5)  # of finite differences through a network: radians, and mm
WINDOW_PX, WINDOW_MM, VOXEL_MM = 64, 141.3, 4.0  # what is trained on: the seed's field at the isocentre, the CT
MULTIPLE_PX = 16  # both sides of an image: what the encoders halve four times


@dataclass(frozen=True, eq=False)
class FixedXrays:
    """B X-rays as networks see them.

    views: B of one size. line_integrals: (B, 1, rows, columns) in any scale. weights: (B, 1, rows, columns), 0 where
    nothing can be believed, 1 where all can. images: (B, 1, rows, columns) `standardised` under these weights.
    """

    views: tuple[XrayView, ...]
    line_integrals: torch.Tensor
    weights: torch.Tensor
    images: torch.Tensor

    def repeated(self, index: int, count: int) -> FixedXrays:
        """One of the X-rays, `count` times."""
        parts = (part[index].expand(count, -1, -1, -1) for part in (self.line_integrals, self.weights, self.images))
        return FixedXrays((self.views[index],) * count, *parts)


@dataclass(frozen=True, eq=False)
class Compared:
    """What a network finds in pairs of X-ray and DRR.

    value: (B,) how unlike they are; lower is more alike. pairs: for each branch of the network, the features of the
    X-rays and of the DRRs, (B, channels, rows, columns), those first that see the most of the image.
    """

    value: torch.Tensor
    pairs: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @property
    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 12) each, of the X-rays and of the DRRs: where training wants `training.objective.pose_coordinates`."""
        fixed, moving = (features[:, :EMBEDDED].mean(dim=(-2, -1)) for features in self.pairs[0])
        return fixed, moving


@dataclass(frozen=True, eq=False)
class Pairs:
    """X-rays and DRRs, both (B, C, rows, columns) `standardised` under the same weights (B, 1, rows, columns), and the
    DRRs as they were projected."""

    fixed: torch.Tensor
    moving: torch.Tensor
    weights: torch.Tensor
    projected: torch.Tensor


@dataclass(frozen=True, eq=False)
class Slope:
    """compared: at B poses. gradients: (B, 6) of its value to twists, see `twist_gradient`. metric: (B, 6, 6), see
    `image_metric`."""

    compared: Compared
    gradients: torch.Tensor
    metric: torch.Tensor

    @property
    def ways(self) -> torch.Tensor:
        """(B, 6) the way down of each, see `descent_directions`."""
        return descent_directions(self.gradients, self.metric)


class SimilarityNetwork(nn.Module):
    """The common face of the architectures. name, version: as weights are stored; the version changes with the meaning
    of the parameters."""

    name: str
    version: int

    def moving_values(self, attenuation: torch.Tensor) -> torch.Tensor:
        """Values (C, slices, rows, columns) to project, of attenuation (1, slices, rows, columns) per mm."""
        return attenuation

    def of_xrays(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Features (B, channels, rows, columns), of every branch, of standardised X-rays (B, 1, rows, columns)."""
        raise NotImplementedError

    def of_drrs(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The same of standardised DRRs (B, C, rows, columns), C that of `moving_values`, or 1 for the DRRs of the
        plain attenuation: at the true pose they are to be those of the X-ray."""
        raise NotImplementedError

    def compared(self, fixed: torch.Tensor, moving: torch.Tensor) -> Compared:
        """Compare standardised X-rays (B, 1, rows, columns) with standardised DRRs as in `of_drrs`."""
        raise NotImplementedError


def fixed_xrays(views: Sequence[XrayView], line_integrals: torch.Tensor, weights: torch.Tensor) -> FixedXrays:
    """X-rays for networks, from line integrals and weights (B, rows, columns) in any scale.

    Raises InputError when the sides of the images are not multiples of 16 pixels, at least 32.
    """
    rows, columns = line_integrals.shape[-2:]
    if rows % MULTIPLE_PX or columns % MULTIPLE_PX or min(rows, columns) < 2 * MULTIPLE_PX:
        raise InputError(
            f"The learned similarity cannot look at an X-ray of {columns} x {rows} pixels: both sides must be "
            f"multiples of {MULTIPLE_PX} and at least {2 * MULTIPLE_PX}. Resample the X-ray, or choose another method."
        )
    line_integrals, weights = line_integrals[:, None], weights[:, None]
    return FixedXrays(tuple(views), line_integrals, weights, standardised(line_integrals, weights))


def standardised(images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Images (B, C, rows, columns), each channel of mean 0 and deviation 1 under the weights, times these."""
    total = weights.sum(dim=(-2, -1), keepdim=True) + 1e-6
    centered = images - (images * weights).sum(dim=(-2, -1), keepdim=True) / total
    variance = (centered.square() * weights).sum(dim=(-2, -1), keepdim=True) / total
    return weights * centered / (variance + 1e-8).sqrt()


def moving_volume(network: SimilarityNetwork, attenuation: VolumeTensor) -> VolumeTensor:
    """The volume that a network wants projected, from one channel of attenuation per mm."""
    return VolumeTensor(network.moving_values(attenuation.values), attenuation.ijk_to_world)


def paired(moving: VolumeTensor, fixed: FixedXrays, poses: torch.Tensor, extent: Extent | None = None) -> Pairs:
    """B X-rays beside the DRRs of a `moving_volume` under B poses (B, 4, 4), ct_to_world, where both can be believed.

    extent: of the CT; rays that leave it within the body count less, see `ray_weights`. None: every ray counts.
    Differentiable in the poses, but for the weights.
    """
    images = project(moving, poses, fixed.views)
    if extent is None or not extent.cut.any():
        return Pairs(fixed.images, standardised(images, fixed.weights), fixed.weights, images)
    weights = fixed.weights * _rays(extent, poses.detach(), fixed.views).to(fixed.weights)
    return Pairs(standardised(fixed.line_integrals, weights), standardised(images, weights), weights, images)


def _rays(extent: Extent, poses: torch.Tensor, views: Sequence[XrayView]) -> torch.Tensor:
    """Weights (B, 1, rows, columns) of the rays of views under poses (B, 4, 4), one each."""
    if all(view is views[0] for view in views):
        return ray_weights(extent, poses, views[0])[:, None]
    return torch.stack([ray_weights(extent, pose[None], view) for pose, view in zip(poses, views, strict=True)])


def slope_at(
    network: SimilarityNetwork,
    moving: VolumeTensor,
    fixed: FixedXrays,
    poses: torch.Tensor,
    centers: torch.Tensor,
    create_graph: bool = False,
    extent: Extent | None = None,
) -> Slope:
    """What B X-rays and DRRs under poses (B, 4, 4) have in common, and how that changes about centers (B, 3).

    extent: see `paired`. With create_graph, the gradients can be differentiated to the parameters of the network, not
    to the poses: the projector has no Hessian, and training needs none.
    """
    poses = poses.detach().requires_grad_()
    pairs = paired(moving, fixed, poses, extent)
    compared = network.compared(pairs.fixed, pairs.moving)
    (slope,) = torch.autograd.grad(compared.value.sum(), poses, create_graph=create_graph, retain_graph=True)
    metric = image_metric(pairs.projected, poses, pairs.weights, centers)
    return Slope(compared, twist_gradient(slope, poses.detach(), centers), metric)


def similarity(
    network: SimilarityNetwork, attenuation: VolumeTensor, fixed: FixedXrays, poses: torch.Tensor
) -> torch.Tensor:
    """Values (B,) of the learned similarity of B X-rays and a CT under B poses (B, 4, 4); lower is more alike."""
    pairs = paired(moving_volume(network, attenuation), fixed, poses)
    return network.compared(pairs.fixed, pairs.moving).value


def twist_gradient(matrix_gradient: torch.Tensor, poses: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """(B, 6) derivative to the twist of `Pose.moved` about centers (B, 3), from that to the poses (B, 4, 4).

    A twist w, v changes a pose T by A T with A = [[w]x, v - w x c; 0, 0], so that the derivative to A is G T^t.
    """
    product = matrix_gradient @ poses.transpose(-1, -2)
    shift, turn = product[:, :3, 3], product[:, :3, :3]
    turn = turn - turn.transpose(-1, -2)
    about_origin = torch.stack([turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]], dim=1)
    return torch.cat([about_origin - torch.linalg.cross(centers.to(shift), shift), shift], dim=1)


def descent_directions(gradients: torch.Tensor, metric: torch.Tensor) -> torch.Tensor:
    """(B, 6) the ways down of gradients (B, 6) of `twist_gradient`, measured by what an `image_metric` (B, 6, 6) shows.

    Minus (M + damping)^-1 g, the natural gradient (Amari 1998), which is Gauss and Newton's step where the value is
    half a squared difference of images. A plain gradient mixes motions that look alike, as a turn and a shift do, and
    hardly points along the ray, along which a shift changes little. Linear in the gradients.
    """
    scale = gradients.new_tensor([_LEVER_MM] * 3 + [1.0] * 3)  # in millimetres: turns move the image by a lever
    even = metric.to(gradients) / scale / scale[:, None]
    mean = even.diagonal(dim1=-2, dim2=-1).mean(dim=-1).clamp_min(1e-30)
    damped = even + _DAMPING * mean[:, None, None] * torch.eye(6, dtype=even.dtype, device=even.device)
    return -torch.linalg.solve(damped, (gradients / scale)[..., None])[..., 0] / scale


def image_metric(
    images: torch.Tensor, poses: torch.Tensor, weights: torch.Tensor, centers: torch.Tensor
) -> torch.Tensor:
    """(B, 6, 6) how much DRRs (B, C, rows, columns) change under twists about centers (B, 3), in their contrast.

    J^t J with J the derivative of the images, less what changes their mean or deviation under the weights alone, in
    units of this deviation. images: of `project`, under poses (B, 4, 4) that torch differentiates. Detached.
    """
    changes = _changes(images, poses, centers)
    with torch.no_grad():
        seen, weights = standardised(images, weights)[:, None], weights[:, None]
        total = weights.sum(dim=(-2, -1), keepdim=True) + 1e-6
        changes = weights * (changes - (changes * weights).sum(dim=(-2, -1), keepdim=True) / total)
        changes = changes - seen * (changes * seen).sum(dim=(-2, -1), keepdim=True) / total
        flat = changes.flatten(2)
        return flat @ flat.mT


def _changes(images: torch.Tensor, poses: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """(B, 6, C, rows, columns) the derivative of DRRs (B, C, rows, columns) of `project` to twists about centers."""
    amounts = torch.zeros_like(images, requires_grad=True)
    # J^t y is linear in y, and its derivative to y is a column of J: the projector has drawn them all already.
    # As a product, since amounts given apart would have torch load sympy, a quarter of a second.
    (slope,) = torch.autograd.grad((images * amounts).sum(), poses, create_graph=True)
    parts = twist_gradient(slope, poses.detach(), centers)
    columns = [torch.autograd.grad(parts[:, k].sum(), amounts, retain_graph=True)[0] for k in range(6)]
    return torch.stack(columns, dim=1)


@dataclass(frozen=True, eq=False)
class FeatureDifferences:
    """residuals (B, n): what the features of DRRs miss of those of the X-rays. jacobian: (B, n, 6) its derivative to
    a twist, see `twist_gradient`."""

    residuals: torch.Tensor
    jacobian: torch.Tensor


def feature_differences(
    network: SimilarityNetwork,
    moving: VolumeTensor,
    fixed: FixedXrays,
    poses: torch.Tensor,
    centers: torch.Tensor,
    extent: Extent | None = None,
) -> FeatureDifferences:
    """How far the features of B X-rays and of DRRs under poses (B, 4, 4) are apart, and how that changes about centers
    (B, 3).

    The DRRs' derivative is the projector's own; through the network it is carried by finite differences, which take
    less time than forward derivatives. extent: see `paired`.
    """
    poses = poses.detach().requires_grad_()
    pairs = paired(moving, fixed, poses, extent)
    changes = _changes(pairs.projected, poses, centers)
    with torch.no_grad():
        steps = changes.new_tensor(_PROBES)
        moved = pairs.projected[:, None] + steps[:, None, None, None] * changes
        drawn = torch.cat([pairs.projected[:, None], moved], dim=1)  # (B, 7, C, rows, columns)
        weights = pairs.weights[:, None].expand(-1, 7, -1, -1, -1)
        drawn = standardised(drawn.flatten(0, 1), weights.flatten(0, 1))
        sought = torch.cat([part.flatten(1) for part in network.of_xrays(pairs.fixed)], dim=1)
        found = torch.cat([part.flatten(1) for part in network.of_drrs(drawn)], dim=1).unflatten(0, (-1, 7))
        jacobian = (found[:, 1:] - found[:, :1]) / steps[:, None]
        return FeatureDifferences(found[:, 0] - sought, jacobian.mT)


def carried(points: torch.Tensor, poses: torch.Tensor) -> torch.Tensor:
    """Points (B, 3) under poses (B, 4, 4), one each."""
    return (poses[:, :3, :3] @ points[..., None].to(poses))[..., 0] + poses[:, :3, 3]
