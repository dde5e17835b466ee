"""Runs a registration step by step, shows how far it is, and keeps what comes of it."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from ..mrml.bone_transforms import bone_row
from ..mrml.chosen import mask_node
from ..mrml.inputs import frames_of_inputs
from ..mrml.poses import initial_pose, keep_initial_pose, pose_of
from ..mrml.report import forget_report, keep_report
from ..mrml.results import keep_result, kept_result, result_to_keep
from ..mrml.segments import SegmentsToRegister, has_segment, segments_key
from ..mrml.sequences import add_pose_sequence
from ..mrml.tables import add_result_row
from . import dependencies
from .changes import Change
from .choices import Device, Method
from .live_edges import LiveEdges
from .pace import Pace
from .selection import Selection
from .ticker import Ticker

if TYPE_CHECKING:
    from ..geometry import Pose
    from ..mrml.session import Session
    from ..registration import Settings

_TOLD_EVERY_S = 0.1


class Runner:
    """A registration of what is chosen, as a job of the ticker.

    session: what runs, None while nothing does. text: what there is to say of it, and of the last one.
    """

    def __init__(self, selection: Selection, ticker: Ticker, edges: LiveEdges, requirements: str | Path) -> None:
        self._selection, self._ticker, self._edges, self._requirements = selection, ticker, edges, requirements
        self.session: Session | None = None
        self.text = ""
        self._method, self._near = Method.AUTO, False
        self._lost_nearby: Pose | None = None  # the start of a near search that does not trust what it found
        self._input_nodes: tuple[Any, ...] = ()
        self._bone_names: dict[str, str] = {}  # of the segments that are registered, by their ids
        self._segmentation: Any | None = None
        self._segments_key: Any = None
        self._init = ""  # where it began, in words
        self._pace = Pace(0.0, 0.0)
        self._told_at = 0.0

    @property
    def progress(self) -> float:
        """0 to 1."""
        return self.session.progress if self.session is not None else 0.0

    @property
    def wide_is_worth_a_try(self) -> bool:
        """Whether the last registration searched near its start, and does not trust what it found."""
        return self._lost_nearby is not None and self._selection.pose is not None

    def start_again_widely(self) -> None:
        """Search far around the start of the last registration."""
        self._selection.move_to(self._lost_nearby, record=False)
        self.start(self._method, near=False)

    def start(self, method: Method, near: bool, frames: bool = False) -> None:
        """Begin a registration, or one of all frames of a run; InputError where that cannot be.

        near: whether a search looks near the pose, or far around it.
        """
        selection = self._selection
        dependencies.ensure(self._requirements)
        if selection.parameters.device is Device.CUDA:
            dependencies.ensure_gpu()
        self._warm_up()
        from ..mrml.session import Session

        selection.update()  # with the packages there, the edges are drawn
        inputs, chosen = selection.checked_inputs(), self._bones_for(frames)
        pose_node, xray_nodes = selection.pose_node, selection.xray_nodes
        start = pose_of(pose_node)
        result = kept_result(pose_node)
        if initial_pose(pose_node) is None or result is None or not result.is_of(start):
            keep_initial_pose(pose_node, start)
        selection.record()
        self._init = "center" if selection.untouched else pose_node.GetName()
        run = frames_of_inputs(xray_nodes) if frames else None
        standing = {bone.segment_id: bone.node for bone in selection.bones.standing}
        bone_nodes = [standing[segment_id] for segment_id in chosen.ids] if chosen is not None else []
        self.session = Session(inputs, pose_node, start, self._settings(method, near), run, chosen, bone_nodes)
        self._bone_names = {one: selection.bones.name_of(one) for one in chosen.ids} if chosen is not None else {}
        self._segmentation, self._segments_key = selection.bones.node, selection.bones.listed_key
        self._method, self._near, self._lost_nearby = method, near and method.searches, None
        self._input_nodes = (selection.ct_node, pose_node, *xray_nodes)
        self._pace = Pace(time.perf_counter(), self._ticker.lag_s)
        self._ticker.run_first(self)
        selection.set_running(True)

    def cancel(self) -> None:
        """Stop, and keep the best pose so far."""
        if self.session is not None:
            self.session.cancel()
            self._end(_("Cancelled: this is the best pose so far."))

    def abandon(self) -> None:
        """Stop without touching the scene, which is about to go."""
        self._ticker.drop(self)
        if self.session is not None:
            self.session.cancel()
            self.session = None
        self.text, self._lost_nearby = "", None

    def advance(self, budget_s: float) -> bool:
        """Run some steps, or show how far they are; never both, to keep the tick short."""
        session = self.session
        gone = self._removed()
        if gone:
            session.cancel()
            self._end(_("{name} was removed: the registration has ended.").format(name=gone))
            return False
        said = ""
        try:
            if self._pace.is_due(time.perf_counter(), self._ticker.lag_s):
                self._show()
                return True
            going_on = session.advance(budget_s)
            if not going_on:
                said = self._finish()
        except BaseException:
            session.cancel()
            self._end(_("The registration could not go on."))
            raise
        if going_on:
            self._tell()
        else:
            self._end(said)
        return going_on

    def _removed(self) -> str:
        """The name of an input that has been removed from the scene, or of a segment that is registered."""
        nodes = (*self._input_nodes, *([self._segmentation] if self._bone_names else []))
        for node in nodes:
            if node.GetScene() is None:
                return node.GetName()
        return next((name for one, name in self._bone_names.items() if not has_segment(self._segmentation, one)), "")

    def _bones_for(self, frames: bool) -> SegmentsToRegister | None:
        """The bones that are registered, too, if any are checked. InputError where they cannot be."""
        bones = self._selection.bones
        if not bones.ids:
            return None
        if frames:
            raise InputError(_("Bones are registered in single images, not in runs of frames. Uncheck them first."))
        if bones.prepared is None:
            raise InputError(bones.problem)
        return bones.prepared.chosen

    def _settings(self, method: Method, near: bool) -> Settings:
        from ..registration import Settings
        from ..search.search_range import NEAR, SearchRange
        from ..xray import Polarity

        chosen = self._selection.parameters
        return Settings(
            method=method.value,
            search=NEAR if near else SearchRange(),
            polarity=Polarity(chosen.polarity.value) if chosen.polarity.value else None,
            device=chosen.device.value,
            seed=chosen.seed,
        )

    def _show(self) -> None:
        """Show the best pose in the scene, where it is another than was shown, and as edges."""
        began_s = time.perf_counter()
        if self.session.show():
            self._edges.draw_running(self.session.pose)
        self._pace.shown(began_s, time.perf_counter(), self._ticker.lag_s)

    def _tell(self) -> None:
        """Say how far it is, ten times a second."""
        now_s = time.perf_counter()
        if now_s - self._told_at >= _TOLD_EVERY_S:
            self._told_at = now_s
            self.text = self._stage_text()
            self._selection.tell(Change.PROGRESS)

    def _stage_text(self) -> str:
        session = self.session
        if session.state is None:
            return ""
        text = _stage_name(session.state.stage)
        if session.state.similarity > -1:
            text += ": " + _("similarity {similarity:.3f}").format(similarity=session.state.similarity)
        if session.frame_count > 1:
            number = _("Frame {number} of {count}").format(number=session.frame + 1, count=session.frame_count)
            text = f"{number}, {text}"
        return text

    def _finish(self) -> str:
        """Keep what was found; returns what there is to say."""
        session = self.session
        last = session.results[-1]
        if self._method is not Method.SEARCH:
            session.show_bones()
            self._keep(session)
        if self._near and last.confidence.level == "low":
            self._lost_nearby = session.start
        searched = _("The search has ended: Register refines what it found.")
        edited = bool(self._bone_names) and segments_key(self._segmentation) != self._segments_key
        went_on = _("The segmentation was edited meanwhile: the bones were registered as they were at the start.")
        return searched if self._method is Method.SEARCH else went_on if edited else ""

    def _keep(self, session: Session) -> None:
        """Keep results with the pose's node, in the table, and what a report says where it is a single one."""
        ct_node, pose_node, *xray_nodes = self._input_nodes
        method, last = self._method.value, session.results[-1]
        keep_result(pose_node, last, method)
        owner, now = self._selection.parameters.parameterNode, datetime.now()
        for result in session.results:
            add_result_row(owner, result_to_keep(result, method), ct_node, xray_nodes, now)
        if session.bones_result is not None:
            seconds = session.bones_result.seconds / len(session.bones_result.bones)
            for bone in session.bones_result.bones:
                row = bone_row(bone, method, seconds)
                add_result_row(owner, row, ct_node, xray_nodes, now, bone.name)
        if session.is_run:
            forget_report(pose_node)
        else:
            masks = [mask_node(node) for node in xray_nodes]
            bones = session.registered_bones(self._segmentation.GetName()) if session.bones_result else None
            keep_report(pose_node, last, session.settings, self._init, ct_node, xray_nodes, masks, bones)

    def _end(self, text: str) -> None:
        """Leave the registering state, with the pose that was found."""
        self._ticker.drop(self)
        session, self.session = self.session, None
        self.text = text
        try:
            if session.pose_node.GetScene() is not None:
                session.show()
                first = self._input_nodes[2]
                if session.is_run and session.results and first.GetScene() is not None:
                    add_pose_sequence(first, session.pose_node, [one.pose for one in session.results])
        finally:
            self._selection.set_running(False)  # whatever has become of the transforms

    def _warm_up(self) -> None:
        """Compile the projector, once per machine: the one thing that holds the window up for long."""
        from ..projector import must_compile, warm_up

        if must_compile():
            self.text = _("Compiling the projector for this machine, once: some seconds ...")
            self._selection.tell(Change.PROGRESS)
            slicer.app.processEvents()
        with slicer.util.WaitCursor():
            warm_up()
        self.text = ""


def _stage_name(stage: str) -> str:
    names = {
        "prepare": _("Preparing CT and X-rays"),
        "search": _("Searching from afar"),
        "learned": _("Following the learned similarity"),
        "CMA-ES": _("Searching nearby"),
        "gradient": _("Refining"),
        "report": _("Judging the result"),
        "bones": _("Registering the bones"),
    }
    return names.get(stage, stage)
