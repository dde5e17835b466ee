"""What the selection does with single nodes: it begins their geometry, and follows what was drawn."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ..errors import InputError
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
