"""5 Result: what came of the last registration, and when not to trust it; its report, and the table of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from ..io.report import BONES_FIGURE
from ..mrml.bone_transforms import KeptBone, kept_bone
from ..mrml.report import files_replaced, kept_report, save_report
from ..mrml.results import KeptResult, kept_result
from ..mrml.tables import results_table, show_table
from . import dependencies
from .bone_preparation import BonePreparation
from .changes import Change
from .ct_preparation import CtPreparation
from .messages import told_to_people
from .result_words import confidence_word
from .selection import Selection

_NAME, _SIMILARITY, _MOVED, _CONFIDENCE = range(4)


class ResultSection:
    """Shows the result that is kept with the pose's node."""

    def __init__(
        self,
        selection: Selection,
        preparation: CtPreparation,
        bones: BonePreparation,
        ui: Any,
        requirements: str | Path,
    ) -> None:
        self._selection, self._preparation, self._bones, self._ui = selection, preparation, bones, ui
        self._requirements = requirements
        ui.saveReportButton.connect("clicked()", self._on_save_report)
        ui.showTableButton.connect("clicked()", self._on_show_table)
        header = ui.boneResultsTable.horizontalHeader()
        header.setSectionResizeMode(_CONFIDENCE, qt.QHeaderView.Stretch)
        for column in (_NAME, _SIMILARITY, _MOVED):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Show the result, and whether the CT has moved since."""
        ui, selection = self._ui, self._selection
        result = kept_result(selection.pose_node) if selection.pose_node is not None else None
        ui.similarityLabel.text = self._similarity(result)
        ui.movedLabel.text = self._moved(result)
        ui.confidenceLabel.text = self._confidence(result)
        ui.resultNoteLabel.text = self._note(result)
        self._show_bones()
        ui.saveReportButton.enabled = self._can_report()
        ui.showTableButton.enabled = self._table() is not None

    def _similarity(self, result: KeptResult | None) -> str:
        if result is None:
            return ""
        return _("{before:.3f} before, {after:.3f} after").format(
            before=result.similarity_before, after=result.similarity
        )

    def _moved(self, result: KeptResult | None) -> str:
        if result is None:
            return ""
        return _("{turn:.1f}\u00b0 and {shift} from the initial pose").format(
            turn=result.moved_deg, shift=self._selection.unit.text(result.moved_mm)
        )

    def _confidence(self, result: KeptResult | None) -> str:
        return "" if result is None else f"{confidence_word(result.confidence)}: {result.reason}"

    def _note(self, result: KeptResult | None) -> str:
        if result is None:
            return _("Not registered yet.")
        if self._selection.pose is not None and not result.is_of(self._selection.pose):
            return _("The CT was moved since: these figures are of the registration before.")
        if result.kept_start:
            return _("Nothing more alike than the start was found: the CT stays where it stood.")
        return _("Look at the edges before you trust it: similarity alone does not tell a wrong patient.")

    def _show_bones(self) -> None:
        """A row for each chosen bone that was registered."""
        table = self._ui.boneResultsTable
        results = [(bone, kept) for bone in self._selection.bones.standing if (kept := kept_bone(bone.node))]
        table.setRowCount(len(results))
        for row, (bone, kept) in enumerate(results):
            moved_since = not kept.is_of(bone.node)
            for column, text in enumerate((bone.name, *self._figures(kept, moved_since))):
                item = table.item(row, column)
                if item is None:
                    item = qt.QTableWidgetItem()
                    table.setItem(row, column, item)
                item.setText(text)
                item.setToolTip(text)
            red, green, blue = (round(255 * share) for share in bone.color)
            table.item(row, _NAME).setData(qt.Qt.DecorationRole, qt.QColor(red, green, blue))
        table.setVisible(bool(results))

    def _figures(self, kept: KeptBone, moved_since: bool) -> tuple[str, str, str]:
        """Similarity, how far a bone moved in the CT, and how far to trust that."""
        if not kept.shown:
            return "", _("not in the X-ray: stays with the CT"), ""
        moved = _("{turn:.1f}\u00b0, {shift}").format(
            turn=kept.moved_deg, shift=self._selection.unit.text(kept.moved_mm)
        )
        if moved_since:
            moved = _("{moved}, then by hand").format(moved=moved)
        confidence = _("{level}, {length}").format(
            level=confidence_word(kept.confidence), length=self._selection.unit.text(kept.expected_error_mm)
        )
        return f"{kept.similarity:.3f}", moved, confidence

    def _can_report(self) -> bool:
        selection = self._selection
        ready = selection.inputs is not None and self._preparation.volume is not None and not selection.running
        return ready and selection.pose_node is not None and kept_report(selection.pose_node) is not None

    def _table(self) -> Any | None:
        parameters = self._selection.parameters
        return results_table(parameters.parameterNode) if parameters is not None else None

    def _on_save_report(self) -> None:
        title = _("Folder of the report")
        folder = qt.QFileDialog.getExistingDirectory(self._ui.saveReportButton.window(), title, "")
        if folder:
            with told_to_people():
                self._save_report(folder)

    def _save_report(self, folder: str) -> None:
        """Write the report, where a person agrees to what it replaces."""
        replaced = files_replaced(folder, self._selection.pose_node)
        question = _("{folder} has {names} already. Replace them?").format(folder=folder, names=", ".join(replaced))
        if replaced and not slicer.util.confirmOkCancelDisplay(question, windowTitle=_("X-ray CT Registration")):
            return
        dependencies.ensure(self._requirements)
        selection, ct = self._selection, self._preparation.preview_ct()
        if ct is None:
            raise InputError(_("The CT is not ready to be drawn yet. Save the report again in a moment."))
        about = kept_report(selection.pose_node) or {}
        projectors = self._bones.projectors_of(about.get("segmentation", ""))
        masks = selection.inputs.masks
        with slicer.util.WaitCursor():
            written = save_report(folder, selection.pose_node, selection.xray_nodes, ct.projector, masks, projectors)
        text = _("The report is in {folder}.")
        if about.get("bones") and all(path.name != BONES_FIGURE for path in written):
            text = _("The report is in {folder}, without bones.png: check the bones that were registered to draw them.")
        slicer.util.showStatusMessage(text.format(folder=folder), 5000)

    def _on_show_table(self) -> None:
        with told_to_people():
            show_table(self._table(), slicer.app)
