"""What is taken to be there where the body goes on, beyond the faces at which a CT ends.

A ray that leaves a CT through such a face passes more of the body, and how much changes from ray to ray: without it
the DRR falls off towards the CT's end as no X-ray does, more steeply than beside any bone. So the soft tissue of the
face goes on beyond it. What else is there nobody knows, which is why such rays count less, see `weights`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .geometry import Pose, XrayView
from .volume import WATER_ATTENUATION_PER_MM, Volume
from .weights import Extent

_BEYOND_MM = 60.0  # a ray that counts leaves no more of its way outside than inside: beyond, little is left to gain


def continuing_faces(extent: Extent, views: Sequence[XrayView], start: Pose) -> np.ndarray:
    """(3, 2) bool, for the first and the last voxel along i, j, k: the faces that go right through the body, without
    those that all rays of a view pass, under the start: of a body beyond one, the view would see that face once more.
    """
    faces, to_world = extent.through.copy(), start.rotation @ extent.ijk_to_world[:3, :3]
    for view in views:
        faces[extent.nearest_axis(np.linalg.solve(to_world, view.axes[:, 2]))] = False
    return faces


def continued(volume: Volume, faces: np.ndarray) -> Volume:
    """A CT's attenuation per mm, and for 60 mm beyond faces (3, 2) what they show, nothing denser than water."""
    if not faces.any():
        return volume
    voxels = np.rint(_BEYOND_MM / volume.spacing_mm).astype(int)
    added = np.where(faces, voxels[:, None], 0)
    array = np.pad(np.minimum(volume.array, np.float32(WATER_ATTENUATION_PER_MM)), added[::-1], mode="edge")
    array[tuple(slice(first, first + size) for first, size in zip(added[::-1, 0], volume.array.shape))] = volume.array
    to_volume = np.eye(4)
    to_volume[:3, 3] = -added[:, 0]
    return Volume(array, volume.ijk_to_world @ to_volume)
