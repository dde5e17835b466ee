"""C-arm geometry from DICOM tags, each value with the tag it came from."""

from __future__ import annotations

import logging
import math
from collections.abc import MutableSequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..geometry.entries import Entries, Entry
from ..geometry.orientation import detector_axes, is_orientation, stored_axes
from ..geometry.plausible import fitting_unit, is_plausible

if TYPE_CHECKING:
    import pydicom

_LATERAL = {"LL": 90.0, "RL": -90.0}  # the side of the patient that is nearest to the detector

log = logging.getLogger(__name__)


def carm_entries(tags: pydicom.Dataset, frame: int = 0) -> Entries:
    """What DICOM tags say of the geometry of an X-ray; what they do not say is left out.

    frame: of a run in which the C-arm turns, counted from 0. Names are those of a C-arm JSON file. Distances of zero,
    which some devices write for "not known", count as not said, and so do those that no device has; the log tells of
    the latter, and of an image that is stored turned or mirrored in a way that the geometry does not hold.

    Tags: DICOM PS3.3 C.8.7.5 (XA positioner), C.8.11.7 and C.8.7.10 (DX and CR), 10.7 (pixel spacing and what it was
    calibrated on), C.7.6.1.1.1 (patient orientation), C.8.11.4 (field of view).
    """
    entries: Entries = {}
    _add(entries, "source_to_detector_mm", _distance(tags, "source_to_detector_mm", "DistanceSourceToDetector"))
    _add(entries, "source_to_isocenter_mm", _distance(tags, "source_to_patient_mm", "DistanceSourceToPatient"))
    magnification = _length(tags, "EstimatedRadiographicMagnificationFactor")
    if "source_to_isocenter_mm" not in entries and "source_to_detector_mm" in entries and magnification:
        distance = entries["source_to_detector_mm"].value / magnification.value
        entries["source_to_isocenter_mm"] = Entry(distance, f"{magnification.origin}, magnification")
    _add(entries, "pixel_spacing_mm", _spacing_at_detector(tags, entries, magnification))
    entries |= _direction(tags, frame)
    _add(entries, "patient_orientation", stored_orientation(tags, frame))
    return entries


def stored_orientation(tags: pydicom.Dataset, frame: int = 0) -> Entry | None:
    """Where columns and rows run to; None where that is as the projection alone would have it, or not said.

    The field of view's flip and rotation are against a detector of which no tag says how it is mounted, so that an
    image may be upright because of them: they are told of, not applied.
    """
    direction = _direction(tags, frame)
    primary, secondary = (
        direction[name].value if name in direction else 0.0 for name in ("primary_angle_deg", "secondary_angle_deg")
    )
    before = "view" in direction and direction["view"].value == "AP"
    axes = detector_axes(180.0 if before else primary, secondary, from_before=before)
    letters = first_value(tags, "PatientOrientation")
    stored = stored_axes(axes, letters) if is_orientation(letters) else None
    if stored is not None:
        same = np.array_equal(stored, axes)
        return None if same else Entry(list(letters), _origin("PatientOrientation"))
    turned = _number(first_value(tags, "FieldOfViewRotation")) or 0.0
    if first_value(tags, "FieldOfViewHorizontalFlip") == "YES" or turned % 360:
        log.warning(
            "%s: the DICOM tags say that the image is stored turned or mirrored against the detector, and not how it "
            "lies in the patient. Compare it with the picture of the CT; if it is turned or mirrored, enter "
            "patient_orientation in a C-arm file.",
            _name(tags),
        )
    return None


def first_value(tags: pydicom.Dataset, keyword: str, frame: int = 0) -> Any:
    """The first value of a tag, which enhanced objects keep inside their functional groups; None where it is absent.

    frame: counted from 0, whose own functional groups come before what is said of all.
    """
    if keyword in tags:
        return tags.get(keyword)
    frames = tags.get("PerFrameFunctionalGroupsSequence") or []
    if frame < len(frames):
        for element in frames[frame].iterall():
            if element.keyword == keyword:
                return element.value
    return next((element.value for element in tags.iterall() if element.keyword == keyword), None)


def _add(entries: Entries, name: str, entry: Entry | None) -> None:
    if entry is not None:
        entries[name] = entry


def _direction(tags: pydicom.Dataset, frame: int) -> Entries:
    """The angles; or the projection of a radiograph, which has no positioner angles but a name."""
    entries: Entries = {}
    _add(entries, "primary_angle_deg", _angle(tags, "PositionerPrimaryAngle", frame))
    _add(entries, "secondary_angle_deg", _angle(tags, "PositionerSecondaryAngle", frame))
    name = first_value(tags, "ViewPosition")
    if "primary_angle_deg" not in entries and name in ("AP", "PA"):
        entries["view"] = Entry(name, _origin("ViewPosition"))
    elif "primary_angle_deg" not in entries and name in _LATERAL:
        entries["primary_angle_deg"] = Entry(_LATERAL[name], _origin("ViewPosition"))
    return entries


def _spacing_at_detector(tags: pydicom.Dataset, entries: Entries, magnification: Entry | None) -> Entry | None:
    """[between rows, between columns] at the detector, which is where only ImagerPixelSpacing is for certain."""
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if (found := _pair(tags, keyword)) is not None:
            return found
    found = _pair(tags, "PixelSpacing")
    if found is None or first_value(tags, "PixelSpacingCalibrationType") is None:
        return found
    # Calibrated at the patient: carried to the detector, or not usable.
    detector, isocenter = (entries.get(name) for name in ("source_to_detector_mm", "source_to_isocenter_mm"))
    if detector and isocenter:
        factor = detector.value / isocenter.value
    elif magnification is not None:
        factor = magnification.value
    else:
        return None
    return Entry([factor * value for value in found.value], f"{found.origin}, carried to the detector")


def _distance(tags: pydicom.Dataset, name: str, keyword: str) -> Entry | None:
    """A length from the source, unless no device has it."""
    entry = _length(tags, keyword)
    if entry is None or is_plausible(name, entry.value):
        return entry
    unit = fitting_unit(name, entry.value)
    log.warning(
        "%s: %s says %g mm, which no X-ray device has%s. It is not used.",
        _name(tags),
        entry.origin,
        entry.value,
        f"; in {unit[0]} it would be {unit[1]:g} mm" if unit else "",
    )
    return None


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
    value = _number(first_value(tags, keyword, frame))
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


def _name(tags: pydicom.Dataset) -> str:
    """The name of the file that tags were read from."""
    file = getattr(tags, "filename", None)
    return Path(str(file)).name if file else "The X-ray"


def _origin(keyword: str) -> str:
    from pydicom.tag import Tag  # late, since most X-rays are no DICOM files

    tag = Tag(keyword)
    return f"DICOM ({tag.group:04X},{tag.element:04X})"
