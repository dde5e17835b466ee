"""A guess of the way from one pose to the true one: what a descent on a similarity begins with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ..geometry import XrayView

HYPOTHESES = 4  # that a guess holds
_GRID, _HIDDEN = 4, 384  # of the features, and between the layers
_UNITS = (math.radians(20.0),) * 3 + (30.0, 30.0, 60.0)  # of a guess: deviations of the seed's protocol
_LEAST_LOG_DEVIATION, _MOST_LOG_DEVIATION = -4.0, 1.5  # in these units


@dataclass(frozen=True, eq=False)
class Guesses:
    """Of B pairs of X-ray and DRR, a mixture of normal distributions over the motion that is missing.

    log_shares: (B, 4) of the hypotheses; they add up to 1. motions, log_deviations: (B, 4, 6) rotation vector and
    shift in the C-arm's axes, see `motions_in_view`.
    """

    log_shares: torch.Tensor
    motions: torch.Tensor
    log_deviations: torch.Tensor

    def negative_log_likelihood(self, motions: torch.Tensor) -> torch.Tensor:
        """(B,) of the motions (B, 6) that are truly missing, but for a constant."""
        errors = (motions[:, None] - self.motions) * torch.exp(-self.log_deviations)
        terms = self.log_shares - (0.5 * errors.square() + self.log_deviations).sum(dim=-1)
        return -torch.logsumexp(terms, dim=1)

    @property
    def likeliest(self) -> torch.Tensor:
        """(B, 6) the motion of the largest share."""
        return self.motions[torch.arange(len(self.motions)), self.log_shares.argmax(dim=1)]


class PoseGuess(nn.Module):
    """`Guesses` of features of pairs of X-ray and DRR: a head on the encoder that the similarity has.

    pairs: as in `Compared`, features (B, channels, rows, columns) each, averaged to 4 x 4 first, whatever the size of
    the image. Does not change what the features learn: the similarity's training is its own.
    """

    def __init__(self, channels: int) -> None:
        """channels: of the features of all branches together."""
        super().__init__()
        inputs = 2 * channels * _GRID**2
        self.layers = nn.Sequential(
            nn.LayerNorm(inputs), nn.Linear(inputs, _HIDDEN), nn.SiLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.SiLU(),
            nn.Linear(_HIDDEN, HYPOTHESES * 13),
        )  # fmt: skip

    def forward(self, pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Guesses:
        parts = [part for fixed, moving in pairs for part in (fixed - moving, moving)]
        grids = [functional.adaptive_avg_pool2d(part.detach(), _GRID).flatten(1) for part in parts]
        found = self.layers(torch.cat(grids, dim=1)).unflatten(1, (HYPOTHESES, 13))
        log_deviations = _MOST_LOG_DEVIATION - functional.softplus(_MOST_LOG_DEVIATION - found[..., 7:])
        shares = torch.log_softmax(found[..., 0], dim=1)
        return Guesses(shares, found[..., 1:7], log_deviations.clamp_min(_LEAST_LOG_DEVIATION))


def motions_in_view(twists: torch.Tensor, views: Sequence[XrayView]) -> torch.Tensor:
    """(B, 6) float32 twists (B, 6), rotation vector (radians) and shift (mm) in world axes, in each view's axes and in
    deviations of the seed's protocol."""
    axes = torch.stack([torch.from_numpy(view.axes) for view in views]).to(twists)
    return ((twists.unflatten(1, (2, 3)) @ axes).flatten(1) / twists.new_tensor(_UNITS)).float()


def twists_in_world(motions: torch.Tensor, views: Sequence[XrayView]) -> torch.Tensor:
    """(B, K, 6) float64 twists of motions (B, K, 6): the inverse of `motions_in_view`."""
    axes = torch.stack([torch.from_numpy(view.axes) for view in views]).to(motions.device)
    parts = (motions.double() * motions.new_tensor(_UNITS).double()).unflatten(-1, (2, 3))
    return (parts @ axes.mT[:, None]).flatten(-2)
