"""Lengths that no X-ray device has, and the unit in which they would be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError

_PLAUSIBLE_MM = {
    "source_to_detector_mm": (300.0, 3000.0),  # from small mobile C-arms to chest stands of 1.8 m, with room
    "source_to_isocenter_mm": (20.0, 3000.0),  # small things stand near the source
    "source_to_patient_mm": (200.0, 3000.0),  # as DICOM calls it
    "pixel_spacing_mm": (0.01, 40.0),  # from detectors of mammography to images reduced to a dozen pixels
}
_UNITS_MM = {"cm": 10.0, "m": 1000.0, "micrometres": 0.001}


def is_plausible(name: str, value_mm: float) -> bool:
    """Whether a length can be that of an X-ray device. name: as in a C-arm file, or source_to_patient_mm of DICOM."""
    least, most = _PLAUSIBLE_MM[name]
    return least <= value_mm <= most


def fitting_unit(name: str, value: float) -> tuple[str, float] | None:
    """The unit in which a length that is not plausible in mm would be, and the length in mm; None if there is none."""
    return next(
        ((unit, value * factor) for unit, factor in _UNITS_MM.items() if is_plausible(name, value * factor)), None
    )


def check_plausible(carm: Mapping[str, Any], where: str) -> None:
    """Raise InputError, beginning with `where`, unless the lengths of a C-arm mapping can be those of a device."""
    for name, (least, most) in _PLAUSIBLE_MM.items():
        given = carm.get(name)
        for value in given if isinstance(given, (list, tuple)) else [] if given is None else [given]:
            if is_plausible(name, value):
                continue
            unit = fitting_unit(name, value)
            remedy = f"It looks like {unit[0]}: give {unit[1]:g}" if unit else "Give it in millimetres"
            raise InputError(
                f"{where}: {name} is {value:g} mm, which no X-ray device has ({least:g} to {most:g} mm). {remedy}."
            )
