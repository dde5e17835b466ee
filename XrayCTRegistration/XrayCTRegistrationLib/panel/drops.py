"""Files that are dropped onto the panel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt


class Drops(qt.QObject):
    """Takes files that are dropped onto a widget, where some of them are wanted; others go on to 3D Slicer."""

    def __init__(self, widget: Any, wants: Callable[[Path], bool], take: Callable[[list[Path]], None]) -> None:
        qt.QObject.__init__(self, widget)
        self._wants, self._take = wants, take
        widget.setAcceptDrops(True)
        widget.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Called by Qt."""
        if event.type() not in (qt.QEvent.DragEnter, qt.QEvent.Drop):
            return False
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        wanted = [path for path in paths if self._wants(path)]
        if not wanted:
            return False
        event.acceptProposedAction()
        if event.type() == qt.QEvent.Drop:
            self._take(wanted)
        return True
