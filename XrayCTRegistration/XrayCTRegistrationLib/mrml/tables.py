"""The results of all runs as a table of the scene, a row each, to be plotted and exported by Slicer's own means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..geometry import Pose
from .results import KeptResult

_TABLE = "XrayCTRegistration.Results"  # of a parameter node
_TITLE = "X-ray CT registrations"
_WORDS = ("time", "ct", "xrays", "body", "method", "confidence", "reason")
_NUMBERS: dict[str, Callable[[KeptResult], float]] = {
    "similarity_before": lambda result: result.similarity_before,
    "similarity": lambda result: result.similarity,
    "moved_deg": lambda result: result.moved_deg,
    "moved_mm": lambda result: result.moved_mm,
    "expected_error_mm": lambda result: result.expected_error_mm,
    "seconds": lambda result: result.seconds,
}
_POSE = ("x_mm", "y_mm", "z_mm", "about_x_deg", "about_y_deg", "about_z_deg")  # LPS
COLUMNS = (*_WORDS, *_NUMBERS, *_POSE)


def results_table(owner: Any) -> Any | None:
    """The table of results that a parameter node refers to, if there is one."""
    return owner.GetNodeReference(_TABLE)


def add_result_row(
    owner: Any,
    result: KeptResult,
    ct_node: Any,
    xray_nodes: Sequence[Any],
    time: datetime,
    body: str = "",
) -> Any:
    """Append a result to the table of a parameter node, which is made where it is missing; returns the table's node.

    body: the bone that was registered, empty for the whole CT. The pose, ct_to_world in LPS, stands as the shift of the
    CT's origin and rotations about the fixed axes x, y, z, in this order.
    """
    node = results_table(owner) or _added(owner)
    words = {
        "time": time.isoformat(sep=" ", timespec="seconds"),
        "ct": ct_node.GetName(),
        "xrays": ", ".join(xray.GetName() for xray in xray_nodes),
        "body": body,
        "method": result.method,
        "confidence": result.confidence,
        "reason": result.reason,
    }
    numbers = {name: value(result) for name, value in _NUMBERS.items()} | _pose_numbers(result)
    was = node.StartModify()
    row = node.AddEmptyRow()
    table = node.GetTable()
    for name, value in {**words, **numbers}.items():
        table.GetColumnByName(name).SetValue(row, value)
    table.Modified()
    node.EndModify(was)
    return node


def show_table(node: Any, application: Any) -> None:
    """Show a table in the views of 3D Slicer. application: `slicer.app`; nothing happens without a main window."""
    import slicer

    manager = application.layoutManager()
    if manager is None:
        return
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpTableView)
    application.applicationLogic().GetSelectionNode().SetActiveTableID(node.GetID())
    application.applicationLogic().PropagateTableSelection()


def _pose_numbers(result: KeptResult) -> dict[str, float]:
    pose = Pose(np.reshape(result.ct_to_world, (4, 4)))
    turn_deg = Rotation.from_matrix(pose.rotation).as_euler("xyz", degrees=True)
    return dict(zip(_POSE, map(float, (*pose.matrix[:3, 3], *turn_deg))))


def _added(owner: Any) -> Any:
    """An empty table with its columns, numbers as numbers."""
    import vtk

    scene = owner.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(_TITLE))
    node.SetUseColumnTitleAsColumnHeader(True)
    for name in COLUMNS:
        column = vtk.vtkStringArray() if name in _WORDS else vtk.vtkDoubleArray()
        column.SetName(name)
        node.AddColumn(column)
    owner.SetNodeReferenceID(_TABLE, node.GetID())
    return node
