"""3 Initial pose: presets, sliders, handles, landmarks; the edges follow. Of the whole CT, or of one of its bones."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from ..geometry import Pose
from ..mrml.poses import PlaceOfCt, centered_pose, initial_pose, place_of, pose_at, seen_from
from .changes import Change
from .messages import show_message, told_to_people
from .scene_display import SceneDisplay
from .selection import Selection
from .widgets import LengthField, set_quietly, show_names_quietly

_AT_REST_MS = 600
_SHIFTS = ("shiftLeftSlider", "shiftPosteriorSlider", "shiftSuperiorSlider")
_TURNS = ("turnLeftSlider", "turnPosteriorSlider", "turnSuperiorSlider")
_PRESETS = {"presetAnglesButton": None, "presetPaButton": "PA", "presetApButton": "AP", "presetLateralButton": "LAT"}


class PoseSection:
    """Moves the CT or one of its bones, and shows where it stands: the CT in the world, a bone in the CT."""

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
        ui.movesComboBox.connect("currentIndexChanged(int)", self._on_moves)
        ui.handlesCheckBox.connect("toggled(bool)", display.show_handles)
        ui.restoreInitialPoseButton.connect("clicked()", self._on_restore)
        selection.listen(Change.POSE, self._at_rest.start)
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Show where the CT stands, and enable what can be done."""
        ui, selection = self._ui, self._selection
        can_move = selection.inputs is not None and selection.pose is not None and not selection.running
        bone = selection.bones.moving
        for name in (*_SHIFTS, *_TURNS, "handlesCheckBox"):
            getattr(ui, name).enabled = can_move
        for name in _PRESETS:
            getattr(ui, name).enabled = can_move and bone is None
        ui.poseSelector.enabled = not selection.running
        there = can_move and (bone is not None or initial_pose(selection.pose_node) is not None)
        ui.restoreInitialPoseButton.enabled = there
        self._show_movable()
        self._show_place()

    def stop(self) -> None:
        """Follow no more."""
        self._at_rest.stop()

    def say(self, text: str) -> None:
        """Say something of the pose, or nothing."""
        show_message(self._ui.poseMessageLabel, text)

    def _show_movable(self) -> None:
        """Offer the CT and its chosen bones, where there are any."""
        combo_box, bones = self._ui.movesComboBox, self._selection.bones
        names = [_("Whole CT"), *(bone.name for bone in bones.standing)]
        chosen = bones.standing.index(bones.moving) + 1 if bones.moving is not None else 0
        show_names_quietly(combo_box, names, chosen)
        combo_box.enabled = not self._selection.running
        for widget in (self._ui.movesLabel, combo_box):
            widget.setVisible(bool(bones.standing))

    def _show_place(self) -> None:
        """Let the sliders show the pose, unless they are what moves it."""
        if self._moved_by_slider or self._selection.inputs is None or self._selection.pose is None:
            return
        pose, center, rest = self._movement()
        place = place_of(pose, center, rest)
        for field, shift_mm in zip(self._shifts, place.shift_mm):
            field.show(shift_mm, self._selection.unit)
        for name, turn_deg in zip(_TURNS, place.turn_deg):
            set_quietly(getattr(self._ui, name), "value", turn_deg)

    def _movement(self) -> tuple[Pose, np.ndarray, np.ndarray]:
        """What the sliders show: a pose, the point that turns are about, and where that is when nothing is shifted. Of
        the CT its pose, its centre and the isocentre; of a bone its motion from where the CT's pose has it."""
        inputs, pose, bone = self._selection.inputs, self._selection.pose, self._selection.bones.moving
        if bone is None:
            return pose, inputs.ct.center, inputs.isocenter
        in_ct = pose.apply(bone.center)
        return bone.pose @ pose.inverse(), in_ct, in_ct

    def _on_rest(self) -> None:
        """Where the CT comes to rest is a pose to go back to."""
        if not self._selection.running:
            self._selection.record()

    def _on_slider(self, value: float) -> None:
        selection, bone = self._selection, self._selection.bones.moving
        if selection.inputs is None or selection.pose is None:
            return
        shift_mm = tuple(field.length_mm for field in self._shifts)
        turn_deg = tuple(getattr(self._ui, name).value for name in _TURNS)
        _pose, center, rest = self._movement()
        self._moved_by_slider = True  # near 90 degrees of the second turn the others are not unique, and would jump
        try:
            pose = pose_at(PlaceOfCt(shift_mm, turn_deg), center, rest)
            if bone is None:
                selection.move_to(pose, record=False)
            else:
                selection.move_bone_to(bone, pose @ selection.pose)
        finally:
            self._moved_by_slider = False

    def _on_moves(self, index: int) -> None:
        standing = self._selection.bones.standing
        self._selection.let_move(standing[index - 1].segment_id if 0 < index <= len(standing) else None)

    def _on_preset(self, direction: str | None) -> None:
        inputs = self._selection.inputs
        rotation = None if direction is None else seen_from(inputs.views[0], direction)
        self._move_to(centered_pose(inputs.ct.center, inputs.isocenter, rotation))

    def _on_restore(self) -> None:
        """Back to the initial pose, or a bone back to where the CT has it."""
        bone = self._selection.bones.moving
        if bone is None:
            self._move_to(initial_pose(self._selection.pose_node))
            return
        with told_to_people():
            self._selection.move_bone_to(bone, self._selection.pose)
            self._selection.record()

    def _move_to(self, pose: Pose) -> None:
        with told_to_people():
            self._selection.move_to(pose)
