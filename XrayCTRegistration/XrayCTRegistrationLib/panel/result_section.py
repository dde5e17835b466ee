"""5 Result: what came of the last registration, and when not to trust it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from slicer.i18n import tr as _

from ..errors import InputError
from ..landmarks import landmark_errors_mm
from ..mrml.results import KeptResult, kept_result

if TYPE_CHECKING:
    from .panel import Panel


class ResultSection:
    """Shows the result that is kept with the pose's node."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._ui = panel.ui

    def update(self) -> None:
        """Show the result, and whether the CT has moved since."""
        ui, panel = self._ui, self._panel
        result = kept_result(panel.pose_node) if panel.pose_node is not None else None
        ui.similarityLabel.text = self._similarity(result)
        ui.movedLabel.text = (
            _("{turn:.1f}\u00b0 and {shift:.1f} mm from the initial pose").format(
                turn=result.moved_deg, shift=result.moved_mm
            )
            if result
            else ""
        )
        ui.confidenceLabel.text = self._confidence(result)
        ui.landmarkErrorLabel.text = self._landmark_error()
        ui.resultNoteLabel.text = self._note(result)

    def _similarity(self, result: KeptResult | None) -> str:
        if result is None:
            return ""
        return _("{before:.3f} before, {after:.3f} after (1 is alike)").format(
            before=result.similarity_before, after=result.similarity
        )

    def _confidence(self, result: KeptResult | None) -> str:
        if result is None:
            return ""
        level = {"high": _("High"), "moderate": _("Moderate"), "low": _("Low")}.get(
            result.confidence, result.confidence
        )
        return f"{level}: {result.reason}"

    def _landmark_error(self) -> str:
        panel = self._panel
        try:
            found = panel.pose_section.landmark_sightings() if panel.pose is not None else None
            if found is None:
                return _("no landmarks in both CT and X-ray")
            errors = np.concatenate(landmark_errors_mm(panel.pose, *found))
        except InputError as error:
            return str(error)
        return _("{mean:.1f} mm on average, {worst:.1f} mm at most, across the rays").format(
            mean=errors.mean(), worst=errors.max()
        )

    def _note(self, result: KeptResult | None) -> str:
        if result is None:
            return _("Not registered yet.")
        if self._panel.pose is not None and not result.is_of(self._panel.pose):
            return _("The CT was moved since: these figures are of the registration before.")
        return _("Look at the edges before you trust it: similarity alone does not tell a wrong patient.")
