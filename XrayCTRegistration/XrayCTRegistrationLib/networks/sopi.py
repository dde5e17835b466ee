"""SOPI's networks (single-view 2D/3D registration with pose initialisation), a baseline: a composite encoder, and a
network that guesses the pose from CT and X-ray before it is refined."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..geometry import Pose, XrayView, common_isocenter, rotation_from_vector
from ..losses import rotation_log
from ..projector import VolumeTensor
from .interface import Compared, FixedXrays, SimilarityNetwork, carried

_WIDTHS = (16, 32, 64)  # at an eighth, a sixteenth and a thirty-second of the image
_CUBE_VOXELS, _CUBE_VOXEL_MM, _CUBE_PIXELS = 32, 8.0, 64
_LIMITS = (math.radians(60.0),) * 3 + (90.0, 90.0, 180.0)  # of a guess: three deviations of the seed's protocol


class Sopi(SimilarityNetwork):
    """Two composite encoders without a residual CNN; the value is the mean squared difference of three scales.

    Deviations from the authors' code: a quarter of the widths (64, 128, 256 there), GroupNorm for BatchNorm.
    """

    name = "sopi"
    version = 1

    def __init__(self) -> None:
        super().__init__()
        self.fixed_encoder = CompositeEncoder()
        self.moving_encoder = CompositeEncoder()
        self.initial_motion = MotionGuess()

    def of_xrays(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.fixed_encoder(images)[::-1]

    def of_drrs(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.moving_encoder(images)[::-1]

    def compared(self, fixed: torch.Tensor, moving: torch.Tensor) -> Compared:
        pairs = tuple(zip(self.of_xrays(fixed), self.of_drrs(moving)))
        return Compared(torch.stack([(x - m).square().mean(dim=(1, 2, 3)) for x, m in pairs]).sum(dim=0), pairs)


class CompositeEncoder(nn.Module):
    """Features at three scales of images (B, 1, rows, columns), by two branches, the second fed by the first."""

    def __init__(self) -> None:
        super().__init__()
        width = _WIDTHS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.GroupNorm(1, 4), nn.GELU(),
            nn.Conv2d(4, width, 3, stride=2, padding=1), nn.GroupNorm(1, width), nn.GELU(),
            SplitAttention(width), nn.Conv2d(width, width, 3, stride=2, padding=1),
        )  # fmt: skip
        self.first = nn.ModuleList(CoarseFineBlock() for _ in range(3))
        self.second = nn.ModuleList(CoarseFineBlock() for _ in range(2))
        self.bridges = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 1), nn.GroupNorm(4, width)) for _ in range(2)
        )

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        one = self.first[0](self.stem(images))[0]
        two = self.first[1](one)[0]
        three = self.first[2](two)[0]
        joined = self.second[0](one + self.bridges[0](two))[0]
        return self.second[1](joined + self.bridges[1](three))


class CoarseFineBlock(nn.Module):
    """Features at three scales from the finest one, the coarse ones fed back into it."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.at_fine, self.at_middle, self.at_coarse = SplitAttention(fine), SplitAttention(middle), FocalBlock(coarse)
        self.to_middle = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.to_coarse = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.from_coarse, self.from_middle = nn.Conv2d(coarse, middle, 1), nn.Conv2d(middle, fine, 1)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        fine = self.at_fine(features)
        middle = self.at_middle(self.to_middle(fine))
        coarse = _enlarged(self.from_coarse(self.at_coarse(self.to_coarse(middle))), middle)
        middle = _enlarged(self.from_middle(coarse + middle), fine)
        return middle + fine, middle, coarse


