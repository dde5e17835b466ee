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
_PIXELS, _CELLS, _REACH = 64, 16, 8  # of an image, of its features, and how many cells apart two are compared
_ENCODED, _WIDTHS = 32, (80, 128, 192)  # channels of the encoder, and of the decoder at 16, 8 and 4 cells
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
    """`Guesses` of pairs of X-ray and DRR: one encoder for both, correlations of its features between all cells up to
    8 apart, as networks for optical flow compare (Dosovitskiy et al. 2015), and a decoder of these.

    Features are compared, not images: what a body looks like matters less than where its parts went.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(2, 24, 5, stride=2, padding=2), nn.GroupNorm(4, 24), nn.SiLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.GroupNorm(4, 48), nn.SiLU(), ResidualBlock(48),
            nn.Conv2d(48, _ENCODED, 1),
        )  # fmt: skip
        first, middle, last = _WIDTHS
        self.displaced = nn.Conv2d((2 * _REACH + 1) ** 2, first, 1)
        self.decoder = nn.Sequential(
            nn.Conv2d(first + 2 * _ENCODED + 1, first, 1), nn.GroupNorm(4, first), nn.SiLU(), ResidualBlock(first),
            nn.Conv2d(first, middle, 3, stride=2, padding=1), nn.GroupNorm(4, middle), nn.SiLU(), ResidualBlock(middle),
            nn.Conv2d(middle, last, 3, stride=2, padding=1), nn.GroupNorm(4, last), nn.SiLU(), ResidualBlock(last),
            nn.Flatten(), nn.Linear(last * (_CELLS // 4) ** 2, 256), nn.SiLU(),
            nn.Linear(256, HYPOTHESES * 13),
        )  # fmt: skip
        self.register_buffer("places", _places(), persistent=False)

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor, weights: torch.Tensor) -> Guesses:
        """Of standardised X-rays and DRRs of the plain attenuation under weights, all (B, 1, rows, columns)."""
        fixed, moving, weights = (
            functional.interpolate(part, (_PIXELS, _PIXELS), mode="area") for part in (fixed, moving, weights)
        )
        both = torch.cat([torch.cat([part, weights], dim=1) for part in (fixed, moving)])
        features = self.encoder(both)
        correlations = self._correlations(*functional.normalize(features, dim=1).chunk(2))
        displaced = functional.silu(self.displaced(correlations))
        believed = functional.adaptive_avg_pool2d(weights, _CELLS)
        decoded = self.decoder(torch.cat([displaced, *features.chunk(2), believed], dim=1)).unflatten(1, (-1, 13))
        log_deviations = _MOST_LOG_DEVIATION - functional.softplus(_MOST_LOG_DEVIATION - decoded[..., 7:])
        return Guesses(
            torch.log_softmax(decoded[..., 0], dim=1),
            decoded[..., 1:7],
            log_deviations.clamp_min(_LEAST_LOG_DEVIATION),
        )

    def _correlations(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
        """(B, 289, 16, 16) cosines between the X-ray's features at a cell and the DRR's at those up to 8 cells off."""
        cosines = fixed.flatten(2).mT @ moving.flatten(2)  # (B, 256, 256)
        cosines = functional.pad(cosines, (0, 1))  # what lies beyond the image is like nothing
        found = cosines.gather(2, self.places.expand(len(cosines), -1, -1))
        return found.mT.unflatten(2, (_CELLS, _CELLS))


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(4, channels), nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(4, channels),
        )  # fmt: skip

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return functional.silu(features + self.layers(features))


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


def _places() -> torch.Tensor:
    """(1, 256, 289) the number of the cell that lies off each cell by each of the displacements; 256 beyond."""
    cells, steps = torch.arange(_CELLS), torch.arange(-_REACH, _REACH + 1)
    rows = cells[:, None, None, None] + steps[None, None, :, None]
    columns = cells[None, :, None, None] + steps[None, None, None, :]
    inside = (rows >= 0) & (rows < _CELLS) & (columns >= 0) & (columns < _CELLS)
    return torch.where(inside, rows * _CELLS + columns, _CELLS**2).flatten(2).flatten(0, 1)[None]
