"""The entries of a parametric C-arm geometry, each with where its value came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ..errors import InputError
from .carm import view_from_carm
from .orientation import letter_of
from .plausible import check_plausible
from .view import XrayView

USER, DEFAULT, TYPICAL = "user", "default", "typical value"
NEEDED = ("source_to_detector_mm", "source_to_isocenter_mm", "pixel_spacing_mm")

_TYPICAL_DETECTOR_MM = 300.0  # side of the flat panel of a large mobile C-arm
_TYPICAL = {"source_to_detector_mm": 1020.0, "source_to_isocenter_mm": 700.0}
_SAME_MM = 1e-4  # a view is parametric when its corners and source come back this well


@dataclass(frozen=True)
class Entry:
    """value: as in a C-arm JSON file. origin: for people, such as "DICOM (0018,1110)", "user" or "default"."""

    value: Any
    origin: str


Entries = dict[str, Entry]  # by the names of a C-arm JSON file, without image_size_px


def with_defaults(entries: Mapping[str, Entry], size_px: tuple[int, int]) -> Entries:
    """The entries, and for those that a C-arm file may leave out what is then meant."""
    columns, rows = size_px
    meant = {
        "principal_point_px": [(columns - 1) / 2, (rows - 1) / 2],
        "view": "PA",
        "primary_angle_deg": 0.0,
        "secondary_angle_deg": 0.0,
    }
    return {**{name: Entry(value, DEFAULT) for name, value in meant.items()}, **entries}


def with_typical_values(entries: Mapping[str, Entry], size_px: tuple[int, int]) -> Entries:
    """The entries, and typical values for those that are needed and not known. They are a guess and say so."""
    spacing = _TYPICAL_DETECTOR_MM / max(size_px)
    guessed = {**_TYPICAL, "pixel_spacing_mm": [spacing, spacing]}
    missing = {name: Entry(value, TYPICAL) for name, value in guessed.items() if name not in entries}
    return {**entries, **missing}


def missing_entries(entries: Mapping[str, Entry]) -> list[str]:
    """Names of those entries without which there is no geometry."""
    return [name for name in NEEDED if name not in entries]


def view_from_entries(entries: Mapping[str, Entry], size_px: tuple[int, int], where: str) -> XrayView:
    """The view in LPS that complete entries describe; InputError that begins with `where` when they cannot be."""
    carm = {name: entry.value for name, entry in entries.items()}
    view = view_from_carm({**carm, "image_size_px": list(size_px)}, where)
    check_plausible(carm, where)
    return view


def carm_of_view(view: XrayView, likely_name: str = "PA") -> dict[str, Any] | None:
    """The parametric C-arm mapping of a view in LPS, without image_size_px, or None where none describes it: a
    detector turned in its plane by other than right angles, skewed pixels, or no isocentre on a ray to the detector's
    front.

    likely_name: the view name ("PA", "AP", "LAT") to prefer where several describe the same view.
    """
    if view.isocenter is None:
        return None
    distance = float(np.linalg.norm(view.isocenter - view.source))
    away = view.axes[:, 2]
    secondary = float(np.degrees(np.arcsin(np.clip(away[2], -1, 1))))
    turned = float(np.degrees(np.arctan2(away[0], -away[1])))
    names = sorted({"PA": 0.0, "LAT": 90.0, "AP": 180.0}.items(), key=lambda item: item[0] != likely_name)
    stored = {"patient_orientation": [letter_of(view.axes[:, k]) for k in (0, 1)]}
    for orientation, (name, start) in product(({}, stored), names):
        carm = {
            "source_to_detector_mm": view.source_to_detector_mm,
            "source_to_isocenter_mm": distance,
            "pixel_spacing_mm": view.pixel_spacing_mm[::-1].tolist(),
            "principal_point_px": view.principal_point_px.tolist(),
            "view": name,
            "primary_angle_deg": (turned - start + 180) % 360 - 180,
            "secondary_angle_deg": secondary,
            "isocenter_mm": view.isocenter.tolist(),
            **orientation,
        }
        try:
            again = view_from_carm({**carm, "image_size_px": list(view.size_px)})
        except InputError:
            continue
        if _corners_apart_mm(view, again) < _SAME_MM:
            return carm
    return None


def _corners_apart_mm(first: XrayView, second: XrayView) -> float:
    columns, rows = first.size_px
    corners = np.array([(0, 0), (columns, 0), (0, rows)], dtype=np.float64)
    detectors = np.abs(first.detector_points(corners) - second.detector_points(corners)).max()
    return float(max(detectors, np.abs(first.source - second.source).max()))
