"""2 Geometry: one view at a time, every value with where it came from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from ..mrml.calibration import geometry_texts
from ..mrml.geometry import (
    check_geometry,
    entries_of,
    fill_in_typical_values,
    is_parametric,
    read_geometry,
    set_entry,
)
from ..mrml.xrays import is_single_image
from .changes import Change
from .messages import show_message, told_to_people
from .nodes import begin_geometry
from .selection import Selection
from .widgets import LengthField, set_quietly
from .xray_table import CurrentXray

# Widget names without their endings, and the entry, or the entry and the place in it, that each shows.
_FIELDS = {
    "sourceToDetector": ("source_to_detector_mm", None),
    "sourceToIsocenter": ("source_to_isocenter_mm", None),
    "rowSpacing": ("pixel_spacing_mm", 0),
    "columnSpacing": ("pixel_spacing_mm", 1),
    "principalColumn": ("principal_point_px", 0),
    "principalRow": ("principal_point_px", 1),
    "primaryAngle": ("primary_angle_deg", None),
    "secondaryAngle": ("secondary_angle_deg", None),
}
_LENGTHS = ("sourceToDetector", "sourceToIsocenter", "rowSpacing", "columnSpacing")
_PROJECTIONS = ("PA", "AP", "LAT")


class GeometrySection:
    """Shows and edits the geometry of the X-ray that is chosen in the combo box."""

    def __init__(self, selection: Selection, ui: Any) -> None:
        self._selection, self._ui = selection, ui
        self._view = CurrentXray(selection, ui.geometryViewComboBox)
        self._lengths = {field: LengthField(getattr(ui, f"{field}SpinBox")) for field in _LENGTHS}
        self._file_problem = ""  # of the C-arm file that was chosen last
        for name in (_("PA"), _("AP"), _("Lateral")):
            ui.projectionComboBox.addItem(name)
        for field in _FIELDS:
            spin_box = getattr(ui, f"{field}SpinBox")
            spin_box.connect("valueChanged(double)", lambda value, field=field: self._on_value(field, value))
        ui.projectionComboBox.connect("currentIndexChanged(int)", self._on_projection)
        ui.carmPathLineEdit.connect("currentPathChanged(QString)", self._on_file)
        ui.readDicomButton.connect("clicked()", self._on_read_dicom)
        ui.typicalGeometryButton.connect("clicked()", self._on_typical)
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Show what the scene holds."""
        ui, node = self._ui, self._selection.current_xray
        with_image = node is not None and is_single_image(node)
        entries = entries_of(node) if with_image else {}
        idle = not self._selection.running
        parametric = not with_image or is_parametric(node)
        editable = with_image and idle and parametric
        self._show_calibration(node if not parametric else None)
        for field, (name, place) in _FIELDS.items():
            spin_box, label = getattr(ui, f"{field}SpinBox"), getattr(ui, f"{field}OriginLabel")
            entry = entries.get(name)
            value = 0.0 if entry is None else entry.value if place is None else entry.value[place]
            self._show_value(field, float(value))
            label.text = _("needed") if entry is None and with_image else "" if entry is None else entry.origin
            spin_box.enabled = editable
        view = entries.get("view")
        set_quietly(ui.projectionComboBox, "currentIndex", _PROJECTIONS.index(view.value) if view else 0)
        ui.projectionOriginLabel.text = view.origin if view else ""
        ui.projectionComboBox.enabled = editable
        for button in (ui.readDicomButton, ui.typicalGeometryButton, ui.carmPathLineEdit):
            button.enabled = with_image and idle
        show_message(ui.geometryMessageLabel, self._problem(node) if with_image else "")

    def _show_value(self, field: str, value: float) -> None:
        if field in self._lengths:
            self._lengths[field].show(value, self._selection.unit)
        else:
            set_quietly(getattr(self._ui, f"{field}SpinBox"), "value", value)

    def _show_calibration(self, node: Any | None) -> None:
        """Show the numbers of a calibrated view as text, or, of None, the entries that can be edited."""
        ui = self._ui
        for field in _FIELDS:
            for ending in ("Label", "SpinBox", "OriginLabel"):
                getattr(ui, field + ending).setVisible(node is None)
        for name in ("projectionLabel", "projectionComboBox", "projectionOriginLabel"):
            getattr(ui, name).setVisible(node is None)
        show_message(ui.calibrationLabel, "" if node is None else self._numbers(node))

    def _numbers(self, node: Any) -> str:
        """A calibrated view by the numbers that people know, line by line."""
        names = {
            "source_mm": _("Source"),
            "source_to_detector_mm": _("Source to detector"),
            "principal_point_px": _("Principal point"),
            "pixel_spacing_mm": _("Pixel spacing, rows x columns"),
            "primary_angle_deg": _("Primary angle"),
            "secondary_angle_deg": _("Secondary angle"),
        }
        texts = geometry_texts(node, self._selection.unit)
        return "\n".join(f"{name}: {texts[entry]}" for entry, name in names.items())

    def _problem(self, node: Any) -> str:
        try:
            check_geometry(node)
        except InputError as error:
            return str(error)
        if self._file_problem:
            return self._file_problem
        return "" if is_parametric(node) else _("A calibrated view: it can be replaced, not edited.")

    def _change(self, change: Callable[[], None]) -> None:
        """Change the geometry, and show what became of it, the problem too."""
        self._file_problem = ""
        with (
            contextlib.suppress(InputError),
            slicer.util.NodeModify(self._selection.current_xray),
        ):  # told of by `_problem`
            change()
        self._selection.update()

    def _on_value(self, field: str, value: float) -> None:
        node, (name, place) = self._selection.current_xray, _FIELDS[field]
        value = self._lengths[field].length_mm if field in self._lengths else value
        if node is None:
            return
        if place is None:
            self._change(lambda: set_entry(node, name, value))
            return
        entry = entries_of(node).get(name)
        both = list(entry.value) if entry is not None else [value, value]  # square pixels until told otherwise
        both[place] = value
        self._change(lambda: set_entry(node, name, both))

    def _on_projection(self, index: int) -> None:
        if self._selection.current_xray is not None:
            self._change(lambda: set_entry(self._selection.current_xray, "view", _PROJECTIONS[index]))

    def _on_typical(self) -> None:
        self._change(lambda: fill_in_typical_values(self._selection.current_xray))

    def _on_read_dicom(self) -> None:
        with told_to_people(), slicer.util.NodeModify(self._selection.current_xray):
            begin_geometry(self._selection.current_xray)
        self._selection.update()

    def _on_file(self, path: str) -> None:
        """Called with every letter that is typed: what is no file yet is left alone."""
        node = self._selection.current_xray
        if node is None or not Path(path).is_file():
            return
        self._file_problem = ""
        with told_to_people():
            try:
                with slicer.util.NodeModify(node):
                    read_geometry(node, path)
            except InputError as error:
                self._file_problem = str(error)
        self._selection.update()
