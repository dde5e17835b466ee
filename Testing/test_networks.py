"""The networks of the learned similarity: what they promise of sizes, gradients and invertibility."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose
from XrayCTRegistrationLib.networks import interface
from XrayCTRegistrationLib.networks.branches import FourierBlock, InvertibleBlock
from XrayCTRegistrationLib.networks.interface import (
    FeatureDifferences,
    carried,
    descent_directions,
    feature_differences,
    fixed_xrays,
    image_metric,
    moving_volume,
    similarity,
    standardised,
    twist_gradient,
)
from XrayCTRegistrationLib.networks.shallow_encoder import means_of_three
from XrayCTRegistrationLib.networks.sopi import MotionGuess, centred_cube, guessed_pose, motion_shares
from XrayCTRegistrationLib.networks.weights import ARCHITECTURES, network_named
from XrayCTRegistrationLib.projector import VolumeTensor, project
from XrayCTRegistrationLib.training.samples import training_view

_NAMES = sorted(ARCHITECTURES)


@pytest.fixture(autouse=True)
def _same_random_weights():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _volume(dtype: torch.dtype = torch.float32) -> VolumeTensor:
    """An asymmetric smooth body of 12 x 10 x 14 voxels of 12 mm, about the world's origin."""
    k, j, i = np.indices((14, 10, 12)).astype(float)
    values = 0.02 * np.exp(-((i - 4) ** 2 + (j - 5) ** 2 + (k - 8) ** 2) / 18) + 0.01 * ((i + 2 * k) % 7 < 2)
    matrix = np.diag([12.0, 12.0, 12.0, 1.0])
    matrix[:3, 3] = -6 * np.array([11, 9, 13])
    return VolumeTensor(torch.from_numpy(values)[None].to(dtype), matrix)


def _scene(count: int = 2, pixels: int = 32, dtype: torch.dtype = torch.float32):
    """X-rays of noise and poses; what is tested holds for any image."""
    rng = np.random.default_rng(5)
    view = training_view(pixels)
    images = torch.from_numpy(rng.standard_normal((count, pixels, pixels))).to(dtype)
    fixed = fixed_xrays([view] * count, images, torch.ones_like(images))
    poses = [Pose.identity().moved(rng.normal(0, (0.1, 0.1, 0.1, 5, 5, 5)), np.zeros(3)) for _ in range(count)]
    return fixed, poses


def _stacked(poses: list[Pose]) -> torch.Tensor:
    return torch.from_numpy(np.stack([pose.matrix for pose in poses]))


@pytest.mark.parametrize("name", _NAMES)
def test_a_network_is_small_and_keeps_no_statistics_of_batches(name):
    network = network_named(name)
    assert sum(parameter.numel() for parameter in network.parameters()) < 5_000_000
    assert not any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in network.modules())


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("size", [(32, 32), (48, 80), (128, 64)])
def test_any_size_that_is_a_multiple_of_16_gives_one_value_per_pair(name, size):
    network = network_named(name)
    compared = network.compared(torch.randn(3, 1, *size), torch.randn(3, 1, *size))
    assert compared.value.shape == (3,)
    assert torch.isfinite(compared.value).all()


@pytest.mark.parametrize("name", _NAMES)
def test_a_pair_of_a_batch_is_judged_as_it_is_alone(name):
    network = network_named(name).eval()
    fixed, moving = torch.randn(3, 1, 32, 32), torch.randn(3, 1, 32, 32)
    together = network.compared(fixed, moving).value
    alone = torch.cat([network.compared(fixed[k : k + 1], moving[k : k + 1]).value for k in range(3)])
    assert torch.allclose(together, alone, atol=1e-4 * together.abs().max().item())


@pytest.mark.parametrize("name", _NAMES)
def test_the_pose_gradient_is_that_of_finite_differences(name):
    network = network_named(name).double()
    volume, (fixed, poses) = _volume(torch.float64), _scene(1, dtype=torch.float64)
    matrices = _stacked(poses).requires_grad_()
    (slope,) = torch.autograd.grad(similarity(network, volume, fixed, matrices).sum(), matrices)
    center = np.array([4.0, -3.0, 9.0])
    found = twist_gradient(slope, matrices.detach(), torch.from_numpy(center)[None])[0].numpy()
    step = 1e-5
    expected = []
    for axis in np.eye(6):
        ends = [
            similarity(network, volume, fixed, _stacked([poses[0].moved(sign * step * axis, center)])).item()
            for sign in (1, -1)
        ]
        expected.append((ends[0] - ends[1]) / (2 * step))
    # Trilinear interpolation bends where a sample passes from one voxel to the next: a part in a thousand.
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["dual-branch", "prost"])
def test_the_derivative_of_the_pose_gradient_reaches_the_residual_cnn_as_finite_differences_say(name):
    network = network_named(name).double()
    with torch.no_grad():  # so that the residual is not zero, where training begins
        network.residual.layers[-1].weight.normal_(0, 0.05)
    volume, (fixed, poses) = _volume(torch.float64), _scene(2, dtype=torch.float64)
    weight = network.residual.layers[0].weight
    wanted = torch.randn(2, 4, 4, dtype=torch.float64)

    def slope_along_wanted() -> torch.Tensor:
        matrices = _stacked(poses).requires_grad_()
        value = similarity(network, volume, fixed, matrices).sum()
        return (torch.autograd.grad(value, matrices, create_graph=True)[0] * wanted).sum()

    (found,) = torch.autograd.grad(slope_along_wanted(), weight)
    change, step = torch.randn_like(weight), 1e-6
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(sign * step * change)
        ends.append(slope_along_wanted().item())
        with torch.no_grad():
            weight.sub_(sign * step * change)
    assert (found * change).sum().item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)


