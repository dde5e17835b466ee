"""Whether a body ends with its CT is told by the X-ray, at a pose and in the search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_beyond import CARM, TILTED, trunk
from XrayCTRegistrationLib.geometry import view_from_carm
from XrayCTRegistrationLib.levels import Problem
from XrayCTRegistrationLib.registration import Settings, problem_of
from XrayCTRegistrationLib.search import global_search as searching
from XrayCTRegistrationLib.search.ends import ending_as_seen, otherwise_ending
from XrayCTRegistrationLib.search.search_range import SearchRange
from XrayCTRegistrationLib.simulation import line_integrals
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.volume import Volume
from XrayCTRegistrationLib.xray import Polarity, Radiograph

VIEW = view_from_carm(CARM | {"view": "PA", "pixel_spacing_mm": [2, 2], "image_size_px": [120, 120]})
GIVEN = slice(40, 80)  # slices of the body, of 120, that are in the CT


def body() -> Volume:
    """A trunk with a column of bones, 32 mm apart."""
    whole = trunk(120)
    for first in range(0, 120, 8):
        whole.array[first : first + 6, 16:24, 20:30] = 400
    return whole


def problem(imaged: Volume) -> Problem:
    """The middle of the body as a CT, beside an X-ray of what was imaged, at the true pose."""
    whole = body()
    first, last = np.array([0, 0, GIVEN.start]), np.array([*whole.size[:2], GIVEN.stop]) - 1
    counts = 20_000 * np.exp(-line_integrals(imaged, VIEW, TILTED))
    radiograph = Radiograph(counts.astype(np.float32), "x.png", Polarity.DARK)
    return problem_of(whole.cropped(first, last), [radiograph], [VIEW], TILTED, Settings())


def ending_there() -> Volume:
    """The body without all that the CT does not hold."""
    whole = body()
    outside = np.ones(len(whole.array), bool)
    outside[GIVEN] = False
    whole.array[outside] = -1000
    return whole


@pytest.mark.parametrize("begins", ["going on", "ending"])
@pytest.mark.parametrize(("imaged", "goes_on"), [(body, True), (ending_there, False)], ids=["longer body", "same body"])
def test_the_x_ray_tells_whether_the_body_goes_on_beyond_its_ct(imaged, goes_on, begins):
    given = problem(imaged())
    assert given.continuing.any()
    if begins == "ending":
        given = otherwise_ending(given)
    seen = finished(ending_as_seen(given, TILTED, 3.0))
    assert seen.continuing.any() == goes_on
    assert (seen is given) == (given.continuing.any() == goes_on)


def test_a_ct_that_holds_the_whole_body_can_end_in_one_way_alone():
    given = problem(body())
    given = replace(given, extent=replace(given.extent, through=np.zeros((3, 2), bool)))
    assert otherwise_ending(given) is None
    assert finished(ending_as_seen(given, TILTED, 3.0)) is given


def test_rounds_of_the_search_share_both_ways_to_end(monkeypatch):
    tried = []

    def unlike(ground, seed, number, *_):
        yield from ()
        tried.append((number, bool(ground.problem.continuing.any())))
        return [searching.Candidate(ground.problem, TILTED, 0.3, 0, penalty=0.0)]

    monkeypatch.setattr(searching, "_round", unlike)
    monkeypatch.setattr(searching, "_ended", lambda pool, *_: iter(()))
    away = TILTED.moved(np.array([0.0, 0.0, 0.9, 60.0, 0.0, 0.0]), np.zeros(3))
    finished(searching.global_search(replace(problem(body()), start=away), SearchRange(), 0))
    assert tried == [(0, True), (1, True), (2, False), (3, True), (4, False)]


def test_the_same_pose_in_both_ways_is_no_rival_of_itself():
    goes_on = problem(body())
    ends = otherwise_ending(goes_on)
    pool = [searching.Candidate(one, TILTED, 0.5, 1, penalty=0.0) for one in (goes_on, ends)]
    assert searching._found(pool, SearchRange()).runner_up == 0.0
