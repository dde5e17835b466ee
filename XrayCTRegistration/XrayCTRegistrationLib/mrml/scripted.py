"""Registration of nodes from a script, without the panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..bones.names import chosen
from ..bones.registration import BonesResult
from ..coarse import coarse_steps
from ..errors import InputError
from ..registration import RegistrationResult, Settings
from ..search.search_range import SearchRange
from ..state import RegistrationState, finished
from .bone_transforms import show_bone_of
from .inputs import Inputs, inputs_of
from .models import mask_surface_steps
from .poses import centered_pose, check_moves_only_the_ct, keep_initial_pose, pose_node_for, pose_of
from .results import keep_result
from .segments import (
    ListedSegment,
    SegmentsToRegister,
    chosen_steps,
    follow_ct,
    listing_steps,
    naming_steps,
    segmentation_to_ct,
)
from .session import Session


def register_nodes(
    ct_node: Any,
    xray_nodes: Sequence[Any],
    pose_node: Any | None = None,
    settings: Settings | None = None,
    progress: Callable[[RegistrationState], bool | None] | None = None,
    segmentation_node: Any | None = None,
    segments: Sequence[str] | None = None,
) -> RegistrationResult | BonesResult | None:
    """Register a CT node to X-ray nodes that stand at their detectors; the pose node then carries the CT.

    pose_node: a linear transform node whose transform is the start. Unless given, it is the one the CT is under; where
        there is none, one is made that centres the CT at the isocentre.
    progress: called with the state after every step; the registration ends, with the best pose so far and without a
        result, once it returns False.
    segmentation_node: a segmentation or label map of the CT, whose bones are then registered, each under a transform of
        its own. segments: names or ids of those; every one that is bone unless given.
    Returns the result, of the bones where there are any, None when cancelled.
    Raises InputError that names the node which cannot be used, and what to do.
    """
    if segments is not None and segmentation_node is None:
        raise InputError(f"Segments are named ({', '.join(segments)}), but not whose. Give the segmentation, too.")
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
    bones, bone_nodes = None, []
    if segmentation_node is not None:
        bones = _bones_of(segmentation_node, segments, ct_node, inputs)
        follow_ct(segmentation_node, ct_node)
        for segment_id, segment in zip(bones.ids, bones.segments):
            surface = finished(mask_surface_steps(segment.mask))
            bone_nodes.append(show_bone_of(pose_node, segmentation_node, segment_id, segment, surface))
    session = Session(inputs, pose_node, start, settings, None, bones, bone_nodes)
    while session.advance(0.0):
        if progress is not None and session.state is not None and progress(session.state) is False:
            session.cancel()
            session.show()
            return None
    session.show_bones()
    keep_result(pose_node, session.results[0], settings.method)
    return session.bones_result or session.results[0]


def _bones_of(node: Any, wanted: Sequence[str] | None, ct_node: Any, inputs: Inputs) -> SegmentsToRegister:
    """The segments that are named, or every one that is bone, copied."""
    listed = finished(listing_steps(node))
    to_ct, coarse = segmentation_to_ct(node, ct_node), finished(coarse_steps(inputs.ct, ct_node.GetName()))
    listed = finished(naming_steps(listed, to_ct, coarse, node.GetName()))
    ids = None if wanted is None else _ids_of(listed, wanted, node.GetName())
    return finished(chosen_steps(listed, ids, to_ct, coarse))


def _ids_of(listed: Sequence[ListedSegment], wanted: Sequence[str], where: str) -> list[str]:
    """The ids of segments that are given by id or name."""
    ids = {one.id for one in listed}
    named = [one for one in wanted if one not in ids]
    segments = {one.id: one.described() for one in listed}
    found = chosen(list(segments.values()), named, where) if named or not wanted else []
    return [one.id for one in listed if one.id in wanted or any(segments[one.id] is segment for segment in found)]