def test_a_residual_that_learned_nothing_is_left_out_without_a_difference_and_one_that_did_is_not():
    network, volume = network_named("prost"), _volume()
    with torch.no_grad():
        left_out = moving_volume(network, volume).values
    assert torch.equal(left_out, moving_volume(network, volume).values)
    with torch.no_grad():
        network.residual.layers[-1].bias += 0.1
        learned = moving_volume(network, volume).values
    assert torch.equal(learned, moving_volume(network, volume).values)
    assert not torch.equal(learned, left_out)


def test_the_residual_starts_as_the_plain_volume():
    volume = _volume()
    moving = moving_volume(network_named("dual-branch"), volume)
    assert moving.values.shape == (3, 14, 10, 12)
    assert torch.equal(moving.values, volume.values.expand(3, -1, -1, -1))


def test_the_invertible_branch_can_be_inverted_and_its_scales_stay_bounded():
    block = InvertibleBlock(16).double()
    features = torch.randn(2, 16, 6, 5, dtype=torch.float64)
    assert torch.allclose(block.inverse(block(features)), features, atol=1e-9)
    assert torch.isfinite(block(1e6 * features)).all()


def test_tokens_are_mixed_by_the_means_of_their_neighbours():
    tokens = torch.randn(2, 3, 6, 9, dtype=torch.float64)
    padded = torch.nn.functional.pad(tokens, (1,) * 4, mode="replicate")
    assert torch.allclose(means_of_three(tokens), torch.nn.functional.avg_pool2d(padded, 3, stride=1))


def test_the_fourier_branch_sees_the_whole_image_at_every_pixel():
    block = FourierBlock(16).double()
    features = torch.randn(1, 16, 8, 8, dtype=torch.float64, requires_grad=True)
    (reach,) = torch.autograd.grad(block(features)[0, :, 0, 0].square().sum(), features)
    assert (reach.abs().sum(dim=(0, 1)) > 1e-9).all()


def test_what_is_masked_in_an_xray_does_not_count():
    weights = torch.ones(1, 1, 32, 32)
    weights[..., 20:] = 0
    images = torch.randn(1, 1, 32, 32)
    changed = images.clone()
    changed[..., 20:] = 50.0
    assert torch.equal(standardised(images, weights), standardised(changed, weights))
    seen = standardised(images, weights)[..., :20]
    assert seen.mean().item() == pytest.approx(0, abs=1e-5)
    assert seen.std(unbiased=False).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("size", [(40, 64), (16, 64), (64, 0)])
def test_a_size_that_no_network_can_look_at_is_an_input_error_that_names_it(size):
    images = torch.zeros(1, *size)
    with pytest.raises(InputError, match=rf"{size[1]} x {size[0]} pixels"):
        fixed_xrays([training_view(64)], images, images)


def test_a_descent_undoes_what_makes_two_motions_look_alike():
    metric = torch.diag(torch.tensor([1e4, 1e4, 1e4, 1.0, 1.0, 0.2], dtype=torch.float64))  # depth shows little
    metric[1, 3] = metric[3, 1] = 90.0  # a turn about the second axis looks like a shift along the first
    missing = torch.tensor([0.1, 0.2, -0.1, -10.0, 5.0, 8.0], dtype=torch.float64)
    gradient = (metric @ missing)[None]
    way = -descent_directions(gradient, metric[None])[0]
    scale = torch.tensor([100.0] * 3 + [1.0] * 3, dtype=torch.float64)
    cosine = torch.nn.functional.cosine_similarity
    assert cosine((way * scale)[None], (missing * scale)[None]).item() > 0.95
    assert cosine(gradient / scale, (missing * scale)[None]).item() < 0.85


