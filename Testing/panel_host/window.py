"""The main window around panel and views."""

from __future__ import annotations

import slicer
from PySide6 import QtCore, QtWidgets

from .views import qSlicerLayoutManager

PANEL_WIDTH_PX = 460


class MainWindow(QtWidgets.QMainWindow):
    """The module panel on the left, the views on the right."""

    def __init__(self, scene: slicer.vtkMRMLScene, application: slicer.vtkMRMLApplicationLogic) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._scroll = QtWidgets.QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFixedWidth(PANEL_WIDTH_PX)
        self._scroll.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        viewport = QtWidgets.QWidget()
        QtWidgets.QHBoxLayout(viewport).setContentsMargins(0, 0, 0, 0)
        content = QtWidgets.QWidget()
        row = QtWidgets.QHBoxLayout(content)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._scroll)
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
