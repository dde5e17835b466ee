"""The CT taken apart into what is rigid and what is soft."""

from __future__ import annotations

import numpy as np

from .volume import Volume, per_mm

BONE_HU = 150.0
_BONE_ATTENUATION = per_mm(BONE_HU)


def bones_of(attenuation: Volume) -> Volume:
    """What bones attenuate (per mm) beyond the densest soft tissue."""
    return Volume(np.maximum(attenuation.array - _BONE_ATTENUATION, 0), attenuation.ijk_to_world)


def soft_tissue_of(attenuation: Volume) -> Volume:
    """All else: adds up to the CT with `bones_of`."""
    return Volume(np.minimum(attenuation.array, _BONE_ATTENUATION), attenuation.ijk_to_world)
