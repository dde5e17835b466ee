"""Bodies that are not as their CT shows them: cut off in it, bent since, or with soft tissue that moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from ..volume import Volume

_BONE_HU, _BONE_BLUR_MM = 150.0, 1.2  # denser, after smoothing, is bone; the smoothing is for low-dose CTs
_GRAIN_MM3 = 500.0  # smaller pieces are calcifications and noise
_MARROW_MM = 5.0  # gaps up to twice as wide in a shell of bone are marrow
_STILL_MM, _SEAM_MM = 2.0, 4.0  # about bone: tissue that stays with it, and the seam to tissue that moves
_FILL_MM = 8.0  # standard deviation over which soft tissue is continued into the place of bone
_SOFT_HU = -200.0
_WAVES, _WAVELENGTH_MM = 6, (150.0, 300.0)  # the shortest is about four vertebrae, so that none is bent by itself
_LONGEST_CUT = 0.9  # of the CT: a shorter CT is cut shorter, so that something is cut off from every one


@dataclass(frozen=True, eq=False)
class Patient:
    """imaged: the body that the X-ray is simulated from, in Hounsfield units. given: the CT that the registration gets.
    displaced: takes points (N, 3) of bone in the CT to where they stand in the imaged body. All in the CT's world."""

    imaged: Volume
    given: Volume
    displaced: Callable[[np.ndarray], np.ndarray] = np.asarray


@dataclass(frozen=True, eq=False)
class Tissues:
    """A CT taken apart. stays: (slices, rows, columns) 1 in bone and close about it, 0 in tissue that can move, between
    them at the seam. soft: Hounsfield units without the bones, soft tissue continued into their place."""

    stays: np.ndarray
    soft: Volume


@dataclass(frozen=True, eq=False)
class SmoothField:
    """A displacement in mm as a sum of K plane waves. waves: (K, 3) radians per mm; phases: (K,); amplitudes: (K, 3)
    mm."""

    waves: np.ndarray
    phases: np.ndarray
    amplitudes: np.ndarray

    def at(self, points: np.ndarray) -> np.ndarray:
        """Displacements (..., 3) at points (..., 3)."""
        return np.cos(points @ self.waves.T + self.phases) @ self.amplitudes


def cut_along_body(ct: Volume, length_mm: float) -> Volume:
    """The middle length_mm of a CT along the body, whose axis is the voxels' nearest to the world's third.

    The centre stays where it was, to the last digit, so that a start with the CT centred and the pose relative to it
    are those of the whole CT. At most nine tenths of a CT are kept.
    """
    axis = body_axis(ct)
    count = ct.size[axis]
    kept = min(round(length_mm / ct.spacing_mm[axis]), int(_LONGEST_CUT * count))
    kept -= (count - kept) % 2  # as much from both ends
    first, last = np.zeros(3, int), np.array(ct.size) - 1
    first[axis] = (count - kept) // 2
    last[axis] = first[axis] + kept - 1
    return ct.cropped(first, last)


def body_axis(ct: Volume) -> int:
    """0, 1 or 2: which of the voxel axes i, j, k runs along a body that lies as patients do in a CT."""
    return int(np.argmax(np.abs(ct.ijk_to_world[2, :3]) / ct.spacing_mm))


@lru_cache(maxsize=1)
def tissues(ct: Volume) -> Tissues:
    """Bone and the rest of a CT in Hounsfield units, told apart by density; contrast medium counts as bone.

    Kept for the next case of the same CT: they take longer than the rest of a case.
    """
    hu = ct.array.astype(np.float32)
    spacing = ct.spacing_mm[::-1]
    bone = ndimage.gaussian_filter(hu, _BONE_BLUR_MM / spacing) > _BONE_HU
    pieces, count = ndimage.label(bone)
    large = np.bincount(pieces.ravel(), minlength=count + 1) * np.prod(spacing) >= _GRAIN_MM3
    large[0] = False
    bone = _grown(_grown(large[pieces], _MARROW_MM, spacing), -_MARROW_MM, spacing)
    outside_mm = ndimage.distance_transform_edt(~bone, sampling=spacing) if bone.any() else np.full(hu.shape, np.inf)
    stays = np.clip((_SEAM_MM - outside_mm) / (_SEAM_MM - _STILL_MM), 0, 1).astype(np.float32)
    known = ((stays == 0) & (hu > _SOFT_HU)).astype(np.float32)
    weight = ndimage.gaussian_filter(known, _FILL_MM / spacing)
    fill = ndimage.gaussian_filter(known * hu, _FILL_MM / spacing) / np.maximum(weight, 1e-6)
    fill[weight < 1e-6] = 0.0  # deep in a thick bone nothing soft is near: water
    return Tissues(stays, Volume(np.where(stays > 0, fill, hu), ct.ijk_to_world))


