"""CT volumes: Hounsfield units to attenuation, cropping, and the resolution pyramid."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from .block_means import block_counts, planes_of_block_means
from .body_box import body_box_steps
from .errors import InputError
from .hounsfield import check_values
from .state import finished

WATER_ATTENUATION_PER_MM = 0.0206  # at 60 keV, NIST XCOM: 0.2059 cm2/g
_MAX_VOXELS = 20_000_000  # a little more than 256^3

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3D image and where it stands.

    array: (slices, rows, columns), indexed [k, j, i], of Hounsfield units or of attenuation per mm.
    ijk_to_world: 4x4 taking voxel indices (i, j, k, 1) to the CT's own world in mm; oblique, flipped and anisotropic
        volumes are normal. Voxel centres are at integer indices.
    """

    array: np.ndarray
    ijk_to_world: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.array(self.ijk_to_world, dtype=np.float64)
        if self.array.ndim != 3 or min(self.array.shape) < 1:
            raise InputError(f"The CT is not a 3D image: its shape is {self.array.shape}.")
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
            raise InputError("The CT's voxel spacing or orientation is not usable: its matrix cannot be inverted.")
        matrix.setflags(write=False)
        object.__setattr__(self, "ijk_to_world", matrix)

    @property
    def size(self) -> tuple[int, int, int]:
        """(columns, rows, slices)."""
        return self.array.shape[::-1]

    @property
    def spacing_mm(self) -> np.ndarray:
        return np.linalg.norm(self.ijk_to_world[:3, :3], axis=0)

    @property
    def center(self) -> np.ndarray:
        """(3,) the middle of the volume in its own world, mm: the CT's isocentre."""
        return self.points((np.array(self.size) - 1) / 2)

    def points(self, indices: np.ndarray) -> np.ndarray:
        """World points (..., 3) of voxel indices (..., 3) given as (i, j, k)."""
        return indices @ self.ijk_to_world[:3, :3].T + self.ijk_to_world[:3, 3]

    def corners(self) -> np.ndarray:
        """(8, 3) outer corners of the corner voxels, mm."""
        ends = [(-0.5, size - 0.5) for size in self.size]
        return self.points(np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, 8).T)

    def cropped(self, first: np.ndarray, last: np.ndarray) -> Volume:
        """The voxels from `first` up to and including `last`, both (i, j, k); the world stays where it was."""
        (i0, j0, k0), (i1, j1, k1) = (np.asarray(end, dtype=int) for end in (first, last))
        shift = np.eye(4)
        shift[:3, 3] = i0, j0, k0
        return Volume(self.array[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1], self.ijk_to_world @ shift)

    def factors_to(self, voxel_mm: float) -> tuple[int, int, int]:
        """How many voxels (i, j, k) make blocks of about voxel_mm; one where the volume is coarser already."""
        i, j, k = (max(1, round(voxel_mm / float(spacing))) for spacing in self.spacing_mm)
        return i, j, k

    def downsampled(self, factors: tuple[int, int, int]) -> Volume:
        """Means of blocks of factors (i, j, k) voxels, float32; incomplete blocks at the end are filled with edges."""
        return finished(self.downsampled_steps(factors))

    def downsampled_steps(
        self, factors: tuple[int, int, int], part: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> Generator[None, None, Volume]:
        """As `downsampled`, with pauses. part: what is taken of every voxel of a float32 volume before."""
        if tuple(factors) == (1, 1, 1) and part is None:
            return Volume(np.asarray(self.array, dtype=np.float32), self.ijk_to_world)
        array = np.empty(block_counts(self.array.shape, factors[::-1]), np.float32)
        for plane, means in zip(array, planes_of_block_means(self.array, factors[::-1], part)):
            plane[:] = means
            yield
        return Volume(array, self._placement_of_blocks(factors))

    def _placement_of_blocks(self, factors: tuple[int, int, int]) -> np.ndarray:
        """ijk_to_world of blocks of factors (i, j, k) voxels."""
        to_fine = np.diag([*factors, 1.0]).astype(np.float64)
        to_fine[:3, 3] = (np.array(factors) - 1) / 2
        return self.ijk_to_world @ to_fine


def check_hounsfield(volume: Volume, where: str = "The CT") -> None:
    """Raise InputError unless the values can be Hounsfield units."""
    check_values(volume.array, where)


def attenuation(volume: Volume) -> Volume:
    """Linear attenuation per mm of a CT in Hounsfield units: water (1 + HU / 1000), never negative; float32."""
    return Volume(per_mm(volume.array), volume.ijk_to_world)


def prepared(volume: Volume, max_voxels: int = _MAX_VOXELS) -> Volume:
    """The CT as registration uses it: cropped to what is not air, and coarsened where it is larger than max_voxels.

    Returns Hounsfield units; says in the log what was changed. Raises InputError as `check_hounsfield` does.
    """
    return coarsened(cropped_to_body(volume), max_voxels)


def prepared_attenuation(volume: Volume, max_voxels: int = _MAX_VOXELS) -> Generator[object, None, Volume]:
    """As `attenuation(prepared(volume))`, plane by plane: yields after every few milliseconds, returns the volume.

    Of a large CT nothing but the result is held beside it.
    """
    body = yield from _body_steps(volume)
    factors = _fitting_factors(body, max_voxels)
    array = np.empty(block_counts(body.array.shape, factors[::-1]), np.float32)
    for plane, means in zip(array, planes_of_block_means(body.array, factors[::-1])):
        plane[:] = per_mm(means)
        yield None
    return Volume(array, body._placement_of_blocks(factors))


def cropped_to_body(volume: Volume) -> Volume:
    """The box (Hounsfield units) around everything denser than air, without a copy; the log says what was cut off.

    Raises InputError as `check_hounsfield` does.
    """
    return finished(_body_steps(volume))


def coarsened(volume: Volume, max_voxels: int = _MAX_VOXELS) -> Volume:
    """The volume, float32, with means of blocks of voxels where it has more than max_voxels; the log says so."""
    return volume.downsampled(_fitting_factors(volume, max_voxels))


def pyramid(volume: Volume, spacings_mm: list[float]) -> list[Volume]:
    """Copies of the volume whose voxels are about as large as each of spacings_mm; never finer than the volume."""
    return [volume.downsampled(volume.factors_to(spacing)) for spacing in spacings_mm]


def per_mm(hounsfield: np.ndarray | float) -> np.ndarray:
    """Linear attenuation per mm of Hounsfield units, float32, see `attenuation`."""
    array = np.atleast_1d(np.asarray(hounsfield, dtype=np.float32)) * np.float32(WATER_ATTENUATION_PER_MM / 1000)
    array += np.float32(WATER_ATTENUATION_PER_MM)
    return np.maximum(array, 0, out=array).reshape(np.shape(hounsfield))


def _body_steps(volume: Volume) -> Generator[object, None, Volume]:
    """As `cropped_to_body`, with pauses."""
    first, last = yield from body_box_steps(volume.array)
    result = volume.cropped(first, last)
    if result.size != volume.size:
        log.info("CT cropped to the body: %s to %s voxels.", *map(_times, (volume.size, result.size)))
    return result


def _fitting_factors(volume: Volume, max_voxels: int) -> tuple[int, int, int]:
    """How many voxels (i, j, k) make blocks, the finest axes first, of which there are no more than max_voxels; the log
    says so where these are not the voxels."""
    factors = np.ones(3, dtype=int)
    while np.prod(block_counts(volume.size, tuple(factors))) > max_voxels:
        factors[np.argmin(volume.spacing_mm * factors)] += 1
    i, j, k = (int(factor) for factor in factors)
    if factors.max() > 1:
        spacing = " x ".join(f"{s:.2g}" for s in volume.spacing_mm * factors)
        sizes = map(_times, (volume.size, block_counts(volume.size, (i, j, k))))
        log.info("CT coarsened: %s to %s voxels of %s mm.", *sizes, spacing)
    return i, j, k


def _times(size: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in size)
