"""The CT taken apart into bones and everything else, which add up to it.

A bone's body is what its voxels attenuate beyond the soft tissue that is continued into its place; everything else is
the CT without that. So a bone that moves leaves soft tissue behind and displaces soft tissue where it comes to stand,
and where it stands as in the CT the sum of all bodies is the CT, to the last digit but rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..volume import Volume, per_mm
from .segments import Place, Segment, place_in

_RIM_MM = 2.0  # about a segment that is still the bone's, a voxel at least: its edge is blurred, outlines run within it
_CLEAR_MM = 3.0  # from any segment to tissue that is certainly none of it
_FILL_MM = 8.0  # standard deviation over which soft tissue is continued into the place of bone
_SOFT = (float(per_mm(-200.0)), float(per_mm(150.0)))
_DENSER = float(per_mm(30.0) - per_mm(0.0))  # than what is around it, on average, is bone
_BONE_ON_AVERAGE = float(per_mm(90.0))  # porous vertebrae with their cortex are denser, organs are not
_MOST_POINTS = 2000


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
    """The bones of segments, and the rest of the CT.

    A voxel of several segments belongs to the first of them. others: segments that stay with the rest. Raises
    InputError that names the segment when it is empty or beside the CT, NoBoneError when it lies within the others or
    is no bone in this CT.
    """
    places = [place_in(segment, attenuation) for segment in segments]
    owners = _owners(attenuation, places, [place for one in others if (place := _placed(one, attenuation)) is not None])
    rest = Volume(attenuation.array.astype(np.float32), attenuation.ijk_to_world)
    bones = []
    for number, (segment, place) in enumerate(zip(segments, places), start=1):
        bones.append(_taken_out(rest, attenuation, owners, number, segment, place))
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


def _owners(grid: Volume, places: Sequence[Place], others: Sequence[Place]) -> np.ndarray:
    """Which segment every voxel of the grid belongs to: 1 for the first, -1 for one of the others, 0 for none."""
    owners = np.zeros(grid.array.shape, np.int16)
    for place in others:
        owners[place.box][place.inside] = -1
    for number in range(len(places), 0, -1):
        place = places[number - 1]
        owners[place.box][place.inside] = number
    return owners


def _taken_out(
    rest: Volume, attenuation: Volume, owners: np.ndarray, number: int, segment: Segment, place: Place
) -> Bone:
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
    to_bone, nearest = ndimage.distance_transform_edt(owner <= 0, sampling=spacing, return_indices=True)
    taken = (to_bone <= max(_RIM_MM, *spacing)) & (
        owner[tuple(nearest)] == number
    )  # the rim goes to the nearest of the bones,
    taken &= (owner == 0) | own  # and nothing of a segment that stays
    around = _soft_tissue(part.array, owner != 0, spacing)
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


def _soft_tissue(array: np.ndarray, segments: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Attenuation of the soft tissue around bones, continued into their place; 0, air, where none is near."""
    clear = ndimage.distance_transform_edt(~segments, sampling=spacing) > _CLEAR_MM
    known = (clear & (array > _SOFT[0]) & (array < _SOFT[1])).astype(np.float32)
    weight = ndimage.gaussian_filter(known, _FILL_MM / spacing, mode="constant")
    values = ndimage.gaussian_filter(known * array, _FILL_MM / spacing, mode="constant")
    return np.where(weight > 1e-4, values / np.maximum(weight, 1e-4), 0)
