"""The seed's network: global and local features of X-ray and DRR, and how far apart they are."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .branches import FourierBlock, InvertibleBlock
from .interface import Compared, SimilarityNetwork
from .shallow_encoder import FEATURES, ShallowEncoder
from .volume_residual import CHANNELS, VolumeResidual

_HEAD_GRID, _HEAD_HIDDEN, _HEAD_OUTPUT = 4, 128, 32


class DualBranch(SimilarityNetwork):
    """Correlation-driven dual-branch network: residual 3D CNN, one shallow encoder for both images, a global and a
    local branch, squared differences, gated heads. 0.6 million parameters; the authors' heads alone have 350."""

    name = "dual-branch"
    version = 1

    def __init__(self) -> None:
        super().__init__()
        self.residual = VolumeResidual()
        self.encoder = ShallowEncoder(CHANNELS)
        self.global_branch = FourierBlock(FEATURES[-1])
        self.local_branch = InvertibleBlock(FEATURES[-1])
        self.global_head = SimilarityHead(FEATURES[-1])
        self.local_head = SimilarityHead(FEATURES[-1])

    def moving_values(self, attenuation: torch.Tensor) -> torch.Tensor:
        return self.residual(attenuation[None])[0]

    def of_xrays(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.encoder(images.expand(-1, CHANNELS, -1, -1))
        return self.global_branch(features), self.local_branch(features)

    of_drrs = of_xrays

    def compared(self, fixed: torch.Tensor, moving: torch.Tensor) -> Compared:
        both = torch.cat([image.expand(-1, CHANNELS, -1, -1) for image in (fixed, moving)])
        (far_x, far_m), (near_x, near_m) = (part.chunk(2) for part in self.of_drrs(both))
        of_far, of_near = self.global_head((far_x - far_m).square()), self.local_head((near_x - near_m).square())
        return Compared((of_far * of_near).sum(dim=1), ((far_x, far_m), (near_x, near_m)))


class SimilarityHead(nn.Module):
    """Outputs (B, 32), each gated by a sigmoid, for squared differences (B, channels, rows, columns) of features.

    The differences are averaged to a grid of 4 x 4 first, whatever the size of the image.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels * _HEAD_GRID**2, _HEAD_HIDDEN)
        self.estimate = nn.Linear(_HEAD_HIDDEN, _HEAD_OUTPUT)
        self.gate = nn.Linear(_HEAD_HIDDEN, _HEAD_OUTPUT)

    def forward(self, differences: torch.Tensor) -> torch.Tensor:
        pooled = functional.adaptive_avg_pool2d(differences, _HEAD_GRID).flatten(1)
        hidden = functional.silu(self.hidden(pooled))
        return self.estimate(hidden) * torch.sigmoid(self.gate(hidden))
