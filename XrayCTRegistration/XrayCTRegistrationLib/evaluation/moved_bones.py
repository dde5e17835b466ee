"""Bodies whose bones have moved each on its own, and X-rays of them by other means than the registration's.

The registration adds bodies up, and interpolates linearly between voxels. Here the voxels of the bones are moved by
cubic splines, and the moved body is refined by cubic splines before rays sample it at a step of their own, so that
neither interpolation nor step are those of the registration.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from ..bones.segments import Segment, place_in
from ..geometry import Pose, XrayView
from ..projector import projector_for
from ..volume import Volume, per_mm
from .bodies import tissues

_WITH_BONE_MM, _SEAM_MM = 2.0, 4.0  # about a segment: what moves with it, and where nothing does
_REACH_MM = 20.0  # from where a bone lay to where it may come
_FINE_MM, _STEP_MM = 1.4, 0.47


def with_bones_moved(ct: Volume, segments: Sequence[Segment], motions: Sequence[Pose]) -> Volume:
    """A CT in Hounsfield units whose segments are moved, each by a motion in the CT's own world; soft tissue fills the
    places that they leave and makes way where they come."""
    soft = tissues(ct).soft.array
    excess = ct.array - soft
    body = np.array(ct.array, dtype=np.float32)
    owners = _nearest(ct, segments)
    to_voxel = np.linalg.inv(ct.ijk_to_world)
    moved = []
    for number, motion in enumerate(motions, start=1):
        box = _box(owners == number, np.ceil(_REACH_MM / ct.spacing_mm[::-1]).astype(int))
        part = excess[box] * _share(owners[box] == number, ct.spacing_mm[::-1], owners[box])
        body[box] -= part
        back = to_voxel @ motion.inverse().matrix @ ct.ijk_to_world  # where a voxel comes from
        turn, shift = back[:3, :3][::-1, ::-1], back[:3, 3][::-1]
        corner = np.array([one.start for one in box], float)
        moved.append(
            (box, ndimage.affine_transform(part, turn, turn @ corner + shift - corner, order=3, mode="constant"))
        )
    for box, part in moved:
        body[box] += part
    return Volume(body, ct.ijk_to_world)


def _nearest(ct: Volume, segments: Sequence[Segment]) -> np.ndarray:
    """Which segment every voxel of the CT lies in, from 1; 0 for none."""
    owners = np.zeros(ct.array.shape, np.int16)
    for number, segment in enumerate(segments, start=1):
        place = place_in(segment, ct)
        owners[place.box][place.inside] = number
    return owners


def _share(own: np.ndarray, spacing: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """How much of every voxel moves with a segment, 0 to 1; nothing of what lies in another."""
    distance = ndimage.distance_transform_edt(~own, sampling=spacing)
    share = np.clip((_SEAM_MM - distance) / (_SEAM_MM - _WITH_BONE_MM), 0, 1)
    for other in np.unique(owners[(owners > 0) & ~own]):
        share[distance > ndimage.distance_transform_edt(owners != other, sampling=spacing)] = 0
    return share


def _box(inside: np.ndarray, reach: np.ndarray) -> tuple[slice, ...]:
    (found,) = ndimage.find_objects(inside.astype(np.int8))
    return tuple(slice(max(0, one.start - r), min(n, one.stop + r)) for one, r, n in zip(found, reach, inside.shape))


def spline_line_integrals(ct: Volume, views: Sequence[XrayView], pose: Pose) -> list[np.ndarray]:
    """Line integrals (rows, columns) of attenuation through a CT in Hounsfield units at a pose, one per view.

    The CT is refined by cubic splines, so that the projector's own interpolation decides next to nothing any more.
    """
    fine = _refined(Volume(per_mm(ct.array), ct.ijk_to_world))
    drawn = projector_for(fine, "cpu", _STEP_MM)
    matrix = torch.from_numpy(pose.matrix.copy())[None]
    return [drawn.images(matrix, view)[0].numpy() for view in views]


def _refined(volume: Volume) -> Volume:
    """A volume of smaller voxels, by cubic splines; never negative."""
    factors = np.maximum(1, np.rint(volume.spacing_mm / _FINE_MM)).astype(int)
    to_coarse = np.diag([*(1 / factors), 1.0])
    to_coarse[:3, 3] = (1 / factors - 1) / 2
    shape = tuple(np.array(volume.array.shape) * factors[::-1])
    array = ndimage.affine_transform(
        volume.array, 1 / factors[::-1], to_coarse[:3, 3][::-1], shape, np.float32, order=3, mode="nearest"
    )
    return Volume(np.maximum(array, 0, out=array), volume.ijk_to_world @ to_coarse)
