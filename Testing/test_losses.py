"""The losses of the learned similarity, against closed forms and finite differences in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from XrayCTRegistrationLib.geometry import Pose, rotation_from_vector
from XrayCTRegistrationLib.losses import (
    UncertaintyWeights,
    cosines,
    decomposition_loss,
    embedding_losses,
    geodesic_gradient,
    gradient_approximation_loss,
    rotation_log,
)

_ISOCENTER = np.array([12.0, -7.0, 31.0])


def _poses(seed: int, turn_deg: float) -> tuple[Pose, Pose]:
    """A pose and a true pose that are turned by turn_deg against each other."""
    rng = np.random.default_rng(seed)
    true = Pose.from_parts(Rotation.random(random_state=seed).as_matrix(), rng.normal(0, 80, 3))
    axis = rng.standard_normal(3)
    turn = rotation_from_vector(np.radians(turn_deg) * axis / np.linalg.norm(axis))
    return Pose.about(true.apply(_ISOCENTER), turn, rng.normal(0, 40, 3)) @ true, true


def _squared_distance(pose: Pose, true: Pose) -> float:
    """Half the squared geodesic distance, rotation (radians) and translation (mm) of the isocentre, by scipy."""
    turn = Rotation.from_matrix(pose.rotation @ true.rotation.T).magnitude()
    return 0.5 * (turn**2 + np.sum((pose.apply(_ISOCENTER) - true.apply(_ISOCENTER)) ** 2))


def _tensors(*poses: Pose) -> list[torch.Tensor]:
    return [torch.from_numpy(pose.matrix.copy())[None] for pose in poses]


@pytest.mark.parametrize("turn_deg", [0.01, 3.0, 40.0, 120.0, 179.0])
def test_the_geodesic_gradient_is_the_derivative_of_half_the_squared_distance(turn_deg):
    pose, true = _poses(3, turn_deg)
    gradient = geodesic_gradient(*_tensors(pose, true), torch.from_numpy(_ISOCENTER)[None])[0].numpy()
    center, step = pose.apply(_ISOCENTER), 1e-4
    expected = []
    for axis in np.eye(6):
        ends = [_squared_distance(pose.moved(sign * step * axis, center), true) for sign in (1, -1)]
        expected.append((ends[0] - ends[1]) / (2 * step))
    # The distance's fourth derivative bounds the error of central differences: below 1e-6 except next to 180 degrees.
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.0, np.pi - 1e-6, np.pi])
def test_the_logarithm_of_a_rotation_gives_back_its_vector_up_to_half_a_turn(angle):
    axes = np.concatenate([np.eye(3), [[0.6, -0.8, 0.0], [1, 1, 1] / np.sqrt(3)]])
    rotations = torch.from_numpy(Rotation.from_rotvec(angle * axes).as_matrix())
    found = rotation_log(rotations)
    assert torch.allclose(found.norm(dim=1), torch.full((len(axes),), angle, dtype=torch.float64), atol=1e-9)
    again = Rotation.from_rotvec(found.numpy()).as_matrix()
    np.testing.assert_allclose(again, rotations.numpy(), atol=1e-9)


def test_the_approximation_loss_counts_directions_and_not_lengths():
    geodesic = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scaled = torch.cat([1e-12 * geodesic[:, :3], 7.0 * geodesic[:, 3:]], dim=1)
    assert gradient_approximation_loss(scaled, geodesic).item() == pytest.approx(0.0, abs=1e-9)
    assert gradient_approximation_loss(-geodesic, geodesic).item() == pytest.approx(8.0)  # 2 - 2 cos = 4, twice
    right_angle = torch.tensor([[0.0, 1, 0, 0, 0, 2]]), torch.tensor([[3.0, 0, 0, 0, 0, 1]])
    assert gradient_approximation_loss(*right_angle).item() == pytest.approx(2.0)
    assert cosines(*right_angle).tolist() == [[0.0, 1.0]]


def test_a_gradient_of_no_length_costs_as_much_as_a_right_angle_and_stays_differentiable():
    nothing = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    loss = gradient_approximation_loss(nothing, torch.ones(1, 6, dtype=torch.float64))
    loss.backward()
    assert loss.item() == pytest.approx(4.0)
    assert torch.isfinite(nothing.grad).all()


def test_the_decomposition_is_low_when_local_features_agree_and_global_ones_do_not():
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.randn(2, 8, 5, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    wanted, opposite = decomposition_loss((one, other), (one, one)), decomposition_loss((one, one), (one, other))
    assert decomposition_loss((one, one), (one, one)).item() == pytest.approx(50 + 1 / 1.1)  # both correlations: 1
    assert 50.0 <= wanted.item() < 50.05
    assert 57.0 < opposite.item() <= 60.0  # bounded where the printed quotient is not


def test_embeddings_that_lie_as_the_poses_do_cost_nothing_wherever_they_lie_together():
    generator = torch.Generator().manual_seed(2)
    true, posed = torch.randn(2, 5, 12, dtype=torch.float64, generator=generator)
    anywhere = torch.randn(12, dtype=torch.float64, generator=generator)
    for loss in embedding_losses(true + anywhere, posed + anywhere, true, posed):
        assert loss.item() == pytest.approx(0.0, abs=1e-12)


def test_a_missed_way_counts_by_its_length():
    true, posed = torch.zeros(2, 2), torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    together, in_pairs = embedding_losses(true, torch.tensor([[3.0, 4.0], [0.0, 0.0]]), true, posed)
    # One of four embeddings is off by 4: 16 / 4, less the square of the common offset, 1. Its way of 3 is missed by 4.
    assert together.item() == pytest.approx(3.0)
    assert in_pairs.item() == pytest.approx((16 / 9.1) / 2)


def test_uncertainty_weights_are_the_sum_that_is_printed():
    weights = UncertaintyWeights([0.0, 0.0])
    with torch.no_grad():
        weights.log_variances.copy_(torch.tensor([0.3, -1.2]))
    sigma = torch.exp(0.5 * weights.log_variances)
    losses = torch.tensor([2.5, 0.4])
    printed = (losses / (2 * sigma**2)).sum() + sigma.log().sum()
    assert weights(losses).item() == pytest.approx(printed.item())


def test_the_best_uncertainty_of_a_loss_is_the_loss_itself():
    weights = UncertaintyWeights([0.0])
    optimizer = torch.optim.SGD(weights.parameters(), lr=1.0)
    for _ in range(60):
        optimizer.zero_grad()
        weights(torch.tensor([3.0])).backward()
        optimizer.step()
    assert torch.exp(weights.log_variances).item() == pytest.approx(3.0, rel=1e-3)
