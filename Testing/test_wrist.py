"""A real wrist: biplane fluoroscopy of a radius with a round collimator, beads on the skin and the other bones."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.wrist import START_DEG, START_MM, WITHIN_DEG, WITHIN_MM, difference, read_wrist, start_away
from XrayCTRegistrationLib.metrics import bone_points, mtre_mm
from XrayCTRegistrationLib.registration import Settings


def test_both_views_of_a_real_wrist_lead_from_10_degrees_and_10_mm_away_to_the_reference(shared_data) -> None:
    wrist = read_wrist(shared_data / "xray" / "wrist")
    start = start_away(wrist, np.random.default_rng(0))
    center = wrist.ct.center
    assert (start @ wrist.reference.inverse()).rotation_angle_deg() == pytest.approx(START_DEG)
    assert np.linalg.norm(start.apply(center) - wrist.reference.apply(center)) == pytest.approx(START_MM)

    found = difference(wrist, start, [0, 1], Settings(method="gradient"))
    # The reference is itself good to about 2.5 degrees (a radius is nearly round about its long axis) and 1 mm.
    assert found.rotation_deg < WITHIN_DEG
    assert found.shift_mm < WITHIN_MM
    assert found.mtre_mm < 0.2 * mtre_mm(bone_points(wrist.ct), start, wrist.reference)
