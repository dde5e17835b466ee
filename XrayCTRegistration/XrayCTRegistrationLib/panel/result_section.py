"""5 Result: what came of the last registration, and when not to trust it."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..mrml.results import KeptResult, kept_result
from .result_words import confidence_word, stayed
from .selection import Change, Selection


class ResultSection:
    """Shows the result that is kept with the pose's node."""

    def __init__(self, selection: Selection, ui: Any) -> None:
        self._selection, self._ui = selection, ui
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Show the result, and whether the CT has moved since."""
        ui, selection = self._ui, self._selection
        result = kept_result(selection.pose_node) if selection.pose_node is not None else None
        ui.similarityLabel.text = self._similarity(result)
        ui.movedLabel.text = (
            _("{turn:.1f}\u00b0 and {shift:.1f} mm from the initial pose").format(
                turn=result.moved_deg, shift=result.moved_mm
            )
            if result
            else ""
        )
        ui.confidenceLabel.text = self._confidence(result)
        ui.resultNoteLabel.text = self._note(result)

    def _similarity(self, result: KeptResult | None) -> str:
        if result is None:
            return ""
        return _("{before:.3f} before, {after:.3f} after (1 is alike)").format(
            before=result.similarity_before, after=result.similarity
        )

    def _confidence(self, result: KeptResult | None) -> str:
        return "" if result is None else f"{confidence_word(result)}: {result.reason}"

    def _note(self, result: KeptResult | None) -> str:
        if result is None:
            return _("Not registered yet.")
        if self._selection.pose is not None and not result.is_of(self._selection.pose):
            return _("The CT was moved since: these figures are of the registration before.")
        if stayed(result):
            return _("Nothing more alike than the start was found: the CT stays where it stood.")
        return _("Look at the edges before you trust it: similarity alone does not tell a wrong patient.")
