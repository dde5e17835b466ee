"""ProST's network (Gao et al. 2020): the first one that was trained for a convex similarity, a baseline here."""

from __future__ import annotations

import torch
from torch import nn

from .interface import Compared, SimilarityNetwork
from .volume_residual import CHANNELS, VolumeResidual


class Prost(SimilarityNetwork):
    """A residual 3D CNN, an encoder for each of the two images, and the mean squared difference of their features.

    Deviations from the authors' code: the residual CNN is the seed's; half of the widths (16, 64, 128 there) but for
    the first; GroupNorm for BatchNorm and SiLU for ReLU, since the gradient is differentiated at small batches; means
    for maxima when pooling.
    """

    name = "prost"
    version = 1

    def __init__(self) -> None:
        super().__init__()
        self.residual = VolumeResidual()
        self.fixed_encoder = _encoder(1)
        self.moving_encoder = _encoder(CHANNELS)

    def moving_values(self, attenuation: torch.Tensor) -> torch.Tensor:
        return self.residual(attenuation[None])[0]

    def of_xrays(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.fixed_encoder(images),)

    def of_drrs(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.moving_encoder(images.expand(-1, CHANNELS, -1, -1)),)

    def compared(self, fixed: torch.Tensor, moving: torch.Tensor) -> Compared:
        (x,), (m,) = self.of_xrays(fixed), self.of_drrs(moving)
        return Compared((x - m).square().mean(dim=(1, 2, 3)), ((x, m),))


class Bottleneck(nn.Module):
    """A residual bottleneck (He et al. 2016) of one width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_normalised(nn.Conv2d(channels, channels, 1, bias=False), channels),
            nn.SiLU(),
            *_normalised(nn.Conv2d(channels, channels, 3, padding=1, bias=False), channels),
            nn.SiLU(),
            *_normalised(nn.Conv2d(channels, channels, 1, bias=False), channels),
        )
        self.activation = nn.SiLU()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.activation(features + self.layers(features))


def _encoder(channels: int) -> nn.Module:
    """Features (B, 64, rows / 8, columns / 8)."""
    layers: list[nn.Module] = []
    for before, after in ((channels, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.SiLU(), Bottleneck(after), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, nn.Conv2d(64, 64, 3, padding=1))


def _normalised(convolution: nn.Module, channels: int) -> tuple[nn.Module, nn.Module]:
    return convolution, nn.GroupNorm(8, channels)
