"""Edges as lines: where they lie between pixels, that they close, and what draws none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf
from XrayCTRegistrationLib.edge_lines import edge_lines, zero_lines
from XrayCTRegistrationLib.geometry import Pose, view_from_carm
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.simulation import line_integrals

CENTER, RADIUS = (97.3, 104.8), 60.4


def disc(size: int = 200, blur_px: float = 2.0) -> np.ndarray:
    """A disc with a smooth edge, steepest at its radius."""
    rows, columns = np.mgrid[:size, :size]
    distance = np.hypot(columns - CENTER[0], rows - CENTER[1])
    return (0.5 - 0.5 * erf((distance - RADIUS) / blur_px)).astype(np.float32)


def loops(segments: np.ndarray) -> bool:
    """Whether every point is where two segments meet."""
    return bool((np.bincount(segments.ravel()) == 2).all())


def test_the_edge_of_a_disc_is_one_closed_line_at_its_radius():
    found = edge_lines(disc())
    radii = np.hypot(*(found.points - CENTER).T)
    # A twentieth of a pixel is what the derivative loses by being taken as linear between pixels; blur moves the line
    # by sigma^2 / (2 r), 3 px^2 / 121 px.
    assert np.abs(radii - RADIUS).max() < 0.05 + 0.025
    assert loops(found.segments)
    lengths = np.linalg.norm(np.diff(found.points[found.segments], axis=1)[:, 0], axis=1)
    assert lengths.sum() == pytest.approx(2 * np.pi * RADIUS, rel=2e-3)


def test_points_do_not_stand_on_pixels():
    """The lines are as fine as the screen that draws them, not as the DRR."""
    found = edge_lines(disc())
    fraction = np.abs(found.points - np.rint(found.points)).max(axis=1)
    assert np.quantile(fraction, 0.9) > 0.4


def test_lines_do_not_depend_on_contrast_or_offset():
    carm = {"source_to_detector_mm": 1000, "source_to_isocenter_mm": 700, "pixel_spacing_mm": [1.0, 1.0]}
    view = view_from_carm({**carm, "image_size_px": [160, 120]})
    drr = line_integrals(synthetic_spine(0, 4.0), view, Pose.identity())
    one, other = edge_lines(drr), edge_lines(8 * drr + 2)
    np.testing.assert_allclose(one.points, other.points, atol=1e-3)  # single precision
    np.testing.assert_array_equal(one.segments, other.segments)


def test_empty_images_have_no_lines_and_short_ones_are_left_out():
    assert not len(edge_lines(np.zeros((50, 60), np.float32)).segments)
    assert not len(edge_lines(np.full((50, 60), 3.0, np.float32)).segments)
    spot = disc()
    rows, columns = np.mgrid[:200, :200]
    spot += np.exp(-((columns - 97) ** 2 + (rows - 105) ** 2) / 4.0)  # a circle of 9 px, less than 8 % of the side
    radii = np.hypot(*(edge_lines(spot).points - CENTER).T)
    assert radii.min() > 50


def test_noise_far_below_the_anatomy_draws_nothing():
    noise = np.random.default_rng(0).normal(0, 1e-3, (200, 200))
    radii = np.hypot(*(edge_lines(disc() + noise).points - CENTER).T)
    assert (np.abs(radii - RADIUS) < 1).mean() > 0.95


def test_zero_lines_of_a_plane_are_a_straight_line_exactly():
    rows, columns = np.mgrid[:8, :9].astype(float)
    points, segments = zero_lines(2 * columns + rows - 9.3, np.ones((8, 9), bool))
    np.testing.assert_allclose(2 * points[:, 0] + points[:, 1], 9.3, atol=1e-12)
    assert np.bincount(segments.ravel()).max() == 2
    assert len(segments) == len(points) - 1  # one line


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_saddle_is_cut_as_its_mean_says(sign):
    """Of two opposite positive corners: joined where the mean is positive, apart where it is not."""
    joined = sign * np.array([[3.0, -1.0], [-1.0, 3.0]])
    points, segments = zero_lines(joined, np.ones((2, 2), bool))
    assert len(segments) == 2
    ends = points[segments]
    middles = ends.mean(axis=1)
    # Each line passes the corner that it cuts off: top right, and bottom left.
    np.testing.assert_allclose(sorted(map(tuple, middles)), [(0.125, 0.875), (0.875, 0.125)], atol=1e-12)


def test_cells_outside_the_region_have_no_lines():
    rows, columns = np.mgrid[:20, :20].astype(float)
    region = np.zeros((20, 20), bool)
    region[:5] = True
    points, _ = zero_lines(columns - 9.5 + 0 * rows, region)
    assert points[:, 1].max() == 5  # cells that touch the region reach one pixel beyond it
