"""The chosen X-rays as rows: image, state of its geometry, mask, and a button that takes it out."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from ..errors import InputError
from ..mrml.chosen import mask_node
from ..mrml.geometry import check_geometry, is_parametric
from ..mrml.xrays import is_single_image
from .changes import Change
from .selection import Selection
from .widgets import show_names_quietly

_IMAGE, _GEOMETRY, _MASK, _REMOVE = range(4)


class XrayTable:
    """Shows the X-rays of a selection; the row that is chosen is the current one."""

    def __init__(self, selection: Selection, table: Any) -> None:
        self._selection, self._table = selection, table
        header = table.horizontalHeader()
        header.setSectionResizeMode(_IMAGE, qt.QHeaderView.Stretch)
        for column in (_GEOMETRY, _MASK, _REMOVE):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        table.connect("itemSelectionChanged()", self._on_chosen)
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Show the chosen X-rays."""
        nodes = self._selection.xray_nodes
        was = self._table.blockSignals(True)
        self._table.setRowCount(len(nodes))
        for row, node in enumerate(nodes):
            mask = mask_node(node)
            cells = (node.GetName(), geometry_state(node), mask.GetName() if mask is not None else _("none"))
            for column, text in enumerate(cells):
                self._show(row, column, text)
            if self._table.cellWidget(row, _REMOVE) is None:
                self._table.setCellWidget(row, _REMOVE, self._remove_button(row))
            self._table.cellWidget(row, _REMOVE).enabled = not self._selection.running
        if nodes:
            self._table.selectRow(self._selection.current)
        self._table.blockSignals(was)

    def _show(self, row: int, column: int, text: str) -> None:
        item = self._table.item(row, column)
        if item is None:
            item = qt.QTableWidgetItem()
            self._table.setItem(row, column, item)
        item.setText(text)
        item.setToolTip(text)

    def _remove_button(self, row: int) -> Any:
        button = qt.QToolButton()
        button.text = "\u2715"
        button.autoRaise = True
        button.toolTip = _("Take this X-ray out; it stays in the scene.")
        button.connect("clicked()", lambda: self._on_remove(row))
        return button

    def _on_chosen(self) -> None:
        row = self._table.currentRow()
        if row >= 0:
            self._selection.make_current(row)

    def _on_remove(self, row: int) -> None:
        nodes = self._selection.xray_nodes
        self._selection.choose_xrays(nodes[:row] + nodes[row + 1 :])


def geometry_state(node: Any) -> str:
    """What is known of an X-ray's geometry, in a word."""
    if not is_single_image(node):
        image = node.GetImageData()
        return _("{count} slices").format(count=image.GetDimensions()[2]) if image is not None else _("no image")
    if not has_usable_geometry(node):
        return _("needed")
    return _("complete") if is_parametric(node) else _("calibrated")


def has_usable_geometry(node: Any) -> bool:
    """Whether it is known where an X-ray's source and detector stand, and they can stand so."""
    try:
        check_geometry(node)
        return True
    except InputError:
        return False


class CurrentXray:
    """A combo box that names the chosen X-rays and chooses the current one."""

    def __init__(self, selection: Selection, combo_box: Any) -> None:
        self._selection, self._combo_box = selection, combo_box
        combo_box.connect("currentIndexChanged(int)", self._on_chosen)
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Show the chosen X-rays."""
        names = [node.GetName() for node in self._selection.xray_nodes]
        show_names_quietly(self._combo_box, names, self._selection.current if names else -1)

    def _on_chosen(self, index: int) -> None:
        if index >= 0:
            self._selection.make_current(index)
