"""Which bones of the CT are registered each at a pose of its own, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from ..bones.shown import ShownParts
from ..errors import InputError
from ..mrml.bone_transforms import (
    StandingBone,
    bone_node_of,
    bone_nodes,
    in_ct,
    remove_unmoved,
    show_bone_of,
    standing_bone,
)
from ..mrml.chosen import chosen_segments, segmentation_node
from ..mrml.models import show_model, surface_node
from ..mrml.segments import (
    ListedSegment,
    SegmentsToRegister,
    follow_ct,
    is_taken_as_unmoved,
    segmentation_to_ct,
    segments_key,
)

if TYPE_CHECKING:
    from ..preview import PreviewBones

_SAME_DECIMALS = 6  # of the matrix to the CT, which is computed anew wherever both stand


@dataclass(frozen=True, eq=False)
class PreparedBones:
    """The chosen bones made ready: to be registered, and to be shown. surfaces: one per bone, and rest_surface of
    the CT's other bone, in the CT's own RAS. preview: None where packages are missing."""

    chosen: SegmentsToRegister
    parts: ShownParts
    surfaces: tuple[Any, ...]
    rest_surface: Any
    preview: PreviewBones | None


class BoneChoice:
    """A part of the selection.

    node: the segmentation or label map, None for none. ids: of its chosen segments. own_to_ct: 4x4 from its LPS to the
    CT's. listed, prepared: what `BonePreparation` has read of it, and made of the chosen, None until it has. standing:
    the chosen bones in the scene. moving_id: the segment that sliders and handles move, None for the whole CT.
    taken_as_unmoved: whether it had to be assumed that the segmentation was outlined before the CT was moved.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Let go of everything."""
        self.node: Any | None = None
        self.ids: tuple[str, ...] = ()
        self.own_to_ct = np.eye(4)
        self.listed: tuple[ListedSegment, ...] | None = None
        self.prepared: PreparedBones | None = None
        self.standing: tuple[StandingBone, ...] = ()
        self.moving_id: str | None = None
        self.listed_key: Any = None
        self._named = False  # in the CT that is chosen
        self._ct_key: Any = None
        self._key: Any = None
        self._in_ct: dict[str, tuple[float, ...]] = {}
        self._refused = self._misplaced = ""
        self.taken_as_unmoved = False

    @property
    def problem(self) -> str:
        """Why the chosen bones cannot be registered; empty where they can, or none is chosen."""
        if not self.ids:
            return ""
        waiting = _("The segmentation is being read.") if self.prepared is None else ""
        return self.message or waiting

    @property
    def message(self) -> str:
        """What is wrong with the segmentation, or its chosen segments, whether or not any is chosen."""
        return self._misplaced or self._refused

    @property
    def moving(self) -> StandingBone | None:
        """The bone that sliders and handles move, None for the whole CT."""
        return next((bone for bone in self.standing if bone.segment_id == self.moving_id), None)

    @property
    def must_be_named(self) -> bool:
        """Whether only the CT tells what the segments that were read are called."""
        return not self._named and any(one.supposed for one in self.listed or ())

    def name_of(self, segment_id: str) -> str:
        """What people call a segment."""
        return next((one.name for one in self.listed or () if one.id == segment_id), segment_id)

    def look(self, parameter_node: Any, ct_node: Any | None, ct_key: Any) -> bool:
        """Look at what is chosen; False where nothing of it has changed since."""
        node = segmentation_node(parameter_node)
        ids = chosen_segments(parameter_node) if node is not None else ()
        listed_key = segments_key(node) if node is not None else None
        own_to_ct, misplaced = _place(node, ct_node)
        key = (listed_key, ids, misplaced or np.round(own_to_ct, _SAME_DECIMALS).tolist(), ct_key)
        if key == self._key:
            return False
        if listed_key != self.listed_key:
            self.listed = None
        if (listed_key, ct_key) != (self.listed_key, self._ct_key):
            self._named, self._ct_key = False, ct_key
        self._note_assumption(node, ct_node)
        self.node, self.own_to_ct, self.listed_key, self._key = node, own_to_ct, listed_key, key
        self.ids = self._there(ids)
        self.prepared, self._refused, self._misplaced = None, "", misplaced
        return True

    def _note_assumption(self, node: Any | None, ct_node: Any | None) -> None:
        """Note that the segmentation is taken as outlined before the CT was moved. That stays true once it follows the
        CT for it, until a person puts it elsewhere, or chooses another one."""
        if node is None or ct_node is None:
            self.taken_as_unmoved = False
            return
        follows = node is self.node and node.GetParentTransformNode() is ct_node.GetParentTransformNode()
        self.taken_as_unmoved = is_taken_as_unmoved(node, ct_node) or (self.taken_as_unmoved and follows)

    def take_listed(self, listed: tuple[ListedSegment, ...]) -> None:
        """Take what was read of the segmentation; chosen segments that it has no more are chosen no more."""
        self.listed = listed
        self.ids = self._there(self.ids)

    def take_named(self, listed: tuple[ListedSegment, ...]) -> None:
        """Take the segments with the names that hold in the CT."""
        self.listed, self._named = listed, True

    def refuse(self, problem: str) -> None:
        """Say what is wrong with the segmentation."""
        self._refused = problem

    def stand(self, ct_node: Any, pose_node: Any) -> bool:
        """Let every chosen bone stand in the scene, once it is ready, and tidy up after those that are chosen no more;
        whether transforms were made or removed."""
        before = {node.GetID() for node in bone_nodes(pose_node)}
        if self.prepared is not None:
            chosen = self.prepared.chosen
            for segment_id, segment, surface in zip(chosen.ids, chosen.segments, self.prepared.surfaces):
                node = bone_node_of(pose_node, self.node, segment_id)
                if node is None or surface_node(node) is None or surface_node(node).GetPolyData() is not surface:
                    show_bone_of(pose_node, self.node, segment_id, segment, surface)
            follow_ct(self.node, ct_node)
        chosen_nodes = [bone_node_of(pose_node, self.node, segment_id) for segment_id in self.ids]
        for node in bone_nodes(pose_node):
            if node not in chosen_nodes:
                if surface_node(node) is not None:
                    show_model(surface_node(node), False)
                remove_unmoved(node)
        return {node.GetID() for node in bone_nodes(pose_node)} != before

    def read(self, pose_node: Any) -> None:
        """Read where the chosen bones stand; InputError where the transform of one is not rigid."""
        nodes = [bone_node_of(pose_node, self.node, segment_id) for segment_id in self.ids] if self.node else []
        self._in_ct = {node.GetID(): in_ct(node) for node in nodes if node is not None}
        self.standing = ()
        self.standing = tuple(standing_bone(node) for node in nodes if node is not None)

    def has_moved(self, node: Any) -> bool:
        """Whether a chosen bone stands elsewhere in the CT than was read."""
        return self._in_ct.get(node.GetID(), in_ct(node)) != in_ct(node)

    def is_displaced(self, ct_node: Any | None) -> bool:
        """Whether the segmentation lies elsewhere in the CT than when it was looked at; not where both have moved."""
        own_to_ct, misplaced = _place(self.node, ct_node)
        return misplaced != self._misplaced or not np.allclose(own_to_ct, self.own_to_ct, atol=10.0**-_SAME_DECIMALS)

    def _there(self, ids: tuple[str, ...]) -> tuple[str, ...]:
        """Those that the segmentation has, as far as it was read."""
        if self.listed is None:
            return ids
        there = {one.id for one in self.listed}
        return tuple(segment_id for segment_id in ids if segment_id in there)


def _place(node: Any | None, ct_node: Any | None) -> tuple[np.ndarray, str]:
    """4x4 from a segmentation's own LPS to the CT's, and why there is none."""
    if node is None or ct_node is None:
        return np.eye(4), ""
    try:
        return segmentation_to_ct(node, ct_node), ""
    except InputError as error:
        return np.eye(4), str(error)
