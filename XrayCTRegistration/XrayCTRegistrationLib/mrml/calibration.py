"""What a calibrated view says in words: it cannot be edited entry by entry, but it can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry import XrayView
from .units import MILLIMETRES, LengthUnit
from .xrays import own_view

_SIDES = (("L", "R"), ("P", "A"), ("S", "I"))  # of the axes of LPS, where they are positive and negative
_SPACING_MM = 1e-4


@dataclass(frozen=True)
class ComputedGeometry:
    """A view by the numbers that people know it by.

    source_mm: in LPS. principal_point_px: (column, row). pixel_spacing_mm: between rows, and between columns.
    primary_angle_deg, secondary_angle_deg: DICOM positioner angles of the central ray.
    """

    source_mm: tuple[float, float, float]
    source_to_detector_mm: float
    principal_point_px: tuple[float, float]
    pixel_spacing_mm: tuple[float, float]
    primary_angle_deg: float
    secondary_angle_deg: float


def computed_geometry(view: XrayView) -> ComputedGeometry:
    """The numbers of a view in LPS."""
    away = view.axes[:, 2]
    return ComputedGeometry(
        source_mm=tuple(map(float, view.source)),
        source_to_detector_mm=view.source_to_detector_mm,
        principal_point_px=tuple(map(float, view.principal_point_px)),
        pixel_spacing_mm=tuple(map(float, view.pixel_spacing_mm[::-1])),
        primary_angle_deg=float(np.degrees(np.arctan2(away[0], -away[1]))),
        secondary_angle_deg=float(np.degrees(np.arcsin(np.clip(away[2], -1, 1)))),
    )


def geometry_texts(xray_node: Any, unit: LengthUnit = MILLIMETRES) -> dict[str, str]:
    """The geometry of an X-ray node as texts, by the names of `ComputedGeometry`, before its parent transforms.

    Raises InputError where nothing is known of it.
    """
    known = computed_geometry(own_view(xray_node))
    source = ", ".join(f"{sides[value < 0]} {unit.number(abs(value))}" for sides, value in zip(_SIDES, known.source_mm))
    rows, columns = (unit.number(value, _SPACING_MM) for value in known.pixel_spacing_mm)
    return {
        "source_mm": f"{source} {unit.suffix}",
        "source_to_detector_mm": unit.text(known.source_to_detector_mm),
        "principal_point_px": "{:.1f}, {:.1f} px".format(*known.principal_point_px),
        "pixel_spacing_mm": f"{rows} x {columns} {unit.suffix}",
        "primary_angle_deg": f"{known.primary_angle_deg:.1f}\u00b0",
        "secondary_angle_deg": f"{known.secondary_angle_deg:.1f}\u00b0",
    }
