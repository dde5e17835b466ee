"""The CT taken apart into bones and everything else, which add up to it.

A bone's body is what its voxels attenuate beyond the soft tissue that is continued into its place; everything else is
the CT without that. So a bone that moves leaves soft tissue behind and displaces soft tissue where it comes to stand,
and where it stands as in the CT the sum of all bodies is the CT, to the last digit but rounding.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..state import finished
from ..volume import Volume, per_mm
from .segments import Place, Segment, place_in

_RIM_MM = 2.0  # about a segment that is still the bone's, a voxel at least: its edge is blurred, outlines run within it
_CLEAR_MM = 3.0  # from any segment to tissue that is certainly none of it
_FILL_MM = 8.0  # standard deviation over which soft tissue is continued into the place of bone
_SOFT = (float(per_mm(-200.0)), float(per_mm(150.0)))
_DENSER = float(per_mm(30.0) - per_mm(0.0))  # than what is around it, on average, is bone
_BONE_ON_AVERAGE = float(per_mm(90.0))  # porous vertebrae with their cortex are denser, organs are not
_MOST_POINTS = 2000
_VOXELS_AT_ONCE = 250_000  # of distances to segments, between two pauses


class NoBoneError(InputError):
    """A segment out of which no bone can be taken: segment, which one."""

    def __init__(self, segment: Segment, message: str) -> None:
        super().__init__(f"{segment.name}: {message}")
        self.segment = segment


@dataclass(frozen=True, eq=False)
class Bone:
    """A bone of a CT.

    name, color: of its segment. excess: attenuation per mm beyond soft tissue, cropped to the bone. points: (N, 3)
    voxels of its segment, taken evenly. center: (3,) their middle, about which the bone turns; all in the CT's own
    world, mm.
    """

    name: str
    color: tuple[float, float, float] | None
    excess: Volume
    points: np.ndarray
    center: np.ndarray


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A CT (attenuation per mm) as bodies that add up to it: its bones, and the rest."""

    rest: Volume
    bones: tuple[Bone, ...]


def taken_apart(attenuation: Volume, segments: Sequence[Segment], others: Sequence[Segment] = ()) -> Anatomy:
    """As `taken_apart_steps`, at once."""
    return finished(taken_apart_steps(attenuation, segments, others))


def taken_apart_steps(
    attenuation: Volume, segments: Sequence[Segment], others: Sequence[Segment] = ()
) -> Generator[None, None, Anatomy]:
    """The bones of segments, and the rest of the CT, with a pause after each bone and each filter over its box.

    A voxel of several segments belongs to the first of them. others: segments that stay with the rest. Raises
    InputError that names the segment when it is empty or beside the CT, NoBoneError when it lies within the others or
    is no bone in this CT.
    """
    places = []
    for segment in segments:
        places.append(place_in(segment, attenuation))
        yield
    owners = yield from _owners(attenuation, places, others)
    rest = Volume(attenuation.array.astype(np.float32), attenuation.ijk_to_world)
    bones = []
    for number, (segment, place) in enumerate(zip(segments, places), start=1):
        bones.append((yield from _taken_out(rest, attenuation, owners, number, segment, place)))
        yield
    return Anatomy(rest, tuple(bones))


def is_bone(attenuation: Volume, segment: Segment) -> bool:
    """Whether the CT is denser within a segment than soft tissue is; False also where the segment cannot be placed."""
    place = _placed(segment, attenuation)
    return place is not None and float(attenuation.array[place.box][place.inside].mean()) > _BONE_ON_AVERAGE


def _placed(segment: Segment, grid: Volume) -> Place | None:
    """Where a segment lies that nobody asked for; None where it cannot be placed, which then is nobody's concern."""
    try:
        return place_in(segment, grid)
    except InputError:
        return None


def _owners(grid: Volume, places: Sequence[Place], others: Sequence[Segment]) -> Generator[None, None, np.ndarray]:
    """Which segment every voxel of the grid belongs to: 1 for the first, -1 for one of the others, 0 for none."""
    owners = np.zeros(grid.array.shape, np.int16)
    for segment in others:
        if (other := _placed(segment, grid)) is not None:
            owners[other.box][other.inside] = -1
        yield
    for number in range(len(places), 0, -1):
        place = places[number - 1]
        owners[place.box][place.inside] = number
    return owners