def test_a_descent_is_a_plain_one_where_all_motions_show_alike():
    gradient = torch.tensor([[100.0, 200, 300, 1, 2, 3]], dtype=torch.float64)
    metric = 7.0 * torch.diag(torch.tensor([1e4, 1e4, 1e4, 1.0, 1.0, 1.0], dtype=torch.float64))[None]
    way = descent_directions(gradient, metric)[0].numpy()
    np.testing.assert_allclose(way, -np.array([0.01, 0.02, 0.03, 1, 2, 3]) / 7.7)
    assert torch.isfinite(descent_directions(gradient, torch.zeros(1, 6, 6))).all()  # the CT is out of sight


def test_the_image_metric_is_that_of_finite_differences_of_standardised_drrs():
    volume, (fixed, poses) = _volume(torch.float64), _scene(1, dtype=torch.float64)
    weights = fixed.weights.clone()
    weights[..., :5, :] = 0
    center = np.array([4.0, -3.0, 9.0])
    matrices = _stacked(poses).requires_grad_()
    images = project(volume, matrices, fixed.views)
    found = image_metric(images, matrices, weights, torch.from_numpy(center)[None])[0]
    step, columns = 1e-4, []
    for axis in np.eye(6):
        ends = [
            standardised(project(volume, _stacked([poses[0].moved(sign * step * axis, center)]), fixed.views), weights)
            for sign in (1, -1)
        ]
        columns.append((ends[0] - ends[1]).flatten() / (2 * step))
    changes = torch.stack(columns)
    deviation = images.detach()[weights > 0].std(correction=0).item()  # the metric is in the images' own unit
    expected = (deviation**2 * (changes @ changes.mT)).numpy()
    size = np.sqrt(np.diag(expected))
    # Trilinear interpolation bends where a sample passes from one voxel to the next: some parts in a thousand.
    np.testing.assert_allclose(found.numpy() / np.outer(size, size), expected / np.outer(size, size), atol=3e-3)


@pytest.mark.parametrize("name", _NAMES)
def test_the_change_of_a_networks_features_is_that_of_poses_a_little_apart(name, monkeypatch):
    monkeypatch.setattr(interface, "_PROBES", (1e-5,) * 3 + (1e-3,) * 3)  # features bend along longer ones
    torch.manual_seed(0)
    network = network_named(name).double()
    volume, (fixed, poses) = _volume(torch.float64), _scene(1, dtype=torch.float64)
    center = torch.tensor([[4.0, -3.0, 9.0]], dtype=torch.float64)

    def differences(pose: Pose) -> FeatureDifferences:
        with torch.no_grad():
            moving = moving_volume(network, volume)
        return feature_differences(network, moving, fixed, _stacked([pose]), center)

    found = differences(poses[0])
    for axis in range(6):
        step = 1e-5 if axis < 3 else 1e-3
        ends = [differences(poses[0].moved(sign * step * np.eye(6)[axis], center[0].numpy())) for sign in (1, -1)]
        expected = (ends[0].residuals - ends[1].residuals)[0] / (2 * step)
        # Trilinear interpolation bends where a sample passes from one voxel to the next: a part in a thousand.
        np.testing.assert_allclose(found.jacobian[0, :, axis], expected, atol=5e-3 * expected.abs().max().item())


def test_sopis_guess_is_undone_by_what_it_is_trained_on():
    view = training_view(64)
    isocenter = np.array([5.0, 6.0, 7.0])
    true = Pose.about(np.zeros(3), Pose.identity().rotation, np.zeros(3)).moved(
        np.array([0.2, -0.1, 0.3, 20.0, -10.0, 40.0]), np.zeros(3)
    ) @ Pose.from_parts(np.eye(3), -isocenter)
    shares = motion_shares(_stacked([true]), torch.from_numpy(isocenter)[None], [view])
    network = network_named("sopi")

    class Oracle(MotionGuess):
        def forward(self, cubes, fixed):
            assert cubes.shape == (1, 1, 32, 32, 32)
            return shares.float()

    network.initial_motion = Oracle()
    fixed, _ = _scene(1, 64)
    found = guessed_pose(network, _volume(), fixed, isocenter)
    np.testing.assert_allclose(found.matrix, true.matrix, atol=1e-4)  # the guess is float32


def test_the_cube_of_a_guess_is_measured_in_millimetres():
    fine = _volume()
    coarse_values = torch.nn.functional.avg_pool3d(fine.values[None], 2)[0]
    matrix = np.diag([24.0, 24.0, 24.0, 1.0])
    matrix[:3, 3] = fine.ijk_to_world[:3, 3] + 6.0
    one, other = centred_cube(fine), centred_cube(VolumeTensor(coarse_values, matrix))
    assert np.corrcoef(one.flatten(), other.flatten())[0, 1] > 0.9


def test_points_are_carried_by_their_own_pose():
    _, poses = _scene(2)
    points = np.array([[1.0, 2, 3], [4, 5, 6]])
    found = carried(torch.from_numpy(points), _stacked(poses)).numpy()
    np.testing.assert_allclose(found, [pose.apply(point) for pose, point in zip(poses, points)])
