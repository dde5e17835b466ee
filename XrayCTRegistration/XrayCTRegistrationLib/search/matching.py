"""Rendered poses sought in the X-rays: where, and how far away, each matches best.

A shift of the CT across the central ray shifts its DRR, nearly, and a shift along it scales the DRR. So only rotations
are rendered; shifts are found by normalised cross-correlation with the whole X-ray at once, in Fourier space, with
masks on both sides (Padfield 2012), and depths by doing so with the X-ray at several scales.

What is correlated is the orientation of gradients, each of which counts at most 1, so that nothing opaque decides
(after De Silva et al. 2016): p q (cos D + cos 2D), with D the angle between two, and p, q how far each stands out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch

from ..geometry import Pose
from ..levels import Level
from ..similarity import FixedImage
from ..windows import window_mean

_RENDERED_AT_ONCE = 8
_LEAST_OVERLAP = 0.3  # of the CT's footprint, at a shift that counts
_STANDS_OUT = 0.7  # of the root mean square gradient, from which a gradient counts in full
_FLAT = 1e-3  # of the footprint: sums of squares below it are of images without structure
_DEPTH_TRUST = 0.1  # of a depth from its scale beside a shift, where several views tell of the same motion


# Spectra of weighted vectors (4, B, rows, columns), of their weighted squares and of the weights (B, ...).
_Drawn = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Match:
    """A pose moved to where it matches, and its correlation there, -1 to 1."""

    pose: Pose
    correlation: float


class Matcher:
    """The X-rays of a level, ready for poses to be sought in them. `matcher_steps` makes it."""

    def __init__(self, templates: Sequence[_Template]) -> None:
        self._templates = templates

    def matched(self, poses: Sequence[Pose]) -> Iterator[list[Match]]:
        """Every pose, moved to where its DRRs match all views best, the best first, as far as matched yet; yields after
        every few. Several views fix the shift by least squares."""
        for (results,) in matched_together([self], poses):
            yield results

    def drawn(self, poses: Sequence[Pose]) -> list[_Drawn]:
        """The DRRs of poses, of every view, as they are sought."""
        return [template.drawn(poses) for template in self._templates]

    def matches(self, poses: Sequence[Pose], drawn: Sequence[_Drawn]) -> list[Match]:
        """The poses, whose DRRs were drawn, moved to where these match."""
        rows = np.concatenate([template.trusted_axes for template in self._templates])
        found = [template.best(one) for template, one in zip(self._templates, drawn)]
        correlations = np.mean([values for _, values in found], axis=0)
        results = []
        for index, pose in enumerate(poses):
            right = [shifts[index] * template.trust for template, (shifts, _) in zip(self._templates, found)]
            shift_mm = np.linalg.lstsq(rows, np.concatenate(right), rcond=1e-6)[0]
            results.append(Match(Pose.from_parts(np.eye(3), shift_mm) @ pose, float(correlations[index])))
        return results


def matched_together(matchers: Sequence[Matcher], poses: Sequence[Pose]) -> Iterator[list[list[Match]]]:
    """As `Matcher.matched`, of several matchers at once: their X-rays are the same, read otherwise, so that they share
    the DRRs."""
    results: list[list[Match]] = [[] for _ in matchers]
    for first in range(0, len(poses), _RENDERED_AT_ONCE):
        batch = poses[first : first + _RENDERED_AT_ONCE]
        drawn = matchers[0].drawn(batch)
        for matcher, found in zip(matchers, results):
            found += matcher.matches(batch, drawn)
            found.sort(key=lambda match: -match.correlation)
        yield results


def matcher_steps(
    level: Level, center: np.ndarray, reach_mm: float, depths_mm: Sequence[float]
) -> Generator[None, None, Matcher]:
    """A matcher of a level's X-rays, with pauses.

    center: (3,) where the poses will hold the CT's isocentre. reach_mm: how far across the rays it may stand off.
    depths_mm: along the rays, that are tried.
    """
    templates = []
    for fixed in level.fixed:
        template = _Template(level, fixed, center, reach_mm, depths_mm)
        for _ in template.prepare(fixed):
            yield
        templates.append(template)
    return Matcher(templates)


class _Template:
    """A fixed image at several scales, ready to be sought in DRRs of a field that is larger on every side.

    With f and m the vectors of `_orientations` and w, v the weights of X-ray and DRR, the correlation at every shift is
    sum wf.vm / sqrt(sum |wf|^2 v sum w |vm|^2).
    """

    def __init__(
        self, level: Level, fixed: FixedImage, center: np.ndarray, reach_mm: float, depths_mm: Sequence[float]
    ) -> None:
        self._level = level
        self.trust = np.array([1.0, 1.0, _DEPTH_TRUST])
        self.trusted_axes = self.trust[:, None] * fixed.view.axes.T
        self._pixel_mm = fixed.view.millimetres_per_pixel_at(center)
        middle, depths = fixed.view.project_points(center)
        self._depth_mm, self._middle = float(depths), middle
        self._scales = 1 + np.array(depths_mm) / self._depth_mm  # of the X-ray: a CT farther away is seen larger again
        reach_px = np.ceil(reach_mm / self._pixel_mm).astype(int)
        size = np.array(fixed.view.size_px)
        first = np.floor(middle + self._scales.max() * (0 - middle)).astype(int) - reach_px
        last = np.ceil(middle + self._scales.max() * (size - 1 - middle)).astype(int) + reach_px
        self._first, self._reach = first, reach_px
        self._field = fixed.view.cropped((int(first[0]), int(first[1])), tuple(int(n) for n in last - first + 1))
        self._shape = tuple(scipy.fft.next_fast_len(side, real=True) for side in self._field.size_px[::-1])
        self._expected = fixed.footprint_px
        self._scaled: list[_Drawn] = []

    def prepare(self, fixed: FixedImage) -> Iterator[None]:
        """Make the spectra that are sought, with pauses."""
        for scale in self._scales:
            self._scaled.append(self._magnified(fixed, scale))
            yield

    def drawn(self, poses: Sequence[Pose]) -> _Drawn:
        """DRRs of poses (B), as they are sought in the X-ray."""
        return self._spectra(*_orientations(*self._level.drawn(poses, self._field)))

    def best(self, drawn: _Drawn) -> tuple[np.ndarray, np.ndarray]:
        """Shifts (B, 3) in mm, along columns, rows and depth, that carry poses to where their DRRs match, and the
        correlations (B,) there."""
        image, square, believed = drawn
        values = torch.full((len(square),), -2.0)
        shifts = np.zeros((len(square), 3))
        for scale, (sought_image, sought_square, sought_weights) in zip(self._scales, self._scaled):
            product = self._back((image * sought_image).sum(dim=0))
            moving, fixed = self._back(square * sought_weights), self._back(believed * sought_square)
            overlap, expected = self._back(believed * sought_weights), self._expected * scale**2
            floor = _FLAT * expected
            score = product / ((moving.clamp_min(0) + floor) * (fixed.clamp_min(0) + floor)).sqrt()
            score = torch.where(overlap >= _LEAST_OVERLAP * expected, score, -1.0)
            top, place = (one.cpu() for one in score.flatten(1).max(dim=1))
            columns = score.shape[-1]
            for index in torch.nonzero(top > values).flatten().tolist():
                values[index] = top[index]
                off_px = np.array([int(place[index]) % columns, int(place[index]) // columns]) - self._reach
                shifts[index] = [*(-off_px * self._pixel_mm * scale), (scale - 1) * self._depth_mm]
        return shifts, values.numpy()

    def _magnified(self, fixed: FixedImage, scale: float) -> _Drawn:
        """Conjugate spectra of the X-ray magnified about the CT's isocentre."""
        columns, rows = self._field.size_px - 2 * self._reach
        origin = self._first + self._reach
        at = [
            (torch.arange(count) + start - middle) / scale + middle
            for count, start, middle in zip((columns, rows), origin, self._middle)
        ]
        grid = torch.stack(
            torch.meshgrid(
                *(2 * one / (size - 1) - 1 for one, size in zip(at[::-1], fixed.line_integrals.shape)), indexing="ij"
            )[::-1],
            dim=-1,
        ).float()
        both = torch.stack([fixed.line_integrals * fixed.weights, fixed.weights])[None].cpu()
        sampled = torch.nn.functional.grid_sample(both, grid[None], align_corners=True)[0]
        weights = torch.where(sampled[1] > 0.5, sampled[1], 0.0).to(fixed.weights)
        image = (sampled[0] / sampled[1].clamp_min(1e-6)).to(fixed.weights)
        vectors, weights = _orientations(image[None], weights[None])
        image, square, believed = self._spectra(vectors, weights)
        return image.conj(), square.conj(), believed.conj()

    def _spectra(self, vectors: torch.Tensor, weights: torch.Tensor) -> _Drawn:
        parts = weights * vectors, weights * vectors.square().sum(dim=0), weights
        return tuple(torch.fft.rfft2(part, s=self._shape) for part in parts)

    def _back(self, spectrum: torch.Tensor) -> torch.Tensor:
        """The part of the inverse transform that is within reach; most of it is not, and is left out half way."""
        columns, rows = self._reach
        down = torch.fft.ifft(spectrum, dim=-2)[..., : 2 * rows + 1, :]
        return torch.fft.irfft(down, n=self._shape[1], dim=-1)[..., : 2 * columns + 1]


def _orientations(images: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of images (B, rows, columns) as vectors (4, B, rows, columns), the unit vectors of their angle and of
    twice that, as long as they stand out, 1 at most; and the weights where all neighbours count too."""
    around = (images * weights).sum(dim=(-2, -1), keepdim=True) / weights.sum(dim=(-2, -1), keepdim=True).clamp_min(1.0)
    padded = torch.nn.functional.pad(torch.where(weights > 0, images, around), (1, 1, 1, 1), mode="replicate")
    across, down = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    inner = weights * (window_mean((weights <= 0).to(weights), 1) <= 0)
    squares = across.square() + down.square()
    typical = (squares * inner).sum(dim=(-2, -1), keepdim=True) / inner.sum(dim=(-2, -1), keepdim=True).clamp_min(1.0)
    length = squares.sqrt().clamp_min(1e-12)
    prominence = (length / (_STANDS_OUT * typical.sqrt()).clamp_min(1e-12)).clamp_max(1)
    cosine, sine = across / length, down / length
    once_and_twice = torch.stack([cosine, sine, cosine.square() - sine.square(), 2 * cosine * sine])
    return prominence * once_and_twice, inner
