"""The green edges as a node: a one-slice volume at the X-ray's detector, shown over the X-ray in a slice view."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..geometry import XrayView
from .frames import RAS_FROM_LPS, vtk_matrix
from .volumes import voxels, vtk_image

_ROLE = "XrayCTRegistration.Overlay"
_GREEN = "vtkMRMLColorTableNodeGreen"
_SHOWN_FROM, _FULL_FROM = 60, 110  # of 255: where slice views interpolate, edges fade in between these


def overlay_node(xray_node: Any) -> Any | None:
    """The overlay that belongs to an X-ray node, if it has one."""
    return xray_node.GetNodeReference(_ROLE)


def show_edges(xray_node: Any, mask: np.ndarray, view: XrayView) -> Any:
    """Show edges, bool (rows, columns), of a view in the world's LPS over an X-ray; returns the overlay's node."""
    node = overlay_node(xray_node) or _added(xray_node)
    _fill(node, mask.astype(np.uint8) * np.uint8(255))
    node.SetIJKToRASMatrix(vtk_matrix(RAS_FROM_LPS @ view.pixel_to_world))
    return node


def clear_edges(xray_node: Any) -> None:
    """Show no edges over an X-ray."""
    node = overlay_node(xray_node)
    there = voxels(node) if node is not None else None
    if there is not None and there.any():
        _fill(node, np.zeros(there.shape[1:], np.uint8))


def remove_overlay(xray_node: Any) -> None:
    """Remove an X-ray's overlay from the scene."""
    node = overlay_node(xray_node)
    if node is not None:
        node.GetScene().RemoveNode(node)


def _fill(node: Any, values: np.ndarray) -> None:
    """Give the overlay new values (rows, columns)."""
    there = voxels(node)
    if there is not None and there.shape == (1, *values.shape):
        there[0] = values  # in place: no new image, so the slice view only draws it again
        node.GetImageData().GetPointData().GetScalars().Modified()
        node.GetImageData().Modified()
    else:
        node.SetAndObserveImageData(vtk_image(values[None]))


def _added(xray_node: Any) -> Any:
    scene = xray_node.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{xray_node.GetName()} edges")
    node.SetHideFromEditors(True)  # no input to choose
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_GREEN)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0, _FULL_FROM)
    display.SetThreshold(_SHOWN_FROM, 255)
    display.SetApplyThreshold(True)
    xray_node.SetNodeReferenceID(_ROLE, node.GetID())
    return node
