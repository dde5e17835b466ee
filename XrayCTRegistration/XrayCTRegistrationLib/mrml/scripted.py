"""Registration of nodes from a script, without the panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..registration import RegistrationResult, Settings
from ..search.global_search import SearchRange
from ..state import RegistrationState
from .inputs import inputs_of
from .poses import centered_pose, check_moves_only_the_ct, keep_initial_pose, pose_node_for, pose_of
from .results import keep_result
from .session import Session


def register_nodes(
    ct_node: Any,
    xray_nodes: Sequence[Any],
    pose_node: Any | None = None,
    settings: Settings | None = None,
    progress: Callable[[RegistrationState], bool | None] | None = None,
) -> RegistrationResult | None:
    """Register a CT node to X-ray nodes that stand at their detectors; the pose node then carries the CT.

    pose_node: a linear transform node whose transform is the start. Unless given, it is the one the CT is under; where
        there is none, one is made that centres the CT at the isocentre.
    progress: called with the state after every step; the registration ends, with the best pose so far and without a
        result, once it returns False.
    Raises InputError that names the node which cannot be used, and what to do.
    """
    inputs = inputs_of(ct_node, xray_nodes)
    centered = pose_node is None and ct_node.GetParentTransformNode() is None
    if pose_node is None:
        start = centered_pose(inputs.ct.center, inputs.isocenter)
        pose_node = pose_node_for(ct_node.GetScene(), ct_node, start)
    start = pose_of(pose_node)
    check_moves_only_the_ct(pose_node, xray_nodes)
    ct_node.SetAndObserveTransformNodeID(pose_node.GetID())
    keep_initial_pose(pose_node, start)
    settings = settings or Settings()
    if centered and settings.search is None:
        settings = replace(settings, search=SearchRange())  # nobody has brought the CT near
    session = Session(inputs, pose_node, start, settings)
    while session.advance(0.0):
        if progress is not None and session.state is not None and progress(session.state) is False:
            session.cancel()
            session.show()
            return None
    session.show()
    keep_result(pose_node, session.results[0], settings.method)
    return session.results[0]
