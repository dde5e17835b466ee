"""The two branches of the seed: a global one in Fourier space and an invertible local one."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

_LARGEST_LOG_SCALE = 1.0  # a coupling layer scales by e at most: unbounded, its exponential overflows in training


class FourierBlock(nn.Module):
    """The global branch: a residual block of two fast Fourier convolutions (Chi et al. 2020), (B, C, rows, columns).

    Every output pixel sees the whole image. GroupNorm in place of BatchNorm, whose statistics of two images mislead.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(_FourierConvolution(channels), nn.SiLU(), _FourierConvolution(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + self.convolutions(features)


class _FourierConvolution(nn.Module):
    """A 3x3 convolution plus a convolution as large as the image, made of a 1x1 network on its spectrum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(channels, channels, 3, padding=1)
        self.spectral = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 1),
            nn.GroupNorm(8, 2 * channels),
            nn.SiLU(),
            nn.Conv2d(2 * channels, 2 * channels, 1),
        )
        self.norm = nn.GroupNorm(8, channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft2(features, norm="ortho")
        real, imaginary = self.spectral(torch.cat([spectrum.real, spectrum.imag], dim=1)).chunk(2, dim=1)
        far = torch.fft.irfft2(torch.complex(real, imaginary), s=features.shape[-2:], norm="ortho")
        return self.norm(self.near(features) + far)


class InvertibleBlock(nn.Module):
    """The local branch: affine coupling layers (Dinh et al. 2017), which lose nothing of (B, C, rows, columns)."""

    def __init__(self, channels: int, layers: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Coupling(channels) for _ in range(layers))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            features = layer(features)
        return features

    def inverse(self, features: torch.Tensor) -> torch.Tensor:
        for layer in reversed(self.layers):
            features = cast("_Coupling", layer).inverse(features)
        return features


class _Coupling(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.mixing = nn.Parameter(torch.empty(channels, channels))
        nn.init.orthogonal_(self.mixing)
        self.shift_second, self.log_scale, self.shift_first = (_bottleneck(half) for _ in range(3))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        first, second = torch.einsum("oc,bcij->boij", self.mixing, features).chunk(2, dim=1)
        second = second + self.shift_second(first)
        first = first * self._scale(second) + self.shift_first(second)
        return torch.cat([first, second], dim=1)

    def inverse(self, features: torch.Tensor) -> torch.Tensor:
        first, second = features.chunk(2, dim=1)
        first = (first - self.shift_first(second)) / self._scale(second)
        second = second - self.shift_second(first)
        return torch.einsum("co,boij->bcij", torch.linalg.inv(self.mixing), torch.cat([first, second], dim=1))

    def _scale(self, second: torch.Tensor) -> torch.Tensor:
        return torch.exp(_LARGEST_LOG_SCALE * torch.tanh(self.log_scale(second)))


def _bottleneck(channels: int) -> nn.Module:
    """An inverted residual: widened, filtered channel by channel, narrowed."""
    wide = 2 * channels
    return nn.Sequential(
        nn.Conv2d(channels, wide, 1),
        nn.SiLU(),
        nn.Conv2d(wide, wide, 3, padding=1, groups=wide),
        nn.SiLU(),
        nn.Conv2d(wide, channels, 1),
    )
