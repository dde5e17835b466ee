"""How alike an X-ray and DRRs are: normalised correlations, batched, weighted by what can be believed.

The registration's similarity is the mean of two normalised cross-correlations (NCC): of the images, which sees far,
and of the locally normalised images (each pixel minus the mean of its window, over the window's standard deviation),
which sees fine structure and ignores slow changes of contrast. Both are 1 at best.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import torch

from .geometry import XrayView

WINDOW_RADIUS_MM, LEAST_WINDOW_RADIUS_PX = 12.0, 12  # about a vertebra; narrower windows draw poses in less far
_GLOBAL_SHARE = 0.3  # of the plain NCC in the similarity; the rest is local
_FLOOR = 0.25  # of an image's typical local deviation, below which a window counts as flat


@dataclass(frozen=True, eq=False)
class FixedImage:
    """An X-ray at one resolution, ready to be compared.

    view: its geometry. line_integrals: (rows, columns). weights: (rows, columns), 0 where nothing can be believed.
    window_px: radius of the windows of local normalisation.
    """

    view: XrayView
    line_integrals: torch.Tensor
    weights: torch.Tensor
    window_px: int
    bands: tuple[torch.Tensor, torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", bands(self.line_integrals[None], self.weights, self.window_px))


def similarity(fixed: FixedImage, images: torch.Tensor) -> torch.Tensor:
    """Similarities (B,), -1 to 1, of DRRs (B, rows, columns) to the fixed image."""
    shares = (_GLOBAL_SHARE, 1 - _GLOBAL_SHARE)
    moving = bands(images, fixed.weights, fixed.window_px)
    return sum(share * (f * m).sum(dim=(-2, -1)) for share, f, m in zip(shares, fixed.bands, moving))


def bands(images: torch.Tensor, weights: torch.Tensor, window_px: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The plain and the locally normalised images (B, rows, columns), of weighted mean 0 and norm 1, times
    sqrt(weights), so that a product's sum is a weighted NCC."""
    local, _ = locally_normalised(images, weights, window_px)
    return _unit(images, weights)[0], _unit(local, weights)[0]


def gauss_newton(
    fixed: FixedImage, image: torch.Tensor, jacobian: torch.Tensor
) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Similarity of one DRR (rows, columns), and the Gauss-Newton system of 1 - similarity in the twist.

    jacobian (6, rows, columns) of the DRR. With unit bands f and m, 1 - f.m = |f - m|^2 / 2: a least-squares problem.
    Returns the similarity, the matrix (6, 6) and minus the gradient (6,), both float64.
    """
    local, deviation = locally_normalised(image[None], fixed.weights, fixed.window_px)
    mean = _local_mean(image[None], fixed.weights, fixed.window_px)
    slope_mean = _local_mean(jacobian, fixed.weights, fixed.window_px)
    slope_variance = (
        _local_mean(jacobian * image, fixed.weights, fixed.window_px) - mean * slope_mean
    )  # half the derivative
    local_jacobian = (jacobian - slope_mean) / deviation - local * slope_variance / deviation**2
    value, matrix, descent = 0.0, 0.0, 0.0
    systems = ((_GLOBAL_SHARE, image[None], jacobian), (1 - _GLOBAL_SHARE, local, local_jacobian))
    for target, (share, moving, slopes) in zip(fixed.bands, systems):
        unit, norm = _unit(moving, fixed.weights)
        slopes = (slopes - _weighted_mean(slopes, fixed.weights)) * fixed.weights.sqrt() / norm
        slopes, unit, target = slopes.flatten(1).double(), unit.flatten().double(), target.flatten().double()
        slopes = slopes - torch.outer(slopes @ unit, unit)
        value += share * float(target @ unit)
        matrix = matrix + share * slopes @ slopes.T
        descent = descent + share * slopes @ target
    return value, matrix, descent


def locally_normalised(
    images: torch.Tensor, weights: torch.Tensor, window_px: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, rows, columns) minus their windows' means, over their windows' deviations; and those deviations."""
    images = images - _weighted_mean(images, weights)  # keeps the variance below from cancelling
    mean = _local_mean(images, weights, window_px)
    variance = (_local_mean(images**2, weights, window_px) - mean**2).clamp_min(0)
    floor = _FLOOR**2 * _weighted_mean(variance, weights) + 1e-12
    deviation = (variance + floor).sqrt()
    return (images - mean) / deviation, deviation


def _local_mean(images: torch.Tensor, weights: torch.Tensor, window_px: int) -> torch.Tensor:
    """Weighted means (B, rows, columns) over the square windows about each pixel."""
    weights = weights + 1e-6
    return _box(images * weights, window_px) / _box(weights[None], window_px)


def _box(images: torch.Tensor, radius: int) -> torch.Tensor:
    """Means (B, rows, columns) over squares of 2 radius + 1 pixels, zero outside the image.

    Two products with banded matrices: ten times faster here than torch's pooling with wide windows.
    """
    rows, columns = images.shape[-2:]
    return _window(rows, radius, images.device) @ images @ _window(columns, radius, images.device)


@lru_cache(maxsize=64)
def _window(size: int, radius: int, device: torch.device) -> torch.Tensor:
    """(size, size) matrix of running means."""
    index = torch.arange(size, device=device)
    return ((index[:, None] - index).abs() <= radius).float() / (2 * radius + 1)


def _weighted_mean(images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(B, 1, 1) means of images (B, rows, columns)."""
    return (images * weights).sum(dim=(-2, -1), keepdim=True) / weights.sum()


def _unit(images: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of weighted mean 0 and norm 1 times sqrt(weights), and the norms (B, 1, 1) they had."""
    centered = (images - _weighted_mean(images, weights)) * weights.sqrt()
    norm = centered.square().sum(dim=(-2, -1), keepdim=True).sqrt().clamp_min(1e-9)
    return centered / norm, norm


def robust_weights(fixed: FixedImage, image: torch.Tensor) -> torch.Tensor:
    """The fixed image's weights (rows, columns) times Cauchy weights of the local residuals to a DRR (rows, columns).

    A residual of twice the typical one where the CT is (1.48 times the median deviation) counts half; a bead, a screw
    or a bone that the CT lacks counts little.
    """
    moving = bands(image[None], fixed.weights, fixed.window_px)[1][0]
    residuals = fixed.bands[1][0] - (fixed.bands[1][0] * moving).sum() * moving
    believed = residuals[(fixed.weights > 0.5) & (image > 0)]
    if not len(believed):
        return fixed.weights
    scale = 2 * 1.4826 * (believed - believed.median()).abs().median().clamp_min(1e-9)
    return fixed.weights / (1 + (residuals / scale) ** 2)
