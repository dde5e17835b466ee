"""The residual 3D CNN: what a CT should look like before it is projected, learned."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from ..volume import WATER_ATTENUATION_PER_MM

CHANNELS = 3  # of the projected volume


class VolumeResidual(nn.Module):
    """Attenuation (B, 1, slices, rows, columns) per mm, repeated three times, plus a learned residual of the same unit.

    Convolutions of 1-4-8-16-8-4-3 channels (Gao et al. 2020; the last but one is the seed's). The last one starts at
    zero, so that training begins with the plain DRR, and has no activation: a residual may take away as well as add.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 4, 8, 16, 8, 4)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv3d(before, after, 3, padding=1), nn.ReLU()]
        last = nn.Conv3d(widths[-1], CHANNELS, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, attenuation: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled() and not any(parameter.any() for parameter in self.layers[-1].parameters()):
            # Nothing was learned and nothing is to be: the layers would take some tenths of a second to add zero.
            return attenuation.expand(-1, CHANNELS, -1, -1, -1)
        residual = self.layers(attenuation / WATER_ATTENUATION_PER_MM)  # water is 1: numbers a network can work with
        return attenuation + WATER_ATTENUATION_PER_MM * residual
