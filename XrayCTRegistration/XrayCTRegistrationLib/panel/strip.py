"""The strip below the sections, always in sight: how to register, the button, how far it is, what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import qt
from slicer.i18n import tr as _

from ..mrml.results import kept_result
from ..mrml.sequences import frames_of
from .changes import Change
from .choices import Method
from .messages import show_message, told_to_people
from .result_words import one_line
from .runner import Runner
from .selection import Selection

_DARK_BELOW = 128  # lightness of the window's colour, of 255


class Preparing(Protocol):
    """Work in the background. text, progress: what there is to say of it, nothing where it has ended, and 0 to 1."""

    text: str
    progress: float


class Strip:
    """Starts and cancels registrations, and says how far they are.

    preparations: what may go on while nothing is registered.
    """

    def __init__(self, selection: Selection, runner: Runner, preparations: Sequence[Preparing], ui: Any) -> None:
        self._selection, self._runner, self._preparations, self._ui = selection, runner, preparations, ui
        ui.registerButton.connect("clicked()", self._on_register)
        ui.registerFramesButton.connect("clicked()", lambda: self._start(self._method, frames=True))
        ui.searchButton.connect("clicked()", lambda: self._start(Method.SEARCH))
        ui.searchWidelyButton.connect("clicked()", self._on_search_widely)
        ui.undoButton.connect("clicked()", lambda: self._step(selection.go_back))
        ui.redoButton.connect("clicked()", lambda: self._step(selection.go_forward))
        selection.listen(Change.PROGRESS, self._show_progress)
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Enable what can be done, and say why the rest cannot."""
        ui, selection = self._ui, self._selection
        running, problem = selection.running, selection.problem
        ready = not running and not problem and selection.parameters is not None
        ui.registerButton.text = _("Cancel") if running else _("Register")
        ui.registerButton.enabled = running or ready
        ui.registerButton.toolTip = (
            _("Stop, and keep the best pose so far.") if running else problem or _("Find the pose of the CT.")
        )
        ui.searchButton.enabled = ready
        is_run = bool(selection.xray_nodes) and all(frames_of(node) for node in selection.xray_nodes)
        ui.registerFramesButton.setVisible(is_run)
        ui.registerFramesButton.enabled = ready
        ui.undoButton.enabled = not running and selection.history.can_undo
        ui.redoButton.enabled = not running and selection.history.can_redo
        ui.methodComboBox.enabled = not running
        ui.scopeComboBox.enabled = not running and selection.parameters is not None and self._method.searches
        ui.scopeWordsLabel.text = self._words() if ready else ""
        show_message(ui.registerMessageLabel, "" if running else problem)
        show_message(ui.resultLineLabel, "" if running else self._result_line())
        ui.searchWidelyButton.setVisible(ready and self._runner.wide_is_worth_a_try)
        self._show_progress()

    @property
    def _method(self) -> Method:
        return self._selection.parameters.method

    def _words(self) -> str:
        return self._selection.parameters.scope.words(self._method, self._selection.untouched, self._selection.unit)

    def _result_line(self) -> str:
        selection = self._selection
        result = kept_result(selection.pose_node) if selection.pose_node is not None else None
        if result is None or selection.pose is None:
            return ""
        window = self._ui.resultLineLabel.palette.color(qt.QPalette.Window)
        return one_line(result, selection.unit, not result.is_of(selection.pose), window.lightness() < _DARK_BELOW)

    def _show_progress(self) -> None:
        ui, running = self._ui, self._selection.running
        preparing = None if running else next((one for one in self._preparations if one.text), None)
        ui.progressBar.setVisible(running or preparing is not None)
        ui.progressBar.value = int(1000 * (preparing or self._runner).progress)
        show_message(ui.stageLabel, (preparing or self._runner).text)

    def _on_register(self) -> None:
        if self._selection.running:
            self._runner.cancel()
        else:
            self._start(self._method)

    def _start(self, method: Method, frames: bool = False) -> None:
        selection = self._selection
        with told_to_people():
            near = selection.parameters is not None and selection.parameters.scope.is_near(selection.untouched)
            self._runner.start(method, near, frames)

    def _on_search_widely(self) -> None:
        with told_to_people():
            self._runner.start_again_widely()

    def _step(self, step: Callable[[], None]) -> None:
        with told_to_people():
            step()
