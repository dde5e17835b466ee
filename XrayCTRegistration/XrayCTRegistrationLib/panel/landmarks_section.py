"""Landmarks, a part of 3 Initial pose: the same points in CT and X-rays give a pose, and say how good one is."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..errors import InputError
from ..landmarks import landmark_errors_mm, pose_from_landmarks
from ..mrml.chosen import choose_landmarks, landmarks_node
from ..mrml.landmarks import ct_landmarks, sighting_of
from .changes import Change
from .messages import told_to_people
from .selection import Selection
from .widgets import set_node_quietly
from .xray_table import CurrentXray


class LandmarksSection(VTKObservationMixin):
    """Moves the CT by landmarks, and shows how far they are apart."""

    def __init__(self, selection: Selection, ui: Any) -> None:
        VTKObservationMixin.__init__(self)
        self._selection, self._ui = selection, ui
        self._view = CurrentXray(selection, ui.landmarksViewComboBox)
        ui.xrayLandmarksSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_list)
        ui.poseFromLandmarksButton.connect("clicked()", self._on_landmarks)
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Follow the chosen lists, and show what they say."""
        self._follow_lists()
        selection, xray = self._selection, self._selection.current_xray
        self._ui.xrayLandmarksSelector.enabled = xray is not None
        set_node_quietly(self._ui.xrayLandmarksSelector, landmarks_node(xray) if xray is not None else None)
        can_move = selection.pose is not None and not selection.running
        self._ui.poseFromLandmarksButton.enabled = can_move and self._lists() is not None
        self._ui.landmarkErrorLabel.text = self._error()

    def forget(self) -> None:
        """Let go of nodes."""
        self.removeObservers()

    def _follow_lists(self) -> None:
        self.removeObservers()
        parameters = self._selection.parameters
        in_xrays = [landmarks_node(xray) for xray in self._selection.xray_nodes]
        nodes = [parameters.ctLandmarks, *in_xrays] if parameters else []
        for node in {node.GetID(): node for node in nodes if node is not None}.values():
            for event in (node.PointPositionDefinedEvent, node.PointRemovedEvent, node.PointModifiedEvent):
                self.addObserver(node, event, self._on_points)

    def _lists(self) -> tuple[Any, list[tuple[Any, Any]]] | None:
        """The CT's list and those of X-rays, each with its X-ray, that have points; None unless there are both."""
        parameters = self._selection.parameters
        in_ct = parameters.ctLandmarks if parameters else None
        if in_ct is None or not in_ct.GetNumberOfControlPoints() or self._selection.pose_node is None:
            return None
        chosen = [(landmarks_node(xray), xray) for xray in self._selection.xray_nodes]
        pairs = [(node, xray) for node, xray in chosen if node is not None and node.GetNumberOfControlPoints()]
        return (in_ct, pairs) if pairs else None

    def _sightings(self) -> tuple[np.ndarray, list[Any]] | None:
        """The CT's landmarks (N, 3) in its own LPS and where X-rays show them, or None where there are none of both."""
        lists = self._lists()
        if lists is None:
            return None
        in_ct, in_xrays = lists
        points, labels = ct_landmarks(in_ct, self._selection.pose_node)
        return points, [sighting_of(node, xray, labels) for node, xray in in_xrays]

    def _error(self) -> str:
        pose = self._selection.pose
        try:
            found = self._sightings() if pose is not None else None
            if found is None:
                return _("no landmarks in both CT and X-ray")
            errors = np.concatenate(landmark_errors_mm(pose, *found))
        except InputError as error:
            return str(error)
        unit = self._selection.unit
        return _("{mean} on average, {worst} at most, across the rays").format(
            mean=unit.text(errors.mean()), worst=unit.text(errors.max())
        )

    def _on_list(self, node: Any) -> None:
        if self._selection.current_xray is not None:
            choose_landmarks(self._selection.current_xray, node)
            self._selection.tell(Change.LOOKS)

    def _on_points(self, caller: Any, event: Any) -> None:
        with told_to_people():
            self._selection.tell(Change.LOOKS)

    def _on_landmarks(self) -> None:
        with told_to_people():
            points, sightings = self._sightings()
            found = pose_from_landmarks(points, sightings)
            self._selection.move_to(found.pose)
            text = _("Landmarks fit to {error}.").format(error=self._selection.unit.text(found.rms_mm))
            if found.ambiguous:
                text += " " + _("Another pose fits nearly as well: place more landmarks, at different depths.")
            slicer.util.showStatusMessage(text, 5000)
            if found.ambiguous:
                raise InputError(text)
