"""Setting widgets without being taken for a person."""

from __future__ import annotations

from typing import Any


def set_quietly(widget: Any, name: str, value: Any) -> None:
    """Set a property without the signal that would take it for the user's."""
    was = widget.blockSignals(True)
    setattr(widget, name, value)
    widget.blockSignals(was)
