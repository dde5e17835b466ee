"""Where CT and X-rays stood, to go back and forward to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry import Pose
from .bone_transforms import bone_nodes, in_ct, set_in_ct
from .geometry import KeptGeometry, kept_geometry, restore_geometry

_SAME = 1e-9
_MOST = 100
_WITH_CT = tuple(np.eye(4).ravel().tolist())


@dataclass(frozen=True)
class Standing:
    """The CT's pose, the geometry of each X-ray and where each bone stands in the CT, by the IDs of their nodes."""

    pose: Pose
    geometries: tuple[tuple[str, KeptGeometry], ...] = ()
    bones: tuple[tuple[str, tuple[float, ...]], ...] = ()

    @classmethod
    def of(cls, pose: Pose, xray_nodes: Sequence[Any], pose_node: Any | None = None) -> Standing:
        """pose_node: the CT's transform, whose bones count; None for none."""
        bones = bone_nodes(pose_node) if pose_node is not None else []
        return cls(
            pose,
            tuple((node.GetID(), kept_geometry(node)) for node in xray_nodes),
            tuple((node.GetID(), in_ct(node)) for node in bones),
        )

    def is_as(self, other: Standing) -> bool:
        """Whether the CT, its bones and the X-rays that both know stand alike: to choose another X-ray moves nothing. A
        bone that one does not know stood with the CT."""
        mine, others = dict(self.geometries), dict(other.geometries)
        same_geometries = all(mine[node_id] == others[node_id] for node_id in mine.keys() & others.keys())
        mine_in_ct, others_in_ct = dict(self.bones), dict(other.bones)
        same_bones = all(
            np.allclose(mine_in_ct.get(node_id, _WITH_CT), others_in_ct.get(node_id, _WITH_CT), rtol=0, atol=_SAME)
            for node_id in mine_in_ct.keys() | others_in_ct.keys()
        )
        return same_geometries and same_bones and np.allclose(self.pose.matrix, other.pose.matrix, rtol=0, atol=_SAME)

    def restore_geometries(self, xray_nodes: Sequence[Any]) -> None:
        """Give these X-rays the geometry that they had; those that were not there keep theirs."""
        kept = dict(self.geometries)
        for node in xray_nodes:
            geometry = kept.get(node.GetID())
            if geometry is not None and geometry != kept_geometry(node):
                restore_geometry(node, geometry)

    def restore_bones(self, pose_node: Any) -> None:
        """Let the bones of a CT's transform stand in the CT as they did; those that came later stand with the CT."""
        kept = dict(self.bones)
        for node in bone_nodes(pose_node):
            set_in_ct(node, kept.get(node.GetID(), _WITH_CT))


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
