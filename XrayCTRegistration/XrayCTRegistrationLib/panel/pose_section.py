"""3 Initial pose: presets, sliders, handles, landmarks; the edges follow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from ..landmarks import pose_from_landmarks
from ..mrml.frames import lps_points
from ..mrml.landmarks import ct_landmarks, follow_ct, sighting_of
from ..mrml.models import bone_node, show_bone, show_model
from ..mrml.poses import PlaceOfCt, centered_pose, initial_pose, place_of, pose_at, seen_from
from .geometry_section import set_quietly
from .messages import show_message, told_to_people

if TYPE_CHECKING:
    from .panel import Panel

_AT_REST_MS = 600
_SHIFTS = ("shiftLeftSlider", "shiftPosteriorSlider", "shiftSuperiorSlider")
_TURNS = ("turnLeftSlider", "turnPosteriorSlider", "turnSuperiorSlider")
_PRESETS = {"presetAnglesButton": None, "presetPaButton": "PA", "presetApButton": "AP", "presetLateralButton": "LAT"}


class PoseSection:
    """Moves the CT, and shows where it stands."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        ui = self._ui = panel.ui
        self._moved_by_slider = False
        self._at_rest = qt.QTimer()
        self._at_rest.setSingleShot(True)
        self._at_rest.setInterval(_AT_REST_MS)
        self._at_rest.connect("timeout()", self._on_rest)
        for name in (*_SHIFTS, *_TURNS):
            getattr(ui, name).connect("valueChanged(double)", self._on_slider)
        for name, direction in _PRESETS.items():
            getattr(ui, name).connect("clicked()", lambda direction=direction: self._on_preset(direction))
        ui.handlesCheckBox.connect("toggled(bool)", lambda shown: self.show_handles())
        ui.restoreInitialPoseButton.connect("clicked()", self._on_restore)
        ui.poseFromLandmarksButton.connect("clicked()", self._on_landmarks)

    def update(self) -> None:
        """Show where the CT stands, and enable what can be done."""
        ui, panel = self._ui, self._panel
        can_move = panel.inputs is not None and panel.pose is not None and not panel.registering
        for name in (*_SHIFTS, *_TURNS, *_PRESETS, "handlesCheckBox"):
            getattr(ui, name).enabled = can_move
        ui.poseSelector.enabled = not panel.registering
        ui.restoreInitialPoseButton.enabled = can_move and initial_pose(panel.pose_node) is not None
        ui.poseFromLandmarksButton.enabled = can_move and self._landmark_nodes() is not None
        self.show_place()

    def pose_changed(self) -> None:
        """Follow the CT; where it comes to rest is a pose to go back to."""
        self.update()
        self._at_rest.start()

    def stop(self) -> None:
        """Follow no more."""
        self._at_rest.stop()

    def show_place(self) -> None:
        """Let the sliders show the pose, unless they are what moves it."""
        inputs, pose = self._panel.inputs, self._panel.pose
        if self._moved_by_slider or inputs is None or pose is None:
            return
        place = place_of(pose, inputs.ct.center, inputs.isocenter)
        for names, values in ((_SHIFTS, place.shift_mm), (_TURNS, place.turn_deg)):
            for name, value in zip(names, values):
                set_quietly(getattr(self._ui, name), "value", value)

    def show_similarity(self, similarity: float | None) -> None:
        """Show how alike the images are at the pose; NaN where the CT is out of view, None where nothing is drawn."""
        if similarity is None:
            text = ""
        elif math.isnan(similarity):
            text = _("The CT is outside the X-rays' view.")
        else:
            text = _("Similarity {similarity:.3f} (1 is alike)").format(similarity=similarity)
        show_message(self._ui.poseMessageLabel, text)

    def show_handles(self) -> None:
        """Show the handles in the views, or hide them; they turn the CT about its middle."""
        node, inputs = self._panel.pose_node, self._panel.inputs
        shown = bool(self._ui.handlesCheckBox.checked)
        if node is None or inputs is None or not (shown or node.GetDisplayNode()):
            return
        node.CreateDefaultDisplayNodes()
        node.SetCenterOfTransformation(*lps_points(inputs.ct.center))
        node.GetDisplayNode().SetEditorVisibility(shown)

    def say_what_is_missing(self) -> None:
        """Say that edges cannot be drawn yet, and what helps."""
        text = _("Live edges need packages that are not installed: Register and Search ask to install them.")
        show_message(self._ui.poseMessageLabel, text)

    def show_bone(self) -> None:
        """Show the CT's bone in the 3D view, or hide it."""
        panel = self._panel
        if panel.inputs is None:
            return
        node, shown = bone_node(panel.ct_node), panel.parameters.showBone
        if node is None and shown:
            node = show_bone(panel.ct_node, panel.inputs.ct)
        if node is not None:
            node.SetAndObserveTransformNodeID(panel.ct_node.GetTransformNodeID())
            show_model(node, shown)

    def landmark_sightings(self) -> tuple[np.ndarray, list[Any]] | None:
        """The CT's landmarks (N, 3) in its own LPS and where X-rays show them, or None where there are none of both."""
        nodes = self._landmark_nodes()
        if nodes is None:
            return None
        in_ct, in_xrays = nodes
        points, labels = ct_landmarks(in_ct, self._panel.pose_node)
        return points, [sighting_of(node, xray, labels) for node, xray in in_xrays]

    def all_landmark_nodes(self) -> list[Any]:
        """The chosen lists of landmarks, filled or not."""
        parameters = self._panel.parameters
        names = ("ctLandmarks", "xray1Landmarks", "xray2Landmarks", "xray3Landmarks")
        nodes = [getattr(parameters, name) for name in names] if parameters else []
        return list({node.GetID(): node for node in nodes if node is not None}.values())

    def follow_ct(self) -> None:
        """Let the CT's landmarks move with it."""
        node = self._panel.parameters.ctLandmarks
        if node is not None and self._panel.pose is not None:
            follow_ct(node, self._panel.pose_node)

    def _landmark_nodes(self) -> tuple[Any, list[tuple[Any, Any]]] | None:
        parameters = self._panel.parameters
        in_ct = parameters.ctLandmarks if parameters else None
        if in_ct is None or not in_ct.GetNumberOfControlPoints() or self._panel.pose_node is None:
            return None
        pairs = [
            (node, xray)
            for node, xray in (
                (parameters.xray1Landmarks, parameters.xray1),
                (parameters.xray2Landmarks, parameters.xray2),
                (parameters.xray3Landmarks, parameters.xray3),
            )
            if node is not None and xray is not None and node.GetNumberOfControlPoints()
        ]
        return (in_ct, pairs) if pairs else None

    def _on_rest(self) -> None:
        if self._panel.pose is not None and not self._panel.registering:
            self._panel.history.record(self._panel.pose)
            self._panel.register_section.update()

    def _on_slider(self, value: float) -> None:
        inputs = self._panel.inputs
        if inputs is None:
            return
        shift, turn = (tuple(getattr(self._ui, name).value for name in names) for names in (_SHIFTS, _TURNS))
        self._moved_by_slider = True  # near 90 degrees of the second turn the others are not unique, and would jump
        try:
            pose = pose_at(PlaceOfCt(shift, turn), inputs.ct.center, inputs.isocenter)
            self._panel.move_to(pose, record=False)
        finally:
            self._moved_by_slider = False

    def _on_preset(self, direction: str | None) -> None:
        inputs = self._panel.inputs
        with told_to_people():
            rotation = None if direction is None else seen_from(inputs.views[0], direction)
            self._panel.move_to(centered_pose(inputs.ct.center, inputs.isocenter, rotation))

    def _on_restore(self) -> None:
        with told_to_people():
            self._panel.move_to(initial_pose(self._panel.pose_node))

    def _on_landmarks(self) -> None:
        with told_to_people():
            points, sightings = self.landmark_sightings()
            found = pose_from_landmarks(points, sightings)
            self._panel.move_to(found.pose)
            text = _("Landmarks fit to {error:.1f} mm.").format(error=found.rms_mm)
            if found.ambiguous:
                text += " " + _("Another pose fits nearly as well: place more landmarks, at different depths.")
            slicer.util.showStatusMessage(text, 5000)
            if found.ambiguous:
                raise InputError(text)
