"""The CT taken apart into what is rigid and what is soft."""

from __future__ import annotations

import numpy as np

from .volume import WATER_ATTENUATION_PER_MM, Volume

BONE_HU = 150.0
_BONE_ATTENUATION = np.float32(WATER_ATTENUATION_PER_MM * (1 + BONE_HU / 1000))


def bones_of(attenuation: Volume) -> Volume:
    """What bones attenuate (per mm) beyond the densest soft tissue."""
    return Volume(np.maximum(attenuation.array - _BONE_ATTENUATION, 0), attenuation.ijk_to_world)


def soft_tissue_of(attenuation: Volume) -> Volume:
    """All else: adds up to the CT with `bones_of`."""
    return Volume(np.minimum(attenuation.array, _BONE_ATTENUATION), attenuation.ijk_to_world)
