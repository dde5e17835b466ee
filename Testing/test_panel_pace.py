"""How often a running registration is shown: a seventh of the time at most, and every two seconds at least."""

from __future__ import annotations

import itertools

import pytest
from XrayCTRegistrationLib.panel.pace import Pace


def shown_at(cost_s: float, for_s: float, tick_s: float = 0.02) -> list[float]:
    """When a registration is shown whose every refresh holds the window up for cost_s; half of it is drawn at once."""
    now_s, lag_s, times = 0.0, 0.0, []
    pace = Pace(now_s, lag_s)
    while now_s < for_s:
        if pace.is_due(now_s, lag_s):
            times.append(now_s)
            pace.shown(now_s, now_s + cost_s / 2, lag_s)
            now_s += cost_s
            lag_s += cost_s / 2
        now_s += tick_s
    return times


@pytest.mark.parametrize("cost_s", [0.04, 0.1, 0.2, 0.28])
def test_showing_takes_at_most_a_seventh_of_the_time(cost_s):
    times = shown_at(cost_s, for_s=60.0)
    assert cost_s * len(times) <= 0.15 * 60.0 + cost_s
    assert cost_s * len(times) >= 0.12 * 60.0  # and not much less: a tick of 20 ms is lost each time


def test_cheap_refreshes_come_eight_times_a_second_and_no_more():
    times = shown_at(0.001, for_s=12.0)
    assert 70 < len(times) <= 100


def test_it_is_shown_every_two_seconds_however_dear_that_is():
    times = shown_at(3.0, for_s=60.0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) < 3.0 + 0.04  # at once when the two seconds are over, which the refresh itself took


def test_the_time_before_the_first_refresh_counts_as_nothing():
    pace = Pace(now_s=100.0, lag_s=7.0)
    assert not pace.is_due(100.05, 7.0)
    assert pace.is_due(100.2, 7.0)
