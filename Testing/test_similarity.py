"""The similarity against closed forms, and its Gauss-Newton system against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from XrayCTRegistrationLib.geometry import view_from_carm
from XrayCTRegistrationLib.similarity import SCALES, FixedImage, compare, gauss_newton

VIEW = view_from_carm(
    {
        "source_to_detector_mm": 1000,
        "source_to_isocenter_mm": 700,
        "pixel_spacing_mm": [2, 2],
        "image_size_px": [40, 32],
    }
)
ALL = torch.ones(1, 32, 40)


def textured(seed: int) -> torch.Tensor:
    """A smooth random image (32, 40)."""
    rng = np.random.default_rng(seed)
    noise = torch.from_numpy(rng.normal(size=(1, 1, 36, 44)).astype(np.float32))
    return torch.nn.functional.avg_pool2d(noise, 5, 1)[0, 0] * 5


def fixed_image(image: torch.Tensor, weights: torch.Tensor | None = None) -> FixedImage:
    return FixedImage(VIEW, image, ALL[0] if weights is None else weights, 6, 32 * 40.0)


def similarity(fixed: FixedImage, images: torch.Tensor, scale: float = SCALES[-1]) -> torch.Tensor:
    return compare(fixed, images, ALL, scale).similarity


def test_an_image_is_one_like_itself_whatever_its_gain_and_offset():
    image = textured(0)
    assert float(similarity(fixed_image(image), (3 * image + 7)[None])) == pytest.approx(1, abs=1e-5)


def test_a_blank_image_explains_nothing():
    assert float(similarity(fixed_image(textured(0)), torch.zeros(1, 32, 40))) == pytest.approx(0, abs=1e-5)


def test_unrelated_images_and_negatives_explain_nothing():
    values = [float(similarity(fixed_image(textured(k)), textured(k + 100)[None])) for k in range(20)]
    assert max(values) < 0.15  # 20 images of about 50 independent patches
    assert float(similarity(fixed_image(textured(0)), -textured(0)[None])) < 0


def test_a_batch_gives_what_its_images_give_alone():
    images = torch.stack([textured(k) for k in range(3)])
    fixed = fixed_image(textured(9))
    alone = torch.cat([similarity(fixed, image[None]) for image in images])
    torch.testing.assert_close(similarity(fixed, images), alone, rtol=1e-4, atol=1e-5)


def test_the_contrast_is_lower_where_noise_takes_some_of_it():
    image, noisy = textured(0), textured(0)
    noisy[:, 20:] += 3 * torch.from_numpy(np.random.default_rng(1).normal(size=(32, 20)).astype(np.float32))
    found = compare(fixed_image(noisy), image[None], ALL, SCALES[0])
    clean, spoiled = (float(found.contrast[0][part].median()) for part in (np.s_[:, :8], np.s_[:, 32:]))
    assert spoiled < clean - 0.05


def test_where_there_is_next_to_no_structure_the_contrast_is_that_of_the_whole_image():
    image = textured(0)
    image[:, 12:] *= 1e-3
    found = compare(fixed_image(image), image[None], ALL)
    torch.testing.assert_close(found.contrast, torch.ones(1, 32, 40), rtol=0, atol=0.02)


def test_pixels_of_no_weight_do_not_count():
    image, weights = textured(0), torch.ones(32, 40)
    weights[:, 20:] = 0
    spoiled = image.clone()
    spoiled[:, 20:] = 50
    # windows at the mask's edge see a millionth of the masked pixels
    assert float(similarity(fixed_image(image, weights), spoiled[None])) == pytest.approx(1, abs=1e-3)


def test_what_is_opaque_costs_what_it_covers_and_spares_the_rest():
    image = textured(0)
    beaded = image.clone()
    beaded[8:20, 8:20] = 20  # 11 % of the image, and windows of 13 pixels that see it in 40 %
    found = compare(fixed_image(beaded), image[None], ALL)
    assert float(found.similarity) > 1 - 0.4  # were every pixel of those windows lost
    assert found.fitting[0, 9:19, 9:19].median() < 0.2
    assert found.fitting[0].median() > 0.9


def test_how_much_was_compared_is_the_share_of_the_footprint_that_rays_of_weight_see():
    rays = ALL.clone()
    rays[:, 8:] = 0
    found = compare(fixed_image(textured(0)), textured(0)[None], rays)
    assert float(found.compared) == pytest.approx(8 / 32)


def test_a_pose_that_leaves_next_to_nothing_to_compare_is_not_alike():
    rays = torch.zeros(1, 32, 40)
    rays[:, :2] = 1
    assert float(compare(fixed_image(textured(0)), textured(0)[None], rays).similarity) < 0.3


def test_the_gauss_newton_way_leads_up_and_vanishes_where_all_is_explained():
    fixed, image = fixed_image(textured(0)), textured(0) + 0.1 * textured(1)
    jacobian = torch.stack([textured(k) for k in range(2, 8)])
    found = compare(fixed, image[None], ALL, SCALES[0])
    system = gauss_newton(found, fixed, image, jacobian)
    step = torch.linalg.solve(system.matrix + 1e-3 * torch.eye(6), system.way).float()
    moved = image + 0.1 * torch.einsum("n,nrc->rc", step, jacobian)
    assert float(compare(fixed, moved[None], ALL, SCALES[0]).similarity) > float(found.similarity)
    same = gauss_newton(compare(fixed, textured(0)[None], ALL), fixed, textured(0), jacobian)
    assert same.way.abs().max() < 1e-4  # an optimum, up to float32


def test_the_gauss_newton_matrix_is_the_curvature_of_the_similarity_at_the_optimum():
    fixed, image, wide = fixed_image(textured(0)), textured(0), 10.0  # a scale at which nothing is an outlier
    jacobian = torch.stack([textured(k) for k in range(2, 8)])
    system = gauss_newton(compare(fixed, image[None], ALL, wide), fixed, image, jacobian)
    assert torch.linalg.eigvalsh(system.matrix).min() > 0
    step = 0.02
    for axis in range(6):
        found = compare(fixed, (image + step * jacobian[axis])[None], ALL, wide)
        # the fitted slope of contrast and the flatness floor's own slope: some percent
        assert 1 - float(found.similarity) == pytest.approx(0.5 * step**2 * float(system.matrix[axis, axis]), rel=0.15)
