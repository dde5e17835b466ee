"""Anatomies to train on: real CTs, the same ones deformed, and invented spines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import map_coordinates, zoom

from ..evaluation.bodies import Patient
from ..evaluation.protocol import nearest_motion
from ..geometry import Pose
from ..hounsfield import AIR_HU
from ..io.volumes import read_ct
from ..metrics import bone_points
from ..networks.interface import VOXEL_MM
from ..phantom import synthetic_spine
from ..phantom.shapes import capsule
from ..projector import Projector, VolumeTensor, projector_for
from ..volume import Volume, attenuation, prepared
from ..weights import Extent
from .differing import AS_SCANNED, Differing, different

_BONE_HU = 150.0
_METAL_HU = 4000.0
_DEFORMED, _MIRRORED, _WITH_METAL = 0.8, 0.3, 0.15  # shares of the anatomies
_KNOTS, _BEND_MM = 5, 6.0  # of the elastic deformation: knots along each axis, standard deviation of their shifts
_SCALES, _STRETCHES = (0.85, 1.15), (0.93, 1.07)  # of all axes alike, and of each for itself
_CURVE_MM = 8.0  # standard deviation of how far the spine's middle is carried to each side of its ends


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A CT as training sees it. name: where it comes from. fixed: draws X-rays of the body, which may differ from the
    CT. moving: the CT's attenuation (1, slices, rows, columns) per mm, coarser, whole or bone alone. isocenter: (3,) of
    the CT in its own world. extent: what the CT holds of the body. imaged_to_ct: brings the body's bones nearest to
    where the CT has them."""

    name: str
    fixed: Projector
    moving: VolumeTensor
    isocenter: np.ndarray
    extent: Extent
    imaged_to_ct: Pose


@dataclass(frozen=True)
class Source:
    """Where anatomies come from.

    ct_paths: files or folders as `read_ct` takes them; synthetic_share: of the anatomies, are invented (all of them
    without a CT). xray_voxel_mm, voxel_mm: of the CT that X-rays are made of, and of the moving volume; bone_only:
    whether the latter holds bone alone. varied: False for CTs as they are, as one patient's adaptation wants them.
    differing: how the bodies that X-rays show differ from the CTs.
    """

    ct_paths: tuple[str, ...]
    synthetic_share: float = 0.2
    xray_voxel_mm: float = 2.0
    voxel_mm: float = VOXEL_MM
    bone_only: bool = False
    varied: bool = True
    differing: Differing = AS_SCANNED


