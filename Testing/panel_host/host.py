"""The host as tests use it: it starts the application, loads a module, presses buttons and waits."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_running: Host | None = None


def running_host(module_path: Path, folder: Path) -> Host:
    """The one host of this process, with the module of `module_path` loaded; started when first asked for.

    folder: for settings, cache and temporary files.
    """
    global _running
    if _running is None:
        _running = Host(module_path, folder)
    return _running


class Host:
    """A scripted module in its application.

    errors: exceptions that reached Qt or VTK, and errors of VTK, which 3D Slicer would print: they fail a test.
    messages: the message boxes shown. packages: what counts as installed.
    """

    def __init__(self, module_path: Path, folder: Path) -> None:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        os.environ.pop("DISPLAY", None)  # VTK would look for a screen
        self.errors: list[BaseException] = []
        self._window: Any = None
        self._start(folder)
        outside = _taken_library()
        self.module = self._load(module_path)
        self._library = _taken_library()
        sys.modules.update(outside)

    def _start(self, folder: Path) -> None:
        import slicer

        from .pythonqt import qt_module

        sys.modules["qt"] = qt_module()
        from . import ctk_widgets, i18n, messages, modules, mrml_widgets, packages, parameter_node, ui_files
        from .application import BUILT_IN_MODULES, qSlicerApplication

        sys.modules["qt"].QUiLoader = ui_files.QUiLoader
        sys.modules["ctk"] = _namespace("ctk", ctk_widgets.STAND_INS)
        self.messages, self.packages = messages.Messages(), packages.Packages()
        self.messages.watch()
        slicer.app = qSlicerApplication(folder)
        slicer.mrmlScene = self.scene = slicer.app.mrmlScene()
        slicer.modules = types.SimpleNamespace()
        for cls in (*mrml_widgets.STAND_INS, *_module_classes(modules)):
            setattr(slicer, cls.__name__, cls)
        sys.modules["slicer.i18n"] = slicer.i18n = i18n
        sys.modules["slicer.packaging"] = slicer.packaging = self.packages.packaging_module()
        sys.modules["PyTorchUtils"] = self.packages.pytorch_module()
        sys.modules["slicer.parameterNodeWrapper"] = slicer.parameterNodeWrapper = parameter_node
        from . import scripted_module

        sys.modules["slicer.ScriptedLoadableModule"] = slicer.ScriptedLoadableModule = scripted_module
        for name in BUILT_IN_MODULES:
            setattr(slicer.modules, name.lower(), modules.BuiltInModule(name, slicer.app.moduleLogic(name)))
        self._watch_vtk()

    def _load(self, path: Path) -> Any:
        import slicer

        from .modules import qSlicerScriptedLoadableModule

        module = qSlicerScriptedLoadableModule(path)
        setattr(slicer.modules, module.name.lower(), module)
        slicer.app.moduleManager().addModule(module)
        return module

    @contextlib.contextmanager
    def active(self) -> Iterator[Host]:
        """A test in the host: an empty scene, and the module's own copy of the library, which other tests do not see.

        The module drops the library from sys.modules when it is loaded, as reloading in 3D Slicer needs.
        """
        import slicer

        outside, scene_outside = _taken_library(), getattr(slicer, "mrmlScene", None)
        sys.modules.update(self._library)
        slicer.mrmlScene, hook_outside, sys.excepthook = self.scene, sys.excepthook, self._note_error
        self.messages.shown.clear()
        self.messages.answers.clear()
        self.packages.absent.clear()
        self.open_window()
        self.module.widgetRepresentation().enter()
        try:
            yield self
        finally:
            self.module.widgetRepresentation().exit()
            self.scene.Clear(0)
            slicer.app.processEvents()
            self._library = _taken_library()
            sys.modules.update(outside)
            slicer.mrmlScene, sys.excepthook = scene_outside, hook_outside

    def _watch_vtk(self) -> None:
        """Note the errors that VTK and MRML report to their output window."""
        import vtk

        def note(window: vtk.vtkOutputWindow, event: str, text: str) -> None:
            self.errors.append(RuntimeError(text))

        note.CallDataType = vtk.VTK_STRING
        vtk.vtkOutputWindow.GetInstance().AddObserver("ErrorEvent", note)

    def _note_error(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        sys.__excepthook__(kind, error, trace)
        self.errors.append(error)

    def open_window(self) -> Any:
        """The main window: the panel on the left, the views of the current layout on the right; on no screen."""
        import slicer

        from .window import MainWindow

        if self._window is None:
            self._window = MainWindow(self.scene, slicer.app.applicationLogic())
            slicer.app.setLayoutManager(self._window.layout_manager)
            self._window.show_panel(self.module.widgetRepresentation())
        return self._window

    @contextlib.contextmanager
    def without_window(self) -> Iterator[None]:
        """As in 3D Slicer started with --no-main-window, where generic tests of modules run."""
        import slicer

        self._window.setObjectName("")
        slicer.app.setLayoutManager(None)
        try:
            yield
        finally:
            self._window.setObjectName("qSlicerMainWindow")
            slicer.app.setLayoutManager(self._window.layout_manager)

    @property
    def panel(self) -> Any:
        """The module's Python widget."""
        return self.module.widgetRepresentation().self()

    @property
    def ui(self) -> Any:
        return self.panel.ui

    @property
    def logic(self) -> Any:
        return self.panel.logic

    def press(self, button: Any) -> None:
        """Press a button as a person can: it must be visible and enabled."""
        panel = self.module.widgetRepresentation()
        assert button.isVisibleTo(panel), f"{button.name} is not visible"
        assert button.isEnabled(), f"{button.name} is disabled: {button.toolTip}"
        button.click()

    def wait(self, until: Callable[[], Any], seconds: float = 60.0) -> None:
        """Run the event loop until something is so; AssertionError when it takes longer."""
        import slicer

        limit = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < limit, f"not so after {seconds} s"
            slicer.app.processEvents()
            time.sleep(0.001)

    def idle(self, seconds: float = 0.1) -> None:
        """Run the event loop for a while."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end)


def _taken_library() -> dict[str, types.ModuleType]:
    """The library's modules, taken out of sys.modules."""
    names = [name for name in sys.modules if name.partition(".")[0] == "XrayCTRegistrationLib"]
    return {name: sys.modules.pop(name) for name in names}


def _namespace(name: str, classes: tuple[type, ...]) -> types.ModuleType:
    module = types.ModuleType(name)
    for cls in classes:
        setattr(module, cls.__name__, cls)
    return module


def _module_classes(modules: types.ModuleType) -> tuple[type, ...]:
    return (modules.qSlicerScriptedLoadableModule, modules.qSlicerScriptedLoadableModuleWidget)
