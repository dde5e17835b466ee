"""When not to trust a result: a level with the reason, from what the images say for and against the pose."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .calibrated import Calibration, read_calibration
from .similarity import Comparison
from .weights import Extent

_SHIPPED = Path(__file__).with_name("calibration.json")  # by `xrayct calibrate`
_SHIPPED_OF_BONES = Path(__file__).parent / "bones" / "calibration.json"  # by `xrayct calibrate --bones`
_LEVELS = ("low", "moderate", "high")
_UNALIKE = 0.15  # similarity below which the DRR explains next to nothing
_AMBIGUOUS = 0.1  # lead over another pose that says little
_LITTLE = 0.3  # of the CT's footprint, compared
# The strain of five standard deviations, from which on depth in one view is not sure: of 45 such X-rays of bent bodies,
# moved tissue and cut CTs (seeds 14 to 18) four were more than 10 mm off, at similarities of up to 0.7.
_STRAINED = 1.8
_LEVER_MM = 50.0  # from the isocentre to the points whose uncertainty is told
_PATCHES, _STRUCTURED = 4, 0.25  # along each side; a patch with less than this share of the mean structure says nothing


@dataclass(frozen=True)
class Evidence:
    """What speaks for and against a pose.

    similarity: at the last resolution, see `similarity`. inlying: the share of the X-ray's structure that is not taken
    for something else. compared: the share of the CT's footprint that could be compared. runner_up_gap: by how much the
    pose was ahead of the best clearly different one that the search met, in similarity less what its distance from the
    start costs a pose; NaN without a search. agreement: the share of the image's patches of which the pose explains
    something. uncertainty_mm: standard deviation of points
    50 mm from the isocentre, by the covariance of the pose. strain: the logarithm of 1 and of how many standard
    deviations the soft tissue would move from the bones if it could: how little the body is as in the CT; NaN where
    that was not asked.
    """

    similarity: float
    inlying: float
    compared: float
    runner_up_gap: float
    agreement: float
    uncertainty_mm: float
    strain: float = math.nan


@dataclass(frozen=True)
class Confidence:
    """level: "high", "moderate" or "low". reason: for people. probability: that the error is below 10 mm, of a bone
    that was registered on its own below 3 mm. expected_error_mm: at the bones; four of five errors are below twice of
    it. strained: nothing else keeps the level from "high" than a body that is not as in the CT."""

    level: str
    reason: str
    probability: float
    expected_error_mm: float
    strained: bool = False


def evidence_of(
    views: list[Comparison], covariance: np.ndarray, runner_up_gap: float, deviations: float = math.nan
) -> Evidence:
    """Of one pose: its comparison with each X-ray, the covariance (6, 6) of its twist, the search's gap, and the
    deviations of the soft tissue's motion."""
    turn, shift = np.trace(covariance[:3, :3]), np.trace(covariance[3:, 3:])
    return Evidence(
        similarity=float(np.mean([float(one.similarity) for one in views])),
        inlying=float(np.mean([_inlying(one) for one in views])),
        compared=float(np.mean([float(one.compared) for one in views])),
        runner_up_gap=runner_up_gap,
        agreement=float(np.mean([_agreement(one) for one in views])),
        uncertainty_mm=float(np.sqrt(max(shift + turn * _LEVER_MM**2 * 2 / 3, 0.0))),
        strain=math.log1p(deviations),
    )


