"""When not to trust a result: a level with the reason, from how the similarity looks about the pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .levels import Level
from .search.descent import Descended

_UNALIKE, _DOUBTFUL = 0.3, 0.85
_AMBIGUOUS = 0.02
_UNCERTAIN_MM = 3.0
_CORRELATED_PIXELS = 9.0  # neighbouring residuals are not independent; as many pixels count as one


@dataclass(frozen=True)
class Confidence:
    """level: "high", "moderate" or "low". reason: for people. expected_error_mm: standard deviation of points 50 mm
    from the isocentre that the image's noise alone explains."""

    level: str
    reason: str
    expected_error_mm: float


def confidence(result: Descended, level: Level, runner_up_gap: float | None, strayed: bool) -> Confidence:
    """How far to trust a descended pose.

    runner_up_gap: by how much the pose is more similar than the best clearly different one, None if none was tried.
    strayed: whether the descent led out of the range that was to be searched.
    The expected error is the Gauss-Newton covariance, the residual's variance over the effective number of pixels.
    """
    covariance = _CORRELATED_PIXELS * result.at.noise * np.linalg.pinv(result.at.matrix, rcond=1e-9, hermitian=True)
    turn, shift = np.trace(covariance[:3, :3]), np.trace(covariance[3:, 3:])
    expected_mm = float(np.sqrt(max(shift + turn * 50.0**2 * 2 / 3, 0.0)))
    similarity = result.similarity
    if strayed:
        return Confidence("low", "the images fit better farther away than the search may go", expected_mm)
    if similarity < _UNALIKE:
        return Confidence("low", f"X-ray and DRR are hardly alike (similarity {similarity:.2f})", expected_mm)
    if runner_up_gap is not None and runner_up_gap < _AMBIGUOUS:
        return Confidence("low", "another pose, far away, fits almost as well", expected_mm)
    if expected_mm > _UNCERTAIN_MM:
        reason = f"the image leaves the pose uncertain by about {expected_mm:.0f} mm, mostly in depth"
        return Confidence("low", reason, expected_mm)
    if similarity < _DOUBTFUL:
        reason = f"X-ray and DRR are only partly alike (similarity {similarity:.2f}): look at the overlay"
        return Confidence("moderate", reason, expected_mm)
    return Confidence("high", f"X-ray and DRR are alike (similarity {similarity:.2f})", expected_mm)