def with_soft_tissue_moved(ct: Volume, apart: Tissues, shift_mm: np.ndarray) -> Volume:
    """The CT with its soft tissue moved by shift_mm (3,) in world and its bones where they were. apart: its tissues."""
    voxels = np.linalg.solve(ct.ijk_to_world[:3, :3], shift_mm)[::-1]
    moved = ndimage.shift(apart.soft.array, voxels, order=1, mode="nearest")
    return Volume(moved + apart.stays * (ct.array - moved), ct.ijk_to_world)


def random_shift(rng: np.random.Generator, least_mm: float, most_mm: float) -> np.ndarray:
    """(3,) mm: as long as between the two, in any direction alike."""
    direction = rng.standard_normal(3)
    return rng.uniform(least_mm, most_mm) * direction / np.linalg.norm(direction)


def smooth_field(ct: Volume, largest_mm: float, rng: np.random.Generator) -> SmoothField:
    """A random field of waves 150 to 300 mm long whose largest displacement within the CT is largest_mm."""
    directions = rng.standard_normal((_WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    waves = directions * (2 * np.pi / rng.uniform(*_WAVELENGTH_MM, (_WAVES, 1)))
    field = SmoothField(waves, rng.uniform(0, 2 * np.pi, _WAVES), rng.standard_normal((_WAVES, 3)))
    grid = np.stack(np.meshgrid(*[np.linspace(0, n - 1, 16) for n in ct.size], indexing="ij"), axis=-1)
    largest = np.linalg.norm(field.at(ct.points(grid)), axis=-1).max()
    return SmoothField(field.waves, field.phases, field.amplitudes * (largest_mm / largest))


def warped(ct: Volume, field: SmoothField) -> Volume:
    """The body at whose point q stands what the CT shows at q + field(q); see `warped_points`."""
    to_voxel = np.linalg.inv(ct.ijk_to_world)
    rows, columns = np.indices(ct.array.shape[1:], dtype=np.float64)
    array = np.empty(ct.array.shape, np.float32)
    for k in range(len(array)):  # slice by slice: coordinates of the whole CT take eight times its memory
        points = ct.points(np.stack([columns, rows, np.full_like(rows, k)], axis=-1))
        i, j, k_from = np.moveaxis((points + field.at(points)) @ to_voxel[:3, :3].T + to_voxel[:3, 3], -1, 0)
        array[k] = ndimage.map_coordinates(ct.array, [k_from, j, i], np.float32, order=1, mode="nearest")
    return Volume(array, ct.ijk_to_world)


def warped_points(points: np.ndarray, field: SmoothField) -> np.ndarray:
    """Where points (N, 3) of the CT stand in the body that `warped` makes of it.

    Solves q + field(q) = p by fixed-point iteration, which gains a digit or so a step where the field changes by less
    than a tenth of a millimetre per millimetre; after 30 the rounding is what is left.
    """
    stand = points
    for _ in range(30):
        stand = points - field.at(stand)
    return stand


def _grown(region: np.ndarray, by_mm: float, spacing: np.ndarray) -> np.ndarray:
    """A region grown by by_mm to all sides, or shrunk where it is negative."""
    if not region.any() or region.all():
        return region
    if by_mm >= 0:
        return ndimage.distance_transform_edt(~region, sampling=spacing) <= by_mm
    return ndimage.distance_transform_edt(region, sampling=spacing) > -by_mm
