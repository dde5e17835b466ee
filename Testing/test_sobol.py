"""Sobol points: the ones that SciPy makes, without importing SciPy's statistics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc
from XrayCTRegistrationLib.search.sobol import DIMENSIONS, sobol_points


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_points_are_those_of_scipy_to_the_last_bit(seed):
    expected = qmc.Sobol(DIMENSIONS, seed=seed).random_base2(11)
    np.testing.assert_array_equal(sobol_points(2048, seed), expected)


def test_a_shorter_sequence_begins_the_longer_one():
    np.testing.assert_array_equal(sobol_points(37, 3), sobol_points(500, 3)[:37])


def test_every_eighth_of_every_axis_gets_as_many_points():
    shares = [np.histogram(axis, bins=8, range=(0, 1))[0] for axis in sobol_points(256, 5).T]
    np.testing.assert_array_equal(shares, 32)
