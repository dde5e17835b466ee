"""What the selection does with single nodes: it begins their geometry, and follows what was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
import vtk

from ..errors import InputError
from ..mrml.chosen import mask_node
from ..mrml.dicom import dicom_entries
from ..mrml.geometry import start_geometry


def begin_geometry(node: Any) -> None:
    """Begin an X-ray's geometry with what its DICOM tags say; InputError where the file is damaged."""
    try:
        entries = dicom_entries(node, getattr(slicer, "dicomDatabase", None))
    except InputError:
        start_geometry(node, {})
        raise
    start_geometry(node, entries)


def changes_of_images(ct_node: Any | None, xray_nodes: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Objects and their events that tell of a change of images, of their masks, or of where X-rays stand."""
    changes = []
    for node in {node.GetID(): node for node in (ct_node, *xray_nodes) if node is not None}.values():
        changes += [(node, vtk.vtkCommand.ModifiedEvent), (node, node.ImageDataModifiedEvent)]
        if node is not ct_node:  # its transform is the pose
            changes.append((node, node.TransformModifiedEvent))
        changes += changes_of_drawing(mask_node(node))
    return changes


def changes_of_drawing(node: Any | None) -> list[tuple[Any, Any]]:
    """Objects and their events that tell of a change in what was drawn on an X-ray, or segmented in a CT."""
    if node is None:
        return []
    changes = [(node, vtk.vtkCommand.ModifiedEvent)]
    if node.IsA("vtkMRMLVolumeNode"):
        changes.append((node, node.ImageDataModifiedEvent))
    if node.IsA("vtkMRMLMarkupsNode"):
        changes.append((node, node.PointModifiedEvent))
    if node.IsA("vtkMRMLSegmentationNode") and node.GetSegmentation() is not None:
        changes.append((node.GetSegmentation(), vtk.vtkCommand.AnyEvent))
    return changes
