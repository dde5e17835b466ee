"""The panel as a whole: what is chosen, whether it can be registered, and who is told when it changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from ..errors import InputError
from ..geometry import Pose
from ..mrml.history import PoseHistory
from ..mrml.inputs import Inputs, inputs_key, inputs_of
from ..mrml.poses import centered_pose, check_moves_only_the_ct, pose_node_for, pose_of, set_pose
from ..mrml.results import kept_result
from ..mrml.shown import Shown
from ..xray import Polarity
from .geometry_section import GeometrySection
from .images_section import ImagesSection
from .live_edges import LiveEdges
from .messages import told_to_people
from .pose_section import PoseSection
from .register_section import RegisterSection
from .result_section import ResultSection

if TYPE_CHECKING:
    from ..mrml.session import Session


class Panel(VTKObservationMixin):
    """The five sections, over one parameter node at a time.

    ui: the widgets of the .ui file by name. requirements: path of requirements.txt.
    parameters: the parameter node, None between scenes. inputs: what is chosen, None while it cannot be registered, and
    problem then says why. pose: of the pose node, None while there is none or it is not rigid.
    """

    def __init__(self, ui: Any, requirements: str | Path) -> None:
        VTKObservationMixin.__init__(self)
        self.ui, self.requirements = ui, requirements
        self.parameters: Any | None = None
        self.inputs: Inputs | None = None
        self.pose: Pose | None = None
        self.problem = ""
        self.history = PoseHistory()
        self._inputs_key: Any = None
        self._xrays_shown: tuple[str, ...] = ()
        self._shown_with: dict[str, Shown] = {}
        self._updating = False
        self.images_section = ImagesSection(self)
        self.geometry_section = GeometrySection(self)
        self.pose_section = PoseSection(self)
        self.register_section = RegisterSection(self)
        self.result_section = ResultSection(self)
        self.edges = LiveEdges(self.pose_section.show_similarity)

    # What is chosen

    @property
    def ct_node(self) -> Any | None:
        return self.parameters.ct if self.parameters else None

    @property
    def pose_node(self) -> Any | None:
        return self.parameters.pose if self.parameters else None

    def xrays(self) -> list[Any]:
        """The chosen X-ray nodes, one to three."""
        if not self.parameters:
            return []
        chosen = (self.parameters.xray1, self.parameters.xray2, self.parameters.xray3)
        return [node for node in chosen if node is not None]

    @property
    def registering(self) -> bool:
        return self.register_section.session is not None

    def choose(self, ct_node: Any, xray_nodes: Sequence[Any]) -> None:
        """Choose a CT and one to three X-rays, as by hand."""
        first, second, third = (*xray_nodes, None, None)[:3]
        with slicer.util.NodeModify(self.parameters.parameterNode):
            self.parameters.pose = None
            self.parameters.ct = ct_node
            self.parameters.xray1, self.parameters.xray2, self.parameters.xray3 = first, second, third

    def checked_inputs(self) -> Inputs:
        """What is registered; InputError says what is wrong with it."""
        if self.inputs is None:
            raise InputError(self.problem)
        return self.inputs

    # Life

    def attach(self, parameters: Any) -> None:
        """Show a parameter node, and follow it."""
        self.detach()
        self.parameters = parameters
        self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self.update()

    def detach(self) -> None:
        """Let go of the parameter node and everything in its scene; a registration ends without a word."""
        self.register_section.abandon()
        self.images_section.stop()
        self.pose_section.stop()
        self.edges.forget()
        self.removeObservers()
        self.parameters = self.inputs = self.pose = self._inputs_key = None
        self.problem, self._xrays_shown, self._shown_with = "", (), {}
        self.history.clear()

    # What changes

    def update(self) -> None:
        """Look at everything that is chosen, and show it."""
        if self.parameters is None or self._updating or slicer.mrmlScene.IsImporting():
            return
        self._updating = True
        try:
            self._observe_nodes()
            self.geometry_section.start()
            self._look_at_inputs()
            self._look_at_pose()
            self._tidy_up()
            self._update_sections()
        finally:
            self._updating = False

    def geometry_changed(self) -> None:
        """The geometry of an X-ray was edited."""
        self.update()

    def registering_changed(self) -> None:
        """A registration has begun or ended."""
        if not self.registering and self.inputs is not None:
            self._set_edges()
        self.update()
        if self.pose is not None:
            self._follow()

    def move_to(self, pose: Pose, record: bool = True) -> None:
        """Let the transform node carry the CT to a pose; InputError where a parent transform forbids it."""
        set_pose(self.pose_node, pose)
        if record:
            self.history.record(pose)
        self.register_section.update()

    def show_running_pose(self, session: Session) -> None:
        """Show the best pose of a running registration, in the scene and as edges."""
        session.show()
        if self.parameters.liveOverlay:
            self.edges.draw_edges_only(session.pose)

    def _observe_nodes(self) -> None:
        """Follow the chosen nodes: images, geometry, parents and pose."""
        self.removeObservers(self._on_node)
        self.removeObservers(self._on_pose)
        for node in {node.GetID(): node for node in (self.ct_node, *self.xrays()) if node is not None}.values():
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_node)
            self.addObserver(node, node.ImageDataModifiedEvent, self._on_node)
            if node is not self.ct_node:  # its transform is the pose
                self.addObserver(node, node.TransformModifiedEvent, self._on_node)
        if self.pose_node is not None:
            self.addObserver(self.pose_node, self.pose_node.TransformModifiedEvent, self._on_pose)
        self.removeObservers(self._on_landmarks)
        for node in self.pose_section.all_landmark_nodes():
            for event in (node.PointPositionDefinedEvent, node.PointRemovedEvent, node.PointModifiedEvent):
                self.addObserver(node, event, self._on_landmarks)

    def _look_at_inputs(self) -> None:
        """Check what is chosen, unless nothing of it has changed since."""
        key = (self.parameters.polarity, *inputs_key(self.ct_node, self.xrays()))
        if key == self._inputs_key:
            return
        self._inputs_key, self.inputs = key, None
        try:
            self.inputs = inputs_of(self.ct_node, self.xrays())
            self.problem = ""
        except InputError as error:
            self.problem = str(error)
        self.geometry_section.show_beams()
        if self.inputs is not None:
            self._set_edges()
            shown = tuple(node.GetID() for node in self.xrays())
            if shown != self._xrays_shown:
                self._xrays_shown = shown
                self.images_section.show_views()
        else:
            self.edges.clear()

    def _look_at_pose(self) -> None:
        """Give the CT a transform node where it has none, and read the pose."""
        self.pose = None
        if self.inputs is None:
            return
        if self.pose_node is None:
            start = centered_pose(self.inputs.ct.center, self.inputs.isocenter)
            try:
                self.parameters.pose = pose_node_for(slicer.mrmlScene, self.ct_node, start)
            except InputError as error:
                self.problem = str(error)
                return
            self._observe_nodes()
        if self.ct_node.GetTransformNodeID() != self.pose_node.GetID():
            self.ct_node.SetAndObserveTransformNodeID(self.pose_node.GetID())
        self._read_pose()
        if self.pose is not None and not self.registering:
            self.history.record(self.pose)
            self._follow()
        self.pose_section.show_bone()
        self.pose_section.show_handles()
        self.pose_section.follow_ct()

    def _tidy_up(self) -> None:
        """Hide beams of X-rays that are no longer chosen; remove what belonged to nodes that are gone."""
        chosen = {node.GetID(): node for node in (self.ct_node, *self.xrays()) if node is not None}
        for node_id, shown in self._shown_with.items():
            if shown.owner.GetScene() is None:
                shown.remove()
            elif node_id not in chosen:
                shown.hide()
        self._shown_with = {node_id: Shown.of(node) for node_id, node in chosen.items()}

    def _read_pose(self) -> None:
        try:
            check_moves_only_the_ct(self.pose_node, self.xrays())
            self.pose, self.problem = pose_of(self.pose_node), ""
        except InputError as error:
            self.pose, self.problem = None, str(error)
            self.edges.clear()

    def _set_edges(self) -> None:
        result = kept_result(self.pose_node) if self.pose_node is not None else None
        known = [Polarity(value) for value in result.polarities] if result else []
        if self.parameters.polarity.value:
            known = [Polarity(self.parameters.polarity.value)] * len(self.xrays())
        known = known if len(known) == len(self.xrays()) else None
        self.edges.set_inputs(self.inputs, self._inputs_key[1], self.xrays(), known)

    def _follow(self) -> None:
        if not self.parameters.liveOverlay:
            self.edges.clear()
        elif not self.registering:
            if not self.edges.ready:
                self._set_edges()
            if self.edges.ready:
                self.edges.follow(self.pose)
            else:
                self.pose_section.say_what_is_missing()

    def _update_sections(self) -> None:
        for section in (
            self.images_section,
            self.geometry_section,
            self.pose_section,
            self.register_section,
            self.result_section,
        ):
            section.update()

    def _on_parameters(self, caller: Any, event: Any) -> None:
        with told_to_people():
            self.update()

    def _on_node(self, caller: Any, event: Any) -> None:
        if not self.registering:
            with told_to_people():
                self.update()

    def _on_landmarks(self, caller: Any, event: Any) -> None:
        with told_to_people():
            self.pose_section.update()
            self.result_section.update()

    def _on_pose(self, caller: Any, event: Any) -> None:
        """The CT was moved, by whatever: handles, sliders, another module, a registration."""
        if self.registering or self.inputs is None or self._updating:
            return
        with told_to_people():
            self._read_pose()
            if self.pose is not None:
                self._follow()
            self.pose_section.pose_changed()
            self.register_section.update()
            self.result_section.update()
