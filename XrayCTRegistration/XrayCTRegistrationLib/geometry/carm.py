"""C-arm geometry as people write it down: calibrated by a projection matrix, or parametric by distances and angles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from .orientation import detector_axes, is_orientation, stored_axes
from .view import XrayView

_CALIBRATED = {"world_to_pixel", "image_size_px", "source_to_detector_mm", "isocenter_mm"}
_PARAMETRIC = {
    "source_to_detector_mm",
    "source_to_isocenter_mm",
    "pixel_spacing_mm",
    "image_size_px",
    "principal_point_px",
    "view",
    "primary_angle_deg",
    "secondary_angle_deg",
    "isocenter_mm",
    "patient_orientation",
}
_PRIMARY_ANGLE_OF_VIEW = {"PA": 0.0, "AP": 180.0, "LAT": 90.0}


def view_from_carm(carm: Mapping[str, Any], where: str = "the C-arm geometry") -> XrayView:
    """The view described by a C-arm mapping (the JSON of `--geometry`), in LPS.

    Parametric: angles are DICOM positioner angles. 0, 0 is PA: source posterior, detector anterior, columns to the
    patient's left, rows to the feet; a positive primary angle turns the detector to the patient's left (LAO), a
    positive secondary angle to the head (cranial) (DICOM PS3.3 C.8.7.5). "AP" and "LAT" start from 180 and 90 degrees
    of primary angle, and "AP" is shown as radiographs are, with the patient's left on the right of the image. An image
    that is stored turned by right angles or mirrored says so by patient_orientation: where its columns and its rows run
    to in the patient, such as ["R", "F"].

    Raises InputError that begins with `where`, normally the file's name, and names the entry and the remedy.
    """
    if not isinstance(carm, Mapping):
        raise InputError(f"{where}: expected a JSON object with the C-arm's geometry, as in the README.")
    calibrated = "world_to_pixel" in carm
    unknown = sorted(set(carm) - (_CALIBRATED if calibrated else _PARAMETRIC))
    if unknown:
        allowed = ", ".join(sorted(_CALIBRATED if calibrated else _PARAMETRIC))
        raise InputError(f"{where}: unknown entry {unknown[0]!r}. Known are: {allowed}.")
    size = _numbers(carm, "image_size_px", 2, where)
    if any(value < 1 or value != int(value) for value in size):
        raise InputError(f"{where}: image_size_px must be two positive whole numbers, [columns, rows].")
    size_px = (int(size[0]), int(size[1]))
    try:
        if calibrated:
            return _calibrated_view(carm, size_px, where)
        return _parametric_view(carm, size_px, where)
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(where) else f"{where}: {message}") from None


def view_to_carm(view: XrayView) -> dict[str, Any]:
    """The calibrated C-arm mapping of a view; `view_from_carm` gives the same view back."""
    carm: dict[str, Any] = {
        "world_to_pixel": view.world_to_pixel.tolist(),
        "image_size_px": list(view.size_px),
        "source_to_detector_mm": view.source_to_detector_mm,
    }
    if view.isocenter is not None:
        carm["isocenter_mm"] = view.isocenter.tolist()
    return carm


def _calibrated_view(carm: Mapping[str, Any], size_px: tuple[int, int], where: str) -> XrayView:
    try:
        matrix = np.array(carm["world_to_pixel"], dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{where}: world_to_pixel must be three rows of four numbers.") from None
    isocenter = np.array(_numbers(carm, "isocenter_mm", 3, where)) if "isocenter_mm" in carm else None
    distance = _distance(carm, "source_to_detector_mm", where) if "source_to_detector_mm" in carm else None
    return XrayView.from_projection_matrix(matrix, size_px, distance, isocenter)


def _parametric_view(carm: Mapping[str, Any], size_px: tuple[int, int], where: str) -> XrayView:
    source_to_detector = _distance(carm, "source_to_detector_mm", where)
    source_to_isocenter = _distance(carm, "source_to_isocenter_mm", where)
    if source_to_detector <= source_to_isocenter:
        raise InputError(
            f"{where}: source_to_detector_mm ({source_to_detector:g}) must be larger than source_to_isocenter_mm "
            f"({source_to_isocenter:g}): the detector stands behind the patient, seen from the source."
        )
    row_spacing, column_spacing = _numbers(carm, "pixel_spacing_mm", 2, where)
    if row_spacing <= 0 or column_spacing <= 0:
        raise InputError(f"{where}: pixel_spacing_mm must be two positive numbers, [between rows, between columns].")
    principal_point = [(size_px[0] - 1) / 2, (size_px[1] - 1) / 2]
    if "principal_point_px" in carm:
        principal_point = _numbers(carm, "principal_point_px", 2, where)
    isocenter = np.array(_numbers(carm, "isocenter_mm", 3, where) if "isocenter_mm" in carm else (0.0, 0.0, 0.0))
    name = carm.get("view", "PA")
    if not isinstance(name, str) or name not in _PRIMARY_ANGLE_OF_VIEW:
        raise InputError(f"{where}: view is {name!r}; known views are PA, AP and LAT. Use angles for any other.")
    primary = _PRIMARY_ANGLE_OF_VIEW[name] + _number(carm, "primary_angle_deg", where)
    secondary = _number(carm, "secondary_angle_deg", where)

    axes = detector_axes(primary, secondary, from_before=name == "AP")
    if "patient_orientation" in carm:
        axes = _stored_axes(axes, carm["patient_orientation"], where)
    column, row, to_detector = axes.T
    source = isocenter - source_to_isocenter * to_detector
    pixel_to_world = np.eye(4)
    pixel_to_world[:3, 0] = column_spacing * column
    pixel_to_world[:3, 1] = row_spacing * row
    pixel_to_world[:3, 3] = (
        source
        + source_to_detector * to_detector
        - principal_point[0] * pixel_to_world[:3, 0]
        - principal_point[1] * pixel_to_world[:3, 1]
    )
    return XrayView(source, pixel_to_world, size_px, isocenter)


def _stored_axes(axes: np.ndarray, orientation: Any, where: str) -> np.ndarray:
    if not is_orientation(orientation):
        raise InputError(
            f"{where}: patient_orientation is {orientation!r}. It takes two words, where columns and rows run to, "
            'in the letters L, R, A, P, H, F: such as ["L", "F"].'
        )
    turned = stored_axes(axes, orientation)
    if turned is None:
        raise InputError(
            f"{where}: patient_orientation {list(orientation)} does not fit the angles: the detector's columns "
            "and rows run elsewhere. Correct one of them, or leave patient_orientation out."
        )
    return turned


def _number(carm: Mapping[str, Any], name: str, where: str) -> float:
    value = carm.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{where}: {name} must be a number, not {value!r}.")
    return float(value)


def _distance(carm: Mapping[str, Any], name: str, where: str) -> float:
    if name not in carm:
        raise InputError(f"{where}: {name} is missing. Add it in millimetres, or give a calibrated world_to_pixel.")
    value = _number(carm, name, where)
    if value <= 0:
        place = (
            "the detector would stand behind the source" if name == "source_to_detector_mm" else "it must be positive"
        )
        raise InputError(f"{where}: {name} is {value:g}, so {place}. Give a positive distance in millimetres.")
    return value


def _numbers(carm: Mapping[str, Any], name: str, count: int, where: str) -> list[float]:
    if name not in carm:
        raise InputError(f"{where}: {name} is missing. It takes {count} numbers.")
    values = carm[name]
    if not isinstance(values, (list, tuple)) or len(values) != count:
        raise InputError(f"{where}: {name} must be a list of {count} numbers, not {values!r}.")
    return [_number({name: value}, name, where) for value in values]
