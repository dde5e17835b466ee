"""The main window around panel and views."""

from __future__ import annotations

import slicer
from PySide6 import QtCore, QtWidgets

from .views import qSlicerLayoutManager

PANEL_WIDTH_PX = 305
_ABOVE_PX, _BELOW_PX = 100, 170  # what 3D Slicer has above and below a module's panel: title and help, data probe


class MainWindow(QtWidgets.QMainWindow):
    """The module panel on the left, as small as in 3D Slicer; the views on the right."""

    def __init__(self, scene: slicer.vtkMRMLScene, application: slicer.vtkMRMLApplicationLogic) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._scroll = QtWidgets.QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        viewport = QtWidgets.QWidget()
        QtWidgets.QHBoxLayout(viewport).setContentsMargins(0, 0, 0, 0)
        content = QtWidgets.QWidget()
        row = QtWidgets.QHBoxLayout(content)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(_beside_views(self._scroll))
        row.addWidget(viewport, 1)
        self.setCentralWidget(content)
        self.statusBar()
        self._layout_manager = qSlicerLayoutManager(scene, application)
        self._layout_manager.setViewport(viewport)

    @property
    def layout_manager(self) -> qSlicerLayoutManager:
        return self._layout_manager

    def show_panel(self, panel: QtWidgets.QWidget) -> None:
        self._scroll.setWidget(panel)
        self.resize(1280, 900)
        self.show()


def _beside_views(panel: QtWidgets.QWidget) -> QtWidgets.QWidget:
    """The column that the panel has: as wide as 3D Slicer makes it, with room taken above and below."""
    column = QtWidgets.QWidget()
    column.setFixedWidth(PANEL_WIDTH_PX)
    layout = QtWidgets.QVBoxLayout(column)
    layout.setContentsMargins(0, 0, 0, 0)
    for text, height in (("Menus, toolbars, title, help", _ABOVE_PX), (None, 0), ("Data Probe", _BELOW_PX)):
        if text is None:
            layout.addWidget(panel, 1)
            continue
        room = QtWidgets.QLabel(text)
        room.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        room.setFixedHeight(height)
        room.setEnabled(False)
        layout.addWidget(room)
    return column
