"""Pose from landmarks: points of the CT and where X-rays show them (the perspective-n-point problem).

For a given rotation the best translation follows in closed form: every ray through the source gives two linear
equations. So only rotations need to be searched: from many of them, each with its translation, a least-squares fit of
the landmarks' distances from their rays runs to its minimum, and the best minimum is the pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from .errors import InputError
from .geometry import Pose, XrayView

LEAST_LANDMARKS = 4
_FLAT_SHARE = 0.02  # of the landmarks' extent: less across their longest line, and they are on a line
_REFINED = 16  # of the starting rotations
_SAME_DEG, _AMBIGUOUS = 10.0, 1.5  # another pose, this far away, whose error is less than this many times as large
_LEAST_ERROR_MM = 0.5  # nobody places landmarks better


@dataclass(frozen=True, eq=False)
class Sighting:
    """One view's landmarks.

    indices: which landmarks of the CT. pixels: (N, 2) where they are seen, as (column, row).
    """

    view: XrayView
    indices: tuple[int, ...]
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class LandmarkPose:
    """pose: ct_to_world. errors_mm: per sighting, (N,) distances of landmarks from their rays, about at the isocentre.
    ambiguous: whether a clearly different pose fits nearly as well, as with few landmarks in one plane."""

    pose: Pose
    errors_mm: tuple[np.ndarray, ...]
    ambiguous: bool

    @property
    def rms_mm(self) -> float:
        return float(np.sqrt(np.mean(np.concatenate(self.errors_mm) ** 2)))


def pose_from_landmarks(points: np.ndarray, sightings: Sequence[Sighting]) -> LandmarkPose:
    """The pose under which landmarks of a CT, (N, 3) in its own world, project onto those of all views.

    Raises InputError when there are fewer than four pairs, when they lie on a line, or when no pose puts them all
    before the sources.
    """
    points = np.asarray(points, dtype=np.float64)
    used = sorted({index for sighting in sightings for index in sighting.indices})
    pairs = sum(len(sighting.indices) for sighting in sightings)
    if len(used) < LEAST_LANDMARKS:
        raise InputError(
            f"{len(used)} landmarks are paired between CT and X-ray, a pose takes at least {LEAST_LANDMARKS}. "
            "Place more of them, on the CT and on the X-ray."
        )
    extents = np.linalg.svd(points[used] - points[used].mean(axis=0), compute_uv=False)
    if extents[1] < _FLAT_SHARE * extents[0] or extents[0] == 0:
        raise InputError("The landmarks lie on a line, so the rotation about it is not known. Place some beside it.")
    centroid = points[used].mean(axis=0)
    rays = _Rays(points - centroid, sightings)
    starts = [rays.with_translation(rotation) for rotation in _rotations()]
    starts.sort(key=lambda parameters: float(np.sum(rays.residuals(parameters) ** 2)))
    fits = [least_squares(rays.residuals, start, method="lm") for start in _distinct(starts)]
    fits = sorted((fit for fit in fits if rays.all_before_source(fit.x)), key=lambda fit: fit.cost)
    if not fits:
        raise InputError("No pose puts the landmarks between source and detector. Check their order in CT and X-ray.")
    best = fits[0].x
    floor = pairs * _LEAST_ERROR_MM**2 / 2
    other = [fit for fit in fits if _angle_deg(fit.x, best) > _SAME_DEG]
    ambiguous = bool(other) and max(other[0].cost, floor) < _AMBIGUOUS**2 * max(fits[0].cost, floor)
    rotation = Rotation.from_rotvec(best[:3]).as_matrix()
    pose = Pose.from_parts(rotation, best[3:] - rotation @ centroid)
    return LandmarkPose(pose, landmark_errors_mm(pose, points, sightings), ambiguous)


def landmark_errors_mm(pose: Pose, points: np.ndarray, sightings: Sequence[Sighting]) -> tuple[np.ndarray, ...]:
    """Per sighting, (N,) distances at a pose between where landmarks are seen and where they project, carried back
    from the detector to each landmark's depth, mm."""
    errors = []
    for sighting in sightings:
        view = sighting.view
        pixels, depths = view.project_points(pose.apply(np.asarray(points)[list(sighting.indices)]))
        scale = view.pixel_spacing_mm * (depths / view.source_to_detector_mm)[:, None]
        errors.append(np.linalg.norm((pixels - sighting.pixels) * scale, axis=1))
    return tuple(errors)


class _Rays:
    """Rays of all sightings, and how far landmarks of a pose (rotation vector, translation) stand from them."""

    def __init__(self, points: np.ndarray, sightings: Sequence[Sighting]) -> None:
        self._points = np.concatenate([points[list(sighting.indices)] for sighting in sightings])
        self._sources = np.concatenate(
            [np.tile(sighting.view.source, (len(sighting.indices), 1)) for sighting in sightings]
        )
        ends = np.concatenate([sighting.view.detector_points(np.asarray(sighting.pixels)) for sighting in sightings])
        self._directions = (ends - self._sources) / np.linalg.norm(ends - self._sources, axis=1, keepdims=True)
        self._across = np.eye(3) - self._directions[:, :, None] * self._directions[:, None, :]  # (N, 3, 3)

    def residuals(self, parameters: np.ndarray) -> np.ndarray:
        """(3 N,) vectors from the rays to the landmarks, mm."""
        carried = Rotation.from_rotvec(parameters[:3]).apply(self._points) + parameters[3:]
        return np.einsum("nij,nj->ni", self._across, carried - self._sources).ravel()

    def with_translation(self, rotation: Rotation) -> np.ndarray:
        """A rotation with the translation (closed form) that fits it best."""
        wanted = self._sources - rotation.apply(self._points)
        right = np.einsum("nij,nj->i", self._across, wanted)
        translation = np.linalg.lstsq(self._across.sum(axis=0), right, rcond=None)[0]
        return np.concatenate([rotation.as_rotvec(), translation])

    def all_before_source(self, parameters: np.ndarray) -> bool:
        carried = Rotation.from_rotvec(parameters[:3]).apply(self._points) + parameters[3:]
        return bool((np.einsum("ni,ni->n", carried - self._sources, self._directions) > 0).all())


def _rotations() -> list[Rotation]:
    """Rotations at most some 30 degrees from any other: the 24 of the cube, and those turned by 45 degrees."""
    cube = Rotation.create_group("O")
    turned = [Rotation.from_euler(axis, 45, degrees=True) * cube for axis in "xyz"]
    tilted = Rotation.from_rotvec(np.radians(60) * np.ones(3) / np.sqrt(3)) * cube
    return list(Rotation.concatenate([cube, *turned, tilted]))


def _distinct(starts: list[np.ndarray]) -> list[np.ndarray]:
    """The first starts that are not near one before."""
    chosen: list[np.ndarray] = []
    for start in starts:
        if all(_angle_deg(start, one) > _SAME_DEG for one in chosen):
            chosen.append(start)
        if len(chosen) == _REFINED:
            break
    return chosen


def _angle_deg(first: np.ndarray, second: np.ndarray) -> float:
    turn = Rotation.from_rotvec(first[:3]) * Rotation.from_rotvec(second[:3]).inv()
    return float(np.degrees(turn.magnitude()))
