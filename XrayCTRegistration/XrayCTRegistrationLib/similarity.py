"""How alike an X-ray and DRRs are: the share of the X-ray's structure that the DRR explains.

Both images are locally normalised (each pixel minus the mean of its window, over the window's standard deviation),
which keeps fine structure and ignores slow changes of contrast. With f the X-ray's, m the DRR's normalised pixels, w
their weights and a the contrast between the two about each pixel, fitted,

    similarity = 1 - sum w rho(f - a m) / sum w rho(f),    rho(r) = 1 - exp(-r^2 / 2 scale^2)    (Welsch)

is 1 where all is explained and 0 where a blank image would explain as much. A pixel that shows something else (an
instrument, a hand, a bone that the CT lacks) costs at most 1, wherever it lies. The windows' means and deviations are
taken a second time without such pixels, so that they do not spoil their neighbours either.

The contrast differs from place to place: noise, blur, scatter and the processing that systems do take more of it where
a body is dense. It is fitted in each window, and drawn to what it is in the whole image, the more so the less structure
there is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .geometry import XrayView
from .weights import welsch
from .windows import window_mean

SCALES = (1.0, 0.5, 0.3)  # of rho, in deviations of a window's structure: sees far, and sees past what does not fit
_FLOOR = 0.25  # of an image's typical local deviation, below which a window counts as flat
_NORMALISATIONS, _CONTRAST_STEPS = 2, 3
_CONTRASTS = (0.3, 1.3)  # of the DRR's normalised image in the X-ray's: noise lowers it
_HELD = 2.0  # how much a window's contrast is drawn to the whole image's: as by so much of the mean structure
_LEAST_COMPARED = 0.25  # of the CT's footprint; below, the similarity falls, or next to nothing would fit best


@dataclass(frozen=True, eq=False)
class FixedImage:
    """An X-ray at one resolution, ready to be compared.

    view: its geometry. line_integrals: (rows, columns). weights: (rows, columns), 0 where nothing can be believed.
    window_px: radius of the windows of local normalisation. footprint_px: weights where the CT can be expected.
    behind: (rows, columns) DRR of what stands still behind bodies that move, 0 where nothing does.
    """

    view: XrayView
    line_integrals: torch.Tensor
    weights: torch.Tensor
    window_px: int
    footprint_px: float
    behind: torch.Tensor | float = 0.0


@dataclass(frozen=True, eq=False)
class Windows:
    """The square windows about each pixel, with weights (B, rows, columns) of the pixels. `of` makes them."""

    weights: torch.Tensor
    radius_px: int
    _believed: torch.Tensor  # the weights, nowhere zero
    _share: torch.Tensor  # means over the windows of these
    _total: torch.Tensor  # (B, 1, 1) sums of the weights

    @classmethod
    def of(cls, weights: torch.Tensor, radius_px: int) -> Windows:
        believed = weights + 1e-6
        total = weights.sum(dim=(-2, -1), keepdim=True).clamp_min(1e-6)
        return cls(weights, radius_px, believed, window_mean(believed, radius_px), total)

    def mean(self, images: torch.Tensor) -> torch.Tensor:
        """Weighted means (B, rows, columns) over the windows."""
        return window_mean(images * self._believed, self.radius_px) / self._share

    def mean_of_all(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, 1) weighted means of whole images (B, rows, columns)."""
        return (images * self.weights).sum(dim=(-2, -1), keepdim=True) / self._total


@dataclass(frozen=True, eq=False)
class Local:
    """Locally normalised images: pixels, and the means and deviations (B, rows, columns) of their windows."""

    pixels: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor


@dataclass(frozen=True, eq=False)
class System:
    """A Gauss-Newton system in n parameters, in units of the similarity: the way (n,) is its slope, matrix (n, n) how
    it curves, float64. noise: the residuals' variance in these units, if they were independent."""

    matrix: torch.Tensor
    way: torch.Tensor
    noise: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """DRRs beside an X-ray, each (B, ...).

    similarity: (B,) at most 1. compared: (B,) how much counted, as a share of the CT's footprint, at most 1.
    fixed, moving, contrast: what was compared, see above. residuals, weights, all (B, rows, columns), of the normalised
    images; fitting: the weights times those of outliers. unit: (B,) weighted half squares of residuals that cost 1 in
    similarity.
    """

    similarity: torch.Tensor
    compared: torch.Tensor
    fixed: torch.Tensor
    moving: Local
    contrast: torch.Tensor
    residuals: torch.Tensor
    weights: torch.Tensor
    fitting: torch.Tensor
    unit: torch.Tensor


