"""`project` as torch differentiates it: the compiled marches against the torch reference and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import XrayView, rotation_from_vector, view_from_carm
from XrayCTRegistrationLib.projector import QuantisedVolume, VolumeTensor, project
from XrayCTRegistrationLib.projector.cpu import CpuKernels
from XrayCTRegistrationLib.projector.reference import project_by_torch
from XrayCTRegistrationLib.volume import Volume

STEP_MM = 0.8


def carm_view(**changes) -> XrayView:
    carm = {
        "source_to_detector_mm": 300,
        "source_to_isocenter_mm": 200,
        "pixel_spacing_mm": [2.3, 2.1],
        "image_size_px": [4, 3],
        "primary_angle_deg": 25,
        "secondary_angle_deg": -10,
    }
    return view_from_carm({**carm, **changes})


def small_volume(channels: int = 1, dtype: torch.dtype = torch.float64, seed: int = 0) -> VolumeTensor:
    """Random values of either sign in an oblique, anisotropic grid about the world origin."""
    values = torch.from_numpy(np.random.default_rng(seed).normal(size=(channels, 3, 4, 5))).to(dtype)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_vector(np.array([0.4, -0.3, 0.6])) * (1.0, 1.3, 1.7)
    matrix[:3, 3] = -matrix[:3, :3] @ np.array([2.0, 1.5, 1.0])
    return VolumeTensor(values, matrix)


def rigid(twists: torch.Tensor) -> torch.Tensor:
    """Poses (B, 4, 4) of twists (B, 6): the exponential map."""
    x, y, z, *shift = twists.unbind(dim=1)
    zero = torch.zeros_like(x)
    rows = [[zero, -z, y, shift[0]], [z, zero, -x, shift[1]], [-y, x, zero, shift[2]], [zero] * 4]
    return torch.linalg.matrix_exp(torch.stack([torch.stack(row, dim=1) for row in rows], dim=1))


def some_twists(batch: int = 2, seed: int = 1) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(np.hstack([random.normal(scale=0.3, size=(batch, 3)), random.normal(size=(batch, 3))]))


def with_values(volume: VolumeTensor, values: torch.Tensor) -> VolumeTensor:
    return VolumeTensor(values, volume.ijk_to_world)


VIEW = carm_view()
TWO_VIEWS = [VIEW, carm_view(primary_angle_deg=80, view="AP", principal_point_px=[1.8, 0.9])]


@pytest.mark.parametrize("views", [[VIEW], TWO_VIEWS], ids=["one_view", "a_view_each"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_images_of_several_channels_and_views_are_the_references(dtype, tolerance, views):
    volume, poses = small_volume(channels=3), rigid(some_twists())
    images = project(with_values(volume, volume.values.to(dtype)), poses, views, STEP_MM)
    expected = project_by_torch(volume.values, volume.ijk_to_world, poses, views, STEP_MM)
    assert images.dtype == dtype
    assert images.shape == (2, 3, 3, 4)
    assert (expected.abs().amax(dim=(0, 2, 3)) > 0.1).all()
    # float64 sums in another order; float32: its rounding, of sums of either sign.
    torch.testing.assert_close(images.double(), expected, rtol=0, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("views", [[VIEW], TWO_VIEWS], ids=["one_view", "a_view_each"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_gradients_to_pose_and_volume_are_those_of_the_reference(dtype, tolerance, views):
    volume, random = small_volume(channels=2), np.random.default_rng(4)
    amounts = torch.from_numpy(random.normal(size=(2, 2, 3, 4)))

    def gradients(draw, kind):
        twists, values = some_twists().requires_grad_(), volume.values.to(kind).requires_grad_()
        images = draw(values, rigid(twists))
        return torch.autograd.grad((images * amounts.to(kind)).sum(), (twists, values))

    ours = gradients(lambda values, poses: project(with_values(volume, values), poses, views, STEP_MM), dtype)
    reference = gradients(
        lambda values, poses: project_by_torch(values, volume.ijk_to_world, poses, views, STEP_MM), torch.float64
    )
    for one, other in zip(ours, reference):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=tolerance * float(other.abs().max()))


def test_the_gradient_is_right_for_any_parameterisation_that_stays_rigid():
    """Euler angles through a product of matrices, not the exponential map that other tests use."""
    volume = small_volume()

    def images_of(parameters: torch.Tensor) -> torch.Tensor:
        a, b, x, y, z = parameters
        one, zero = torch.ones_like(a), torch.zeros_like(a)
        first = torch.stack([a.cos(), -a.sin(), zero, zero, a.sin(), a.cos(), zero, zero, zero, zero, one, zero])
        second = torch.stack([one, zero, zero, x, zero, b.cos(), -b.sin(), y, zero, b.sin(), b.cos(), z])
        last = torch.stack([zero, zero, zero, one])
        first, second = (torch.cat([part, last]).reshape(4, 4) for part in (first, second))
        return project(volume, (first @ second)[None], VIEW, STEP_MM).sum(dim=(1, 2, 3))

    parameters = torch.tensor([0.7, -0.4, 2.0, -1.0, 3.0], dtype=torch.float64, requires_grad=True)
    # The image has corners where a sample crosses from one voxel to the next; 1e-7 steps meet none here.
    assert gradcheck(images_of, parameters, eps=1e-7, atol=1e-5)


def test_finite_differences_confirm_volume_and_pose_gradients():
    volume, twists = small_volume(), some_twists().requires_grad_()
    values = volume.values.clone().requires_grad_()
    assert gradcheck(
        lambda v, t: project(with_values(volume, v), rigid(t), VIEW, STEP_MM), (values, twists), eps=1e-7, atol=1e-5
    )


def test_finite_differences_confirm_the_second_derivatives_to_the_volume():
    volume, poses = small_volume(), rigid(some_twists())
    values = volume.values.clone().requires_grad_()
    assert gradgradcheck(lambda v: project(with_values(volume, v), poses, VIEW, STEP_MM).square(), (values,))


def pose_gradient(volume: VolumeTensor, values: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
    """(B, 6) gradient to a twist of images whose own gradient is `amounts`."""
    twists = some_twists(len(amounts)).requires_grad_()
    images = project(with_values(volume, values), rigid(twists), VIEW, STEP_MM)
    return torch.autograd.grad(images, twists, amounts, create_graph=True)[0]


def test_the_pose_gradient_can_be_differentiated_to_image_gradient_and_volume():
    volume, random = small_volume(channels=2), np.random.default_rng(5)
    values = volume.values.clone().requires_grad_()
    amounts = torch.from_numpy(random.normal(size=(2, 2, 3, 4))).requires_grad_()
    assert gradcheck(lambda v, y: pose_gradient(volume, v, y), (values, amounts))


def test_the_pose_gradient_can_be_differentiated_twice():
    volume, random = small_volume(), np.random.default_rng(6)
    values = volume.values.clone().requires_grad_()
    amounts = torch.from_numpy(random.normal(size=(1, 1, 3, 4))).requires_grad_()
    assert gradgradcheck(lambda v, y: pose_gradient(volume, v, y).square(), (values, amounts))


def test_training_through_the_pose_gradient_moves_parameters_as_the_reference_would():
    """A loss on the pose gradient of a nonlinear similarity, as the learned similarity is trained."""
    volume = small_volume()

    def parameter_gradients(draw):
        gain = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        values = volume.values.clone().requires_grad_()
        twists = some_twists().requires_grad_()
        similarity = torch.tanh(gain * draw(values * gain.exp(), rigid(twists))).sum()
        (gradient,) = torch.autograd.grad(similarity, twists, create_graph=True)
        loss = (gradient / gradient.norm()).square()[:, :3].sum()
        loss.backward(inputs=[gain, values])
        return gain.grad, values.grad

    ours = parameter_gradients(lambda v, poses: project(with_values(volume, v), poses, VIEW, STEP_MM))
    reference = parameter_gradients(lambda v, poses: project_by_torch(v, volume.ijk_to_world, poses, [VIEW], STEP_MM))
    for one, other in zip(ours, reference):
        assert other.abs().max() > 1e-6
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10 * float(other.abs().max()))


def test_asking_for_the_hessian_in_the_pose_says_that_there_is_none():
    twists = some_twists().requires_grad_()
    images = project(small_volume(), rigid(twists), VIEW, STEP_MM)
    (gradient,) = torch.autograd.grad(images.square().sum(), twists, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative to the pose"):
        gradient.sum().backward()


def test_a_quantised_volume_is_drawn_and_differentiated_to_the_pose_as_its_floats_are():
    volume, random = small_volume(), np.random.default_rng(7)
    attenuation = Volume(volume.values[0].abs().numpy(), volume.ijk_to_world)
    amounts = torch.from_numpy(random.normal(size=(2, 1, 3, 4))).float()

    def run(drawn):
        twists, y = some_twists().requires_grad_(), amounts.clone().requires_grad_()
        images = project(drawn, rigid(twists), VIEW, STEP_MM)
        (gradient,) = torch.autograd.grad(images, twists, y, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), y)
        return images.detach(), gradient.detach(), second

    for one, other in zip(run(QuantisedVolume.of(attenuation, "cpu")), run(VolumeTensor.of(attenuation))):
        assert one.dtype == other.dtype
        # 16 bits: half of 1.5e-5 of the highest value in every voxel, up to twice that in a difference of two.
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * float(other.abs().max()))


def test_a_pose_that_needs_no_gradient_costs_no_jacobian():
    volume = small_volume()
    values = volume.values.clone().requires_grad_()
    images = project(with_values(volume, values), rigid(some_twists()), VIEW, STEP_MM)
    saved = images.grad_fn.saved_tensors
    assert max(tensor.numel() for tensor in saved) <= 5 * 6 * 7  # the padded volume, nothing of 6 floats a pixel


def test_values_changed_in_place_are_drawn_as_they_are_now():
    volume, poses = small_volume(), rigid(some_twists())
    before = project(volume, poses, VIEW, STEP_MM)
    volume.values.mul_(2)
    torch.testing.assert_close(project(volume, poses, VIEW, STEP_MM), 2 * before)


def test_the_default_step_is_the_smallest_voxel_spacing():
    volume, poses = small_volume(), rigid(some_twists())
    torch.testing.assert_close(project(volume, poses, VIEW), project(volume, poses, VIEW, step_mm=1.0))


def test_half_precision_is_drawn_in_float32_and_rounded():
    volume, poses = small_volume(), rigid(some_twists())
    coarse = volume.values.bfloat16()
    images = project(with_values(volume, coarse), poses, VIEW, STEP_MM)
    exact = project(with_values(volume, coarse.float()), poses, VIEW, STEP_MM)
    assert torch.equal(images, exact.bfloat16())


def test_non_contiguous_values_and_image_gradients_are_read_as_they_are_indexed():
    volume, poses = small_volume(channels=2), rigid(some_twists())
    turned = volume.values.transpose(1, 3)
    assert not turned.is_contiguous()

    def run(values, amounts):
        values = values.detach().requires_grad_()
        images = project(with_values(volume, values), poses, VIEW, STEP_MM)
        return images.detach(), torch.autograd.grad(images, values, amounts)[0]

    amounts = torch.randn(2, 2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).transpose(2, 3)
    for one, other in zip(run(turned, amounts), run(turned.contiguous(), amounts.contiguous())):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": torch.ones(1, 3, 3, 3, dtype=torch.int32)}, "floating-point"),
        ({"values": torch.ones(3, 3, 3)}, r"\(channels, slices, rows, columns\)"),
        ({"values": torch.full((1, 3, 3, 3), torch.nan)}, "not finite"),
        ({"ijk_to_world": np.zeros((4, 4))}, "cannot be inverted"),
        ({"poses": torch.eye(4)}, r"\(B, 4, 4\)"),
        ({"poses": torch.eye(4, dtype=torch.int64)[None]}, "floating-point"),
        ({"poses": torch.full((1, 4, 4), torch.inf)}, "not finite"),
        ({"views": TWO_VIEWS}, "1 poses but 2 views"),
        ({"views": [VIEW, carm_view(image_size_px=[4, 4])], "poses": torch.eye(4).repeat(2, 1, 1)}, "one image size"),
        ({"step_mm": 0.0}, "positive number of millimetres"),
    ],
)
def test_input_that_cannot_be_projected_is_refused_with_a_reason(change, message):
    given = {"values": torch.ones(1, 3, 3, 3), "ijk_to_world": np.eye(4), "poses": torch.eye(4)[None]}
    given = {**given, "views": VIEW, "step_mm": 1.0, **change}
    with pytest.raises(InputError, match=message):
        project(VolumeTensor(given["values"], given["ijk_to_world"]), given["poses"], given["views"], given["step_mm"])


def test_a_volume_whose_voxels_32_bits_cannot_count_is_refused():
    huge = torch.zeros(1).expand(1, 1300, 1300, 1300)  # no memory behind it
    with pytest.raises(InputError, match="1300 x 1300 x 1300 voxels is too large"):
        CpuKernels().stored(huge)
