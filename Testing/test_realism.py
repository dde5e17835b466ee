"""What an operating room does to an X-ray, effect by effect."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.realism import CLEAN, HARD, Realism, collimator, covered, degraded, hardened, occluded, tools


def _image(pixels: int = 64) -> np.ndarray:
    rows, columns = np.indices((pixels, pixels)) / pixels
    return (2 + 2 * np.exp(-((columns - 0.4) ** 2) / 0.01) + 0.5 * np.sin(12 * rows)).astype(np.float32)


def _rng() -> np.random.Generator:
    return np.random.default_rng(4)


def test_without_effects_an_image_is_only_scaled():
    image = _image()
    found, weights = degraded(image, _rng(), CLEAN)
    assert np.corrcoef(found.ravel(), image.ravel())[0, 1] == pytest.approx(1, abs=1e-6)
    assert (found.min(), found.max()) == (0, 1)
    assert (weights == 1).all()


@pytest.mark.parametrize("name", [field.name for field in fields(Realism) if field.name != "occluded"])
def test_every_effect_changes_the_image_or_the_weights_and_is_drawn_from_the_generator(name):
    only = replace(CLEAN, **{name: 1.0, "occluded": 0.2})
    image, weights = degraded(_image(), _rng(), only)
    clean, _ = degraded(_image(), _rng(), CLEAN)
    assert np.isfinite(image).all()
    assert np.abs(image - clean).max() > 0.005 or weights.min() == 0
    again, _ = degraded(_image(), _rng(), only)
    np.testing.assert_array_equal(image, again)


def test_hardening_shows_thick_bone_less_and_thin_tissue_as_it_is():
    thin, thick = hardened(np.array([0.01]), 0.5)[0], hardened(np.array([6.0]), 0.5)[0]
    mean = (1.5 + 1 / 1.5) / 2  # of the two absorptions: what little matter shows
    assert thin == pytest.approx(0.01 * mean, rel=1e-2)
    assert thick < 0.85 * 6.0 * mean


def test_tools_only_add_and_as_much_as_metal_of_their_width():
    metal = tools((256, 256), _rng())
    assert metal.min() == 0
    assert 0.3 < metal.max() < 16  # 0.5 to 5 mm of titanium, up to four on top of each other


@pytest.mark.parametrize("occluding", [occluded, covered])
def test_an_occlusion_hides_the_share_that_was_asked_for(occluding):
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        image = _image()
        shares.append((occluding(image, rng, 0.2) != image).mean())
    assert 0.16 < np.mean(shares) < 0.32  # the last rectangle reaches over


def test_what_covers_an_image_is_the_image_upside_down():
    image = np.random.default_rng(0).random((40, 60))
    hidden = covered(image, np.random.default_rng(1), 0.2)
    changed = hidden != image
    np.testing.assert_array_equal(hidden[changed], image[::-1, ::-1][changed])


def test_a_collimator_leaves_the_middle_and_a_field_of_one_piece():
    for seed in range(10):
        field = collimator((48, 64), np.random.default_rng(seed))
        assert set(np.unique(field)) <= {0.0, 1.0}
        assert field[24, 32] == 1
        assert field.mean() > 0.3


def test_the_hard_setting_turns_everything_on_but_inversion():
    off = {field.name for field in fields(Realism) if getattr(HARD, field.name) == 0}
    assert off == {"inversion", "opaque", "window"}


def test_a_probability_beyond_one_is_an_input_error():
    with pytest.raises(InputError, match=r"noise is 1\.5"):
        Realism(noise=1.5)
