"""Whether a person has set the pose that a registration starts from, or it was only centred by the module."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..geometry import Pose

_CENTRED = "XrayCTRegistration.CentredPose"
_SAME = 1e-6


def note_centred(transform_node: Any, pose: Pose) -> None:
    """Remember, with the scene, the pose that the module gave a CT that nobody had placed."""
    transform_node.SetAttribute(_CENTRED, json.dumps(pose.matrix.ravel().tolist()))


def note_set(transform_node: Any) -> None:
    """Remember that a person has set the pose, even where it is the one that the module gave."""
    transform_node.SetAttribute(_CENTRED, None)


def is_untouched(transform_node: Any, pose: Pose) -> bool:
    """Whether the pose is still the one that the module gave."""
    text = transform_node.GetAttribute(_CENTRED)
    return bool(text) and np.allclose(np.reshape(json.loads(text), (4, 4)), pose.matrix, rtol=0, atol=_SAME)
