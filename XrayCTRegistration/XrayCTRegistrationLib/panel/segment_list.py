"""The segmentation of the CT, and its segments with boxes to check: which bones are registered each for itself."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from ..bones.segments import about_many
from ..mrml.chosen import segmentation_node
from .changes import Change
from .messages import show_message
from .selection import Selection
from .widgets import set_node_quietly

_SWATCH_PX = 12


class SegmentList:
    """Shows the segments of a selection, and checks them."""

    def __init__(self, selection: Selection, ui: Any) -> None:
        self._selection, self._ui = selection, ui
        self._shown: list[tuple[str, str, Any]] = []  # id, name and colour of every row
        ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_segmentation)
        ui.segmentsListWidget.connect("itemChanged(QListWidgetItem*)", self._on_item)
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Show what is chosen."""
        ui, selection, bones = self._ui, self._selection, self._selection.bones
        if selection.parameters is None:
            return
        node = segmentation_node(selection.parameters.parameterNode)
        ui.segmentationSelector.enabled = not selection.running
        set_node_quietly(ui.segmentationSelector, node)
        widget = ui.segmentsListWidget
        widget.enabled = not selection.running
        was = widget.blockSignals(True)
        self._show_rows([(one.id, one.name, one.color) for one in bones.listed or ()])
        for row, (segment_id, _name, _color) in enumerate(self._shown):
            widget.item(row).setCheckState(qt.Qt.Checked if segment_id in bones.ids else qt.Qt.Unchecked)
        widget.blockSignals(was)
        widget.setVisible(bool(self._shown))
        notes = (about_many(len(bones.ids)), self._assumption() if bones.listed else "")
        show_message(ui.bonesMessageLabel, bones.message or " ".join(note for note in notes if note))

    def _assumption(self) -> str:
        """Where the segmentation was taken to belong, if no transform said that and a person has moved the CT."""
        selection = self._selection
        bones, ct_node, pose_node = selection.bones, selection.ct_node, selection.pose_node
        if not bones.taken_as_unmoved or selection.untouched or ct_node is None or pose_node is None:
            return ""
        return _(
            "{segmentation} was under no transform: it is taken as outlined in {ct} before that was moved, and goes "
            "along with it. If it was outlined where the CT stands now, put it under an inverted copy of {pose}."
        ).format(segmentation=bones.node.GetName(), ct=ct_node.GetName(), pose=pose_node.GetName())

    def _show_rows(self, rows: list[tuple[str, str, Any]]) -> None:
        if rows == self._shown:
            return
        self._shown = rows
        widget = self._ui.segmentsListWidget
        widget.clear()
        for _id, name, color in rows:
            item = qt.QListWidgetItem(name)
            item.setToolTip(_("Checked: {name} is registered at a pose of its own.").format(name=name))
            if color is not None:
                item.setIcon(_swatch(color))
            widget.addItem(item)

    def _on_segmentation(self, node: Any) -> None:
        if self._selection.parameters is not None:
            self._selection.choose_segments(node)

    def _on_item(self, item: Any) -> None:
        """A person has checked a segment, or no longer."""
        widget, selection = self._ui.segmentsListWidget, self._selection
        rows = range(len(self._shown))
        ids = [self._shown[row][0] for row in rows if widget.item(row).checkState() == qt.Qt.Checked]
        if selection.parameters is not None and tuple(ids) != selection.bones.ids:
            selection.choose_segments(selection.bones.node, ids)


def _swatch(color: tuple[float, float, float]) -> Any:
    """A square of a colour."""
    pixmap = qt.QPixmap(_SWATCH_PX, _SWATCH_PX)
    red, green, blue = (round(255 * share) for share in color)
    pixmap.fill(qt.QColor(red, green, blue))
    return qt.QIcon(pixmap)
