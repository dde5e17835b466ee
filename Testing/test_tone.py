"""The tone curve of an X-ray: undone where it is known, and found out beside the CT."""

from __future__ import annotations

import numpy as np
import pytest
from registration_case import GRADIENT, NEAR_BY, away, carm_view, error, small_spine, xray
from XrayCTRegistrationLib.cli.report import result_facts
from XrayCTRegistrationLib.preview import Preview, PreviewCt
from XrayCTRegistrationLib.registration import centered, problem_of, register
from XrayCTRegistrationLib.scatter import Scatter
from XrayCTRegistrationLib.search.tone import straightened
from XrayCTRegistrationLib.simulation import line_integrals
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.tone import ToneCurve, straightened_steps
from XrayCTRegistrationLib.xray import Meaning, Polarity, Radiograph, xray_image

RAMP = np.tile(np.linspace(0, 1, 400, dtype=np.float32), (300, 1))


def straight(values: np.ndarray, curve: ToneCurve, mask: np.ndarray | None = None) -> np.ndarray:
    mask = np.ones(values.shape, bool) if mask is None else mask
    return finished(straightened_steps(values, mask, curve))


def toned(values: np.ndarray, curve: ToneCurve) -> np.ndarray:
    """What the curve makes straight again, by interpolation in a table of it; the range of values is 0 to 1."""
    x = np.linspace(0, 1, 4001)
    y = x + curve.bend * x * (1 - x) + curve.wave * np.sin(2 * np.pi * x) / (2 * np.pi)
    low, high = np.percentile(values, (1, 99))
    inner = low + (high - low) * np.interp((values - low) / (high - low), y, x)
    return np.where((values < low) | (values > high), values, inner).astype(np.float32)


@pytest.mark.parametrize(
    ("curve", "place", "change"),
    [(ToneCurve(0.4, 0.0), 0.5, 0.1), (ToneCurve(0.0, 0.6), 0.25, 0.6 / (2 * np.pi)), (ToneCurve(0.0, 0.6), 0.5, 0.0)],
)
def test_it_changes_the_middle_of_the_range_as_its_formula_says(curve, place, change):
    at = int(place * 400)
    assert straight(RAMP, curve)[0, at] - RAMP[0, at] == pytest.approx(change, abs=0.005)


@pytest.mark.parametrize(
    "curve", [ToneCurve(0.9, 0.0), ToneCurve(-0.9, 0.0), ToneCurve(0.0, -0.9), ToneCurve(0.4, 0.5)]
)
def test_greys_keep_their_order_and_the_ends_their_places(curve):
    found = straight(RAMP, curve)
    assert (np.diff(found, axis=1) > 0).all()
    np.testing.assert_allclose(found[:, [0, -1]], RAMP[:, [0, -1]], atol=1e-6)


def test_scale_and_offset_are_kept():
    curve = ToneCurve(0.3, -0.2)
    np.testing.assert_allclose(straight(40 + 25 * RAMP, curve), 40 + 25 * straight(RAMP, curve), rtol=1e-5)


def test_what_is_masked_does_not_widen_the_range():
    mask = np.ones(RAMP.shape, bool)
    mask[:150] = False
    shut = np.where(mask, RAMP, np.float32(9))
    curve = ToneCurve(0.5, 0.0)
    np.testing.assert_allclose(straight(shut, curve, mask)[150:], straight(RAMP, curve)[150:], atol=1e-5)


def test_scatter_is_taken_off_before_and_both_from_what_was_measured():
    image = xray_image(Radiograph(np.exp(-3 * RAMP)), Polarity.DARK)
    scatter, tone = Scatter(0.5, 0.1), ToneCurve(0.4, 0.0)
    both = finished(image.without_steps(scatter, tone))
    one_by_one = straight(finished(image.without_steps(scatter)).line_integrals, tone, image.mask)
    np.testing.assert_array_equal(both.line_integrals, one_by_one)
    np.testing.assert_array_equal(both.as_measured.line_integrals, image.line_integrals)
    assert (both.scatter, both.tone) == (scatter, tone)
    known = Radiograph(np.exp(-3 * RAMP)).read_as(Meaning(scatter=scatter, tone=tone))
    np.testing.assert_array_equal(xray_image(known, Polarity.DARK).line_integrals, both.line_integrals)


# --- beside the CT

CURVE = ToneCurve(0.4, -0.4)


@pytest.fixture(scope="module")
def ct():
    return small_spine()


@pytest.fixture(scope="module")
def view():
    return carm_view(128)


@pytest.fixture(scope="module")
def true(ct, view):
    return away(centered(ct, [view]), ct, view, NEAR_BY)


@pytest.fixture(scope="module")
def processed(ct, view, true):
    """A logarithmic X-ray, bone bright, that went through the curve."""
    integrals = line_integrals(ct, view, true, 1.5)
    return Radiograph(toned(integrals, CURVE), "processed", Polarity.BRIGHT, logarithmic=True)


def test_the_ct_tells_which_curve_it_was(ct, view, true, processed):
    problem = problem_of(ct, [processed], [view], true, GRADIENT)
    found = finished(straightened(problem, true, 2.0)).images[0].tone
    x = np.linspace(0, 1, 101)
    off = (found.bend - CURVE.bend) * x * (1 - x) + (found.wave - CURVE.wave) * np.sin(2 * np.pi * x) / (2 * np.pi)
    assert np.ptp(off) < 0.05  # CURVE itself changes greys by 0.18


def test_a_clear_x_ray_stays_as_it_is(ct, view, true):
    problem = problem_of(ct, [xray(ct, view, true)], [view], true, GRADIENT)
    assert finished(straightened(problem, true, 2.0)) is problem


def test_of_noise_no_curve_is_made(ct, true):
    view = carm_view()
    problem = problem_of(ct, [xray(ct, view, true, photons=1000)], [view], true, GRADIENT)
    assert finished(straightened(problem, true, 2.0)) is problem


def test_each_of_two_x_rays_has_its_own(ct, view, true, processed):
    lateral = carm_view(128, primary_angle_deg=90)
    problem = problem_of(ct, [processed, xray(ct, lateral, true)], [view, lateral], true, GRADIENT)
    first, second = finished(straightened(problem, true, 2.0)).images
    assert first.tone is not None
    assert second is problem.images[1]


def test_a_registration_undoes_it_and_says_so(ct, view, true, processed):
    result = register(ct, [processed], [view], centered(ct, [view]), GRADIENT)
    assert result.meanings[0].tone is not None
    assert error(ct, result.pose, true, view).mtre_mm < 0.5
    assert dict(result_facts(result))["Tone curve"] == "undone: yes"


def test_a_result_of_a_clear_x_ray_says_nothing_of_it(ct, view, true):
    result = register(ct, [xray(ct, view, true)], [view], true, GRADIENT)
    assert "Tone curve" not in dict(result_facts(result))


def test_whoever_reads_the_x_ray_as_it_was_registered_finds_the_same_similarity(ct, view, processed):
    result = register(ct, [processed], [view], centered(ct, [view]), GRADIENT)
    as_registered = processed.read_as(result.meanings[0])
    similar, less_similar = (
        Preview(PreviewCt.of(ct), [one], [view]).similarity(result.pose) for one in (as_registered, processed)
    )
    assert similar == pytest.approx(result.similarity, abs=0.02)
    assert less_similar < result.similarity - 0.01
