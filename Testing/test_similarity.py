"""The similarity against closed forms, and its Gauss-Newton system against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from XrayCTRegistrationLib.geometry import view_from_carm
from XrayCTRegistrationLib.similarity import FixedImage, gauss_newton, robust_weights, similarity

VIEW = view_from_carm(
    {
        "source_to_detector_mm": 1000,
        "source_to_isocenter_mm": 700,
        "pixel_spacing_mm": [2, 2],
        "image_size_px": [40, 32],
    }
)


def textured(seed: int) -> torch.Tensor:
    """A smooth random image (32, 40)."""
    rng = np.random.default_rng(seed)
    noise = torch.from_numpy(rng.normal(size=(1, 1, 36, 44)).astype(np.float32))
    return torch.nn.functional.avg_pool2d(noise, 5, 1)[0, 0] * 5


def fixed_image(image: torch.Tensor, weights: torch.Tensor | None = None) -> FixedImage:
    return FixedImage(VIEW, image, torch.ones_like(image) if weights is None else weights, 6)


def test_an_image_is_one_like_itself_whatever_its_gain_and_offset():
    image = textured(0)
    assert float(similarity(fixed_image(image), (3 * image + 7)[None])) == pytest.approx(1, abs=1e-5)


def test_a_negative_is_minus_one():
    image = textured(0)
    assert float(similarity(fixed_image(image), -image[None])) == pytest.approx(-1, abs=1e-5)


def test_unrelated_images_are_near_zero():
    values = [float(similarity(fixed_image(textured(k)), textured(k + 100)[None])) for k in range(20)]
    assert abs(np.mean(values)) < 0.1  # 20 images of about 50 independent patches


def test_a_batch_gives_what_its_images_give_alone():
    images = torch.stack([textured(k) for k in range(3)])
    fixed = fixed_image(textured(9))
    alone = torch.cat([similarity(fixed, image[None]) for image in images])
    torch.testing.assert_close(similarity(fixed, images), alone, rtol=1e-5, atol=1e-6)


def test_pixels_of_no_weight_do_not_count():
    image, weights = textured(0), torch.ones(32, 40)
    weights[:, 20:] = 0
    spoiled = image.clone()
    spoiled[:, 20:] = 50
    # windows at the mask's edge see a millionth of the masked pixels
    assert float(similarity(fixed_image(image, weights), spoiled[None])) == pytest.approx(1, abs=1e-3)


def test_a_slow_change_of_contrast_hurts_less_than_plain_correlation():
    image = textured(0)
    slope = torch.linspace(0, 10, 40).expand(32, 40)
    plain = torch.corrcoef(torch.stack([image.flatten(), (image + slope).flatten()]))[0, 1]
    assert float(similarity(fixed_image(image), (image + slope)[None])) > float(plain) + 0.2


def test_the_gauss_newton_slope_is_the_derivative_of_the_similarity():
    torch.manual_seed(0)
    fixed, image = fixed_image(textured(0)), textured(0) + 0.3 * textured(1)
    jacobian = torch.stack([textured(k) for k in range(2, 8)])
    value, _, slope = gauss_newton(fixed, image, jacobian)
    assert value == pytest.approx(float(similarity(fixed, image[None])), abs=1e-5)
    step = 1e-2
    for axis in range(6):
        up, down = (float(similarity(fixed, (image + sign * step * jacobian[axis])[None])) for sign in (1, -1))
        # central difference in float32: about 1e-6 / step; the flatness floor's own slope is left out: some percent
        assert float(slope[axis]) == pytest.approx((up - down) / (2 * step), rel=0.1, abs=5e-3)


def test_the_gauss_newton_matrix_is_the_curvature_at_the_optimum():
    image = textured(0)
    jacobian = torch.stack([textured(k) for k in range(2, 8)])
    _, matrix, slope = gauss_newton(fixed_image(image), image, jacobian)
    assert torch.linalg.eigvalsh(matrix).min() > 0
    assert slope.abs().max() < 1e-4  # an optimum, up to float32
    step = 0.05
    for axis in range(6):
        drop = 1 - float(similarity(fixed_image(image), (image + step * jacobian[axis])[None]))
        assert drop == pytest.approx(0.5 * step**2 * float(matrix[axis, axis]), rel=0.15)  # third order and the floor


def test_a_bead_is_weighted_down_and_the_rest_is_not():
    image = textured(0)
    beaded = image.clone()
    beaded[10:12, 10:12] += 30
    weights = robust_weights(fixed_image(beaded), image - image.min() + 0.1)
    assert weights[10:12, 10:12].max() < 0.1
    assert weights.median() > 0.5
