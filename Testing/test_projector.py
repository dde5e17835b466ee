"""DRRs and their pose Jacobian: against closed forms, autograd, and the CPU kernel against the float64 reference."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import XrayCTRegistrationLib
from XrayCTRegistrationLib import projector
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose, XrayView, rotation_from_vector, view_from_carm
from XrayCTRegistrationLib.projector import projector_for
from XrayCTRegistrationLib.projector.quantised import QuantisedProjector, QuantisedVolume
from XrayCTRegistrationLib.projector.rays import world_directions
from XrayCTRegistrationLib.projector.reference import ReferenceProjector
from XrayCTRegistrationLib.volume import Volume

BONE_PER_MM = 0.05


def reference_float64(volume: Volume, step_mm: float) -> ReferenceProjector:
    return ReferenceProjector(volume, step_mm, dtype=torch.float64)


def quantised(volume: Volume, step_mm: float) -> QuantisedProjector:
    return QuantisedProjector(QuantisedVolume.of(volume, "cpu"), step_mm)


both = pytest.mark.parametrize("make", [reference_float64, quantised], ids=["reference", "cpu"])


def carm_view(**changes) -> XrayView:
    carm = {
        "source_to_detector_mm": 1000,
        "source_to_isocenter_mm": 700,
        "pixel_spacing_mm": [4.0, 4.0],
        "image_size_px": [24, 20],
    }
    return view_from_carm({**carm, **changes})


SMALL_VIEW = carm_view(image_size_px=[12, 10], pixel_spacing_mm=[2.5, 2.5])


def grid(size: tuple[int, int, int], spacing=(1.0, 1, 1), turn=(0.0, 0, 0)) -> np.ndarray:
    """ijk_to_world of a volume with its middle at the world origin; a negative spacing flips its axis."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_vector(np.array(turn)) * np.array(spacing)
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(size) - 1) / 2)
    return matrix


def voxel_centers(size: tuple[int, int, int], matrix: np.ndarray) -> np.ndarray:
    """(slices, rows, columns, 3) in the volume's world."""
    empty = Volume(np.zeros(size[::-1], np.float32), matrix)
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij"), axis=-1)[..., ::-1]
    return empty.points(ijk)


def constant(size: tuple[int, int, int], spacing=(1.0, 1, 1)) -> Volume:
    return Volume(np.full(size[::-1], BONE_PER_MM, np.float32), grid(size, spacing))


def noise(size: tuple[int, int, int], matrix: np.ndarray, seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).uniform(0, BONE_PER_MM, size[::-1]).astype(np.float32), matrix)


def smooth(size: tuple[int, int, int], matrix: np.ndarray) -> Volume:
    """A sum of Gaussians of 2 to 4 voxels at random places."""
    random = np.random.default_rng(3)
    ijk = voxel_centers(size, np.eye(4))
    array = np.zeros(size[::-1])
    for _ in range(8):
        center, width = random.uniform(0.25, 0.75, 3) * size, random.uniform(2, 4)
        array += BONE_PER_MM * np.exp(-((ijk - center) ** 2).sum(axis=-1) / (2 * width**2))
    return Volume(array.astype(np.float32), matrix)


def stacked(*poses: Pose) -> torch.Tensor:
    return torch.from_numpy(np.stack([pose.matrix for pose in poses]))


