"""3 Initial pose: presets, sliders, handles, landmarks; the edges follow."""

from __future__ import annotations

from typing import Any

import qt

from ..geometry import Pose
from ..mrml.poses import PlaceOfCt, centered_pose, initial_pose, place_of, pose_at, seen_from
from .messages import show_message, told_to_people
from .scene_display import SceneDisplay
from .selection import Change, Selection
from .widgets import LengthField, set_quietly

_AT_REST_MS = 600
_SHIFTS = ("shiftLeftSlider", "shiftPosteriorSlider", "shiftSuperiorSlider")
_TURNS = ("turnLeftSlider", "turnPosteriorSlider", "turnSuperiorSlider")
_PRESETS = {"presetAnglesButton": None, "presetPaButton": "PA", "presetApButton": "AP", "presetLateralButton": "LAT"}


class PoseSection:
    """Moves the CT, and shows where it stands."""

    def __init__(self, selection: Selection, display: SceneDisplay, ui: Any) -> None:
        self._selection, self._ui = selection, ui
        self._shifts = [LengthField(getattr(ui, name)) for name in _SHIFTS]
        self._moved_by_slider = False
        self._at_rest = qt.QTimer()
        self._at_rest.setSingleShot(True)
        self._at_rest.setInterval(_AT_REST_MS)
        self._at_rest.connect("timeout()", self._on_rest)
        for name in (*_SHIFTS, *_TURNS):
            getattr(ui, name).connect("valueChanged(double)", self._on_slider)
        for name, direction in _PRESETS.items():
            getattr(ui, name).connect("clicked()", lambda direction=direction: self._on_preset(direction))
        ui.handlesCheckBox.connect("toggled(bool)", display.show_handles)
        ui.restoreInitialPoseButton.connect("clicked()", self._on_restore)
        selection.listen(Change.POSE, self._at_rest.start)
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Show where the CT stands, and enable what can be done."""
        ui, selection = self._ui, self._selection
        can_move = selection.inputs is not None and selection.pose is not None and not selection.running
        for name in (*_SHIFTS, *_TURNS, *_PRESETS, "handlesCheckBox"):
            getattr(ui, name).enabled = can_move
        ui.poseSelector.enabled = not selection.running
        ui.restoreInitialPoseButton.enabled = can_move and initial_pose(selection.pose_node) is not None
        self._show_place()

    def stop(self) -> None:
        """Follow no more."""
        self._at_rest.stop()

    def say(self, text: str) -> None:
        """Say something of the pose, or nothing."""
        show_message(self._ui.poseMessageLabel, text)

    def _show_place(self) -> None:
        """Let the sliders show the pose, unless they are what moves it."""
        inputs, pose = self._selection.inputs, self._selection.pose
        if self._moved_by_slider or inputs is None or pose is None:
            return
        place = place_of(pose, inputs.ct.center, inputs.isocenter)
        for field, shift_mm in zip(self._shifts, place.shift_mm):
            field.show(shift_mm, self._selection.unit)
        for name, turn_deg in zip(_TURNS, place.turn_deg):
            set_quietly(getattr(self._ui, name), "value", turn_deg)

    def _on_rest(self) -> None:
        """Where the CT comes to rest is a pose to go back to."""
        if not self._selection.running:
            self._selection.record()

    def _on_slider(self, value: float) -> None:
        inputs = self._selection.inputs
        if inputs is None:
            return
        shift_mm = tuple(field.length_mm for field in self._shifts)
        turn_deg = tuple(getattr(self._ui, name).value for name in _TURNS)
        self._moved_by_slider = True  # near 90 degrees of the second turn the others are not unique, and would jump
        try:
            pose = pose_at(PlaceOfCt(shift_mm, turn_deg), inputs.ct.center, inputs.isocenter)
            self._selection.move_to(pose, record=False)
        finally:
            self._moved_by_slider = False

    def _on_preset(self, direction: str | None) -> None:
        inputs = self._selection.inputs
        rotation = None if direction is None else seen_from(inputs.views[0], direction)
        self._move_to(centered_pose(inputs.ct.center, inputs.isocenter, rotation))

    def _on_restore(self) -> None:
        self._move_to(initial_pose(self._selection.pose_node))

    def _move_to(self, pose: Pose) -> None:
        with told_to_people():
            self._selection.move_to(pose)
