"""Poses to go back and forward to."""

from __future__ import annotations

import numpy as np

from ..geometry import Pose

_SAME = 1e-9
_MOST = 100


class PoseHistory:
    """The poses that were, the present one, and those that were undone."""

    def __init__(self) -> None:
        self._poses: list[Pose] = []
        self._present = -1

    @property
    def can_undo(self) -> bool:
        return self._present > 0

    @property
    def can_redo(self) -> bool:
        return self._present + 1 < len(self._poses)

    def record(self, pose: Pose) -> None:
        """Note the present pose. What was undone is then forgotten; a pose that is present already is not noted."""
        if self._present >= 0 and np.allclose(self._poses[self._present].matrix, pose.matrix, rtol=0, atol=_SAME):
            return
        self._poses = [*self._poses[: self._present + 1], pose][-_MOST:]
        self._present = len(self._poses) - 1

    def undo(self) -> Pose:
        """The pose before the present one, which it becomes; the present one where there is none before."""
        self._present = max(self._present - 1, 0)
        return self._poses[self._present]

    def redo(self) -> Pose:
        """The pose that was undone last."""
        self._present = min(self._present + 1, len(self._poses) - 1)
        return self._poses[self._present]

    def clear(self) -> None:
        self._poses, self._present = [], -1
