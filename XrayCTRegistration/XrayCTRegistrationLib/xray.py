"""X-ray images: from stored pixels to line integrals, with a mask of what can be believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Radiograph:
    """An X-ray as its file holds it.

    pixels: (rows, columns) float32, untouched values.
    where: the file's or node's name, for messages.
    photometric_interpretation: DICOM (0028,0004) where there is one, "MONOCHROME1" or "MONOCHROME2".
    pixel_intensity_relationship: DICOM (0028,1040) where there is one: "LIN" to the X-ray intensity, "LOG" of it, ...
    """

    pixels: np.ndarray
    where: str = "the X-ray"
    photometric_interpretation: str | None = None
    pixel_intensity_relationship: str | None = None
