"""X-ray sequences: which sequence a node shows a frame of, its frames, and poses as a sequence beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..geometry import Pose
from .frames import lps_motion, parent_to_world, vtk_matrix


def browser_of(node: Any) -> Any | None:
    """The sequence browser that shows a frame in a node, if there is one."""
    scene = node.GetScene()
    if scene is None:
        return None
    browsers = scene.GetNodesByClass("vtkMRMLSequenceBrowserNode")
    browsers.UnRegister(None)
    for index in range(browsers.GetNumberOfItems()):
        browser = browsers.GetItemAsObject(index)
        if browser.GetSequenceNode(node) is not None:
            return browser
    return None


def sequence_of(node: Any) -> Any | None:
    """The sequence that a node shows a frame of, if there is one."""
    browser = browser_of(node)
    return browser.GetSequenceNode(node) if browser is not None else None


def frames_of(node: Any) -> list[Any]:
    """The data nodes of all frames of the sequence that a node shows one of; empty for a single image."""
    sequence = sequence_of(node)
    if sequence is None:
        return []
    return [sequence.GetNthDataNode(index) for index in range(sequence.GetNumberOfDataNodes())]


def add_run(shown: Any, frames: Sequence[Any], name: str) -> Any:
    """A sequence of image nodes, copied, that a new browser shows in the node `shown`; returns the browser."""
    scene = shown.GetScene()
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GenerateUniqueName(f"{name} run"))
    sequence.SetIndexName("frame")
    sequence.SetIndexUnit("")
    for number, frame in enumerate(frames, start=1):
        sequence.SetDataNodeAtValue(frame, str(number))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", scene.GenerateUniqueName(f"{name} browser"))
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(shown, sequence, False)
    return browser


def add_pose_sequence(xray_node: Any, pose_node: Any, poses: Sequence[Pose]) -> Any:
    """A sequence of linear transforms, one per frame of an X-ray's sequence, that its browser shows in the pose node.

    poses: ct_to_world in LPS. What the user changes on the pose node is kept in its frame.
    """
    import slicer

    scene, browser, sequence = xray_node.GetScene(), browser_of(xray_node), sequence_of(xray_node)
    there = browser.GetSequenceNode(pose_node)
    node = there or scene.AddNewNodeByClass(
        "vtkMRMLSequenceNode", scene.GenerateUniqueName(f"{pose_node.GetName()} sequence")
    )
    node.SetIndexName(sequence.GetIndexName())
    node.SetIndexUnit(sequence.GetIndexUnit())
    from_world = np.linalg.inv(parent_to_world(pose_node))
    for index, pose in enumerate(poses):
        transform = slicer.vtkMRMLLinearTransformNode()
        transform.SetName(pose_node.GetName())
        transform.SetMatrixTransformToParent(vtk_matrix(from_world @ lps_motion(pose.matrix)))
        node.SetDataNodeAtValue(transform, sequence.GetNthIndexValue(index))
    if there is None:
        browser.AddSynchronizedSequenceNode(node)
        browser.AddProxyNode(pose_node, node, False)
        browser.SetSaveChanges(node, True)
    return node
