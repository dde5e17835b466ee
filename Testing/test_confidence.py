"""Confidence: what the evidence allows to be said, and never more."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from XrayCTRegistrationLib.confidence import Evidence, bone_confidence, confidence
from XrayCTRegistrationLib.io.carm_files import read_carm
from XrayCTRegistrationLib.io.radiographs import read_radiograph
from XrayCTRegistrationLib.io.volumes import read_ct
from XrayCTRegistrationLib.registration import Settings, register
from XrayCTRegistrationLib.weights import Extent

SURE = Evidence(similarity=0.9, inlying=0.95, compared=1.0, runner_up_gap=0.7, agreement=1.0, uncertainty_mm=0.2)
NOTHING = Evidence(similarity=0.02, inlying=0.05, compared=1.0, runner_up_gap=0.0, agreement=0.3, uncertainty_mm=5.0)
WHOLE = Extent((64, 64, 64), np.eye(4), np.zeros((3, 2), bool), np.zeros((3, 2), bool), False)
TIGHT = Extent((64, 64, 64), np.eye(4), np.ones((3, 2), bool), np.ones((3, 2), bool), False)
BONE = replace(WHOLE, bone_alone=True)


def test_what_explains_everything_is_high_and_what_explains_nothing_is_low() -> None:
    sure, nothing = confidence(SURE, WHOLE, False, 1), confidence(NOTHING, WHOLE, False, 1)
    assert (sure.level, nothing.level) == ("high", "low")
    assert sure.probability > 0.9 > 0.5 > nothing.probability
    assert sure.expected_error_mm < nothing.expected_error_mm
    assert "90%" in sure.reason
    assert "next to nothing" in nothing.reason


@pytest.mark.parametrize(
    ("evidence", "extent", "strayed", "levels", "word"),
    [
        (SURE, WHOLE, True, {"low"}, "farther away"),
        (replace(SURE, compared=0.1), WHOLE, False, {"low"}, "10% of what the CT could show"),
        (replace(SURE, runner_up_gap=0.02), WHOLE, False, {"low", "moderate"}, "ambiguous"),
        (SURE, TIGHT, False, {"moderate"}, "beyond every side"),
        (SURE, BONE, False, {"low"}, "give a second one"),
        (replace(SURE, strain=2.2), WHOLE, False, {"moderate"}, "bent since the CT"),
    ],
)
def test_what_cannot_be_known_keeps_it_from_high_and_the_reason_says_so(
    evidence, extent, strayed, levels, word
) -> None:
    found = confidence(evidence, extent, strayed, 1)
    assert found.level in levels
    assert word in found.reason


def test_two_x_rays_tell_where_a_bone_alone_is() -> None:
    assert confidence(SURE, BONE, False, 2).level == "high"


def test_two_x_rays_tell_the_depth_of_a_body_that_bent() -> None:
    assert confidence(replace(SURE, strain=2.2), WHOLE, False, 2).level == "high"


def test_a_bone_of_its_own_may_be_surer_than_a_ct_in_one_piece_whose_body_bent() -> None:
    whole = confidence(replace(SURE, strain=2.2), WHOLE, False, 1)
    assert (whole.level, bone_confidence(SURE, whole).level) == ("moderate", "high")


def test_without_a_search_nobody_claims_that_another_pose_fits_as_well() -> None:
    found = confidence(replace(SURE, runner_up_gap=math.nan), WHOLE, False, 1)
    assert "another pose" not in found.reason
    assert found.probability > confidence(replace(NOTHING, runner_up_gap=math.nan), WHOLE, False, 1).probability


def test_a_bar_that_looks_the_same_when_turned_is_ambiguous(shared_data) -> None:
    folder = shared_data / "xray" / "axitom"
    ct, view = read_ct(folder / "ct.nrrd"), read_carm(folder / "carm.json")
    found = register(ct, [read_radiograph(folder / "xray.png")], [view], settings=Settings(method="search"))
    assert found.similarity > 0.9
    assert found.confidence.level != "high"
    assert "ambiguous" in found.confidence.reason


# --- of a bone


def test_a_bone_is_never_surer_than_the_ct_that_it_was_found_from() -> None:
    sure, tight, lost = (confidence(*of, False, 1) for of in ((SURE, WHOLE), (SURE, TIGHT), (NOTHING, WHOLE)))
    assert [one.level for one in (sure, tight, lost)] == ["high", "moderate", "low"]
    found = [bone_confidence(SURE, one) for one in (sure, tight, lost)]
    assert [one.level for one in found] == ["high", "moderate", "low"]
    assert found[2].probability <= lost.probability
    assert "the whole CT" in found[2].reason


def test_a_bone_that_the_drr_does_not_explain_is_low_however_well_it_is_known() -> None:
    whole = confidence(SURE, WHOLE, False, 1)
    explained, unexplained = (bone_confidence(one, whole) for one in (SURE, replace(NOTHING, uncertainty_mm=0.2)))
    assert unexplained.level == "low"
    assert "next to nothing" in unexplained.reason
    assert unexplained.probability < explained.probability
    assert explained.level == "high"


def test_a_bone_whose_depth_is_unknown_is_less_sure_and_expected_farther_off() -> None:
    whole = confidence(SURE, WHOLE, False, 1)
    known, unknown = (bone_confidence(replace(SURE, uncertainty_mm=mm), whole) for mm in (0.3, 6.0))
    assert known.probability > unknown.probability
    assert known.expected_error_mm < unknown.expected_error_mm
    assert "90% of what the X-ray shows about it" in known.reason


def test_a_bone_of_which_little_was_compared_is_low() -> None:
    found = bone_confidence(replace(SURE, compared=0.1), confidence(SURE, WHOLE, False, 1))
    assert found.level == "low"
    assert "10% of its shadow" in found.reason
