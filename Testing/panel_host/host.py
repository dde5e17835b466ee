"""The host as tests use it: it starts the application, loads a module, presses buttons and waits."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .messages import Messages
from .namespace import provide
from .packages import Packages
from .rendering import RENDERING

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
    messages: the message boxes shown. packages: what counts as installed. rendering: what drawing the views costs, and
    how often they were drawn.
    """

    def __init__(self, module_path: Path, folder: Path) -> None:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        os.environ.pop("DISPLAY", None)  # VTK would look for a screen
        self.errors: list[BaseException] = []
        self.packages, self.messages, self.rendering = Packages(), Messages(), RENDERING
        self._window: Any = None
        provide(folder, self.packages)
        self.messages.watch()
        self._watch_vtk()
        outside = _taken_library()
        self.module = _loaded_module(module_path)
        self._library = _taken_library()
        sys.modules.update(outside)

    @property
    def scene(self) -> Any:
        """The scene of the application."""
        import slicer

        return slicer.app.mrmlScene()

    @contextlib.contextmanager
    def active(self) -> Iterator[Host]:
        """A test in the host: an empty scene, and the module's own copy of the library, which other tests do not see.

        The module drops the library from sys.modules when it is loaded, as reloading in 3D Slicer needs.
        """
        import slicer

        outside, scene_outside = _taken_library(), getattr(slicer, "mrmlScene", None)
        sys.modules.update(self._library)
        slicer.mrmlScene, hook_outside, sys.excepthook = self.scene, sys.excepthook, self._note_error
        self.messages.forget()
        self.rendering.reset()
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
        """Press a button as a person can: visible, once folded sections around it are opened, and enabled."""
        panel = self.module.widgetRepresentation()
        assert button.isVisibleTo(panel), f"{button.name} is not visible"
        _unfold(button)
        assert button.isEnabled(), f"{button.name} is disabled: {button.toolTip}"
        button.click()

    def drop(self, widget: Any, paths: Sequence[str | Path]) -> bool:
        """Drop files onto a widget, as from a file manager; whether it, or a widget around it, took them."""
        from PySide6 import QtCore, QtGui, QtWidgets

        while widget is not None and not widget.acceptDrops:
            widget = widget.parentWidget()
        if widget is None:
            return False
        dragged = QtCore.QMimeData()
        dragged.setUrls([QtCore.QUrl.fromLocalFile(str(path)) for path in paths])
        action, button = QtCore.Qt.DropAction.CopyAction, QtCore.Qt.MouseButton.LeftButton
        none = QtCore.Qt.KeyboardModifier.NoModifier
        enter = QtGui.QDragEnterEvent(widget.rect.center(), action, dragged, button, none)
        QtWidgets.QApplication.sendEvent(widget, enter)
        if not enter.isAccepted():
            return False
        event = QtGui.QDropEvent(QtCore.QPointF(widget.rect.center()), action, dragged, button, none)
        QtWidgets.QApplication.sendEvent(widget, event)
        return event.isAccepted()

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


def _unfold(widget: Any) -> None:
    """Open the collapsed sections above a widget."""
    parent = widget.parentWidget()
    if parent is not None:
        if getattr(parent, "collapsed", False):
            parent.collapsed = False
        _unfold(parent)


def _taken_library() -> dict[str, types.ModuleType]:
    """The library's modules, taken out of sys.modules."""
    names = [name for name in sys.modules if name.partition(".")[0] == "XrayCTRegistrationLib"]
    return {name: sys.modules.pop(name) for name in names}


def _loaded_module(path: Path) -> Any:
    """A scripted module, found and registered as 3D Slicer does when it starts."""
    import slicer

    module = slicer.qSlicerScriptedLoadableModule(path)
    setattr(slicer.modules, module.name.lower(), module)
    slicer.app.moduleManager().addModule(module)
    return module
