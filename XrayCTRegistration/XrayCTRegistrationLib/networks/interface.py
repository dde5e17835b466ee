"""What a learned similarity is: a network that compares X-rays with DRRs of a volume it may change first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..errors import InputError
from ..geometry import XrayView
from ..projector import VolumeTensor, project

EMBEDDED = 12  # channels of the features whose means over the image hold a pose
MULTIPLE_PX = 16  # both sides of an image: what the encoders halve four times


@dataclass(frozen=True, eq=False)
class FixedXrays:
    """B X-rays as networks see them.

    views: B of one size. images: (B, 1, rows, columns) line integrals of mean 0 and deviation 1 where they can be
    believed, else 0. weights: (B, 1, rows, columns), 0 where nothing can be believed, 1 where all can.
    """

    views: tuple[XrayView, ...]
    images: torch.Tensor
    weights: torch.Tensor


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


class SimilarityNetwork(nn.Module):
    """The common face of the architectures. name, version: as weights are stored; the version changes with the meaning
    of the parameters."""

    name: str
    version: int

    def moving_values(self, attenuation: torch.Tensor) -> torch.Tensor:
        """Values (C, slices, rows, columns) to project, of attenuation (1, slices, rows, columns) per mm."""
        return attenuation

    def compared(self, fixed: torch.Tensor, moving: torch.Tensor) -> Compared:
        """Compare standardised X-rays (B, 1, rows, columns) with standardised DRRs (B, C, rows, columns).

        C is that of `moving_values`, or 1 for the DRRs of the plain attenuation.
        """
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
    weights = weights[:, None]
    return FixedXrays(tuple(views), standardised(line_integrals[:, None], weights), weights)


def standardised(images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Images (B, C, rows, columns), each channel of mean 0 and deviation 1 under the weights, times these."""
    total = weights.sum(dim=(-2, -1), keepdim=True) + 1e-6
    centered = images - (images * weights).sum(dim=(-2, -1), keepdim=True) / total
    variance = (centered.square() * weights).sum(dim=(-2, -1), keepdim=True) / total
    return weights * centered / (variance + 1e-8).sqrt()


def moving_volume(network: SimilarityNetwork, attenuation: VolumeTensor) -> VolumeTensor:
    """The volume that a network wants projected, from one channel of attenuation per mm."""
    return VolumeTensor(network.moving_values(attenuation.values), attenuation.ijk_to_world)


def compare(network: SimilarityNetwork, moving: VolumeTensor, fixed: FixedXrays, poses: torch.Tensor) -> Compared:
    """Compare B X-rays with the DRRs of a `moving_volume` under B poses (B, 4, 4), ct_to_world.

    Differentiable in the poses, and this derivative again in the parameters of the network.
    """
    images = project(moving, poses, fixed.views)
    return network.compared(fixed.images, standardised(images, fixed.weights))


def similarity(
    network: SimilarityNetwork, attenuation: VolumeTensor, fixed: FixedXrays, poses: torch.Tensor
) -> torch.Tensor:
    """Values (B,) of the learned similarity of B X-rays and a CT under B poses (B, 4, 4); lower is more alike."""
    return compare(network, moving_volume(network, attenuation), fixed, poses).value


def twist_gradient(matrix_gradient: torch.Tensor, poses: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """(B, 6) derivative to the twist of `Pose.moved` about centers (B, 3), from that to the poses (B, 4, 4).

    A twist w, v changes a pose T by A T with A = [[w]x, v - w x c; 0, 0], so that the derivative to A is G T^t.
    """
    product = matrix_gradient @ poses.transpose(-1, -2)
    shift, turn = product[:, :3, 3], product[:, :3, :3]
    turn = turn - turn.transpose(-1, -2)
    about_origin = torch.stack([turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]], dim=1)
    return torch.cat([about_origin - torch.linalg.cross(centers.to(shift), shift), shift], dim=1)


def descent_directions(gradients: torch.Tensor, views: Sequence[XrayView], centers: torch.Tensor) -> torch.Tensor:
    """(B, 6) minus the gradients (B, 6) of `twist_gradient`, each shift along the ray divided by how much it shows.

    A shift across the ray by 1 mm moves the image by 1 mm, one along the ray by the distance from the image's middle
    over that from the source, a tenth or less. A plain gradient therefore hardly points along the ray, whatever the
    network has learned of the depth. centers: (B, 3) of the twists.
    """
    rays, reach = [], []
    for view, center in zip(views, centers.detach().cpu().numpy()):
        axis = view.axes[:, 2]
        size_mm = view.millimetres_per_pixel_at(center) * view.size_px
        rays.append(axis)
        reach.append(axis @ (center - view.source) / (np.linalg.norm(size_mm) / 12**0.5))
    ray = gradients.new_tensor(np.stack(rays))
    gain = gradients.new_tensor(np.array(reach))[:, None]
    shift = gradients[:, 3:]
    shift = shift + (gain - 1) * (shift * ray).sum(dim=1, keepdim=True) * ray
    return -torch.cat([gradients[:, :3], shift], dim=1)


def carried(points: torch.Tensor, poses: torch.Tensor) -> torch.Tensor:
    """Points (B, 3) under poses (B, 4, 4), one each."""
    return (poses[:, :3, :3] @ points[..., None].to(poses))[..., 0] + poses[:, :3, 3]
