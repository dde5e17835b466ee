"""The strip below the sections: how to register, the button, how far it is, and the poses to go back to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..geometry import Pose
from ..mrml.sequences import frames_of
from . import dependencies
from .choices import Method
from .messages import show_message, told_to_people
from .runner import Runner
from .selection import Change, Selection


class Strip:
    """Starts and cancels registrations, and says how far they are."""

    def __init__(self, selection: Selection, runner: Runner, ui: Any) -> None:
        self._selection, self._runner, self._ui = selection, runner, ui
        ui.registerButton.connect("clicked()", self._on_register)
        ui.registerFramesButton.connect("clicked()", lambda: self._start(self._method, frames=True))
        ui.searchButton.connect("clicked()", lambda: self._start(Method.SEARCH))
        ui.undoButton.connect("clicked()", lambda: self._step(selection.history.undo))
        ui.redoButton.connect("clicked()", lambda: self._step(selection.history.redo))
        selection.listen(Change.PROGRESS, self._show_progress)
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Enable what can be done, and say why the rest cannot."""
        ui, selection = self._ui, self._selection
        running, problem = selection.running, selection.problem
        ui.registerButton.text = _("Cancel") if running else _("Register")
        ui.registerButton.enabled = running or not problem
        ui.registerButton.toolTip = (
            _("Stop, and keep the best pose so far.") if running else problem or _("Find the pose of the CT.")
        )
        ui.searchButton.enabled = not running and not problem
        is_run = bool(selection.xray_nodes) and all(frames_of(node) for node in selection.xray_nodes)
        ui.registerFramesButton.setVisible(is_run)
        ui.registerFramesButton.enabled = not running and not problem
        ui.undoButton.enabled = not running and selection.history.can_undo
        ui.redoButton.enabled = not running and selection.history.can_redo
        for name in ("methodComboBox", "advancedGroupBox"):
            getattr(ui, name).enabled = not running
        parameters = selection.parameters
        ui.deviceFoundLabel.text = dependencies.device_name(parameters.device.value) if parameters else ""
        show_message(ui.registerMessageLabel, "" if running else problem)
        self._show_progress()

    @property
    def _method(self) -> Method:
        return self._selection.parameters.method

    def _show_progress(self) -> None:
        self._ui.progressBar.setVisible(self._selection.running)
        self._ui.progressBar.value = int(1000 * self._runner.progress)
        self._ui.stageLabel.text = self._runner.text

    def _on_register(self) -> None:
        if self._selection.running:
            self._runner.cancel()
        else:
            self._start(self._method)

    def _start(self, method: Method, frames: bool = False) -> None:
        with told_to_people():
            self._runner.start(method, frames)

    def _step(self, step: Callable[[], Pose]) -> None:
        with told_to_people():
            self._selection.move_to(step(), record=False)
