"""The CT taken apart into what is rigid and what is soft."""

from __future__ import annotations

import numpy as np

from .volume import per_mm

BONE_HU = 150.0
_BONE_ATTENUATION = per_mm(BONE_HU)


def bones_of(attenuation: np.ndarray) -> np.ndarray:
    """What bones attenuate (per mm) beyond the densest soft tissue, of any part of a CT's attenuation."""
    beyond = attenuation - _BONE_ATTENUATION
    return np.maximum(beyond, 0, out=beyond)


def soft_tissue_of(attenuation: np.ndarray) -> np.ndarray:
    """All else: adds up to the CT with `bones_of`."""
    return np.minimum(attenuation, _BONE_ATTENUATION)
