"""Synthetic X-rays: what a detector would count behind a posed CT."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from .geometry import Pose, XrayView
from .projector import projector_for
from .volume import Volume, attenuation

_STEP_MM = 0.5  # finer than any registration samples, so that the two do not share their errors


def line_integrals(ct: Volume, view: XrayView, pose: Pose, step_mm: float = _STEP_MM) -> np.ndarray:
    """The DRR (rows, columns) of a CT in Hounsfield units, dimensionless. step_mm: between samples along a ray."""
    projector = projector_for(attenuation(ct), "cpu", step_mm)
    return projector.images(torch.from_numpy(pose.matrix.copy())[None], view)[0].numpy()


def detector_counts(
    integrals: np.ndarray, photons: float, rng: np.random.Generator, scatter: float = 0.0, scatter_px: float = 20.0
) -> np.ndarray:
    """Photon counts (rows, columns), float32, behind line integrals (rows, columns).

    photons: mean count of a pixel without anything in the beam. scatter: scattered per primary photons on average,
    spread over scatter_px (standard deviation) pixels. Counts are Poisson distributed.
    """
    primary = photons * np.exp(-integrals.astype(np.float64))
    if scatter:
        spread = gaussian_filter(primary, scatter_px, mode="nearest")
        primary = primary + scatter * spread
    return rng.poisson(primary).astype(np.float32)
