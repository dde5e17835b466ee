"""What to look at when a result is not to be trusted: the mistakes that images alone do not show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..confidence import Confidence
from ..geometry import XrayView, common_isocenter
from ..volume import Volume

_MUCH_LONGER = 2.0  # times the widest field of view: the CT's centre may lie far from what the X-rays show


def hints(confidence: Confidence, ct: Volume, views: Sequence[XrayView]) -> list[str]:
    """Sentences that say what to check, the likeliest first; none where confidence is high."""
    if confidence.level == "high":
        return []
    found = []
    longest_mm, field_mm = float(max(ct.size * ct.spacing_mm)), _widest_field_mm(views)
    if longest_mm > _MUCH_LONGER * field_mm:
        found.append(
            f"the CT, {longest_mm:.0f} mm long where the X-ray shows {field_mm:.0f} mm, is centred on what it shows: "
            "crop it, or give a start with --init."
        )
    if len(views) > 1:
        found.append("X-rays and their --geometry stand in the same order, none is swapped.")
    found.append(
        "the view has its right name (AP called PA shows the patient mirrored), and no image is mirrored or turned "
        "(patient_orientation)."
    )
    found.append("pixel_spacing_mm is at the detector; DICOM's (0028,0030) is often calibrated at the patient.")
    return found


def _widest_field_mm(views: Sequence[XrayView]) -> float:
    """The longer side of what the widest view sees of a plane through the isocentre, mm."""
    isocenter = common_isocenter(list(views))
    return max(float(np.max(view.millimetres_per_pixel_at(isocenter) * view.size_px)) for view in views)