class AnatomyPool:
    """`slots` anatomies that take turns, each replaced by a new one after `lifetime` steps.

    What is in a slot depends on the seed and the step alone, so that a resumed training sees what it would have seen.
    """

    def __init__(self, source: Source, seed: int, device: torch.device, slots: int = 8, lifetime: int = 240) -> None:
        self._source, self._seed, self._device = source, seed, device
        self._slots, self._lifetime = slots, lifetime
        self._held: dict[int, tuple[int, Anatomy]] = {}

    def at(self, step: int) -> Anatomy:
        """The anatomy of a training step."""
        slot = step % self._slots
        generation = (step + slot * self._lifetime // self._slots) // self._lifetime  # not all change at once
        if slot not in self._held or self._held[slot][0] != generation:
            rng = np.random.default_rng([self._seed, slot, generation])
            self._held[slot] = (generation, drawn_anatomy(self._source, rng, self._device))
        return self._held[slot][1]


def drawn_anatomy(source: Source, rng: np.random.Generator, device: torch.device) -> Anatomy:
    """A random anatomy."""
    if not source.ct_paths or rng.random() < source.synthetic_share:
        seed = int(rng.integers(2**31))
        name, volume = f"synthetic spine {seed}", synthetic_spine(seed, source.xray_voxel_mm)
    else:
        path = source.ct_paths[rng.integers(len(source.ct_paths))]
        name, volume = Path(path).name, _coarse_ct(path, source.xray_voxel_mm)
    if source.varied:
        volume = varied(volume, rng)
    patient = different(volume, source.differing, rng)
    return anatomy_of(name, patient.given, source.voxel_mm, source.bone_only, device, patient)


def unvaried_anatomy(path: Path, device: torch.device) -> Anatomy:
    """The CT of a file or folder as it is, at the resolutions of training."""
    volume = _coarse_ct(str(path), Source.xray_voxel_mm)
    return anatomy_of(path.name, volume, Source.voxel_mm, Source.bone_only, device)


def anatomy_of(
    name: str, ct: Volume, voxel_mm: float, bone_only: bool, device: torch.device, patient: Patient | None = None
) -> Anatomy:
    """A CT in Hounsfield units, ready to train or to validate on. patient: whom X-rays show; None: as the CT does."""
    patient = patient or Patient(ct, ct)
    points = bone_points(ct)
    moving = Volume(np.where(ct.array > _BONE_HU, ct.array, AIR_HU), ct.ijk_to_world) if bone_only else ct
    coarse = attenuation(moving).downsampled(ct.factors_to(voxel_mm))
    values = torch.from_numpy(np.ascontiguousarray(coarse.array))[None].to(device)
    fixed = projector_for(attenuation(patient.imaged), str(device))
    back = nearest_motion(points, patient.displaced(points)).inverse()
    return Anatomy(name, fixed, VolumeTensor(values, coarse.ijk_to_world), ct.center, Extent.of(attenuation(ct)), back)


def varied(ct: Volume, rng: np.random.Generator) -> Volume:
    """A CT in Hounsfield units, perhaps mirrored, bent and scaled, perhaps with implants; as large as before."""
    array = np.asarray(ct.array, dtype=np.float32)
    if rng.random() < _MIRRORED:
        array = array[:, :, ::-1]
    if rng.random() < _DEFORMED:
        array = deformed(array, ct.spacing_mm, rng)
    result = Volume(np.ascontiguousarray(array), ct.ijk_to_world)
    return with_metal(result, rng) if rng.random() < _WITH_METAL else result


def deformed(array: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An array (slices, rows, columns) of a lying body, its spine curved, bent by a smooth random field, and scaled by
    up to a fifth along each axis."""
    middle = (np.array(array.shape) - 1) / 2
    scale = rng.uniform(*_SCALES) * rng.uniform(*_STRETCHES, 3)
    coordinates = np.indices(array.shape, dtype=np.float32)
    along = np.linspace(-1, 1, array.shape[0], dtype=np.float32)[:, None, None]
    for axis in (1, 2):
        coordinates[axis] += np.float32(rng.normal(0, _CURVE_MM / spacing_mm[::-1][axis])) * (along**2 - 0.5)
    for axis, spacing in enumerate(spacing_mm[::-1]):
        knots = rng.normal(0, _BEND_MM / spacing, (_KNOTS,) * 3)
        factors = np.array(array.shape) / _KNOTS
        bend = zoom(knots.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)
        coordinates[axis] = middle[axis] + (coordinates[axis] - middle[axis]) * np.float32(scale[axis]) + bend
    return map_coordinates(array, coordinates, order=1, mode="nearest")


def with_metal(ct: Volume, rng: np.random.Generator) -> Volume:
    """A CT in Hounsfield units with one to six metal rods or screws near its middle, each within a box of its own."""
    array = ct.array.copy()
    half = ct.spacing_mm * (np.array(ct.size) - 1) / 2
    axes = [np.linspace(-h, h, n, dtype=np.float32) for h, n in zip(half, ct.size)]
    for _ in range(rng.integers(1, 7)):
        middle = rng.uniform(-0.4, 0.4, 3) * half
        along = rng.standard_normal(3)
        along *= rng.uniform(15, 60) / 2 / np.linalg.norm(along)
        radius = rng.uniform(2, 4)
        x, y, z = (axis - c for axis, c in zip(axes, middle))
        where = tuple(np.abs(a) <= abs(step) + radius for a, step in zip((z, y, x), along[::-1]))
        points = (x[where[2]][None, None, :], y[where[1]][None, :, None], z[where[0]][:, None, None])
        box = np.ix_(*where)
        array[box] = np.where(capsule(points, -along, along, (radius, radius)) < 0, _METAL_HU, array[box])
    return Volume(array, ct.ijk_to_world)


@lru_cache(maxsize=64)
def _coarse_ct(path: str, voxel_mm: float) -> Volume:
    ct = prepared(read_ct(path))
    return ct.downsampled(ct.factors_to(voxel_mm))
