"""The CTs of an evaluation, and the points at which its errors are measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from ..metrics import bone_points
from ..volume import Volume

_BODY_HU = -300.0
_POSTERIOR = 0.35  # of the trunk's tissue lies behind the vertebrae's middle, within a few per cent in five CTs
_ASIDE_MM = 40.0  # how far a spine may lie from the trunk's middle
_COLUMN_MM = 30.0  # from the middle of a vertebra to most of it
_SLAB_MM = 40.0  # about a vertebra and its discs: a spine is straight over so much


@dataclass(frozen=True, eq=False)
class Subject:
    """A CT in Hounsfield units to simulate X-rays of. name: of its file, part of every random seed."""

    name: str
    ct: Volume

    @cached_property
    def bone_points(self) -> np.ndarray:
        """(N, 3), see `metrics.bone_points`, in the CT's own world."""
        return bone_points(self.ct)

    @cached_property
    def vertebra_points(self) -> np.ndarray:
        """(N, 3) those of the bone points that lie in the spine."""
        return vertebra_points(self.bone_points, _trunk(self.ct))


def vertebra_points(points: np.ndarray, trunk: np.ndarray) -> np.ndarray:
    """Those of bone points (N, 3) in LPS that lie within 30 mm of the spine's middle, seen from above.

    trunk: (M, 3) points all over the body. The spine is where bone is densest, seen from above, in the posterior part
    of the trunk near its middle; elsewhere a heart full of contrast medium can be denser. It is followed in slabs of
    40 mm, so that a curved spine keeps its points. Heads of ribs and some of the aorta beside the vertebrae are among
    them. All points are taken where there is no bone in that part.
    """
    behind = points[:, 1] >= np.quantile(trunk[:, 1], 1 - _POSTERIOR)
    behind &= np.abs(points[:, 0] - np.median(trunk[:, 0])) <= _ASIDE_MM
    if not behind.any():
        return points
    plane, slabs = points[:, :2], np.floor((points[:, 2] - points[:, 2].min()) / _SLAB_MM)
    density = cKDTree(plane[behind]).query_ball_point(plane[behind], _COLUMN_MM / 2, return_length=True)
    densest = plane[behind][np.argmax(density)]
    chosen = np.zeros(len(points), bool)
    for slab in np.unique(slabs):
        near = behind & (slabs == slab) & (np.linalg.norm(plane - densest, axis=1) <= _ASIDE_MM)
        if near.any():
            middle = np.median(plane[near], axis=0)
            chosen |= (slabs == slab) & (np.linalg.norm(plane - middle, axis=1) <= _COLUMN_MM)
    return points[chosen]


def _trunk(ct: Volume) -> np.ndarray:
    """(M, 3) every fourth voxel along each axis, of those denser than air; the whole volume's where none is."""
    slices, rows, columns = np.nonzero(ct.array[::4, ::4, ::4] > _BODY_HU)
    indices = np.stack([columns, rows, slices], axis=1)
    return ct.points(4.0 * indices) if len(indices) else ct.corners()
