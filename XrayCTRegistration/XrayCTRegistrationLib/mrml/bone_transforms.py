"""Bones with a pose of their own: a linear transform node each, under the transform that carries the CT.

So a bone goes along when the CT is moved, and stands with the CT where its own transform is the identity. The CT's
transform refers to those of its bones; what belongs to a bone, its result and its surface, is with its transform.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bones.segments import Segment
from ..geometry import Pose
from .frames import lps_points, vtk_matrix
from .models import show_surface
from .poses import pose_of, set_pose
from .results import KeptResult

if TYPE_CHECKING:
    from ..bones.registration import BoneResult

_BONES = "XrayCTRegistration.Bones"  # of the CT's transform node, one reference per bone
_SEGMENTATION = "XrayCTRegistration.Segmentation"  # of a bone's transform node
_SEGMENT, _NAME, _COLOR, _RESULT = (f"XrayCTRegistration.Bone{name}" for name in ("Segment", "Name", "Color", "Result"))
_PLAIN = (0.93, 0.89, 0.78)  # of a bone whose segment has no colour
_SAME = 1e-6


@dataclass(frozen=True, eq=False)
class StandingBone:
    """A bone as it stands in the scene.

    node: its transform. segment_id, name, color: of its segment. pose: ct_to_world in LPS. center: (3,) the segment's
    middle in the CT's own LPS.
    """

    node: Any
    segment_id: str
    name: str
    color: tuple[float, float, float]
    pose: Pose
    center: np.ndarray


@dataclass(frozen=True)
class KeptBone:
    """What the panel shows of a bone's registration; see `BoneResult`. confidence: its level, empty
    where no X-ray shows the bone; expected_error_mm: NaN there. shown: how many X-rays show it. in_ct: 4x4 of its
    transform under the CT's, row by row, in RAS."""

    similarity: float
    moved_deg: float
    moved_mm: float
    confidence: str
    expected_error_mm: float
    shown: int
    in_ct: tuple[float, ...]

    def is_of(self, node: Any) -> bool:
        """Whether the bone still stands in the CT where the registration left it."""
        return np.allclose(self.in_ct, in_ct(node), rtol=0, atol=_SAME)


def bone_row(result: BoneResult, method: str, seconds: float) -> KeptResult:
    """A bone's result as `tables.add_result_row` takes it."""
    sure = result.confidence
    return KeptResult(
        method=method,
        similarity_before=np.nan,
        similarity=result.similarity,
        moved_deg=result.moved_deg,
        moved_mm=result.moved_mm,
        confidence=sure.level if sure else "",
        reason=sure.reason if sure else "not in the X-ray: stays with the CT",
        expected_error_mm=sure.expected_error_mm if sure else np.nan,
        seconds=seconds,
        polarities=(),
        ct_to_world=tuple(result.pose.matrix.ravel().tolist()),
    )


def bone_nodes(pose_node: Any) -> list[Any]:
    """The transforms of all bones of a CT's transform node."""
    count = pose_node.GetNumberOfNodeReferences(_BONES)
    nodes = (pose_node.GetNthNodeReference(_BONES, index) for index in range(count))
    return [node for node in nodes if node is not None]


def bone_node_of(pose_node: Any, segmentation_node: Any, segment_id: str) -> Any | None:
    """The transform of a segment's bone, if it has one."""
    for node in bone_nodes(pose_node):
        if node.GetAttribute(_SEGMENT) == segment_id and node.GetNodeReference(_SEGMENTATION) is segmentation_node:
            return node
    return None


def standing_bone(node: Any) -> StandingBone:
    """A bone's transform node read; InputError that names it when it is not rigid."""
    color = node.GetAttribute(_COLOR)
    return StandingBone(
        node,
        node.GetAttribute(_SEGMENT),
        node.GetAttribute(_NAME),
        tuple(json.loads(color)) if color else _PLAIN,
        pose_of(node),
        lps_points(node.GetCenterOfTransformation()),
    )


def show_bone_of(pose_node: Any, segmentation_node: Any, segment_id: str, segment: Segment, surface: Any) -> Any:
    """The transform of a segment's bone, made where it is missing, with the segment's name, colour and surface.

    segment: in the CT's own LPS. surface: of `models.mask_surface_steps`. A bone that has moved stays where it is.
    """
    node = bone_node_of(pose_node, segmentation_node, segment_id)
    if node is None:
        scene = pose_node.GetScene()
        node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", scene.GenerateUniqueName(segment.name))
        node.SetAttribute(_SEGMENT, segment_id)
        node.SetNodeReferenceID(_SEGMENTATION, segmentation_node.GetID())
        node.SetAndObserveTransformNodeID(pose_node.GetID())
        pose_node.AddNodeReferenceID(_BONES, node.GetID())
    was = node.StartModify()
    if node.GetAttribute(_NAME) not in (None, segment.name):
        node.SetName(node.GetScene().GenerateUniqueName(segment.name))
    color = segment.color or _PLAIN
    node.SetAttribute(_NAME, segment.name)
    node.SetAttribute(_COLOR, json.dumps(color))
    node.SetCenterOfTransformation(*lps_points(_middle(segment)))
    node.EndModify(was)
    show_surface(node, f"{segment.name} surface", color, surface)
    return node


def remove_unmoved(node: Any) -> None:
    """Remove a bone's transform that nothing was done with, so that to choose a bone and not leaves nothing behind."""
    if kept_bone(node) is None and np.allclose(in_ct(node), np.eye(4).ravel(), rtol=0, atol=_SAME):
        node.GetScene().RemoveNode(node)


def in_ct(node: Any) -> tuple[float, ...]:
    """A bone's transform under the CT's, 4x4 row by row in RAS: the identity where it stands with the CT."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToParent(matrix)
    return tuple(matrix.GetElement(row, column) for row in range(4) for column in range(4))


def set_in_ct(node: Any, matrix: Sequence[float]) -> None:
    """Let a bone stand in the CT as `in_ct` has said."""
    if not np.allclose(matrix, in_ct(node), rtol=0, atol=0):
        node.SetMatrixTransformToParent(vtk_matrix(np.reshape(matrix, (4, 4))))


def keep_bone(node: Any, result: BoneResult) -> KeptBone:
    """Let a bone stand where a registration has found it, and keep the result with its transform, as `kept_bone`."""
    set_pose(node, result.pose)
    row = bone_row(result, "", np.nan)
    kept = KeptBone(
        row.similarity,
        row.moved_deg,
        row.moved_mm,
        row.confidence,
        row.expected_error_mm,
        len(result.shown),
        in_ct(node),
    )
    node.SetAttribute(_RESULT, json.dumps(asdict(kept)))
    return kept


def kept_bone(node: Any) -> KeptBone | None:
    """The last result of a bone, if it was registered."""
    text = node.GetAttribute(_RESULT)
    if not text:
        return None
    content = json.loads(text)
    return KeptBone(**{**content, "in_ct": tuple(content["in_ct"])})


def _middle(segment: Segment) -> np.ndarray:
    """(3,) the mean of a segment's voxels."""
    array = segment.mask.array
    shares = [array.sum(axis=axes, dtype=np.float64) for axes in ((0, 1), (0, 2), (1, 2))]
    index = [float(share @ np.arange(len(share)) / max(share.sum(), 1)) for share in shares]
    return segment.mask.points(np.array(index))
