"""The shallow encoder that X-ray and DRR share: convolutions, then a transformer whose tokens are mixed by pooling."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

FEATURES = (8, 16, 32, 64, 64)
STRIDE = 2 ** (len(FEATURES) - 1)  # pixels of the image per pixel of the features


class ShallowEncoder(nn.Module):
    """Features (B, 64, rows / 16, columns / 16) of images (B, channels, rows, columns).

    A pooling transformer (Yu et al. 2022) of four stages after two convolutions. Deviations from the authors' code:
    overlapping 3x3 patches instead of separate 2x2 ones; each stage begins with instance normalisation, without which
    what is the same in every image outgrew what tells two images apart, a hundred times by the last stage; tokens are
    mixed by the means of their neighbours and of the whole image, not by a table of the size of one image, so that any
    multiple of 16 pixels will do; and smooth activations, since the training differentiates the network's gradient.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [_convolution(channels, FEATURES[0]), _convolution(FEATURES[0], FEATURES[0])]
        for before, after in pairwise(FEATURES):
            embedding = nn.Conv2d(before, after, 3, stride=2, padding=1)
            stages += [embedding, nn.InstanceNorm2d(after, affine=True), PoolingBlock(after), PoolingBlock(after)]
        self.stages = nn.Sequential(*stages)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.stages(images)


class PoolingBlock(nn.Module):
    """A transformer block (B, channels, rows, columns) with pooling for attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixing_norm, self.mlp_norm = ChannelNorm(channels), ChannelNorm(channels)
        self.neighbours = nn.Parameter(torch.ones(channels, 1, 1))
        self.everything = nn.Parameter(torch.zeros(channels, 1, 1))
        self.mlp = nn.Sequential(nn.Conv2d(channels, 2 * channels, 1), nn.SiLU(), nn.Conv2d(2 * channels, channels, 1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        normal = self.mixing_norm(tokens)
        near = means_of_three(normal) - normal
        tokens = tokens + self.neighbours * near + self.everything * normal.mean(dim=(-2, -1), keepdim=True)
        return tokens + self.mlp(self.mlp_norm(tokens))


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of every pixel (B, channels, rows, columns): batch size does not matter."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        centered = tokens - tokens.mean(dim=1, keepdim=True)
        deviation = (centered.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
        return self.scale * centered / deviation + self.shift


def means_of_three(tokens: torch.Tensor) -> torch.Tensor:
    """Each token's mean with its 8 neighbours, those beyond the border equal to the nearest within.

    As products with banded matrices, four times as fast as pooling in a second derivative on a CPU.
    """
    down, across = (_band(size, tokens) for size in tokens.shape[-2:])
    return down @ tokens @ across.mT


def _band(size: int, like: torch.Tensor) -> torch.Tensor:
    rows = torch.arange(size, device=like.device)
    band = like.new_zeros(size, size)
    for step in (-1, 0, 1):
        band[rows, (rows + step).clamp(0, size - 1)] += 1 / 3
    return band


def _convolution(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.InstanceNorm2d(after, affine=True), nn.SiLU())
