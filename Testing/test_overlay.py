"""Green edges: where they lie, how thin they are, and how the X-ray below them looks."""

from __future__ import annotations

import numpy as np
import pytest
from XrayCTRegistrationLib.geometry import Pose, view_from_carm
from XrayCTRegistrationLib.overlay import (
    EDGE_PX,
    OverlayView,
    edge_view,
    edges,
    grey_image,
    overlay_drr,
    overlay_figure,
    overlay_projector,
    overlay_projector_of,
    overlay_rgb,
)
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.registration import centered
from XrayCTRegistrationLib.simulation import line_integrals
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.volume import Volume, prepared_attenuation
from XrayCTRegistrationLib.xray import Polarity, Radiograph, XrayImage, xray_image

CARM = {
    "source_to_detector_mm": 1000,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [1.0, 1.0],
    "image_size_px": [160, 120],
}


def disc(size: int = 200, radius: float = 60.0, height: float = 1.0) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    return height * (np.hypot(rows, columns) < radius).astype(np.float32)


def ball(size: int = 200, radius: float = 90.0, height: float = 1.0) -> np.ndarray:
    """Line integrals of a ball: a soft rim, where a disc's would be taken for the collimator's."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    return height * np.sqrt(np.clip(1 - (rows**2 + columns**2) / radius**2, 0, None)).astype(np.float32)


def flat(shape: tuple[int, int], value: float = 0.5) -> XrayImage:
    """An X-ray without anything in it but a faint slope, which gives it a window."""
    slope = value + 1e-3 * np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    return XrayImage(slope, np.ones(shape, bool))


def is_green(rgb: np.ndarray) -> np.ndarray:
    red, green, blue = (rgb[..., k].astype(int) for k in range(3))
    return (green > red + 40) & (green > blue + 40)


def test_the_edge_of_a_disc_is_one_thin_closed_line_at_its_radius():
    found = edges(disc())
    rows, columns = np.nonzero(found)
    radii = np.hypot(rows - 99.5, columns - 99.5)
    assert np.abs(radii - 60).max() < 1.5  # half a pixel of the disc's staircase, one of rounding to a pixel
    angles = np.sort(np.degrees(np.arctan2(rows - 99.5, columns - 99.5)))
    assert np.diff(angles).max() < 3  # a pixel is 1 degree wide at this radius: there is no gap
    assert found.sum() < 2 * np.pi * 60 * 1.3  # a line of one pixel, a little longer on diagonals


def test_edges_do_not_depend_on_the_contrast_or_the_offset_of_the_drr():
    drr = line_integrals(synthetic_spine(0, 4.0), view_from_carm(CARM), Pose.identity())
    np.testing.assert_array_equal(edges(drr), edges(8 * drr + 2))  # powers of two: no rounding


def test_an_empty_drr_has_no_edges_and_noise_far_below_the_anatomy_draws_none():
    assert not edges(np.zeros((50, 60), np.float32)).any()
    noise = np.random.default_rng(0).normal(0, 1e-3, (200, 200))
    found = edges(disc() + noise)
    radii = np.hypot(*(np.indices(found.shape) - 99.5))
    assert (np.abs(radii[found] - 60) < 2).mean() > 0.95


def test_the_grey_below_is_untouched_and_the_green_lies_on_the_edges():
    image = flat((200, 200))
    rgb = overlay_rgb(image, disc())
    assert rgb.shape == (200, 200, 3)
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(is_green(rgb), edges(disc()))
    grey = grey_image(image)
    np.testing.assert_array_equal(rgb[~edges(disc())], np.repeat(grey[~edges(disc())][:, None], 3, axis=1))


@pytest.mark.parametrize("size", [100, 800])
def test_a_drr_of_another_resolution_is_drawn_at_the_same_place(size):
    """The X-ray shows the same field at half, and at four times, the DRR's resolution."""
    pytest.importorskip("PIL", reason="lines are enlarged by Pillow, which is of the cli extra")
    green = is_green(overlay_rgb(flat((size, size)), disc()))
    rows, columns = np.nonzero(green)
    scale = size / 200
    radii = np.hypot(rows - (size - 1) / 2, columns - (size - 1) / 2)
    assert abs(radii.mean() - 60 * scale) < max(1.0, 0.5 * scale)  # half a pixel of the coarser of both
    assert np.abs(radii - 60 * scale).max() < 2.5 * max(scale, 1.0)


def test_bone_is_bright_whatever_the_polarity_of_the_file():
    counts = 1000 * np.exp(-ball(height=2.0)) + 1
    for polarity, pixels in ((Polarity.DARK, counts), (Polarity.BRIGHT, ball(height=2.0))):
        grey = grey_image(xray_image(Radiograph(pixels.astype(np.float32)), polarity))
        assert grey[100, 100] > 250
        assert grey[0, 0] < 5


def test_a_rim_of_the_collimator_inside_the_mask_does_not_set_the_window():
    """The lead is ten times denser than bone, and a few pixels of it remain inside the mask."""
    values = disc(height=1.0)
    mask = disc(radius=95) > 0
    values[disc(radius=93) == 0] = 10
    grey = grey_image(XrayImage(values, mask))
    assert grey[100, 100] > 250
    assert grey[~mask].max() < 60  # outside the mask it is dark