def random_poses(count: int, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return stacked(
        *(
            Pose.from_parts(rotation_from_vector(random.normal(scale=0.5, size=3)), random.normal(scale=5, size=3))
            for _ in range(count)
        )
    )


IDENTITY = stacked(Pose.identity())


def rays_in_ct(view: XrayView, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """The source (3,) and unit directions (rows, columns, 3) of the view's rays in the CT's own world."""
    directions, _ = world_directions(view)
    return pose.inverse().apply(view.source), directions @ pose.rotation


def slabs(view: XrayView, pose: Pose, half: np.ndarray) -> np.ndarray:
    """Distances (2, rows, columns, 3) where rays enter and leave the slabs from -half to half (3,) of the CT's axes."""
    source, directions = rays_in_ct(view, pose)
    return np.sort(np.stack([(-half - source) / directions, (half - source) / directions]), axis=0)


def one_ray(start: list[float], end: list[float]) -> XrayView:
    """A view of a single pixel: its ray goes from start to end."""
    start, end = np.array(start, dtype=np.float64), np.array(end, dtype=np.float64)
    pixel_to_world = np.eye(4)
    across = np.eye(3)[np.argsort(np.abs(end - start))[:2]]  # two axes that are not along the ray
    pixel_to_world[:3, :2] = across.T
    pixel_to_world[:3, 3] = end
    return XrayView(start, pixel_to_world, (1, 1))


# Closed forms


@both
def test_sphere_is_as_bright_as_its_chords_are_long(make):
    radius, size, fine = 30.0, 68, 4
    center = np.array([0.3, -0.2, 0.4])
    offsets = (np.arange(size * fine) + 0.5) / fine - size / 2  # fine voxels in a grid whose middle is the origin
    squares = [(offsets - c).astype(np.float32) ** 2 for c in center]
    inside = squares[2][:, None, None] + squares[1][:, None] + squares[0] < radius**2
    share = inside.reshape(size, fine, size, fine, size, fine).mean(axis=(1, 3, 5), dtype=np.float32)
    volume = Volume(BONE_PER_MM * share, grid((size, size, size)))
    view = carm_view(primary_angle_deg=25, secondary_angle_deg=-15)

    image = make(volume, 0.5).images(IDENTITY, view)[0].numpy()

    source, directions = rays_in_ct(view, Pose.identity())
    along = directions @ (center - source)
    beside = np.sqrt(np.maximum(np.sum((center - source) ** 2) - along**2, 0))
    clear = beside < 0.9 * radius
    half_chord = np.sqrt(np.where(clear, radius**2 - beside**2, 1))
    error_mm = image / BONE_PER_MM - 2 * half_chord
    assert clear.sum() > 200
    # Partial volume places the surface to a tenth of a voxel, at both ends of a chord that meets it at an angle.
    assert (np.abs(error_mm) < 2 * 0.1 * radius / half_chord)[clear].all()
    # On average it does better. Means over a voxel (variance 1/12) and trilinear interpolation (1/6) blur the
    # projection, which lowers it by half of their sum times the Laplacian of the chord, 2 r2/s3 + 2/s.
    inner = beside < 0.7 * radius
    blur_mm = 0.125 * (2 * radius**2 / half_chord**3 + 2 / half_chord)
    assert abs((error_mm + blur_mm)[inner].mean()) < 0.02  # 4e-4 of the chord; 0.06 of scatter over 170 rays is 0.005
    assert (image[beside > radius + 2] == 0).all()


@both
@pytest.mark.parametrize(
    ("pose", "view"),
    [
        (Pose.identity(), carm_view()),
        (Pose.from_parts(rotation_from_vector(np.array([0.5, -0.8, 0.3])), np.array([8.0, -3, 5])), carm_view()),
        (
            Pose.from_parts(rotation_from_vector(np.array([-0.2, 0.4, 2.0])), np.array([3.0, 0, -9])),
            carm_view(primary_angle_deg=-40, principal_point_px=[7, 14.5], pixel_spacing_mm=[3.0, 5.0], view="AP"),
        ),
    ],
    ids=["along_the_axes", "oblique", "oblique_off_centre_mirrored"],
)
def test_box_is_as_bright_as_the_slabs_that_rays_cross(make, pose, view):
    size, spacing, step_mm = np.array([40, 36, 16]), np.array([1.0, 0.8, 2.5]), 0.2
    image = make(constant(tuple(size), spacing), step_mm).images(stacked(pose), view)[0].numpy()

    half = size * spacing / 2  # the box reaches half a voxel beyond the centres of its outer voxels
    face, outer, inner = (slabs(view, pose, half + voxels * spacing) for voxels in (0, 0.5, -0.5))
    enter, leave = face[0].max(axis=-1), face[1].min(axis=-1)
    # The border falls linearly from a voxel centre to the next one. A ray that crosses the border of one face at a time
    # gets exactly the slab; others pass within a voxel of an edge of the box and do not count.
    first, last = (np.arange(3) == axis[..., None] for axis in (outer[0].argmax(axis=-1), outer[1].argmin(axis=-1)))
    clear = np.where(first, -np.inf, inner[0]).max(axis=-1) < outer[0].max(axis=-1)
    clear &= np.where(last, np.inf, inner[1]).min(axis=-1) > outer[1].min(axis=-1)
    clear &= inner[0].max(axis=-1) < inner[1].min(axis=-1)
    # The midpoint rule errs where the slope breaks, twice at each end: by at most step2 / 8 times the slope, here 1/mm.
    tolerance_mm = 4 * step_mm**2 / 8 / spacing.min() + 60 * 1e-5  # and 16 bits or float32 of 60 mm
    assert clear.sum() > 30
    np.testing.assert_allclose(image[clear] / BONE_PER_MM, (leave - enter)[clear], atol=tolerance_mm)


def gaussian_image(covariance: np.ndarray, center: np.ndarray, view: XrayView, pose: Pose) -> np.ndarray:
    """Line integrals of exp(-p' covariance^-1 p / 2), p measured from center, along whole lines."""
    source, directions = rays_in_ct(view, pose)
    precision = np.linalg.inv(covariance)
    p = source - center
    a = np.einsum("...i,ij,...j->...", directions, precision, directions)
    b = directions @ precision @ p
    return np.sqrt(2 * np.pi / a) * np.exp(-(p @ precision @ p - b**2 / a) / 2)


@both
def test_gaussian_blob_and_its_finite_differences_follow_the_closed_form(make):
    size = (52, 48, 50)
    matrix = grid(size, turn=(0.2, -0.3, 0.5))
    turn = rotation_from_vector(np.array([0.7, 0.3, -0.4]))
    covariance = turn @ np.diag([3.5, 4.5, 4.0]) ** 2 @ turn.T
    center = np.array([3.0, -2, 1.5])
    offsets = voxel_centers(size, matrix) - center
    density = np.exp(-np.einsum("...i,ij,...j->...", offsets, np.linalg.inv(covariance), offsets) / 2)
    volume = Volume((BONE_PER_MM * density).astype(np.float32), matrix)
    # Trilinear interpolation is a blur by the triangle of one voxel, of variance 1/6, that keeps the mass.
    blurred = covariance + np.eye(3) / 6
    height = BONE_PER_MM * np.sqrt(np.linalg.det(covariance) / np.linalg.det(blurred))
    view = carm_view(primary_angle_deg=20, secondary_angle_deg=10, pixel_spacing_mm=[2.0, 3.0], view="AP")
    pose = Pose.from_parts(rotation_from_vector(np.array([0.3, 0.2, -0.5])), np.array([2.0, 4, -3]))
    isocenter = np.array([5.0, -8, 12])  # not the blob's own centre: the rotation has a lever

    projector = make(volume, 1 / 16)
    image, jacobian = projector.images_with_jacobian(stacked(pose), view, torch.from_numpy(isocenter))

    expected = height * gaussian_image(blurred, center, view, pose)
    step = 1e-4  # in radians and in mm: its square is far below the tolerance, float64 noise is as well
    for axis, twist in enumerate(step * np.eye(6)):
        ahead, behind = (gaussian_image(blurred, center, view, pose.moved(t, isocenter)) for t in (twist, -twist))
        difference = height * (ahead - behind) / (2 * step)
        scale = np.abs(difference).max()
        assert scale > 1e-3
        # The gradient of a trilinear volume jumps from voxel to voxel by a quarter of itself (voxel / width), and a
        # jump is placed to a sixteenth of a voxel: some 1e-2 of one voxel of many, measured 5e-3.
        np.testing.assert_allclose(jacobian[0, axis].numpy() / scale, difference / scale, atol=1e-2)
    # The triangle is a Gaussian up to its fourth moment, the blob is cut at 5 widths, 16 bits: measured 2e-5.
    np.testing.assert_allclose(image[0].numpy() / expected.max(), expected / expected.max(), atol=1e-4)


@both
def test_nearly_parallel_rays_gather_the_whole_mass(make):
    volume = noise((20, 16, 18), grid((20, 16, 18), (1.0, 1.2, 0.9)))
    view = carm_view(
        source_to_detector_mm=100_000,
        source_to_isocenter_mm=99_950,
        pixel_spacing_mm=[0.5, 0.5],
        image_size_px=[80, 80],
        primary_angle_deg=30,
        secondary_angle_deg=20,
    )
    image = make(volume, 0.5).images(IDENTITY, view)[0].double()
    pixel_area = 0.25 * 0.9995**2  # carried back to the isocentre
    mass = float(volume.array.sum(dtype=np.float64)) * 1.0 * 1.2 * 0.9
    # Magnification varies by 2e-4 over 20 mm; random pixels average the noise of half-voxel samples to less.
    assert float(image.sum()) * pixel_area == pytest.approx(mass, rel=5e-4)


@both
def test_doubling_the_attenuation_doubles_the_image_exactly(make):
    single = noise((14, 12, 10), grid((14, 12, 10)))
    double = Volume(2 * single.array, single.ijk_to_world)
    poses, view, center = random_poses(2), SMALL_VIEW, torch.zeros(3)
    once = make(single, 0.7).images_with_jacobian(poses, view, center)
    twice = make(double, 0.7).images_with_jacobian(poses, view, center)
    for one, two in zip(once, twice):  # a power of two leaves the digits as they are
        assert torch.equal(2 * one, two)


@both
def test_the_image_of_a_sum_is_the_sum_of_images(make):
    matrix = grid((14, 12, 10))
    first, second = noise((14, 12, 10), matrix, seed=1), noise((14, 12, 10), matrix, seed=2)
    poses, view = random_poses(2), SMALL_VIEW
    parts = sum(make(volume, 0.7).images(poses, view) for volume in (first, second))
    whole = make(Volume(first.array + second.array, matrix), 0.7).images(poses, view)
    torch.testing.assert_close(whole, parts, rtol=0, atol=5e-5 * float(whole.max()))  # 16 bits of 10 to 20 samples


def test_halving_the_step_converges_to_the_integral_at_second_order():
    volume, poses, view = noise((14, 12, 10), grid((14, 12, 10))), random_poses(4), SMALL_VIEW
    limit = reference_float64(volume, 1 / 32).images(poses, view)
    errors = [
        float((reference_float64(volume, step).images(poses, view) - limit).square().mean().sqrt())
        for step in (1.0, 0.5, 0.25, 0.125)
    ]
    assert errors[-1] < 1e-3 * float(limit.max())
    ratios = np.divide(errors[:-1], errors[1:])
    assert (ratios > 2.5).all(), ratios  # 4 for a rule of second order, 2 for one of first order


# Rays that meet little or nothing


@both
def test_rays_that_miss_the_volume_are_exactly_zero(make):
    size = (10, 12, 8)
    volume = constant(size)
    view = carm_view(pixel_spacing_mm=[2.0, 2.0])
    pose = Pose.from_parts(rotation_from_vector(np.array([0.3, 0.5, -0.2])), np.array([4.0, 1, -2]))
    image, jacobian = make(volume, 0.5).images_with_jacobian(stacked(pose), view, torch.zeros(3))
    enter, leave = slabs(view, pose, np.array(size) / 2 + 0.5)  # the border ends a voxel beyond the outer centres
    missed = enter.max(axis=-1) > leave.min(axis=-1)
    assert 50 < missed.sum() < missed.size
    assert (image[0].numpy()[missed] == 0).all()
    assert (jacobian[0].numpy()[:, missed] == 0).all()
    assert (image[0].numpy()[~missed] > 0).mean() > 0.95  # a ray may pass between two samples through a corner


@both
def test_a_volume_behind_the_source_or_beside_all_rays_is_not_seen(make):
    projector = make(constant((10, 10, 10)), 1.0)
    shifts = [[0.0, 720, 0], [0, 20, 60], [60, 0, 0]]  # PA: the source is at y = 700
    poses = stacked(*(Pose.from_parts(np.eye(3), np.array(shift)) for shift in shifts))
    image, jacobian = projector.images_with_jacobian(poses, SMALL_VIEW, torch.zeros(3))
    assert (image == 0).all()
    assert (jacobian == 0).all()


@both
def test_a_source_inside_the_volume_sees_only_what_is_before_it(make):
    volume, step_mm = constant((40, 40, 40)), 0.125
    view = one_ray([0.5, 4, -3], [0.5, 300, -3])
    image = make(volume, step_mm).images(IDENTITY, view)
    # From y = 4 to the face at 20; the border's slope breaks twice, by 1 / mm: step2 / 8 each, and 16 bits of 16 mm.
    assert float(image) / BONE_PER_MM == pytest.approx(16, abs=2 * step_mm**2 / 8 + 16e-5)


@both
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_ray_along_an_axis_counts_the_voxels_it_crosses(make, axis, sign):
    size, spacing = (10, 8, 6), (1.0, 0.5, 2.0)
    volume = noise(size, grid(size, spacing), seed=5)
    at = np.array([3, 2, 4])
    start = volume.points(at)
    start[axis] = -sign * 64.0 * spacing[axis]
    end = start.copy()
    end[axis] *= -1
    image = make(volume, spacing[axis] / 4).images(IDENTITY, one_ray(start, end))
    line = np.moveaxis(volume.array, (2, 1, 0), (0, 1, 2))
    expected = line[tuple(slice(None) if n == axis else at[n] for n in range(3))].sum() * spacing[axis]
    # Four samples to a voxel, none on a voxel's centre: the midpoint rule is exact on the straight pieces between.
    assert float(image) == pytest.approx(float(expected), rel=2e-5)  # 16 bits


@both
@pytest.mark.parametrize(
    ("x", "y", "share"),
    [(-5.0, 0.5, 0.5), (5.0, 0.5, 0.5), (-5.5, 0.5, 0), (-5.0, 4.0, 0.25), (5.0, -4.0, 0.25), (5.25, 4.25, 0.0625)],
    ids=["half_of_a_face", "half_of_the_other_face", "end_of_the_border", "edge", "other_edge", "beside_an_edge"],
)
def test_a_ray_that_grazes_a_face_or_an_edge_gets_the_share_of_the_border(make, x, y, share):
    volume = constant((10, 8, 6))  # from -5 to 5, -4 to 4 and -3 to 3 mm; the border ends 0.5 mm outside
    image = make(volume, 0.25).images(IDENTITY, one_ray([x, y, -64], [x, y, 64]))
    assert float(image) / BONE_PER_MM == pytest.approx(6 * share, abs=6e-5)  # 16 bits


@both
def test_a_ray_through_a_corner_point_of_the_border_meets_nothing(make):
    volume = constant((10, 8, 6))
    corner, along = np.array([5.5, 4.5, 3.5]), np.array([1.0, -1, 0.5])  # past the corner, not into the volume
    image, jacobian = make(volume, 0.25).images_with_jacobian(
        IDENTITY, one_ray(corner - 50 * along, corner + 50 * along), torch.zeros(3)
    )
    assert float(image) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(jacobian).all()


@both
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_voxel_thickness_is_one_voxel_thick(make, axis):
    size = [12, 12, 12]
    size[axis] = 1
    volume = constant(tuple(size), (2.0, 2.0, 2.0))
    projector = make(volume, 0.5)
    across, within = np.full(3, 0.5), np.full(3, 0.5)
    across[axis], within[axis] = 64, 0
    within[(axis + 1) % 3] = 64
    flip = np.ones(3)
    flip[axis] = -1
    image = projector.images(IDENTITY, one_ray(across, flip * across))
    assert float(image) / BONE_PER_MM == pytest.approx(2, abs=2e-5)
    flip = np.ones(3)
    flip[(axis + 1) % 3] = -1
    image = projector.images(IDENTITY, one_ray(within, flip * within))
    assert float(image) / BONE_PER_MM == pytest.approx(24, abs=3e-4)  # 16 bits


def test_an_empty_volume_is_black():
    volume = Volume(np.zeros((4, 4, 4), np.float32), grid((4, 4, 4)))
    for make in (reference_float64, quantised):
        assert (make(volume, 0.5).images(IDENTITY, carm_view()) == 0).all()


# What a projector is given


@both
def test_arrays_that_are_views_of_others_are_read_as_they_are_indexed(make):
    array = np.random.default_rng(0).uniform(0, BONE_PER_MM, (18, 10, 12)).astype(np.float32)
    turned = array.transpose(2, 0, 1)[::-1, ::2]
    assert not turned.flags.c_contiguous
    poses, view = random_poses(2), SMALL_VIEW
    matrix = grid(turned.shape[::-1])
    images = make(Volume(turned, matrix), 0.7).images(poses, view)
    copied = make(Volume(np.ascontiguousarray(turned), matrix), 0.7).images(poses, view)
    assert torch.equal(images, copied)


@both
def test_a_pose_is_drawn_alike_alone_and_in_a_batch(make):
    projector = make(noise((14, 12, 10), grid((14, 12, 10))), 0.7)
    poses, view, center = random_poses(4), SMALL_VIEW, torch.tensor([1.0, 2, 3], dtype=torch.float64)
    images, jacobians = projector.images_with_jacobian(poses, view, center)
    assert (images[0] - images[1]).abs().max() > 0.01
    for n in range(4):
        image, jacobian = projector.images_with_jacobian(poses[n : n + 1], view, center)
        # The reference adds the same samples in other chunks: float64 rounding. The kernel does the very same.
        torch.testing.assert_close(image[0], images[n], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(jacobian[0], jacobians[n], rtol=1e-12, atol=1e-11)


@both
def test_the_image_is_the_same_with_and_without_its_jacobian(make):
    projector = make(noise((14, 12, 10), grid((14, 12, 10))), 0.7)
    poses, view = random_poses(2), SMALL_VIEW
    image = projector.images(poses, view)
    with_jacobian, _ = projector.images_with_jacobian(poses, view, torch.zeros(3))
    torch.testing.assert_close(with_jacobian, image, rtol=1e-6, atol=1e-7)  # float32 sums in another order


@both
@pytest.mark.parametrize("flip", [np.diag([-1.0, -1, 1, 1]), np.diag([1.0, 1, -1, 1])], ids=["ras_lps", "mirror"])
def test_the_image_is_the_same_when_everything_is_told_in_another_frame(make, flip):
    size, turn = (16, 12, 10), (0.4, -0.3, 0.2)
    volume = noise(size, grid(size, (1.0, 1.3, 2.0), turn))
    flipped_volume = Volume(volume.array, flip @ volume.ijk_to_world)
    pose = Pose.from_parts(rotation_from_vector(np.array([0.5, -0.2, 0.9])), np.array([4.0, -6, 8]))
    flipped_pose = Pose(flip @ pose.matrix @ flip)
    view = carm_view(primary_angle_deg=30, secondary_angle_deg=15, isocenter_mm=[3, 5, -7])
    flipped_view = XrayView(flip[:3, :3] @ view.source, flip @ view.pixel_to_world, view.size_px)
    image = make(volume, 0.7).images(stacked(pose), view)
    flipped = make(flipped_volume, 0.7).images(stacked(flipped_pose), flipped_view)
    assert float(image.std()) > 0.01
    torch.testing.assert_close(flipped, image, rtol=0, atol=2e-6 * float(image.max()))  # float32 positions


@pytest.mark.parametrize("value", [-0.01, np.nan])
def test_the_cpu_projector_refuses_values_that_are_no_attenuation(value):
    array = np.full((3, 3, 3), BONE_PER_MM, np.float32)
    array[1, 1, 1] = value
    with pytest.raises(InputError, match="attenuation"):
        quantised(Volume(array, np.eye(4)), 1.0)


# The CPU kernel and the reference

SCENES = {
    "straight": (grid((26, 22, 18)), {}),
    "anisotropic": (grid((26, 22, 18), (0.8, 0.9, 2.5)), {"pixel_spacing_mm": [3.0, 5.0]}),
    "oblique": (
        grid((26, 22, 18), (1.1, 0.7, 1.6), (0.5, -1.2, 0.8)),
        {"primary_angle_deg": 40, "secondary_angle_deg": -25, "principal_point_px": [8, 14.5]},
    ),
    "flipped_volume_mirrored_detector": (grid((26, 22, 18), (-1.0, 1.0, 1.5)), {"view": "AP", "primary_angle_deg": 10}),
    "source_inside": (grid((26, 22, 18)), {"source_to_isocenter_mm": 5, "source_to_detector_mm": 100}),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("content", [noise, smooth])
def test_the_cpu_kernel_draws_what_the_float64_reference_says(scene, content):
    matrix, carm = SCENES[scene]
    volume = content((26, 22, 18), matrix)
    poses, view = random_poses(3, seed=7), carm_view(**carm)
    center = torch.tensor([3.0, -4, 5], dtype=torch.float64)
    image, jacobian = reference_float64(volume, 0.8).images_with_jacobian(poses, view, center)
    fast_image, fast_jacobian = quantised(volume, 0.8).images_with_jacobian(poses, view, center)

    assert fast_image.dtype == fast_jacobian.dtype == torch.float32
    # 16 bits: 4e-6 of the highest attenuation in every sample, measured 5e-6 of the brightest pixel.
    assert (fast_image - image).abs().max() < 2e-5 * image.max()
    # The gradient of 16-bit values is off by up to 8e-6 of the highest attenuation a voxel, a few hundred times more in
    # comparison where the volume is smooth; rotations and translations have different units. Measured 8e-4 and 7e-5.
    error = fast_jacobian - jacobian
    assert (error.abs() / jacobian.abs().amax(dim=(0, 2, 3), keepdim=True)).max() < 2e-3
    assert error.norm() < 2e-4 * jacobian.norm()


def test_the_analytic_jacobian_is_that_of_autograd_through_the_pose():
    volume = noise((14, 12, 10), grid((14, 12, 10), (1.0, 0.8, 1.7), (0.3, 0.1, -0.4)))
    projector = reference_float64(volume, 0.7)
    view = carm_view(image_size_px=[6, 5], primary_angle_deg=20, view="AP")
    poses = random_poses(2, seed=2)
    center = torch.tensor([3.0, -4, 5], dtype=torch.float64)

    def image_of(twists: torch.Tensor) -> torch.Tensor:
        """The image after `Pose.moved`, written in torch."""
        x, y, z = twists[:, :3].unbind(dim=1)
        zero = torch.zeros_like(x)
        generator = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
        rotation = torch.linalg.matrix_exp(generator)
        shift = center - rotation @ center + twists[:, 3:]
        motion = torch.cat([rotation, shift[:, :, None]], dim=2)
        last = torch.tensor([0.0, 0, 0, 1], dtype=torch.float64).expand(len(twists), 1, 4)
        return projector.images(torch.cat([motion, last], dim=1) @ poses, view)

    twists = torch.zeros(2, 6, dtype=torch.float64)
    by_autograd = torch.autograd.functional.jacobian(image_of, twists)  # (2, rows, columns, 2, 6)
    image, jacobian = projector.images_with_jacobian(poses, view, center)
    torch.testing.assert_close(image, image_of(twists), rtol=1e-12, atol=0)
    for n in range(2):
        expected = by_autograd[n, :, :, n].permute(2, 0, 1)
        torch.testing.assert_close(jacobian[n], expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
        assert (by_autograd[n, :, :, 1 - n] == 0).all()


# Which projector, and where its compiled code goes


def test_the_cpu_gets_the_compiled_projector_with_the_smallest_voxel_as_step():
    volume = constant((4, 4, 4), (0.9, 0.7, 2.0))
    chosen = projector_for(volume, "cpu")
    assert isinstance(chosen, QuantisedProjector)
    assert chosen.step_mm == pytest.approx(0.7)
    assert projector_for(volume, "cpu", step_mm=0.3).step_mm == 0.3


def test_without_numba_the_reference_draws_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "XrayCTRegistrationLib.projector.cpu", None)  # importing it fails
    projector.kernels_for.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            drawn = [projector_for(constant((4, 4, 4)), "cpu").images(IDENTITY, carm_view()) for _ in range(2)]
    finally:
        projector.kernels_for.cache_clear()
    assert drawn[0].max() > 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Without Numba, cpu has the slower torch reference" in caplog.text


def test_a_gpu_without_its_kernels_is_left_to_those_who_ask_for_it(monkeypatch, caplog):
    """numba-cuda missing: the CPU's kernels are chosen over torch's reference on the GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "XrayCTRegistrationLib.projector.cuda", None)
    projector.kernels_for.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert projector.device_for("auto") == torch.device("cpu")
            assert projector.device_for("cuda") == torch.device("cuda")
    finally:
        projector.kernels_for.cache_clear()
    assert "Without numba-cuda, cuda has the slower torch reference" in caplog.text


def test_a_device_without_kernels_is_drawn_on_by_the_reference_and_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        chosen = projector_for(constant((4, 4, 4)), "meta")
    assert isinstance(chosen, ReferenceProjector)
    assert "no compiled projector runs there" in caplog.text


DRAW_ONE = """
import numpy as np, torch
from XrayCTRegistrationLib.geometry import view_from_carm
from XrayCTRegistrationLib.projector import cpu, projector_for
from XrayCTRegistrationLib.volume import Volume
view = view_from_carm({"source_to_detector_mm": 1000, "source_to_isocenter_mm": 700, "pixel_spacing_mm": [1, 1],
                       "image_size_px": [1, 1]})
image = projector_for(Volume(np.ones((9, 9, 9), np.float32), np.eye(4)), "cpu", 0.5).images(torch.eye(4)[None], view)
print(cpu.__file__, float(image), sep="\\n")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows names the cache folder in the registry, not in HOME")
@pytest.mark.parametrize("user_cache", ["writable", "not writable"])
def test_the_kernel_works_where_the_library_is_installed_read_only(tmp_path, user_cache):
    """A file in the way of `__pycache__` keeps everyone from writing there, also root, whom no permission binds."""
    installed = tmp_path / "installed" / "XrayCTRegistrationLib"
    shutil.copytree(
        Path(XrayCTRegistrationLib.__file__).parent, installed, ignore=shutil.ignore_patterns("__pycache__")
    )
    (installed / "projector" / "__pycache__").touch()
    home = tmp_path / "home"
    home.mkdir() if user_cache == "writable" else home.touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    homes = dict.fromkeys(("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA", "XDG_CACHE_HOME"), str(home))
    run = subprocess.run(
        [sys.executable, "-c", DRAW_ONE],
        env={**environment, **homes, "PYTHONPATH": str(installed.parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    file, value = run.stdout.splitlines()
    assert Path(file).is_relative_to(installed)
    assert float(value) == pytest.approx(9, abs=0.05)  # oblique by under 1 degree; the step's share, see the boxes
    kept = [path for path in home.rglob("*.nbc") if "_draw-" in path.name]
    assert len(kept) == (1 if user_cache == "writable" else 0)
