"""4 Register: one step after the other by a timer on the main thread, so that the window stays alive."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from ..mrml.inputs import frames_of_inputs
from ..mrml.poses import initial_pose, keep_initial_pose, pose_of
from ..mrml.results import keep_result, kept_result
from ..mrml.sequences import add_pose_sequence, frames_of
from . import dependencies
from .choices import Device, Method
from .messages import show_message, told_to_people

if TYPE_CHECKING:
    from ..mrml.session import Session
    from ..registration import Settings
    from .panel import Panel

_TICK_MS, _BUDGET_S = 5, 0.02
_SHOWN_EVERY_S = 0.12


class RegisterSection:
    """Runs registrations, and lets the pose go back and forward."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        ui = self._ui = panel.ui
        self.session: Session | None = None
        self._method = Method.AUTO
        self._input_nodes: tuple[Any, ...] = ()
        self._shown_at = 0.0
        self._timer = qt.QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.connect("timeout()", self.tick)
        ui.registerButton.connect("clicked()", self._on_register)
        ui.registerFramesButton.connect("clicked()", self._on_frames)
        ui.searchButton.connect("clicked()", self._on_search)
        ui.undoButton.connect("clicked()", lambda: self._step(self._panel.history.undo))
        ui.redoButton.connect("clicked()", lambda: self._step(self._panel.history.redo))

    def update(self) -> None:
        """Enable what can be done, and say why the rest cannot."""
        ui, panel, running = self._ui, self._panel, self.session is not None
        problem = panel.problem
        ui.registerButton.text = _("Cancel") if running else _("Register")
        ui.registerButton.enabled = running or not problem
        ui.registerButton.toolTip = (
            _("Stop, and keep the best pose so far.") if running else problem or _("Find the pose of the CT.")
        )
        ui.searchButton.enabled = not running and not problem
        is_run = bool(panel.xrays()) and all(frames_of(node) for node in panel.xrays())
        ui.registerFramesButton.setVisible(is_run)
        ui.registerFramesButton.enabled = not running and not problem
        ui.undoButton.enabled = not running and panel.history.can_undo
        ui.redoButton.enabled = not running and panel.history.can_redo
        for name in ("methodComboBox", "advancedGroupBox"):
            getattr(ui, name).enabled = not running
        ui.progressBar.setVisible(running)
        ui.deviceFoundLabel.text = dependencies.device_name(panel.parameters.device.value) if panel.parameters else ""
        show_message(ui.registerMessageLabel, "" if running else problem)

    def settings(self, method: Method) -> Settings:
        """What the widgets of this section say, as the library takes it."""
        from ..registration import Settings
        from ..search.global_search import SearchRange
        from ..xray import Polarity

        chosen = self._panel.parameters
        return Settings(
            method=method.value,
            search=SearchRange(*chosen.searchRange.value),
            polarity=Polarity(chosen.polarity.value) if chosen.polarity.value else None,
            device=chosen.device.value,
            seed=chosen.seed,
        )

    def start(self, method: Method, frames: bool = False) -> None:
        """Begin a registration; InputError where that cannot be."""
        panel = self._panel
        dependencies.ensure(panel.requirements)
        if panel.parameters.device is Device.CUDA:
            dependencies.ensure_gpu()
        self._warm_up()
        from ..mrml.session import Session

        panel.update()  # with the packages there, the edges are drawn
        inputs = panel.checked_inputs()
        start = pose_of(panel.pose_node)
        result = kept_result(panel.pose_node)
        if initial_pose(panel.pose_node) is None or result is None or not result.is_of(start):
            keep_initial_pose(panel.pose_node, start)
        panel.history.record(start)
        run = frames_of_inputs(panel.xrays()) if frames else None
        self.session = Session(inputs, panel.pose_node, start, self.settings(method), run)
        self._method, self._input_nodes = method, (panel.ct_node, panel.pose_node, *panel.xrays())
        self._shown_at = time.perf_counter()
        self._timer.start()
        panel.registering_changed()

    def cancel(self) -> None:
        """Stop, and keep the best pose so far."""
        if self.session is not None:
            self.session.cancel()
            self._end(_("Cancelled: this is the best pose so far."))

    def abandon(self) -> None:
        """Stop without touching the scene, which is about to go."""
        self._timer.stop()
        if self.session is not None:
            self.session.cancel()
            self.session = None

    def tick(self) -> None:
        """Run some steps, or show how far they are; never both, to keep the tick short."""
        session = self.session
        if session is None:
            self._timer.stop()
            return
        gone = next((node for node in self._input_nodes if node.GetScene() is None), None)
        if gone is not None:
            session.cancel()
            self._end(
                _("{name} was removed: the registration ended, with the best pose so far.").format(name=gone.GetName())
            )
            return
        with told_to_people():
            try:
                if time.perf_counter() - self._shown_at > _SHOWN_EVERY_S:
                    self._show()
                elif not session.advance(_BUDGET_S):
                    self._finish()
            except BaseException:
                session.cancel()
                self._end(_("The registration could not go on."))
                raise

    def _show(self) -> None:
        session = self.session
        if session.state is not None:
            self._ui.progressBar.value = int(1000 * session.progress)
            self._ui.stageLabel.text = self._stage_text()
            self._panel.show_running_pose(session)
        self._shown_at = time.perf_counter()

    def _stage_text(self) -> str:
        session = self.session
        text = _stage_name(session.state.stage)
        if session.state.similarity > -1:
            text += ": " + _("similarity {similarity:.3f}").format(similarity=session.state.similarity)
        if session.frame_count > 1:
            number = _("Frame {number} of {count}").format(number=session.frame + 1, count=session.frame_count)
            text = f"{number}, {text}"
        return text

    def _finish(self) -> None:
        session = self.session
        result = session.results[-1]
        if self._method is not Method.SEARCH:
            keep_result(session.pose_node, result, self._method.value)
        seconds = sum(sum(one.seconds.values()) for one in session.results)
        self._end(_("Done in {seconds:.1f} s.").format(seconds=seconds))

    def _end(self, text: str) -> None:
        """Leave the registering state, with the pose that was found."""
        self._timer.stop()
        session, self.session = self.session, None
        self._ui.stageLabel.text = text
        if session.pose_node.GetScene() is not None:
            session.show()
            self._panel.history.record(session.pose)
            first = self._input_nodes[2]
            if session.is_run and session.results and first.GetScene() is not None:
                add_pose_sequence(first, session.pose_node, [one.pose for one in session.results])
        self._panel.registering_changed()

    def _step(self, step: Callable[[], Any]) -> None:
        with told_to_people():
            self._panel.move_to(step(), record=False)

    def _warm_up(self) -> None:
        """Compile the projector, once per machine: the one thing that holds the window up for long."""
        from ..projector import must_compile, warm_up

        if must_compile():
            self._ui.stageLabel.text = _("Compiling the projector for this machine, once: some seconds ...")
            slicer.app.processEvents()
        with slicer.util.WaitCursor():
            warm_up()
        self._ui.stageLabel.text = ""

    def _on_register(self) -> None:
        if self.session is not None:
            self.cancel()
            return
        with told_to_people():
            self.start(self._panel.parameters.method)

    def _on_frames(self) -> None:
        with told_to_people():
            self.start(self._panel.parameters.method, frames=True)

    def _on_search(self) -> None:
        with told_to_people():
            self.start(Method.SEARCH)


def _stage_name(stage: str) -> str:
    names = {
        "prepare": _("Preparing CT and X-rays"),
        "search": _("Searching from afar"),
        "learned": _("Following the learned similarity"),
        "CMA-ES": _("Searching nearby"),
        "gradient": _("Refining"),
        "report": _("Judging the result"),
    }
    return names.get(stage, stage)
