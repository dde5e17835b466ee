"""How 3D Slicer holds a scripted module and its panel: `slicer.modules`, and the widget around the panel."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from .mrml_widgets import qMRMLWidget


class qSlicerScriptedLoadableModule:
    """A scripted module that was found on disk."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.name = path.stem
        self.title, self.categories, self.dependencies, self.contributors = "", [], [], []
        self.helpText = self.acknowledgementText = ""
        self.icon = None
        self.hidden = False
        self._representation: qSlicerScriptedLoadableModuleWidget | None = None
        sys.path.insert(0, str(path.parent))
        getattr(_loaded(self.name, path), self.name)(self)

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        if self._representation is None:
            self._representation = qSlicerScriptedLoadableModuleWidget(Path(self.path))
            self._representation.setMRMLScene(slicer.mrmlScene)
            self._representation.reload()
        return self._representation

    def logic(self) -> None:
        """A scripted module's logic belongs to its panel."""


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The Qt widget that carries a scripted module's panel."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._panel: Any = None
        self._entered = False
        QtWidgets.QVBoxLayout(self).setContentsMargins(0, 0, 0, 0)

    isEntered = QtCore.Property(bool, lambda self: self._entered)

    def self(self) -> Any:
        return self._panel

    def reload(self) -> None:
        name = self._path.stem + "Widget"
        self._panel = getattr(sys.modules[self._path.stem], name)(self)
        setattr(slicer.modules, name, self._panel)
        self._panel.setup()

    def enter(self) -> None:
        self._entered = True
        getattr(self._panel, "enter", lambda: None)()

    def exit(self) -> None:
        self._entered = False
        getattr(self._panel, "exit", lambda: None)()


class BuiltInModule:
    """A module of 3D Slicer, of which there is only the logic."""

    def __init__(self, name: str, logic: slicer.vtkMRMLAbstractLogic) -> None:
        self.name, self._logic = name, logic

    def logic(self) -> slicer.vtkMRMLAbstractLogic:
        return self._logic


STAND_INS = (qSlicerScriptedLoadableModule, qSlicerScriptedLoadableModuleWidget)


def _loaded(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