def test_the_edge_view_sees_the_field_of_the_image_in_square_pixels():
    carm = CARM | {"pixel_spacing_mm": [0.5, 0.25], "image_size_px": [1000, 300], "principal_point_px": [400, 100]}
    view = view_from_carm(carm)
    reduced = edge_view(view)
    assert max(reduced.size_px) == EDGE_PX
    np.testing.assert_allclose(*reduced.pixel_spacing_mm, rtol=2e-3)  # a whole number of pixels
    for corner in ((-0.5, -0.5), (1, 1)):
        far = [np.array(v.size_px) - 0.5 if corner == (1, 1) else np.array(corner) for v in (view, reduced)]
        np.testing.assert_allclose(view.detector_points(far[0]), reduced.detector_points(far[1]), atol=1e-9)


def test_edges_at_the_true_pose_lie_on_the_edges_of_the_x_ray():
    ct, view = synthetic_spine(0, 2.5), view_from_carm(CARM)
    pose = centered(ct, [view]).moved(np.array([0.1, 0.0, 0.1, 5.0, 5.0, 0.0]), np.zeros(3))
    projector = overlay_projector(ct)
    drr = overlay_drr(projector, view, pose)
    steepness = np.hypot(*np.gradient(line_integrals(ct, edge_view(view), pose)))
    on, everywhere = steepness[edges(drr)].mean(), steepness.mean()
    assert on > 2 * everywhere  # edges pick out where the X-ray itself changes
    shifted = edges(overlay_drr(projector, view, pose.moved(np.array([0, 0, 0, 4.0, 0, 0]), np.zeros(3))))
    assert steepness[shifted].mean() < 0.8 * on  # and no longer do 4 mm aside


def test_a_part_of_the_grey_image_is_as_bright_as_in_the_whole():
    values = np.random.default_rng(0).random((90, 120)).astype(np.float32)
    image = XrayImage(values, values > 0.01)
    part = slice(20, 50), slice(30, 110)
    np.testing.assert_array_equal(grey_image(image, part), grey_image(image)[part])


def test_edges_are_drawn_of_a_registered_ct_as_of_its_file_and_its_attenuation_stays_as_it_was():
    ct, view = synthetic_spine(0, 4.0), view_from_carm(CARM)
    pose = centered(ct, [view])
    attenuation = finished(prepared_attenuation(ct))
    before = attenuation.array.copy()
    drawn = overlay_drr(overlay_projector_of(attenuation), view, pose)
    np.testing.assert_array_equal(drawn, overlay_drr(overlay_projector(ct), view, pose))
    np.testing.assert_array_equal(attenuation.array, before)


def test_bone_is_brought_out_and_soft_tissue_left_as_it_is():
    ct = Volume(np.full((20, 20, 20), -10, np.int16), np.diag([5.0, 5.0, 5.0, 1.0]))
    ct.array[:, :, 10:] = 500
    view = view_from_carm(CARM)
    pose = centered(ct, [view])
    plain = line_integrals(ct, edge_view(view), pose)
    drawn = overlay_drr(overlay_projector(ct), view, pose)
    row = EDGE_PX * 120 // 160 // 2
    ratio = drawn[row] / np.maximum(plain[row], 1e-6)
    assert ratio[EDGE_PX // 2 - 50] == pytest.approx(1.0, abs=0.02)  # steps of 5 mm here, of 0.5 mm in the X-ray
    assert ratio[EDGE_PX // 2 + 50] == pytest.approx(1.5, abs=0.02)


def test_the_figure_has_four_panels_a_row_for_each_view_and_moves_the_edges_from_start_to_result():
    pytest.importorskip("PIL", reason="the figure is of the cli extra")
    ct, view = synthetic_spine(0, 4.0), view_from_carm(CARM)
    start = centered(ct, [view])
    result = start.moved(np.array([0, 0, 0, 15.0, 0, 0]), np.zeros(3))
    image = XrayImage(line_integrals(ct, view, result), np.ones((120, 160), bool))
    item = OverlayView("ap.png", image, view)
    projector = overlay_projector(ct)
    one = overlay_figure(projector, [item], start, result)
    two = overlay_figure(projector, [item, item], start, result)
    assert one.dtype == np.uint8
    assert two.shape[1] == one.shape[1]
    assert two.shape[0] > one.shape[0] + EDGE_PX * 120 // 160
    drawn_before = [overlay_drr(projector, view, result)]
    np.testing.assert_array_equal(overlay_figure(projector, [item], start, result, drawn_before), one)
    panels = np.array_split(is_green(one), 4, axis=1)
    assert [panel.any() for panel in panels] == [False, True, True, False]
    assert (panels[1] != panels[2]).any()


def test_a_small_ct_is_shown_enlarged_in_the_figure():
    pytest.importorskip("PIL", reason="the figure is of the cli extra")
    ct = Volume(np.full((10, 10, 10), 300, np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    ct.array[0] = -1000
    view = view_from_carm(CARM | {"pixel_spacing_mm": [2.0, 2.0]})
    pose = centered(ct, [view])
    image = XrayImage(line_integrals(ct, view, pose), np.ones((120, 160), bool))
    projector, item = overlay_projector(ct), OverlayView("a", image, view)
    figure = overlay_figure(projector, [item], pose, pose)
    whole = overlay_figure(projector, [item], pose, pose, [overlay_drr(projector, view, pose)])
    np.testing.assert_array_equal(whole, figure)  # the DRR of the whole X-ray is not of what is shown
    columns = np.flatnonzero(is_green(np.array_split(figure, 4, axis=1)[1]).any(axis=0))
    # 20 mm wide and 0.7 of the way to the detector: its shadow is 29 of 320 mm wide, and a quarter of that is shown.
    assert np.ptp(columns) > 0.3 * EDGE_PX
