"""Setting widgets without being taken for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import qt

from ..mrml.units import MILLIMETRES, LengthUnit


def set_quietly(widget: Any, name: str, value: Any) -> None:
    """Set a property without the signal that would take it for the user's."""
    was = widget.blockSignals(True)
    setattr(widget, name, value)
    widget.blockSignals(was)


def set_node_quietly(selector: Any, node: Any | None) -> None:
    """Let a selector show a node without taking it for a person's choice."""
    if selector.currentNode() is not node:
        was = selector.blockSignals(True)
        selector.setCurrentNode(node)
        selector.blockSignals(was)


def show_names_quietly(combo_box: Any, names: Sequence[str], chosen: int) -> None:
    """Let a combo box offer names and show one of them, -1 for none, without taking it for a person's choice."""
    if [combo_box.itemText(index) for index in range(combo_box.count)] != list(names):
        was = combo_box.blockSignals(True)
        combo_box.clear()
        for name in names:
            combo_box.addItem(name)
        combo_box.blockSignals(was)
    set_quietly(combo_box, "currentIndex", chosen)


class RoomForLines(qt.QObject):
    """Gives labels of several lines the height that their text takes: layouts inside collapsible sections ask only for
    the size that a label would like, and cut off the rest."""

    def __init__(self, labels: Iterable[Any], parent: Any) -> None:
        qt.QObject.__init__(self, parent)
        for label in labels:
            label.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Called by Qt. A text that was changed is painted anew."""
        if event.type() in (qt.QEvent.Resize, qt.QEvent.Paint):
            height = max(watched.heightForWidth(watched.width), 0)  # -1 of a label without text
            if height != watched.minimumHeight:
                watched.minimumHeight = height
        return False


class LengthField:
    """A spin box or slider of a length, in the unit that a person has chosen for the scene.

    widget: with range, step and decimals in millimetres, as in the .ui file. length_mm: what it says.
    """

    def __init__(self, widget: Any) -> None:
        self._widget, self._unit = widget, MILLIMETRES
        self._limits_mm = {name: getattr(widget, name) for name in ("minimum", "maximum", "singleStep")}
        self._resolution_mm = 10.0**-widget.decimals

    @property
    def length_mm(self) -> float:
        return self._unit.millimetres(self._widget.value)

    def show(self, length_mm: float, unit: LengthUnit) -> None:
        """Show a length without taking it for the user's."""
        if unit != self._unit:
            self._change_unit(unit)
        set_quietly(self._widget, "value", unit.shown(length_mm))

    def _change_unit(self, unit: LengthUnit) -> None:
        self._unit = unit
        set_quietly(self._widget, "decimals", unit.decimals_needed(self._resolution_mm))
        for name, length_mm in self._limits_mm.items():
            set_quietly(self._widget, name, unit.shown(length_mm))
        self._widget.suffix = f" {unit.suffix}"
