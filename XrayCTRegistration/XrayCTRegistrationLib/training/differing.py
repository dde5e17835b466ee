"""Bodies that X-rays of the training show, as they differ from their CTs: moved, bent, or cut off in the CT."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..evaluation.bodies import (
    Patient,
    cut_along_body,
    random_shift,
    smooth_field,
    tissues,
    warped,
    warped_points,
    with_soft_tissue_moved,
)
from ..volume import Volume

_SHIFT_MM, _BEND_MM, _LENGTH_MM = (1.0, 5.0), (1.0, 4.0), (140.0, 240.0)  # as in the robust protocol, and less


@dataclass(frozen=True)
class Differing:
    """Shares of the bodies with each way to differ from the CT, 0 to 1.

    moved: soft tissue 1 to 5 mm elsewhere than the bones. bent: smoothly, by up to 1 to 4 mm. cut: a CT of 140 to 240
    mm along the body.
    """

    moved: float = 0.0
    bent: float = 0.0
    cut: float = 0.0


AS_SCANNED = Differing()
ROBUST = Differing(moved=0.4, bent=0.4, cut=0.4)


def different(ct: Volume, differing: Differing, rng: np.random.Generator) -> Patient:
    """A patient whose CT (Hounsfield units) this is, or was before it was cut. The CT's centre stays where it is."""
    imaged, given, displaced = ct, ct, np.asarray
    if differing.moved and rng.random() < differing.moved:
        imaged = with_soft_tissue_moved(imaged, tissues(imaged), random_shift(rng, *_SHIFT_MM))
    if differing.bent and rng.random() < differing.bent:
        field = smooth_field(ct, rng.uniform(*_BEND_MM), rng)
        imaged = warped(imaged, field)

        def displaced(points: np.ndarray) -> np.ndarray:
            return warped_points(points, field)

    if differing.cut and rng.random() < differing.cut:
        given = cut_along_body(ct, rng.uniform(*_LENGTH_MM))
    return Patient(imaged, given, displaced)