def confidence(evidence: Evidence, extent: Extent, strayed: bool, views: int) -> Confidence:
    """How far to trust a pose, by the shipped calibration, and no farther than what it cannot know allows.

    strayed: whether the descent led out of the range that was to be searched. views: how many X-rays there are: of a
    real bone alone, no pose in a single one was right in 12 attempts, at similarities as high as those of two.
    """
    calibration, found = _calibration(_SHIPPED), asdict(evidence)
    probability = 0.0 if strayed else calibration.probability(found)
    thin = extent.bone_alone and views == 1
    level = calibration.level(probability)
    if strayed or thin or evidence.compared < _LITTLE or evidence.similarity < _UNALIKE:
        level = "low"
    elif level == "high" and (extent.cut_everywhere or evidence.runner_up_gap < _AMBIGUOUS):
        level = "moderate"
    strained = level == "high" and views == 1 and evidence.strain > _STRAINED
    reason = _reason(evidence, extent, strayed, thin, strained)
    expected_mm = calibration.expected_error_mm(found)
    return Confidence("moderate" if strained else level, reason, probability, expected_mm, strained)


def bone_confidence(evidence: Evidence, whole: Confidence) -> Confidence:
    """How far to trust the pose of one bone: never farther than that of the CT that it was registered from, but for a
    body that is not as in the CT, which bones that are registered each on their own need not be."""
    calibration, found = _calibration(_SHIPPED_OF_BONES), asdict(evidence)
    probability = min(calibration.probability(found), whole.probability)
    level = min(calibration.level(probability), "high" if whole.strained else whole.level, key=_LEVELS.index)
    reason = f"the DRR explains {max(evidence.similarity, 0):.0%} of what the X-ray shows about it"
    if whole.level == "low":
        reason = f"the pose of the whole CT, from which it was found, is not to be trusted, though {reason}"
    elif evidence.compared < _LITTLE:
        level, probability, reason = "low", 0.0, f"only {evidence.compared:.0%} of its shadow was compared"
    elif evidence.similarity < _UNALIKE:
        level, probability, reason = "low", 0.0, f"{reason}, next to nothing"
    return Confidence(level, reason, probability, calibration.expected_error_mm(found))


def _reason(evidence: Evidence, extent: Extent, strayed: bool, thin: bool, strained: bool) -> str:
    """What a person should know first."""
    explained = f"the DRR explains {max(evidence.similarity, 0):.0%} of what the X-ray shows"
    if strayed:
        return "the images fit better farther away than the search may go"
    if evidence.compared < _LITTLE:
        return f"only {evidence.compared:.0%} of what the CT could show was compared: give a longer CT or a wider image"
    if evidence.similarity < _UNALIKE:
        return f"{explained}, next to nothing"
    if evidence.runner_up_gap < _AMBIGUOUS:  # never where it is not known
        return f"another pose, far away, fits almost as well: ambiguous, though {explained}"
    if thin:
        return f"{explained}, but one X-ray hardly tells the depth and the turn of a bone alone: give a second one"
    if strained:
        return (
            f"{explained}, but the body bent since the CT, or its soft tissue moved: one X-ray hardly tells the depth"
        )
    if extent.cut_everywhere:
        return f"{explained}, but the body goes on beyond every side of the CT, so that no ray is complete"
    return explained


@lru_cache(maxsize=2)
def _calibration(path: Path) -> Calibration:
    return read_calibration(path)


def _inlying(found: Comparison) -> float:
    """Weighted share of the fixed image's squares that still count as structure of the CT."""
    squares = found.fixed.square()
    return float((found.fitting * squares).sum() / (found.weights * squares).sum().clamp_min(1e-9))


def _agreement(found: Comparison) -> float:
    """Share of the patches with structure in which the residuals are less than a blank image's."""
    structure, lost = (found.weights[0] * one[0].square() for one in (found.fixed, found.residuals.clamp(-3, 3)))
    rows, columns = (np.array_split(np.arange(side), _PATCHES) for side in structure.shape)
    sums = [
        (
            float(structure[r[0] : r[-1] + 1, c[0] : c[-1] + 1].sum()),
            float(lost[r[0] : r[-1] + 1, c[0] : c[-1] + 1].sum()),
        )
        for r in rows
        for c in columns
        if len(r) and len(c)
    ]
    least = _STRUCTURED * sum(one for one, _ in sums) / len(sums)
    told = [after < before for before, after in sums if before > least]
    return sum(told) / len(told) if told else math.nan