class SplitAttention(nn.Module):
    """A residual block whose two filters are weighed against each other by the whole image (ResNeSt, Zhang 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.filters = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.norm = nn.GroupNorm(4, channels)
        self.attention = nn.Sequential(nn.Linear(channels, 32), nn.SiLU(), nn.Linear(32, 2 * channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        splits = torch.stack(self.filters(functional.silu(self.norm(self.enter(features)))).chunk(2, dim=1), dim=1)
        logits = self.attention(splits.sum(dim=1).mean(dim=(-2, -1))).unflatten(1, (2, -1))
        attended = (torch.softmax(logits, dim=1)[..., None, None] * splits).sum(dim=1)
        return functional.silu(features + self.leave(attended))


class FocalBlock(nn.Module):
    """Wide depthwise filters, near and far, and a channel network (FocalNeXt)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.far = nn.Conv2d(channels, channels, 7, padding=6, dilation=2, groups=channels)
        self.near_norm, self.far_norm = nn.GroupNorm(1, channels), nn.GroupNorm(1, channels)
        self.mlp = nn.Sequential(nn.Conv2d(channels, 4 * channels, 1), nn.GELU(), nn.Conv2d(4 * channels, channels, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        near = features + functional.gelu(self.near_norm(self.near(features)))
        far = near + functional.gelu(self.far_norm(self.far(near)))
        return features + self.mlp(far)


class MotionGuess(nn.Module):
    """`motion_shares` (B, 6) of an X-ray: a 3D encoder of the CT and a 2D encoder of the X-ray, joined.

    The authors' network predicts Euler angles in ranges of its own; this one predicts a rotation vector.
    """

    def __init__(self) -> None:
        super().__init__()
        self.of_volume = nn.Sequential(*_down(nn.Conv3d, nn.AvgPool3d, 1, 16), *_down(nn.Conv3d, nn.AvgPool3d, 16, 16))
        self.of_image = nn.Sequential(
            *_down(nn.Conv2d, nn.AvgPool2d, 1, 16), *_down(nn.Conv2d, nn.AvgPool2d, 16, 32),
            *_down(nn.Conv2d, nn.AvgPool2d, 32, 32),
        )  # fmt: skip
        self.joined = nn.Sequential(*_down(nn.Conv2d, nn.AvgPool2d, 16 * 8 + 32, 32), nn.Flatten())
        self.regression = nn.Sequential(nn.Linear(32 * 16, 128), nn.SiLU(), nn.Linear(128, 6))
        for parameter in self.regression[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, cubes: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """cubes: (B, 1, 32, 32, 32) of `centred_cube`. fixed: (B, 1, rows, columns) standardised X-rays."""
        volume = self.of_volume(cubes).flatten(1, 2)  # the slices become channels
        image = self.of_image(functional.interpolate(fixed, (_CUBE_PIXELS, _CUBE_PIXELS), mode="area"))
        return torch.tanh(self.regression(self.joined(torch.cat([volume, image], dim=1))))


def centred_cube(volume: VolumeTensor) -> torch.Tensor:
    """(1, 1, 32, 32, 32) attenuation of a volume's middle, standardised, in voxels of 8 mm along the CT's axes."""
    spacing_mm = np.linalg.norm(volume.ijk_to_world[:3, :3], axis=0)
    extent_mm = spacing_mm * volume.values.shape[:0:-1]
    share = torch.from_numpy(_CUBE_VOXELS * _CUBE_VOXEL_MM / extent_mm).to(volume.values)
    grid = functional.affine_grid(
        torch.cat([share.diag(), share.new_zeros(3, 1)], dim=1)[None], [1, 1, *[_CUBE_VOXELS] * 3], align_corners=False
    )
    cube = functional.grid_sample(volume.values[None, :1], grid, align_corners=False)
    return (cube - cube.mean()) / (cube.std() + 1e-6)


def motion_shares(true: torch.Tensor, isocenters: torch.Tensor, views: Sequence[XrayView]) -> torch.Tensor:
    """(B, 6) rotation vector and shift, in the C-arm's axes, from the CT centred in a view to true poses (B, 4, 4), as
    shares of the largest guess: -1 to 1. isocenters: (B, 3) of the CTs."""
    axes = torch.from_numpy(np.stack([view.axes for view in views])).to(true)
    world = torch.from_numpy(np.stack([common_isocenter([view]) for view in views])).to(true)
    shift = carried(isocenters, true) - world
    motion = torch.stack([rotation_log(true[:, :3, :3]), shift], dim=1) @ axes
    return (motion.flatten(1) / motion.new_tensor(_LIMITS)).clamp(-1, 1)


@torch.no_grad()
def guessed_pose(network: Sopi, volume: VolumeTensor, fixed: FixedXrays, isocenter: np.ndarray) -> Pose:
    """The pose, ct_to_world, that the network guesses from the first of the X-rays; volume: plain attenuation."""
    view = fixed.views[0]
    guess = network.initial_motion(centred_cube(volume), fixed.images[:1])[0].double().cpu().numpy() * _LIMITS
    world = common_isocenter([view])
    turn = rotation_from_vector(view.axes @ guess[:3])
    return Pose.about(world, turn, view.axes @ guess[3:]) @ Pose.from_parts(np.eye(3), world - isocenter)


def _down(convolution: type[nn.Module], pool: type[nn.Module], before: int, after: int) -> list[nn.Module]:
    return [convolution(before, after, 3, padding=1), nn.GroupNorm(4, after), nn.SiLU(), pool(2)]


def _enlarged(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(features, like.shape[-2:], mode="bilinear", align_corners=False)
