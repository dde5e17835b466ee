"""C-arm geometry from DICOM tags, each value with the tag it came from."""

from __future__ import annotations

import math
from collections.abc import MutableSequence
from typing import TYPE_CHECKING, Any

from ..geometry.entries import Entries, Entry

if TYPE_CHECKING:
    import pydicom

_LATERAL = {"LL": 90.0, "RL": -90.0}  # the side of the patient that is nearest to the detector


def carm_entries(tags: pydicom.Dataset, frame: int = 0) -> Entries:
    """What DICOM tags say of the geometry of an X-ray; what they do not say is left out.

    frame: of a run in which the C-arm turns, counted from 0. Names are those of a C-arm JSON file. Distances of zero,
    which some devices write for "not known", count as not said.

    Tags: DICOM PS3.3 C.8.7.5 (XA positioner), C.8.11.7 and C.8.7.10 (DX and CR), 10.7 (pixel spacing and what it was
    calibrated on).
    """
    entries: Entries = {}
    _add(entries, "source_to_detector_mm", _length(tags, "DistanceSourceToDetector"))
    _add(entries, "source_to_isocenter_mm", _length(tags, "DistanceSourceToPatient"))
    magnification = _length(tags, "EstimatedRadiographicMagnificationFactor")
    if "source_to_isocenter_mm" not in entries and "source_to_detector_mm" in entries and magnification:
        distance = entries["source_to_detector_mm"].value / magnification.value
        entries["source_to_isocenter_mm"] = Entry(distance, f"{magnification.origin}, magnification")
    _add(entries, "pixel_spacing_mm", _spacing_at_detector(tags, entries, magnification))
    _add(entries, "primary_angle_deg", _angle(tags, "PositionerPrimaryAngle", frame))
    _add(entries, "secondary_angle_deg", _angle(tags, "PositionerSecondaryAngle", frame))
    if "primary_angle_deg" not in entries:
        _add_projection(entries, tags)
    return entries


def first_value(tags: pydicom.Dataset, keyword: str) -> Any:
    """The first value of a tag, which enhanced objects keep inside their functional groups; None where it is absent."""
    if keyword in tags:
        return tags.get(keyword)
    return next((element.value for element in tags.iterall() if element.keyword == keyword), None)


def _add(entries: Entries, name: str, entry: Entry | None) -> None:
    if entry is not None:
        entries[name] = entry


def _add_projection(entries: Entries, tags: pydicom.Dataset) -> None:
    """The projection of a radiograph, which has no positioner angles but a name."""
    name = first_value(tags, "ViewPosition")
    if name in ("AP", "PA"):
        entries["view"] = Entry(name, _origin("ViewPosition"))
    elif name in _LATERAL:
        entries["primary_angle_deg"] = Entry(_LATERAL[name], _origin("ViewPosition"))


def _spacing_at_detector(tags: pydicom.Dataset, entries: Entries, magnification: Entry | None) -> Entry | None:
    """[between rows, between columns] at the detector, which is where only ImagerPixelSpacing is for certain."""
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if (found := _pair(tags, keyword)) is not None:
            return found
    found = _pair(tags, "PixelSpacing")
    if found is None or first_value(tags, "PixelSpacingCalibrationType") is None:
        return found
    # Calibrated at the patient: carried to the detector, or not usable.
    distances = [entries.get(name) for name in ("source_to_detector_mm", "source_to_isocenter_mm")]
    if all(distances):
        factor = distances[0].value / distances[1].value
    elif magnification is not None:
        factor = magnification.value
    else:
        return None
    return Entry([factor * value for value in found.value], f"{found.origin}, carried to the detector")


def _length(tags: pydicom.Dataset, keyword: str) -> Entry | None:
    value = _number(first_value(tags, keyword))
    return Entry(value, _origin(keyword)) if value is not None and value > 0 else None


def _pair(tags: pydicom.Dataset, keyword: str) -> Entry | None:
    values = first_value(tags, keyword)
    numbers = [_number(value) for value in values] if isinstance(values, MutableSequence) else []
    if len(numbers) != 2 or any(number is None or number <= 0 for number in numbers):
        return None
    return Entry(numbers, _origin(keyword))


def _angle(tags: pydicom.Dataset, keyword: str, frame: int) -> Entry | None:
    value = _number(first_value(tags, keyword))
    if value is None:
        return None
    increments = first_value(tags, f"{keyword}Increment")
    if isinstance(increments, MutableSequence) and frame < len(increments):
        value += _number(increments[frame]) or 0.0
    return Entry(value, _origin(keyword))


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _origin(keyword: str) -> str:
    from pydicom.tag import Tag  # late, since most X-rays are no DICOM files

    tag = Tag(keyword)
    return f"DICOM ({tag.group:04X},{tag.element:04X})"
