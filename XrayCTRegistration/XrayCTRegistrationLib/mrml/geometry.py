"""The C-arm geometry of an X-ray node as people edit it: entry by entry, each with where it came from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry.entries import (
    USER,
    Entries,
    Entry,
    carm_of_view,
    missing_entries,
    view_from_entries,
    with_defaults,
    with_typical_values,
)
from ..io.carm_files import read_view
from ..io.scene import ISOCENTER_ATTRIBUTE, SOURCE_ATTRIBUTE
from .frames import ijk_to_ras, vtk_matrix
from .sequences import frames_of
from .xrays import forget_geometry, has_geometry, own_view, place_at_detector, radiograph_of, size_px

_RECORD, _CALIBRATION = "XrayCTRegistration.CArm", "XrayCTRegistration.Calibration"
_MOVED = "image orientation"
_NAMES = {
    "source_to_detector_mm": "distance from source to detector",
    "source_to_isocenter_mm": "distance from source to isocentre",
    "pixel_spacing_mm": "pixel spacing",
}


def entries_of(node: Any) -> Entries:
    """What is known of the geometry of an X-ray node, with defaults for what may be left out.

    Once the node stands at its detector, values are read from where it stands; an origin that was recorded for another
    value is not shown. The view of a calibrated C-arm without a parametric equivalent gives distances and spacing only.
    """
    recorded = _recorded(node)
    if not has_geometry(node):
        return with_defaults(recorded, size_px(node))
    view = own_view(node)
    name = recorded["view"].value if "view" in recorded else "PA"
    carm = carm_of_view(view, name)
    if carm is None:
        carm = {
            "source_to_detector_mm": view.source_to_detector_mm,
            "pixel_spacing_mm": view.pixel_spacing_mm[::-1].tolist(),
        }
    elsewhere = node.GetAttribute(_CALIBRATION) or _MOVED
    known = with_defaults(recorded, size_px(node))
    return {name: _with_origin(value, known.get(name), elsewhere) for name, value in carm.items()}


def is_parametric(node: Any) -> bool:
    """Whether the geometry of an X-ray node can be edited entry by entry."""
    return not has_geometry(node) or carm_of_view(own_view(node)) is not None


def set_entries(node: Any, entries: Entries) -> None:
    """Record entries over what is known; where nothing is missing, the node is placed at its detector.

    Raises InputError when the geometry cannot be; the entries are kept then, to be corrected one by one, and the node
    stays where it is without a geometry.
    """
    _store(node, {**_known(node), **entries})


def set_entry(node: Any, name: str, value: Any) -> None:
    """Record what the user entered; see `set_entries`."""
    set_entries(node, {name: Entry(value, USER)})


def fill_in_typical_values(node: Any) -> None:
    """Fill in what is not known with typical values; see `set_entries`."""
    _store(node, with_typical_values(_known(node), size_px(node)))


def start_geometry(node: Any, from_dicom: Entries) -> None:
    """Forget what was known, and begin with what the DICOM tags or, for the pixel spacing, the image header say."""
    forget_geometry(node)
    node.SetAttribute(_CALIBRATION, None)
    entries = dict(from_dicom)
    spacing = np.linalg.norm(ijk_to_ras(node)[:3, :2], axis=0)
    if "pixel_spacing_mm" not in entries and not np.allclose(spacing, 1):
        entries["pixel_spacing_mm"] = Entry(spacing[::-1].tolist(), "image header")
    _store(node, entries)


def calibration_of(node: Any) -> str | None:
    """The name of the C-arm file that an X-ray node's geometry was read from; None where it came from elsewhere."""
    return node.GetAttribute(_CALIBRATION)


def is_started(node: Any) -> bool:
    """Whether anything was recorded of the geometry of an X-ray node."""
    return node.GetAttribute(_RECORD) is not None or has_geometry(node)


def read_geometry(node: Any, path: str | Path) -> None:
    """Take the geometry of a C-arm file; InputError that names the file when it does not fit the image."""
    view = read_view(path, radiograph_of(node))
    carm = carm_of_view(view)
    node.SetAttribute(_CALIBRATION, Path(path).name)
    node.SetAttribute(_RECORD, _text({name: Entry(value, Path(path).name) for name, value in (carm or {}).items()}))
    place_at_detector(node, view)


def check_geometry(node: Any) -> None:
    """Raise InputError, which says what to do, unless an X-ray node has a geometry."""
    if has_geometry(node):
        own_view(node)
        return
    recorded = _recorded(node)
    missing = [_NAMES[name] for name in missing_entries(recorded)]
    if missing:
        raise InputError(
            f"{node.GetName()}: the geometry is incomplete. Enter the {' and the '.join(missing)}, or fill in typical "
            "values."
        )
    view_from_entries(recorded, size_px(node), node.GetName())


@dataclass(frozen=True)
class KeptGeometry:
    """All that an X-ray node holds of its geometry. ijk_to_ras: row by row."""

    attributes: tuple[tuple[str, str | None], ...]
    ijk_to_ras: tuple[float, ...]


def kept_geometry(node: Any) -> KeptGeometry:
    """The geometry of an X-ray node, known or not, to be restored."""
    names = (_RECORD, _CALIBRATION, SOURCE_ATTRIBUTE, ISOCENTER_ATTRIBUTE)
    attributes = tuple((name, node.GetAttribute(name)) for name in names)
    return KeptGeometry(attributes, tuple(ijk_to_ras(node).ravel().tolist()))


def restore_geometry(node: Any, kept: KeptGeometry) -> None:
    """Give an X-ray node, and the frames that it shows, a geometry that it had."""
    was = node.StartModify()
    for name, value in kept.attributes:
        node.SetAttribute(name, value)
    matrix = vtk_matrix(np.reshape(kept.ijk_to_ras, (4, 4)))
    for one in (node, *frames_of(node)):
        one.SetIJKToRASMatrix(matrix)
    node.EndModify(was)


def _known(node: Any) -> Entries:
    """Every entry that is not a mere default."""
    if not has_geometry(node):
        return _recorded(node)
    if not is_parametric(node):
        raise InputError(
            f"{node.GetName()}: this geometry is a calibration ({node.GetAttribute(_CALIBRATION) or _MOVED}) that "
            "distances and angles do not describe. Read another file, or start again from DICOM, to change it."
        )
    return entries_of(node)


def _store(node: Any, entries: Entries) -> None:
    node.SetAttribute(_RECORD, _text(entries))
    forget_geometry(node)
    if not missing_entries(entries):
        place_at_detector(node, view_from_entries(entries, size_px(node), node.GetName()))


def _with_origin(value: Any, recorded: Entry | None, elsewhere: str) -> Entry:
    same = recorded is not None and (
        value == recorded.value if _is_words(value) else np.allclose(value, recorded.value, atol=1e-3)
    )
    # The value as it was entered, without the digits that a way through a matrix adds.
    return recorded if same else Entry(value, elsewhere)


def _is_words(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and isinstance(value[0], str))


def _recorded(node: Any) -> Entries:
    text = node.GetAttribute(_RECORD)
    return {name: Entry(value, origin) for name, (value, origin) in json.loads(text).items()} if text else {}


def _text(entries: Entries) -> str:
    return json.dumps({name: [entry.value, entry.origin] for name, entry in entries.items()})
