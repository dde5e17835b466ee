"""Steps in depth, and searches that end as soon as a pose convinces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from XrayCTRegistrationLib.geometry import Pose, rotation_from_euler, view_from_carm
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.registration import Settings, centered, problem_of
from XrayCTRegistrationLib.search import global_search as searching
from XrayCTRegistrationLib.search.descent import best_of_parabola, best_of_paraboloid, descend, descend_in_depth, valley
from XrayCTRegistrationLib.search.global_search import global_search
from XrayCTRegistrationLib.search.search_range import SearchRange, penalty
from XrayCTRegistrationLib.simulation import detector_counts, line_integrals
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.xray import Polarity, Radiograph

CARM = {"source_to_detector_mm": 1000, "source_to_isocenter_mm": 700, "image_size_px": [64, 64]}


@pytest.fixture(scope="module")
def case():
    """A problem, and the pose its X-ray was made at: 7 degrees and 10 mm from the start."""
    ct = synthetic_spine(0, spacing_mm=3.0, size_mm=(240.0, 200.0, 220.0))
    view = view_from_carm({**CARM, "pixel_spacing_mm": [3.2, 3.2]})
    start = centered(ct, [view])
    turn = rotation_from_euler(np.radians((4.0, -3.0, 5.0)))
    true = Pose.about(start.apply(ct.center), turn, np.array([6.0, -4.0, 7.0])) @ start
    counts = detector_counts(line_integrals(ct, view, true, 1.5), 1e6, np.random.default_rng(0))
    return problem_of(ct, [Radiograph(counts, "xray.png", Polarity.DARK)], [view], start, Settings()), true


@pytest.mark.parametrize("place", [-3.0, -0.4, 0.0, 0.3, 2.0])
def test_three_depths_tell_where_a_parabola_is_highest_and_how_high(place):
    def value(at: float) -> float:
        return -0.7 * (at - place) ** 2

    found, gain = best_of_parabola(value(-1) - value(0), value(1) - value(0))
    assert found == pytest.approx(place, abs=1e-9)
    assert gain == pytest.approx(0.7 * place**2, abs=1e-9)


@pytest.mark.parametrize(("before", "after", "side"), [(-1.0, 2.0, 1), (3.0, -1.0, -1), (-1.0, 0.99, 1)])
def test_what_bends_upwards_or_hardly_is_followed_to_the_better_side_no_farther_than_four_probes(before, after, side):
    found, gain = best_of_parabola(before, after)
    assert found == 4.0 * side
    assert gain > 0


def test_a_depth_that_is_the_same_on_both_sides_is_left():
    assert best_of_parabola(-0.1, -0.1) == (0.0, 0.0)
    assert best_of_parabola(0.0, 0.0)[1] == 0.0


@pytest.mark.parametrize("place", [(0.0, 0.0), (1.5, -0.5), (-2.0, -3.0)])
def test_nine_pairs_of_depths_tell_where_a_paraboloid_is_highest_and_how_high(place):
    curves = np.array([[1.4, 0.9], [0.9, 1.0]])
    at = np.stack(np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], indexing="ij"), axis=-1) - place
    values = 0.4 - np.einsum("...i,ij,...j", at, curves, at) / 2
    found, gain = best_of_paraboloid(values)
    np.testing.assert_allclose(found, place, atol=1e-9)
    assert gain == pytest.approx(place @ curves @ np.array(place) / 2, abs=1e-9)


def test_a_valley_is_where_the_similarity_falls_least_for_a_millimetre_of_depth():
    rng = np.random.default_rng(0)
    slopes, ray = rng.standard_normal((40, 6)), np.array([0.6, 0.0, 0.8])
    matrix = slopes.T @ slopes
    twist = valley(matrix, ray)
    assert twist[3:] @ ray == pytest.approx(1.0)
    for _ in range(20):
        other = twist + 0.1 * rng.standard_normal(6)
        other[3:] += (1 - other[3:] @ ray) * ray
        assert other @ matrix @ other > twist @ matrix @ twist


def test_where_nothing_curves_depth_goes_alone():
    np.testing.assert_array_equal(valley(np.zeros((6, 6)), np.array([0.0, 0.0, 1.0])), [0, 0, 0, 0, 0, 1])


def test_a_ridge_is_followed_to_its_better_side_no_farther_than_four_probes():
    x, y = np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], indexing="ij")
    found, gain = best_of_paraboloid(0.1 * (x + y) - np.square(x - y))
    np.testing.assert_allclose(found, np.full(2, 4 / np.sqrt(2)), atol=1e-9)
    assert gain > 0


def test_a_pose_that_is_wrong_in_depth_alone_is_brought_back_in_fewer_steps_than_gauss_newton_takes(case):
    problem, true = case
    level = finished(problem.level(true, problem.extent_mm(true) / 64))
    view = problem.views[0]
    ray = problem.center(true) - view.source
    ray /= np.linalg.norm(ray)
    off = Pose.from_parts(np.eye(3), 8.0 * ray) @ true
    few = finished(descend(level, off, problem.center(off), iterations=3))
    deep = finished(descend_in_depth(level, off, problem.center(off), iterations=3))

    def left_mm(pose: Pose) -> float:
        return abs(float((problem.center(pose) - problem.center(true)) @ ray))

    # Pixels of 2.2 mm tell depth to about a millimetre without noise: 1 mm scales the image by 1/700.
    assert left_mm(deep.pose) < 1.0
    assert left_mm(deep.pose) < left_mm(few.pose)
    assert deep.similarity > few.similarity


def test_a_search_ends_with_the_first_match_that_convinces(case, monkeypatch):
    problem, true = case
    matched = []
    best = searching.Matcher.matched

    def counted(self, poses):
        for found in best(self, poses):
            matched.append(len(found))
            yield found

    monkeypatch.setattr(searching.Matcher, "matched", counted)
    found = finished(global_search(problem, SearchRange(), 0))
    assert found.convincing
    assert problem.distance_mm(found.best.pose, true) < 5.0
    assert sum(np.diff([0, *matched]) > 0) < 8  # a round matches twice eight times eight poses


@pytest.mark.parametrize("vertebrae", [-1, 1])
def test_a_search_that_ends_at_the_neighbouring_vertebra_slides_back_along_the_body(case, monkeypatch, vertebrae):
    problem, true = case
    off = true @ Pose.from_parts(np.eye(3), np.array([0.0, 0.0, 32.0 * vertebrae]))
    level = finished(problem.level(off, problem.extent_mm(off) / 64, margin_mm=70.0))
    stuck = finished(descend(level, off, problem.center(off), iterations=20)).pose
    assert problem.distance_mm(stuck, true) > 8.0  # alone it does not come back

    def only_there(ground, *_):
        yield from ()
        return [ground.candidate(stuck, 1)]

    monkeypatch.setattr(searching, "_round", only_there)
    found = finished(global_search(problem, SearchRange(), 0))
    assert problem.distance_mm(found.best.pose, true) < 5.0


def test_a_search_without_a_convincing_pose_looks_closer_at_the_best(case, monkeypatch):
    problem, true = case
    near = true.moved(np.array([0.03, 0.0, 0.02, 2.0, 1.0, 6.0]), problem.center(true))
    wrong = Pose.about(problem.center(true), rotation_from_euler(np.radians((0.0, 60.0, 0.0))), np.zeros(3)) @ true

    every_round_finds(monkeypatch, problem, (wrong, 0.5), (near, 0.45))
    monkeypatch.setattr(searching, "_AHEAD", 1.0)  # two rounds that agree do not convince
    found = finished(global_search(problem, SearchRange(), 0))
    assert problem.distance_mm(found.best.pose, true) < 2.0
    assert found.best.similarity > found.runner_up + 0.3


def test_of_two_poses_that_are_nearly_as_alike_the_finer_resolution_decides(case, monkeypatch):
    problem, true = case
    near = true.moved(np.array([0.0, 0.0, 0.0, 2.0, 1.0, 3.0]), problem.center(true))
    wrong = Pose.about(problem.center(true), rotation_from_euler(np.radians((0.0, 20.0, 0.0))), np.zeros(3)) @ true

    every_round_finds(monkeypatch, problem, (wrong, 0.62), (near, 0.59))
    monkeypatch.setattr(searching, "_turned_about_itself", lambda *_: [])
    found = finished(global_search(problem, SearchRange(), 0))
    assert found.convincing
    assert found.best.similarity == 0.62  # as the poses of the search are compared
    assert problem.distance_mm(found.best.pose, true) < 2.0


def test_of_two_poses_that_are_nearly_as_alike_the_one_nearer_to_the_start_is_found(case, monkeypatch):
    problem, true = case
    far = Pose.about(problem.center(true), rotation_from_euler(np.radians((0.0, 90.0, 0.0))), np.zeros(3)) @ true
    every_round_finds(monkeypatch, problem, (far, 0.42), (true, 0.4))
    monkeypatch.setattr(searching, "_seen_closer", _as_it_is)
    monkeypatch.setattr(searching, "_turned_about_itself", lambda *_: [])
    span = SearchRange()
    found = finished(global_search(problem, span, 0))
    assert found.best.pose is true
    assert found.lead == pytest.approx(0.4 - 0.42 + penalty(span, problem, far))


def test_what_a_pose_loses_is_its_squared_standard_deviations_beyond_the_six_that_are_to_be_expected(case):
    problem, _ = case
    span, center, axes = SearchRange(20.0, 60.0, 100.0), problem.center(problem.start), problem.views[0].axes

    def loses(turn_deg: float, across_mm: float, depth_mm: float) -> float:
        turn = axes @ rotation_from_euler(np.radians((turn_deg, 0.0, 0.0))) @ axes.T
        return penalty(span, problem, Pose.about(center, turn, axes @ (0.0, across_mm, depth_mm)) @ problem.start)

    three = loses(60.0, 0.0, 0.0)  # deviations
    assert three > 0
    assert loses(0.0, -120.0, 0.0) == pytest.approx(three)
    assert loses(0.0, 0.0, 180.0) == pytest.approx(three)
    assert loses(40.0, 80.0, -120.0) == pytest.approx((12 - 6) / (9 - 6) * three)
    assert loses(0.0, 0.0, 0.0) == loses(20.0, 40.0, -60.0) == loses(0.0, 80.0, 60.0) == 0.0


def test_a_reading_of_the_polarity_that_falls_behind_is_not_tried_on(case, monkeypatch):
    problem, true = case
    other = replace(problem, otherwise=())
    tried = []

    def unlike(ground, seed, number, *_):
        yield from ()
        tried.append((number, ground.problem is other))
        similarity = 0.05 if ground.problem is other else 0.3
        return [searching.Candidate(ground.problem, true, similarity, 0, penalty=0.0)]

    monkeypatch.setattr(searching, "_round", unlike)
    monkeypatch.setattr(searching, "_ended", lambda pool, *_: iter_nothing())
    finished(global_search(replace(problem, otherwise=(other,)), SearchRange(), 0))
    assert (1, True) in tried
    assert (4, False) in tried
    assert (2, True) not in tried


def every_round_finds(monkeypatch, problem, *scored):
    """Rounds of poses with these similarities, whatever they are, no slide along the body, and no scatter."""

    def found(ground, seed, number, *_):
        yield from ()
        return [searching.Candidate.of(problem, ground.span, pose, similarity, number) for pose, similarity in scored]

    monkeypatch.setattr(searching, "_round", found)
    monkeypatch.setattr(searching, "_slid", lambda *_: iter_nothing())
    monkeypatch.setattr(searching, "_CLEARED_FROM", 1.0)


def _as_it_is(pool, span):
    yield from ()
    return pool


def iter_nothing():
    """Steps that find nothing."""
    yield from ()
    return []
