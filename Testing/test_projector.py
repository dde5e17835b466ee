"""DRRs against closed forms: what rays gather, and rays that meet little or nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from projector_scenes import (
    BONE_PER_MM,
    IDENTITY,
    SMALL_VIEW,
    both,
    carm_view,
    constant,
    grid,
    noise,
    one_ray,
    quantised,
    random_poses,
    rays_in_ct,
    reference_float64,
    slabs,
    stacked,
    voxel_centers,
)
from XrayCTRegistrationLib.geometry import Pose, XrayView, rotation_from_vector
from XrayCTRegistrationLib.volume import Volume

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
