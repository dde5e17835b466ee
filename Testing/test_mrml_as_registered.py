"""The X-ray as it is registered, beside the pixels that are stored: bone bright, the body's window, nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
from mrml_nodes import CARM, new_scene, rigid, transform_node, xray_node
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import view_from_carm
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.xray import Meaning, Polarity, Radiograph, xray_image

pytest.importorskip("slicer", reason="slicer-core is not installed")

from XrayCTRegistrationLib.mrml.display import (
    as_registered_node,
    likely_polarity,
    show_as_registered,
    show_as_registered_steps,
)
from XrayCTRegistrationLib.mrml.frames import ijk_to_ras
from XrayCTRegistrationLib.mrml.shown import Shown
from XrayCTRegistrationLib.mrml.volumes import fill_volume, voxels
from XrayCTRegistrationLib.mrml.xrays import radiograph_of

SIZE = 120
VIEW = view_from_carm({**CARM, "image_size_px": [SIZE, SIZE], "principal_point_px": [60.0, 60.0]})


def body() -> np.ndarray:
    """Line integrals: an ellipse of tissue with a bar of bone, air at the sides."""
    rows, columns = np.mgrid[:SIZE, :SIZE] / (SIZE - 1) - 0.5
    tissue = 4 * np.sqrt(np.maximum(0, 1 - (columns / 0.42) ** 2))
    return tissue + 1.5 * ((np.abs(columns) < 0.06) & (np.abs(rows) < 0.5))


def counts() -> np.ndarray:
    return np.rint(20000 * np.exp(-body())).astype(np.uint16)


@pytest.fixture
def scene():
    return new_scene()


@pytest.fixture
def node(scene):
    return xray_node(scene, "raw", VIEW, counts())


def window(node) -> tuple[float, float]:
    display = node.GetDisplayNode()
    return display.GetWindowLevelMin(), display.GetWindowLevelMax()


def test_it_shows_the_very_line_integrals_that_are_registered(node):
    shown = show_as_registered(node, Polarity.DARK)
    expected = xray_image(Radiograph(counts().astype(np.float32)), Polarity.DARK).line_integrals
    np.testing.assert_array_equal(voxels(shown)[0], expected)
    assert as_registered_node(node) is shown


def test_between_two_pauses_the_window_waits_for_a_part_of_it_only(node):
    """Reading, guessing the polarity, line integrals, field and window, the node: none of them with another."""
    steps = show_as_registered_steps(node)
    for _ in range(4):
        next(steps)
        assert as_registered_node(node) is None
    assert finished(steps) is as_registered_node(node)


@pytest.mark.parametrize("pauses", [1, 3])
def test_an_xray_that_is_removed_meanwhile_leaves_nothing_behind(scene, node, pauses):
    steps = show_as_registered_steps(node)
    for _ in range(pauses):
        next(steps)
    scene.RemoveNode(node)
    count = scene.GetNumberOfNodes()
    assert finished(steps) is None
    assert scene.GetNumberOfNodes() == count


def test_bone_is_bright_and_the_window_is_the_bodys_not_the_airs(node):
    shown = show_as_registered(node)
    values, (low, high) = voxels(shown)[0], window(shown)
    assert values[60, 60] > values[60, 40] > values[60, 2]
    grey = np.clip((values - low) / (high - low), 0, 1)
    assert grey[60, 60] > 0.9
    assert 0.4 < grey[60, 40] < 0.9  # raw counts of tissue were 2 % of the air's
    assert np.ptp(counts()[60, 30:90]) < 0.1 * counts().max()


def test_the_xray_keeps_its_pixels_its_window_and_its_place(node):
    before = (voxels(node).copy(), window(node), ijk_to_ras(node), radiograph_of(node).pixels)
    show_as_registered(node, Polarity.DARK)
    for one, other in zip(before, (voxels(node), window(node), ijk_to_ras(node), radiograph_of(node).pixels)):
        np.testing.assert_array_equal(one, other)


def test_it_is_hidden_and_not_saved_and_goes_with_the_xray(scene, node):
    shown = show_as_registered(node)
    assert shown.GetHideFromEditors()
    assert not shown.GetSaveWithScene()
    belongings = Shown.of(node)
    assert shown in belongings.nodes
    scene.RemoveNode(node)
    belongings.remove()
    assert shown.GetScene() is None


def test_it_stands_where_the_xray_stands_and_follows_it(scene, node):
    show_as_registered(node)
    node.SetAndObserveTransformNodeID(transform_node(scene, "room", rigid((0.2, 0, 0.4), (5, 6, 7))).GetID())
    shown = show_as_registered(node)
    np.testing.assert_array_equal(ijk_to_ras(shown), ijk_to_ras(node))
    assert shown.GetTransformNodeID() == node.GetTransformNodeID()


def test_it_is_made_anew_only_when_pixels_or_polarity_change(node):
    shown = show_as_registered(node, Polarity.DARK)
    image = shown.GetImageData()
    assert show_as_registered(node, Polarity.DARK) is shown
    assert shown.GetImageData() is image
    show_as_registered(node, Polarity.BRIGHT)
    assert voxels(shown)[0][60, 60] < voxels(shown)[0][60, 2]
    fill_volume(node, counts()[None, ::-1], VIEW.pixel_to_world)
    show_as_registered(node, Polarity.BRIGHT)
    assert voxels(shown)[0, 0, 0] == pytest.approx((counts()[-1, 0] - counts().min()) / np.ptp(counts()), abs=1e-6)


def test_a_guess_that_turns_out_right_leaves_the_image_and_a_wrong_one_does_not(node):
    shown = show_as_registered(node)
    image = shown.GetImageData()
    show_as_registered(node, Polarity.DARK)
    assert shown.GetImageData() is image
    show_as_registered(node, Polarity.BRIGHT)
    assert shown.GetImageData() is not image
    show_as_registered(node)  # nobody knows any more: what it looks like
    assert voxels(shown)[0][60, 60] > voxels(shown)[0][60, 2]


def test_a_logarithm_that_a_registration_found_otherwise_is_shown_so(scene):
    turned = xray_node(scene, "turned", VIEW, counts().max() - counts())  # black for white, no logarithm taken
    shown = show_as_registered(turned, Polarity.BRIGHT)
    assert show_as_registered(turned, Polarity.BRIGHT, False) is shown
    expected = xray_image(radiograph_of(turned).read_as(Meaning(logarithmic=False)), Polarity.BRIGHT).line_integrals
    np.testing.assert_array_equal(voxels(shown)[0], expected)
    image = shown.GetImageData()
    show_as_registered(turned, Polarity.BRIGHT, False)
    assert shown.GetImageData() is image


def test_a_window_that_a_person_set_stays_for_the_next_frame_but_not_for_another_polarity(node):
    shown = show_as_registered(node, Polarity.DARK)
    first = window(shown)
    shown.GetDisplayNode().SetWindowLevelMinMax(1.0, 2.0)
    fill_volume(node, (counts() // 2)[None], VIEW.pixel_to_world)
    show_as_registered(node, Polarity.DARK)
    assert window(shown) == pytest.approx((1.0, 2.0))
    show_as_registered(node, Polarity.BRIGHT)
    assert window(shown) != pytest.approx((1.0, 2.0))
    assert window(shown) != pytest.approx(first)


def test_a_window_that_nobody_set_follows_the_frames(node):
    shown = show_as_registered(node, Polarity.DARK)
    first = window(shown)
    fill_volume(node, np.rint(20000 * np.exp(-0.5 * body())).astype(np.uint16)[None], VIEW.pixel_to_world)
    show_as_registered(node, Polarity.DARK)
    assert window(shown)[1] == pytest.approx(0.5 * first[1], rel=0.05)


@pytest.mark.parametrize("collimator", [0, 25])
def test_the_polarity_that_is_shown_first_is_what_the_image_looks_like(collimator):
    dark, bright = counts().astype(np.float32), body().astype(np.float32)
    if collimator:
        for image in (dark, bright):
            image[:collimator] = image[-collimator:] = 0.0
            image[:, :8] = image[:, -8:] = 0.0
    assert likely_polarity(Radiograph(dark)) is Polarity.DARK
    assert likely_polarity(Radiograph(bright)) is Polarity.BRIGHT


def test_what_is_no_xray_is_refused_by_name_and_leaves_no_image(scene):
    flat = xray_node(scene, "flat", VIEW, np.full((SIZE, SIZE), 7, np.uint16))
    with pytest.raises(InputError, match="flat: every pixel of the X-ray is 7"):
        show_as_registered(flat)
    assert as_registered_node(flat) is None
