"""Setting widgets without being taken for a person."""

from __future__ import annotations

from typing import Any


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