def _taken_out(
    rest: Volume, attenuation: Volume, owners: np.ndarray, number: int, segment: Segment, place: Place
) -> Generator[None, None, Bone]:
    """Take a bone out of the rest, in place."""
    spacing = attenuation.spacing_mm[::-1]
    margin = np.ceil((_CLEAR_MM + 2 * _FILL_MM) / attenuation.spacing_mm).astype(int)
    first = np.maximum(place.first - margin, 0)
    last = np.minimum(place.first + place.inside.shape[::-1] + margin, attenuation.size) - 1
    part = attenuation.cropped(first, last)
    box = tuple(slice(a, b + 1) for a, b in zip(first[::-1], last[::-1]))
    owner = owners[box]
    own = owner == number
    if not own.any():
        raise NoBoneError(
            segment, "the segment lies wholly within other segments that are registered. Leave it or them out."
        )
    taken = yield from _with_rim(owner, number, spacing)
    around = yield from _soft_tissue(part.array, owner != 0, spacing)
    excess = np.where(taken, np.maximum(rest.array[box] - around, 0), 0).astype(np.float32)
    if float((part.array - around)[own].mean()) < _DENSER:
        raise NoBoneError(
            segment,
            "the CT is no denser there than around it, so there is no bone of this name. Does the segmentation belong "
            "to this CT?",
        )
    rest.array[box] -= excess
    within = np.argwhere(own)[:, ::-1]
    points = part.points(within[:: -(-len(within) // _MOST_POINTS)].astype(np.float64))
    filled = [np.flatnonzero(excess.any(axis=axes))[[0, -1]] for axes in ((0, 1), (0, 2), (1, 2))]
    body = part.cropped(np.array([a for a, _ in filled]), np.array([b for _, b in filled]))
    (i0, i1), (j0, j1), (k0, k1) = filled
    body = Volume(np.ascontiguousarray(excess[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1]), body.ijk_to_world)
    return Bone(segment.name, segment.color, body, points, part.points(within.mean(axis=0)))


def _with_rim(owner: np.ndarray, number: int, spacing: np.ndarray) -> Generator[None, None, np.ndarray]:
    """The voxels of a segment and of the rim about it, which goes to the nearest of the bones."""
    rim_mm = max(_RIM_MM, *spacing)
    taken = np.zeros(owner.shape, bool)
    for around, within, slab in _slabs(owner, rim_mm, spacing):
        there = owner[around]
        if not (there == number).any():
            continue
        to_bone, nearest = ndimage.distance_transform_edt(there <= 0, sampling=spacing, return_indices=True)
        taken[slab] = ((to_bone <= rim_mm) & (there[tuple(nearest)] == number))[within]
        yield
    return taken & ((owner == 0) | (owner == number))  # nothing of a segment that stays


def _clear(segments: np.ndarray, spacing: np.ndarray) -> Generator[None, None, np.ndarray]:
    """What is certainly none of the segments."""
    clear = np.ones(segments.shape, bool)
    for around, within, slab in _slabs(segments, _CLEAR_MM, spacing):
        if not segments[around].any():  # a distance to nothing is none
            continue
        clear[slab] = (ndimage.distance_transform_edt(~segments[around], sampling=spacing) > _CLEAR_MM)[within]
        yield
    return clear


def _slabs(array: np.ndarray, reach_mm: float, spacing: np.ndarray) -> Iterator[tuple[slice, slice, slice]]:
    """Slabs of an array that take some milliseconds each: with all that lies within reach, the slab within that, and
    within the array."""
    reach, thick = int(np.ceil(reach_mm / spacing[0])), max(1, _VOXELS_AT_ONCE // array[0].size)
    for first in range(0, len(array), thick):
        last, begin = min(first + thick, len(array)), max(first - reach, 0)
        yield slice(begin, last + reach), slice(first - begin, last - begin), slice(first, last)


def _soft_tissue(array: np.ndarray, segments: np.ndarray, spacing: np.ndarray) -> Generator[None, None, np.ndarray]:
    """Attenuation of the soft tissue around bones, continued into their place; 0, air, where none is near."""
    clear = yield from _clear(segments, spacing)
    known = (clear & (array > _SOFT[0]) & (array < _SOFT[1])).astype(np.float32)
    yield
    weight = yield from _blurred(known, spacing)
    values = yield from _blurred(known * array, spacing)
    return np.where(weight > 1e-4, values / np.maximum(weight, 1e-4), 0)


def _blurred(array: np.ndarray, spacing: np.ndarray) -> Generator[None, None, np.ndarray]:
    """A Gaussian filter, one axis after another; nothing outside."""
    for axis, sigma in enumerate(_FILL_MM / spacing):
        array = ndimage.gaussian_filter1d(array, sigma, axis, mode="constant")
        yield
    return array
