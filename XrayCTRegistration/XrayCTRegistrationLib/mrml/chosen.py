"""The chosen X-rays, and what belongs to each, as node references: saved with the scene, gone with the node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

_XRAYS = "XrayCTRegistration.Xrays"  # of the parameter node, one reference per X-ray, in order
_SEGMENTATION, _SEGMENTS = "XrayCTRegistration.Segmentation", "XrayCTRegistration.Segments"  # of the parameter node
_MASK, _LANDMARKS = "XrayCTRegistration.Mask", "XrayCTRegistration.Landmarks"  # of an X-ray node


def chosen_xrays(parameter_node: Any) -> list[Any]:
    """The X-ray nodes that a parameter node refers to."""
    count = parameter_node.GetNumberOfNodeReferences(_XRAYS)
    nodes = (parameter_node.GetNthNodeReference(_XRAYS, index) for index in range(count))
    return [node for node in nodes if node is not None]


def choose_xrays(parameter_node: Any, xray_nodes: Sequence[Any]) -> None:
    """Let a parameter node refer to these X-ray nodes, in this order, and to no other; each once."""
    was = parameter_node.StartModify()
    parameter_node.RemoveNodeReferenceIDs(_XRAYS)
    for node_id in dict.fromkeys(node.GetID() for node in xray_nodes):
        parameter_node.AddNodeReferenceID(_XRAYS, node_id)
    parameter_node.Modified()
    parameter_node.EndModify(was)


def segmentation_node(parameter_node: Any) -> Any | None:
    """The segmentation, or label map, of the CT's bones that a parameter node refers to."""
    return parameter_node.GetNodeReference(_SEGMENTATION)


def chosen_segments(parameter_node: Any) -> tuple[str, ...]:
    """The ids of the segments that are registered each at a pose of its own; the segmentation may have lost some."""
    return tuple(json.loads(parameter_node.GetAttribute(_SEGMENTS) or "[]"))


def choose_segments(parameter_node: Any, node: Any | None, ids: Sequence[str] = ()) -> None:
    """Let a parameter node refer to a segmentation, or none, and to these of its segments."""
    was = parameter_node.StartModify()
    parameter_node.SetNodeReferenceID(_SEGMENTATION, node.GetID() if node is not None else None)
    parameter_node.SetAttribute(_SEGMENTS, json.dumps(list(dict.fromkeys(ids))))
    parameter_node.EndModify(was)


def mask_node(xray_node: Any) -> Any | None:
    """The node that says what of an X-ray is left out."""
    return xray_node.GetNodeReference(_MASK)


def choose_mask(xray_node: Any, node: Any | None) -> None:
    """Leave out of an X-ray what a node says, or nothing."""
    xray_node.SetNodeReferenceID(_MASK, node.GetID() if node is not None else None)


def landmarks_node(xray_node: Any) -> Any | None:
    """The markups that were placed on an X-ray."""
    return xray_node.GetNodeReference(_LANDMARKS)


def choose_landmarks(xray_node: Any, node: Any | None) -> None:
    """Take a list of markups as the landmarks in an X-ray, or none."""
    xray_node.SetNodeReferenceID(_LANDMARKS, node.GetID() if node is not None else None)
