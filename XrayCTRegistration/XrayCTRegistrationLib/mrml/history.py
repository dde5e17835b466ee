"""Where CT and X-rays stood, to go back and forward to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry import Pose
from .geometry import KeptGeometry, kept_geometry, restore_geometry

_SAME = 1e-9
_MOST = 100


@dataclass(frozen=True)
class Standing:
    """The pose of the CT, and the geometry of each X-ray by the ID of its node."""

    pose: Pose
    geometries: tuple[tuple[str, KeptGeometry], ...] = ()

    @classmethod
    def of(cls, pose: Pose, xray_nodes: Sequence[Any]) -> Standing:
        return cls(pose, tuple((node.GetID(), kept_geometry(node)) for node in xray_nodes))

    def is_as(self, other: Standing) -> bool:
        """Whether the CT and the X-rays that both know stand alike: to choose another X-ray moves nothing."""
        mine, others = dict(self.geometries), dict(other.geometries)
        same_geometries = all(mine[node_id] == others[node_id] for node_id in mine.keys() & others.keys())
        return same_geometries and np.allclose(self.pose.matrix, other.pose.matrix, rtol=0, atol=_SAME)

    def restore_geometries(self, xray_nodes: Sequence[Any]) -> None:
        """Give these X-rays the geometry that they had; those that were not there keep theirs."""
        kept = dict(self.geometries)
        for node in xray_nodes:
            geometry = kept.get(node.GetID())
            if geometry is not None and geometry != kept_geometry(node):
                restore_geometry(node, geometry)


class History:
    """What was, the present, and what was undone."""

    def __init__(self) -> None:
        self._standings: list[Standing] = []
        self._present = -1

    @property
    def can_undo(self) -> bool:
        return self._present > 0

    @property
    def can_redo(self) -> bool:
        return self._present + 1 < len(self._standings)

    def record(self, standing: Standing) -> None:
        """Note the present. What was undone is then forgotten, unless nothing has moved."""
        if self._present >= 0 and self._standings[self._present].is_as(standing):
            self._standings[self._present] = standing  # it may know more X-rays
            return
        self._standings = [*self._standings[: self._present + 1], standing][-_MOST:]
        self._present = len(self._standings) - 1

    def undo(self) -> Standing:
        """What was before the present, and becomes it; the present where there is nothing before."""
        self._present = max(self._present - 1, 0)
        return self._standings[self._present]

    def redo(self) -> Standing:
        """What was undone last."""
        self._present = min(self._present + 1, len(self._standings) - 1)
        return self._standings[self._present]

    def clear(self) -> None:
        self._standings, self._present = [], -1
