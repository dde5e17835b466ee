"""What is chosen in the panel, whether it can be registered, and who is told when that changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from ..errors import InputError
from ..geometry import Pose
from ..mrml.bone_transforms import StandingBone, bone_nodes
from ..mrml.chosen import choose_segments, choose_xrays, chosen_xrays, segmentation_node
from ..mrml.geometry import is_started
from ..mrml.history import History, Standing
from ..mrml.inputs import Inputs, inputs_key, unchecked_inputs
from ..mrml.poses import centered_pose, check_moves_only_the_ct, pose_node_for, pose_of, set_pose
from ..mrml.results import kept_result
from ..mrml.start import is_untouched, note_centred, note_set
from ..mrml.units import LengthUnit, length_unit, length_unit_node
from ..mrml.xrays import is_single_image
from ..xray import Meaning, Polarity
from .bone_choice import BoneChoice
from .changes import Change
from .messages import told_to_people
from .nodes import begin_geometry, changes_of_drawing, changes_of_images


class Selection(VTKObservationMixin):
    """The chosen nodes and what they hold; it follows them, by whomever they are changed.

    parameters: the parameter node, None between scenes. inputs: what is registered, None while it cannot be.
    pose: of the pose node, None while there is none or it is not rigid. running: whether a registration goes on, and
    the nodes are left alone. history: where CT, bones and X-rays stood. ct_key: what the CT's voxels and place depend
    on; while it stays, so do they. bones: which of its bones are registered each at a pose of its own, none for the
    whole CT.
    """

    def __init__(self) -> None:
        VTKObservationMixin.__init__(self)
        self.parameters: Any | None = None
        self.inputs: Inputs | None = None
        self.pose: Pose | None = None
        self.bones = BoneChoice()
        self.history = History()
        self.running = False
        self._problems = {"inputs": "", "ct": "", "pose": "", "bone poses": ""}
        self._current = 0
        self.ct_key: Any = None
        self._key: Any = None
        self._updating = False
        self._listeners: dict[Change, list[Callable[[], None]]] = {change: [] for change in Change}

    # Who is told

    def listen(self, change: Change, listener: Callable[[], None]) -> None:
        """Call the listener whenever this changes; listeners are called in the order in which they came."""
        self._listeners[change].append(listener)

    def tell(self, *changes: Change) -> None:
        """Call the listeners of these changes."""
        for change in changes:
            for listener in self._listeners[change]:
                listener()

    # What is chosen

    @property
    def ct_node(self) -> Any | None:
        return self.parameters.ct if self.parameters else None

    @property
    def pose_node(self) -> Any | None:
        return self.parameters.pose if self.parameters else None

    @property
    def xray_nodes(self) -> list[Any]:
        return chosen_xrays(self.parameters.parameterNode) if self.parameters else []

    @property
    def current(self) -> int:
        """Which X-ray's mask, geometry and landmarks are shown; 0 where there is none."""
        return max(min(self._current, len(self.xray_nodes) - 1), 0)

    @property
    def current_xray(self) -> Any | None:
        nodes = self.xray_nodes
        return nodes[self.current] if nodes else None

    @property
    def problem(self) -> str:
        """Why it cannot be registered, and what helps; empty where it can."""
        return next((problem for problem in self._problems.values() if problem), self.bones.problem)

    @property
    def unit(self) -> LengthUnit:
        """In which lengths are shown."""
        return length_unit(slicer.mrmlScene)

    @property
    def untouched(self) -> bool:
        """Whether the CT stands where the module put it, since nobody has placed it."""
        return self.pose is not None and is_untouched(self.pose_node, self.pose)

    def meanings(self) -> list[Meaning]:
        """Of every X-ray's pixels, as far as a person or the last registration has said it."""
        count, said = len(self.xray_nodes), self.parameters.polarity.value
        result = kept_result(self.pose_node) if self.pose_node is not None else None
        if result is None or len(result.polarities) != count:
            return [Meaning(Polarity(said) if said else None)] * count
        return [one if said in ("", one.polarity) else Meaning(Polarity(said)) for one in result.meanings]

    def choose(self, ct_node: Any, xray_nodes: Sequence[Any]) -> None:
        """Choose a CT and X-rays, as by hand; the CT gets a pose of its own."""
        with slicer.util.NodeModify(self.parameters.parameterNode):
            self.parameters.pose = None
            self.parameters.ct = ct_node
            choose_xrays(self.parameters.parameterNode, xray_nodes)

    def choose_xrays(self, xray_nodes: Sequence[Any]) -> None:
        """Choose these X-rays, in this order, each once."""
        choose_xrays(self.parameters.parameterNode, xray_nodes)

    def choose_segments(self, node: Any | None, ids: Sequence[str] = ()) -> None:
        """Choose a segmentation, or none, and the segments of it that are registered each at a pose of its own."""
        choose_segments(self.parameters.parameterNode, node, ids)

    def let_move(self, segment_id: str | None) -> None:
        """Let sliders and handles move the bone of a chosen segment, or the whole CT."""
        self.bones.moving_id = segment_id
        self.tell(Change.LOOKS)

    def make_current(self, index: int) -> None:
        """Show mask, geometry and landmarks of this X-ray."""
        if index != self._current:
            self._current = index
            self.tell(Change.LOOKS)

    def checked_inputs(self) -> Inputs:
        """What is registered; InputError says what is wrong with it."""
        if self.inputs is None:
            raise InputError(self.problem)
        return self.inputs

    # Life

    def attach(self, parameters: Any) -> None:
        """Take a parameter node, and follow it."""
        self.parameters = parameters
        self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        unit_node = length_unit_node(slicer.mrmlScene)
        if unit_node is not None:
            self.addObserver(unit_node, vtk.vtkCommand.ModifiedEvent, self._on_unit)
        self.update()

    def detach(self) -> None:
        """Let go of the parameter node and everything in its scene; nobody is told."""
        self.removeObservers()
        self.parameters = self.inputs = self.pose = self.ct_key = self._key = None
        self._problems = dict.fromkeys(self._problems, "")
        self.bones.forget()
        self._current, self.running = 0, False
        self.history.clear()

    # What changes

    def update(self) -> None:
        """Look at everything that is chosen, and tell what has changed."""
        if self.parameters is None or self._updating or slicer.mrmlScene.IsImporting():
            return
        self._updating = True
        try:
            self._follow_nodes()
            self._start_geometries()
            changed = self._look_at_inputs()
            self._look_at_pose()
            bones_changed = self._look_at_bones()
            if changed:
                self.tell(Change.INPUTS)
            if bones_changed:
                self.tell(Change.BONES)
            self.tell(Change.POSE, Change.LOOKS)
        finally:
            self._updating = False

    def move_to(self, pose: Pose, record: bool = True) -> None:
        """A person moves the CT to a pose; InputError where a parent transform forbids it.

        record: whether the pose is meant, and can be gone back to, or is one on the way.
        """
        set_pose(self.pose_node, pose)
        if record:
            note_set(self.pose_node)
            self.record()

    def move_bone_to(self, bone: StandingBone, pose: Pose) -> None:
        """A person moves a bone to a pose ct_to_world; it is recorded where it comes to rest."""
        set_pose(bone.node, pose)

    def record(self) -> None:
        """Note where CT, bones and X-rays stand, to go back to."""
        if self.pose is not None:
            self.history.record(Standing.of(self.pose, self.xray_nodes, self.pose_node))
            self.tell(Change.LOOKS)

    def go_back(self) -> None:
        """Let CT, bones and X-rays stand as before."""
        self._restore(self.history.undo())

    def go_forward(self) -> None:
        """Let them stand as before they went back."""
        self._restore(self.history.redo())

    def refuse_ct(self, problem: str) -> None:
        """Say that the CT cannot be used, as its voxels were looked at; nothing where they are well."""
        self._problems["ct"] = problem
        self.tell(Change.LOOKS)

    def set_running(self, running: bool) -> None:
        """A registration has begun, or has ended with the CT where it stands now."""
        self.running = running
        self.tell(Change.RUNNING)
        self.update()

    def _restore(self, standing: Standing) -> None:
        self._updating = True  # all of it moves before anybody is told
        try:
            standing.restore_geometries(self.xray_nodes)
            set_pose(self.pose_node, standing.pose)
            standing.restore_bones(self.pose_node)
        finally:
            self._updating = False
        self.update()

    def _follow_nodes(self) -> None:
        """Observe the chosen nodes: images, geometry, parents and pose."""
        self.removeObservers(self._on_node)
        self.removeObservers(self._on_pose)
        self.removeObservers(self._on_bone)
        self.removeObservers(self._on_segmentation_moved)
        segmentation = segmentation_node(self.parameters.parameterNode)
        images = changes_of_images(self.ct_node, self.xray_nodes)
        for changed, event in (*images, *changes_of_drawing(segmentation)):
            self.addObserver(changed, event, self._on_node)
        if segmentation is not None:
            self.addObserver(segmentation, segmentation.TransformModifiedEvent, self._on_segmentation_moved)
        if self.pose_node is not None:
            self.addObserver(self.pose_node, self.pose_node.TransformModifiedEvent, self._on_pose)
            for node in bone_nodes(self.pose_node):
                self.addObserver(node, node.TransformModifiedEvent, self._on_bone)

    def _start_geometries(self) -> None:
        """Begin the geometry of X-rays that have none with what their DICOM tags say."""
        for node in self.xray_nodes:
            if not is_started(node) and is_single_image(node):
                with told_to_people():
                    begin_geometry(node)

    def _look_at_inputs(self) -> bool:
        """Check what is chosen; False where nothing of it has changed since."""
        key = (self.parameters.polarity, *inputs_key(self.ct_node, self.xray_nodes))
        if key == self._key:
            return False
        ct_key = inputs_key(self.ct_node, [])
        if ct_key != self.ct_key:
            self._problems["ct"] = ""
        self._key, self.ct_key, self.inputs = key, ct_key, None
        self._problems["inputs"] = self._problems["pose"] = ""
        try:
            self.inputs = unchecked_inputs(self.ct_node, self.xray_nodes)
        except InputError as error:
            self._problems["inputs"] = str(error)
        return True

    def _look_at_pose(self) -> None:
        """Give the CT a transform node where it has none, and read the pose."""
        if self.running:
            return  # CT and bones are read together, once they rest
        self.pose = None
        if self.inputs is None:
            return
        if self.pose_node is None:
            start = centered_pose(self.inputs.ct.center, self.inputs.isocenter)
            placed = self.ct_node.GetParentTransformNode() is not None
            try:
                self.parameters.pose = pose_node_for(slicer.mrmlScene, self.ct_node, start)
            except InputError as error:
                self._problems["pose"] = str(error)
                return
            if not placed:
                note_centred(self.pose_node, start)
            self._follow_nodes()
        if self.ct_node.GetTransformNodeID() != self.pose_node.GetID():
            self.ct_node.SetAndObserveTransformNodeID(self.pose_node.GetID())
        self._read_pose()
        if self.pose is not None:
            self.history.record(Standing.of(self.pose, self.xray_nodes, self.pose_node))

    def _look_at_bones(self) -> bool:
        """Look at which bones are chosen, and let them stand in the scene; whether others are chosen than before."""
        if self.running:
            return False  # what runs goes on with what it copied
        changed = self.bones.look(self.parameters.parameterNode, self.ct_node, self.ct_key)
        if self.pose is not None:
            if self.bones.stand(self.ct_node, self.pose_node):
                self._follow_nodes()
            self._read_bones()
        return changed

    def _read_pose(self) -> None:
        try:
            check_moves_only_the_ct(self.pose_node, self.xray_nodes)
            self.pose, self._problems["pose"] = pose_of(self.pose_node), ""
        except InputError as error:
            self.pose, self._problems["pose"] = None, str(error)

    def _read_bones(self) -> None:
        try:
            self.bones.read(self.pose_node)
            self._problems["bone poses"] = ""
        except InputError as error:
            self._problems["bone poses"] = str(error)

    def _on_parameters(self, caller: Any, event: Any) -> None:
        with told_to_people():
            self.update()

    def _on_unit(self, caller: Any, event: Any) -> None:
        with told_to_people():
            self.tell(Change.LOOKS)

    def _on_node(self, caller: Any, event: Any) -> None:
        if not self.running:
            with told_to_people():
                self.update()

    def _on_pose(self, caller: Any, event: Any) -> None:
        """The CT was moved, by whatever: handles, sliders, another module, a registration."""
        if self.running or self.inputs is None or self._updating:
            return
        with told_to_people():
            self._read_pose()
            self._read_bones()
            self.tell(Change.POSE, Change.LOOKS)

    def _on_segmentation_moved(self, caller: Any, event: Any) -> None:
        """A transform above the segmentation was changed, which moves its bones in the CT unless that went along."""
        if not self.running and not self._updating and self.bones.is_displaced(self.ct_node):
            self._on_node(caller, event)

    def _on_bone(self, caller: Any, event: Any) -> None:
        """A bone was moved in the CT, or along with it, which `_on_pose` sees to."""
        if not self.running and not self._updating and self.bones.has_moved(caller):
            self._on_pose(caller, event)
