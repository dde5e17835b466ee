"""Bones as they are shown while their poses change: the CT taken apart coarsely, for edges that follow a hand.

Quicker than `anatomy`, whose bodies add up to the CT to the last digit: here a bone is what lies in its segment, and
what is left has soft tissue there.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..volume import Volume
from .segments import Segment, place_in

_AIR_HU, _SOFT_HU = -1000.0, 40.0
_RIM_VOXELS = 1  # about a segment: its edge is blurred


@dataclass(frozen=True, eq=False)
class ShownParts:
    """rest: the CT (Hounsfield units) without its bones. bones: one volume per segment, with nothing about it."""

    rest: Volume
    bones: tuple[Volume, ...]


def shown_parts_steps(ct: Volume, segments: Sequence[Segment]) -> Generator[None, None, ShownParts]:
    """Take a coarse CT (Hounsfield units) apart, with pauses. A voxel of several segments is shown with each.

    Raises InputError that names the segment when it is empty, or mostly beside the CT.
    """
    rest, bones = np.array(ct.array, dtype=np.float32), []
    yield
    for segment in segments:
        place = place_in(segment, ct)
        first = np.maximum(place.first - _RIM_VOXELS, 0)
        last = np.minimum(place.first + place.inside.shape[::-1] + _RIM_VOXELS, ct.size) - 1
        part = ct.cropped(first, last)
        inside = np.zeros(part.array.shape, bool)
        inside[tuple(slice(a, a + n) for a, n in zip((place.first - first)[::-1], place.inside.shape))] = place.inside
        taken = ndimage.binary_dilation(inside, iterations=_RIM_VOXELS)
        bones.append(Volume(np.where(taken, part.array, _AIR_HU).astype(np.float32), part.ijk_to_world))
        (i0, j0, k0), (i1, j1, k1) = first, last + 1
        left = rest[k0:k1, j0:j1, i0:i1]
        left[taken] = np.minimum(left[taken], _SOFT_HU)
        yield
    return ShownParts(Volume(rest, ct.ijk_to_world), tuple(bones))
