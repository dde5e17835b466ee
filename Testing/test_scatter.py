"""Scattered photons: taken off X-rays that hold a known amount of them, and found out beside the CT."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from registration_case import GRADIENT, NEAR_BY, away, carm_view, error, small_spine, xray
from scipy.ndimage import gaussian_filter
from XrayCTRegistrationLib.cli.report import result_facts
from XrayCTRegistrationLib.preview import Preview, PreviewCt
from XrayCTRegistrationLib.registration import centered, problem_of, register
from XrayCTRegistrationLib.scatter import Scatter, without_scatter_steps
from XrayCTRegistrationLib.search.scatter import without_scatter
from XrayCTRegistrationLib.simulation import detector_counts, line_integrals
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.xray import Meaning, Polarity, Radiograph, xray_image


def body(shape: tuple[int, int]) -> np.ndarray:
    """Line integrals of a smooth body with stripes in it."""
    rows, columns = np.indices(shape)
    middle = ((rows / shape[0] - 0.5) / 0.3) ** 2 + ((columns / shape[1] - 0.5) / 0.25) ** 2
    return 3.5 * np.exp(-middle) + 0.4 * (columns // 9 % 2) * (middle < 1)


def scattered(integrals: np.ndarray, scatter: Scatter) -> np.ndarray:
    """Line integrals as they are measured."""
    primary = np.exp(-integrals)
    veil = gaussian_filter(primary, scatter.spread * max(integrals.shape), mode="nearest")
    return -np.log(primary + scatter.per_primary * veil)


def freed(values: np.ndarray, scatter: Scatter, mask: np.ndarray | None = None) -> np.ndarray:
    mask = np.ones(values.shape, bool) if mask is None else mask
    return finished(without_scatter_steps(values.astype(np.float32), mask, scatter))


def off(found: np.ndarray, true: np.ndarray) -> float:
    """The largest difference but for an offset."""
    difference = found - true
    return float(np.abs(difference - np.median(difference)).max())


@pytest.mark.parametrize("shape", [(256, 256), (300, 200), (97, 131)])
@pytest.mark.parametrize("spread", [0.06, 0.15])
def test_what_is_left_are_the_line_integrals_of_the_primary_photons(shape, spread):
    true, scatter = body(shape), Scatter(1.2, spread)
    measured = scattered(true, scatter)
    assert off(measured, true) > 0.3
    assert off(freed(measured, scatter), true) < 0.15 * off(measured, true)


def test_a_logarithm_of_any_scale_and_offset_keeps_them():
    true, scatter = body((160, 160)), Scatter(0.8, 0.1)
    stored = 40 + 25 * scattered(true, scatter)
    found = freed(stored, replace(scatter, per_value=1 / 25)) / 25
    assert off(found, freed(scattered(true, scatter), scatter)) < 1e-3


def test_nothing_is_taken_off_where_nothing_is_scattered():
    true = body((120, 140))
    assert off(freed(true, Scatter(0.0, 0.1)), true) < 1e-5


def test_a_veil_above_all_that_was_counted_leaves_some_of_it():
    values = body((100, 100))
    assert np.isfinite(freed(values, Scatter(3.0, 0.05))).all()


def test_what_lies_outside_the_field_does_not_add_to_the_veil():
    true, scatter = body((200, 200)), Scatter(1.0, 0.1)
    measured, field = scattered(true, scatter), np.zeros((200, 200), bool)
    field[30:170, 30:170] = True
    inside = (slice(50, 150), slice(50, 150))
    shadows = [freed(np.where(field, measured, shadow), scatter, field)[inside] for shadow in (0.0, 9.0)]
    assert off(shadows[0], shadows[1]) < 0.01
    assert off(shadows[0], true[inside]) < 0.2


def test_an_image_is_freed_from_what_was_measured_however_often():
    image = xray_image(Radiograph(np.exp(-body((90, 90))).astype(np.float32)), Polarity.DARK)
    once = finished(image.without_steps(Scatter(0.5, 0.1)))
    twice = finished(finished(image.without_steps(Scatter(2.0, 0.2))).without_steps(Scatter(0.5, 0.1)))
    np.testing.assert_array_equal(once.line_integrals, twice.line_integrals)
    np.testing.assert_array_equal(once.as_measured.line_integrals, image.line_integrals)
    assert once.scatter == Scatter(0.5, 0.1)


# --- beside the CT

PER_PRIMARY, SPREAD = 1.2, 0.1
PIXELS = 128


@pytest.fixture(scope="module")
def ct():
    return small_spine()


@pytest.fixture(scope="module")
def view():
    return carm_view(PIXELS)


@pytest.fixture(scope="module")
def true(ct, view):
    return away(centered(ct, [view]), ct, view, NEAR_BY)


@pytest.fixture(scope="module")
def veiled(ct, view, true):
    """Photon counts of which more than half were scattered."""
    integrals = line_integrals(ct, view, true, 1.5)
    return detector_counts(integrals, 1e6, np.random.default_rng(0), PER_PRIMARY, SPREAD * PIXELS)


def stored_as(counts: np.ndarray, kind: str) -> Radiograph:
    if kind == "counts":
        return Radiograph(counts, "veiled", Polarity.DARK)
    return Radiograph((200 - 30 * np.log(counts)).astype(np.float32), "veiled", Polarity.BRIGHT, logarithmic=True)


@pytest.mark.parametrize("kind", ["counts", "logarithm"])
def test_the_ct_tells_how_much_an_x_ray_holds(ct, view, true, veiled, kind):
    radiograph = stored_as(veiled, kind)
    problem = problem_of(ct, [radiograph], [view], true, GRADIENT)
    found = finished(without_scatter(problem, true, 2.0)).images[0].scatter
    assert found.per_primary == pytest.approx(PER_PRIMARY, rel=0.35)
    assert found.spread == pytest.approx(SPREAD, rel=0.5)
    per_value = 1.0 if kind == "counts" else np.ptp(radiograph.pixels) / 30  # logarithms are compared between 0 and 1
    assert found.per_value == pytest.approx(per_value, rel=0.1)


def test_a_clear_x_ray_stays_as_it_is(ct, view, true):
    problem = problem_of(ct, [xray(ct, view, true)], [view], true, GRADIENT)
    assert finished(without_scatter(problem, true, 2.0)) is problem


def test_each_of_two_x_rays_is_freed_of_its_own(ct, view, true, veiled):
    lateral = carm_view(PIXELS, primary_angle_deg=90)
    radiographs = [stored_as(veiled, "counts"), xray(ct, lateral, true)]
    problem = problem_of(ct, radiographs, [view, lateral], true, GRADIENT)
    first, second = finished(without_scatter(problem, true, 2.0)).images
    assert first.scatter is not None
    assert second is problem.images[1]


def test_a_registration_frees_its_x_ray_and_says_of_how_much(ct, view, true, veiled):
    result = register(ct, [stored_as(veiled, "counts")], [view], centered(ct, [view]), GRADIENT)
    (meaning,) = result.meanings
    assert meaning.scatter.per_primary == pytest.approx(PER_PRIMARY, rel=0.35)
    assert error(ct, result.pose, true, view).mtre_mm < 0.5
    assert result.similarity > 0.85
    said = dict(result_facts(result))["Scatter"]
    assert said == f"taken off, for each primary photon: {meaning.scatter.per_primary:.1f}"


def test_a_result_of_a_clear_x_ray_says_nothing_of_scatter(ct, view, true):
    result = register(ct, [xray(ct, view, true)], [view], true, GRADIENT)
    assert "Scatter" not in dict(result_facts(result))


def test_whoever_reads_the_x_ray_as_it_was_registered_finds_the_same_similarity(ct, view, veiled):
    radiograph = stored_as(veiled, "counts")
    result = register(ct, [radiograph], [view], centered(ct, [view]), GRADIENT)
    as_registered = radiograph.read_as(result.meanings[0])
    similar, less_similar = (
        Preview(PreviewCt.of(ct), [one], [view]).similarity(result.pose) for one in (as_registered, radiograph)
    )
    assert similar == pytest.approx(result.similarity, abs=0.02)
    assert less_similar < result.similarity - 0.05


def test_what_is_known_of_pixels_stays_known():
    radiograph = Radiograph(np.eye(4, dtype=np.float32), polarity=Polarity.DARK, logarithmic=False)
    read = radiograph.read_as(Meaning(scatter=Scatter(1.0, 0.1)))
    assert (read.polarity, read.logarithmic, read.scatter) == (Polarity.DARK, False, Scatter(1.0, 0.1))
