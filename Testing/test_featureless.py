"""Regions that show one value and its grain are found; anatomy, air and the ends of the scale of greys are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from XrayCTRegistrationLib.featureless import featureless
from XrayCTRegistrationLib.xray import Polarity, Radiograph, xray_image

SIZE = 256
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE].astype(float)
ALL = np.ones((SIZE, SIZE), bool)
BOX = (np.abs(ROWS - 150) < 40) & (np.abs(COLUMNS - 110) < 25)
TURNED = (np.abs(ROWS + COLUMNS - 260) < 45) & (np.abs(ROWS - COLUMNS - 20) < 60)
DISC = np.hypot(ROWS - 90, COLUMNS - 150) < 28
CORNER = (ROWS > 190) & (COLUMNS < 70)
THINGS = {"box": BOX, "turned box": TURNED, "disc": DISC, "over the rim": CORNER}


def trunk() -> np.ndarray:
    """Line integrals of a trunk with ribs and vertebrae, air at both sides."""
    body = 3 * np.sqrt(np.maximum(1 - ((COLUMNS - 128) / 105) ** 2, 0))
    ribs = 0.3 * np.sin(ROWS / 7 + COLUMNS / 40) + 0.5 * np.exp(-(((COLUMNS - 128) / 18) ** 2)) * np.cos(ROWS / 9)
    return body + ribs * (body > 0)


def grain(deviation: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, deviation, (SIZE, SIZE))


def shown(things: dict[float, np.ndarray], blur_px: float = 1.5) -> np.ndarray:
    """The trunk as it is seen, things of some values over it."""
    image = gaussian_filter(trunk() + grain(0.05), blur_px)
    for value, where in things.items():
        image = np.where(where, value + grain(0.15), image)
    return image


def shares(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Of the true pixels that are found, and of all others that are taken for them."""
    return found[true].mean(), found[~true].mean()


@pytest.mark.parametrize("value", [1.0, 2.8, 5.0])
@pytest.mark.parametrize("name", THINGS)
def test_a_thing_of_any_shape_and_value_is_found_whole(name, value):
    recall, excess = shares(featureless(shown({value: THINGS[name]}), ALL), THINGS[name])
    assert recall > 0.85  # but for a rim of a pixel or two, which is masked with them
    assert excess < 0.03


def test_two_that_touch_are_both_found():
    beside = (np.abs(ROWS - 150) < 30) & (np.abs(COLUMNS - 165) < 30)
    recall, excess = shares(featureless(shown({2.0: BOX, 2.25: beside}), ALL), BOX | beside)
    assert recall > 0.85
    assert excess < 0.03


@pytest.mark.parametrize("deviation", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("blur_px", [0.0, 1.0, 3.0])
def test_a_trunk_is_not_featureless_however_grainy_or_blurred(deviation, blur_px):
    image = gaussian_filter(trunk() + grain(deviation), blur_px)
    assert featureless(image, ALL).mean() < 0.02


def test_air_beside_a_body_is_left():
    assert not featureless(trunk() + grain(0.02), ALL)[COLUMNS < 15].any()


def test_where_the_scale_of_greys_ends_is_left():
    image = np.clip(trunk() + grain(0.02), 0.5, 2.2)
    assert not featureless(image, ALL).any()


def test_of_a_small_image_nothing_is_masked():
    small = slice(None, None, 4)
    assert not featureless(shown({2.0: BOX})[small, small], ALL[small, small]).any()


def test_nothing_is_sought_outside_what_is_seen():
    image, seen = shown({2.0: BOX}), ~BOX
    assert not featureless(image, seen)[BOX].any()
    assert not featureless(image, ~ALL).any()
    assert not featureless(np.zeros((SIZE, SIZE)), ALL).any()


@pytest.mark.parametrize("factor", [1, 4])
@pytest.mark.parametrize("polarity", Polarity)
def test_an_x_ray_is_read_with_such_things_masked(polarity, factor):
    image = np.kron(shown({2.0: BOX}), np.ones((factor, factor)))
    image += np.random.default_rng(1).normal(0, 0.01, image.shape)
    pixels = image if polarity is Polarity.BRIGHT else 20_000 * np.exp(-image)
    mask = xray_image(Radiograph(pixels.astype(np.float32)), polarity).mask[::factor, ::factor]
    assert mask[BOX].mean() < 0.03
    assert mask[~BOX].mean() > 0.93
