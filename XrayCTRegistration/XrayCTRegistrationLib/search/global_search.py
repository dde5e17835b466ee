"""Global pose search: many rendered poses, each shifted to where it matches best, the best of them refined.

A shift of the CT across the central ray shifts its DRR, nearly. So only rotation and depth are sampled; the shift is
found by normalised cross-correlation with the whole fixed image at once, in Fourier space (Lewis 1995).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri

from ..geometry import Pose, rotation_from_euler
from ..levels import Level, Problem
from ..similarity import FixedImage, locally_normalised, similarity
from ..state import RegistrationState, Steps, reported
from .descent import Descended, descend
from .sobol import sobol_points

_RENDERED_AT_ONCE = 16
_FLAT_SHARE = 0.02  # of the strongest contrast in a window of the field, below which a window counts as flat
_LOCAL_SHARE = 0.5
_MATCH_PIXELS, _REFINE_PIXELS = 32, 64  # along the longest side that the views see
_POSES_A_ROUND, _MOST_ROUNDS, _REFINED_A_ROUND = 256, 6, 12
_FIRST_ITERATIONS, _LAST_ITERATIONS = 8, 20
_CONVINCING = 0.98  # a similarity that no wrong pose was seen to reach at this resolution
_AGREEING = 3  # so many refined candidates at one pose end the search
_SAME_POSE_MM, _OTHER_POSE_MM = 8.0, 40.0


@dataclass(frozen=True)
class SearchRange:
    """How far from the start the truth may be: standard deviations of the rotation about each axis of the C-arm and
    of the depth, and the largest shift across the central ray."""

    rotation_deg: float = 25.0
    depth_mm: float = 70.0
    in_plane_mm: float = 70.0

    def holds(self, motion_deg: float, motion_mm: float) -> bool:
        """Whether a pose this far from the start can be the truth: nothing beyond four deviations is, but 10 degrees
        and the largest shift across the ray always are."""
        return motion_deg <= max(4 * self.rotation_deg, 10) and motion_mm <= max(4 * self.depth_mm, self.in_plane_mm)


NEAR = SearchRange(rotation_deg=8.0, depth_mm=15.0, in_plane_mm=20.0)  # about a start that somebody gave


@dataclass(frozen=True, eq=False)
class Found:
    """A pose, its similarity, and that of the best pose that is clearly another one (None if there was none)."""

    pose: Pose
    similarity: float
    runner_up: float | None


def global_search(problem: Problem, span: SearchRange, seed: int) -> Steps[Found]:
    """The start refined, then rounds of many poses matched and the best of them refined, until one is convincing or
    is found repeatedly."""
    extent_mm = problem.extent_mm(problem.start)
    pixel_mm = extent_mm / _MATCH_PIXELS
    matching = problem.level(problem.start, pixel_mm, 1.6 * pixel_mm, span.in_plane_mm)
    pixel_mm = extent_mm / _REFINE_PIXELS
    refining = problem.level(problem.start, pixel_mm, 2 * pixel_mm, span.in_plane_mm)
    pool: list[Descended] = []
    best = yield from _held(problem, refining, span, problem.start, _LAST_ITERATIONS, 0.0, None)
    for number in range(_MOST_ROUNDS):
        progress = number / _MOST_ROUNDS
        if best.similarity > _CONVINCING:
            break
        candidates = matched(matching, problem, sampled_poses(problem, span, seed, number), span)
        for ranked in candidates:  # noqa: B007
            yield RegistrationState("search", progress, best.pose, best.similarity)
        for candidate, _ in ranked[:_REFINED_A_ROUND]:
            refined = yield from _held(problem, refining, span, candidate, _FIRST_ITERATIONS, progress, best)
            pool.append(refined)
            best = max(best, refined, key=lambda one: one.similarity)
        best = yield from _held(problem, refining, span, best.pose, _LAST_ITERATIONS, progress, best)
        if sum(problem.distance_mm(one.pose, best.pose) < _SAME_POSE_MM for one in pool) >= _AGREEING:
            break
    others = [one.similarity for one in pool if problem.distance_mm(one.pose, best.pose) > _OTHER_POSE_MM]
    return Found(best.pose, best.similarity, max(others, default=None))


def _held(
    problem: Problem,
    level: Level,
    span: SearchRange,
    pose: Pose,
    iterations: int,
    progress: float,
    best: Descended | None,
) -> Steps[Descended]:
    """A pose after a short descent, or as it was where that leaves the range; the states show the best of all."""
    shown, value = (best.pose, best.similarity) if best else (pose, -1.0)
    steps = descend(level, pose, problem.center(pose), iterations, 1e-5)
    end = yield from reported(steps, "search", progress, shown, value)
    if span.holds(*problem.motion(end.pose)):
        return end
    if best is not None and best.pose is pose:
        return best
    return (yield from reported(descend(level, pose, problem.center(pose), 0), "search", progress, shown, value))


def sampled_poses(
    problem: Problem, span: SearchRange, seed: int, number: int = 0, count: int = _POSES_A_ROUND
) -> list[Pose]:
    """Round `number` of poses about the start, turned and moved in depth by a normal distribution, quasi-random
    (Sobol)."""
    axes, center = problem.views[0].axes, problem.center(problem.start)
    last = (number + 1) * count
    uniform = sobol_points(last, seed)[last - count :]
    normal = ndtri(np.clip(uniform, 1e-6, 1 - 1e-6))
    poses = []
    for *turns, depth in normal:
        turn = axes @ rotation_from_euler(np.radians(span.rotation_deg) * np.array(turns)) @ axes.T
        poses.append(Pose.about(center, turn, span.depth_mm * depth * axes[:, 2]) @ problem.start)
    return poses


def matched(level: Level, problem: Problem, poses: list[Pose], span: SearchRange) -> Iterator[list[tuple[Pose, float]]]:
    """Every pose moved to where its DRRs match all views best, with its similarity there.

    One view leaves the depth as it was. Several views fix all three components of the shift by least squares.
    Yields after every few poses what there is so far, the best first.
    """
    results: list[tuple[Pose, float]] = []
    templates = [_Template(fixed, span.in_plane_mm, problem.center(problem.start)) for fixed in level.fixed]
    for first in range(0, len(poses), _RENDERED_AT_ONCE):
        batch = poses[first : first + _RENDERED_AT_ONCE]
        matrices = torch.from_numpy(np.stack([pose.matrix for pose in batch]))
        shifts = [template.best_shifts(level.projector.images(matrices, template.field)) for template in templates]
        moved = []
        for index, pose in enumerate(batch):
            rows, right = [], []
            for fixed, shift in zip(level.fixed, shifts):
                size = fixed.view.millimetres_per_pixel_at(problem.center(pose))
                rows.append(fixed.view.axes[:, :2].T)
                right.append(-shift[index] * size)
            shift_mm = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=1e-6)[0]
            moved.append(Pose.from_parts(np.eye(3), shift_mm) @ pose)
        matrices = torch.from_numpy(np.stack([pose.matrix for pose in moved]))
        values = sum(similarity(fixed, level.projector.images(matrices, fixed.view)) for fixed in level.fixed)
        results.extend(zip(moved, (values / len(level.fixed)).tolist()))
        results.sort(key=lambda item: -item[1])
        yield results


class _Template:
    """A fixed image, ready to be sought in DRRs of a field that is larger on every side."""

    def __init__(self, fixed: FixedImage, reach_mm: float, center: np.ndarray) -> None:
        columns, rows = fixed.view.size_px
        reach_px = np.ceil(reach_mm / fixed.view.millimetres_per_pixel_at(center)).astype(int)
        self._reach = (int(reach_px[0]), int(reach_px[1]))
        self._window_px = fixed.window_px
        size = (columns + 2 * self._reach[0], rows + 2 * self._reach[1])
        self.field = fixed.view.cropped((-self._reach[0], -self._reach[1]), size)
        self._shape = size[::-1]
        self._bands = [self._transformed(band[0] * fixed.weights.sqrt()).conj() for band in fixed.bands]
        self._window = self._transformed(fixed.weights).conj()
        self._total = fixed.weights.sum()

    def best_shifts(self, images: torch.Tensor) -> np.ndarray:
        """(B, 2) pixels, along columns and rows, by which the match stands off the fixed image in DRRs of the field."""
        everywhere = torch.ones(self._shape, dtype=images.dtype, device=images.device)
        local, _ = locally_normalised(images, everywhere, self._window_px)
        score = sum(
            share * self._correlation(moving, band)
            for share, moving, band in zip((1 - _LOCAL_SHARE, _LOCAL_SHARE), (images, local), self._bands)
        )
        columns = score.shape[-1]
        best = score.flatten(1).argmax(dim=1).cpu().numpy()
        return np.stack([best % columns - self._reach[0], best // columns - self._reach[1]], axis=1)

    def _correlation(self, moving: torch.Tensor, band: torch.Tensor) -> torch.Tensor:
        """Normalised cross-correlations (B, 2 reach + 1, 2 reach + 1) of every shift."""
        moving = moving - moving.mean(dim=(-2, -1), keepdim=True)
        spectrum = self._transformed(moving)
        mean = self._back(spectrum * self._window) / self._total
        variance = self._back(self._transformed(moving**2) * self._window) / self._total - mean**2
        floor = _FLAT_SHARE * variance.amax(dim=(-2, -1), keepdim=True) + 1e-12
        return self._back(spectrum * band) / (variance.clamp_min(0) + floor).sqrt()

    def _transformed(self, images: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft2(images, s=self._shape)

    def _back(self, spectrum: torch.Tensor) -> torch.Tensor:
        columns, rows = self._reach
        return torch.fft.irfft2(spectrum, s=self._shape)[..., : 2 * rows + 1, : 2 * columns + 1]
