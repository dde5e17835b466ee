"""What a scripted module imports, `qt`, `ctk` and the parts of `slicer` that slicer-core lacks, put where it looks."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

from .packages import Packages
from .pythonqt import qt_module


def provide(folder: Path, packages: Packages) -> None:
    """Fill in `qt`, `ctk`, `slicer` and `PyTorchUtils`, and start the application. Once in a process.

    folder: for settings, cache and temporary files. packages: what `slicer.packaging` takes as installed.
    """
    import slicer

    sys.modules["qt"] = qt_module()
    from . import ctk_widgets, modules, mrml_widgets, ui_files
    from .application import BUILT_IN_MODULES, qSlicerApplication

    sys.modules["qt"].QUiLoader = ui_files.QUiLoader
    sys.modules["ctk"] = types.ModuleType("ctk")
    for cls in ctk_widgets.STAND_INS:
        setattr(sys.modules["ctk"], cls.__name__, cls)
    for cls in (*mrml_widgets.STAND_INS, *modules.STAND_INS):
        setattr(slicer, cls.__name__, cls)
    slicer.app = qSlicerApplication(folder)
    slicer.mrmlScene = slicer.app.mrmlScene()
    slicer.modules = types.SimpleNamespace()
    for name in BUILT_IN_MODULES:
        setattr(slicer.modules, name.lower(), modules.BuiltInModule(name, slicer.app.moduleLogic(name)))
    sys.modules["PyTorchUtils"] = packages.pytorch_module()
    _submodule("packaging", packages.packaging_module())
    for name, file in (("i18n", "i18n"), ("parameterNodeWrapper", "parameter_node")):
        _submodule(name, importlib.import_module(f".{file}", __package__))
    _submodule("ScriptedLoadableModule", importlib.import_module(".scripted_module", __package__))  # needs the others


def _submodule(name: str, module: types.ModuleType) -> None:
    import slicer

    sys.modules[f"slicer.{name}"] = module
    setattr(slicer, name, module)