def compare(fixed: FixedImage, images: torch.Tensor, rays: torch.Tensor, scale: float = SCALES[-1]) -> Comparison:
    """DRRs (B, rows, columns) beside the X-ray. rays: weights (B or 1, rows, columns) of their rays, see `weights`."""
    weights = seen = fixed.weights * rays
    for _ in range(_NORMALISATIONS):
        windows = Windows.of(seen, fixed.window_px)
        target = locally_normalised(fixed.line_integrals[None], windows).pixels
        moving = locally_normalised(images, windows)
        contrast, residuals, inlying = _fitted(target, moving.pixels, weights, scale, fixed.window_px)
        seen = weights * inlying
    lost = weights * (1 - inlying)
    blank = (weights * (1 - welsch(target, scale))).sum(dim=(-2, -1)).clamp_min(1e-6)
    compared = (weights.sum(dim=(-2, -1)) / max(fixed.footprint_px, 1.0)).clamp_max(1)
    similarity = 1 - lost.sum(dim=(-2, -1)) / blank
    similarity = similarity - (1 - compared / _LEAST_COMPARED).clamp_min(0)
    return Comparison(similarity, compared, target, moving, contrast, residuals, weights, seen, scale**2 * blank)


def _fitted(
    fixed: torch.Tensor, moving: torch.Tensor, weights: torch.Tensor, scale: float, window_px: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The contrast by iteratively reweighted least squares, residuals and Welsch weights, all (B, rows, columns)."""
    product, square = weights * fixed * moving, weights * moving.square()
    up, down = product, square
    for _ in range(_CONTRAST_STEPS):
        contrast = up.sum(dim=(-2, -1), keepdim=True) / down.sum(dim=(-2, -1), keepdim=True).clamp_min(1e-6)
        contrast = contrast.clamp(*_CONTRASTS)
        inlying = welsch(fixed - contrast * moving, scale)
        up, down = product * inlying, square * inlying
    counted = weights.sum(dim=(-2, -1), keepdim=True).clamp_min(1e-6)
    held = _HELD * down.sum(dim=(-2, -1), keepdim=True) / counted + 1e-9
    contrast = (window_mean(up, window_px) + held * contrast) / (window_mean(down, window_px) + held)
    contrast = contrast.clamp(0, _CONTRASTS[1])
    residuals = fixed - contrast * moving
    return contrast, residuals, welsch(residuals, scale)


def gauss_newton(found: Comparison, fixed: FixedImage, image: torch.Tensor, jacobian: torch.Tensor) -> System:
    """The system of half the weighted squared residuals of one DRR (rows, columns) in the n parameters of its jacobian
    (n, rows, columns), at the contrast that was fitted: normalised as they are, windows hardly change theirs."""
    moving, weights = found.moving, found.fitting
    windows = Windows.of(weights, fixed.window_px)
    mean_slope = windows.mean(jacobian)
    centered = image - windows.mean_of_all(image[None])[0]
    variance_slope = windows.mean(jacobian * centered) - moving.mean * mean_slope
    slopes = (jacobian - mean_slope) / moving.deviation - moving.pixels * variance_slope / moving.deviation**2
    slopes = (found.contrast * slopes).flatten(1).double()
    weights, residuals = (part.flatten().double() for part in (weights, found.residuals))
    weighted = slopes * weights
    matrix, way = weighted @ slopes.T, weighted @ residuals
    variance = (weights * residuals.square()).sum() / weights.sum().clamp_min(1e-9)
    unit = float(found.unit)
    return System(matrix / unit, way / unit, float(variance) / unit)


def locally_normalised(images: torch.Tensor, windows: Windows) -> Local:
    """Images (B, rows, columns) minus their windows' means, over their windows' deviations, 0 where nothing counts."""
    images = images - windows.mean_of_all(images)  # keeps the variance below from cancelling
    mean = windows.mean(images)
    variance = (windows.mean(images**2) - mean**2).clamp_min(0)
    floor = _FLOOR**2 * windows.mean_of_all(variance) + 1e-12
    deviation = (variance + floor).sqrt()
    return Local((images - mean) / deviation, mean, deviation)
