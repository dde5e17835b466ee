"""How dark and how bright an X-ray is shown: by what is well inside its field."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .xray import XrayImage

GREY_PERCENTS = (0.5, 99.7)  # of the values, shown black and white
SEEN_PX = 480  # pixels along the longest side that are enough to choose a window and to find a field by
_RIM_SHARE = 0.04  # of the longest side: a collimator's rim, much denser than anatomy, must not set the window


def grey_window(image: XrayImage) -> tuple[float, float]:
    """The line integrals that are shown black and white: those well inside the mask lie between."""
    longest = max(image.mask.shape)
    every = -(-longest // SEEN_PX)
    values, mask = image.line_integrals[::every, ::every], image.mask[::every, ::every]
    inner = ndimage.binary_erosion(mask, iterations=max(1, round(_RIM_SHARE * longest / every)), border_value=1)
    low, high = np.percentile(values[inner if inner.any() else mask], GREY_PERCENTS)
    return float(low), float(high)
