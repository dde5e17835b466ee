"""Registration errors against poses made by hand, whose errors are known in closed form."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from XrayCTRegistrationLib.geometry import Pose, XrayView, rotation_from_vector, view_from_carm
from XrayCTRegistrationLib.metrics import bone_points, mtre_mm, pose_error
from XrayCTRegistrationLib.volume import Volume

ISOCENTER = np.array([10.0, -20.0, 30.0])
SOURCE_TO_ISOCENTER_MM = 700.0
EXACT_MM = 1e-9  # only float64 rounding of lengths below a metre
CENTER = np.array([-40.0, 5.0, 90.0])  # the CT's isocentre in its own world
TRUE = Pose.about(CENTER, rotation_from_vector(np.array([0.3, -0.5, 0.2])), ISOCENTER - CENTER)


@pytest.fixture(scope="module", params=["square_pixels", "long_pixels_off_centre"])
def view(request) -> XrayView:
    """C-arms turned from every axis of the world, so that a mix-up of frames shows."""
    long = request.param != "square_pixels"
    return view_from_carm(
        {
            "source_to_detector_mm": 1011.9,
            "source_to_isocenter_mm": SOURCE_TO_ISOCENTER_MM,
            "pixel_spacing_mm": [0.4, 1.1] if long else [0.798, 0.798],
            "image_size_px": [256, 200],
            "principal_point_px": [100.0, 20.0] if long else [127.5, 99.5],
            "primary_angle_deg": 35.0,
            "secondary_angle_deg": -15.0,
            "isocenter_mm": ISOCENTER.tolist(),
        }
    )


@pytest.fixture
def points() -> np.ndarray:
    """(200, 3) targets within 100 mm of the CT's isocentre, in the CT's own world."""
    return CENTER + np.random.default_rng(0).uniform(-57, 57, (200, 3))


def shifted(shift_mm: np.ndarray) -> Pose:
    return Pose.from_parts(np.eye(3), shift_mm) @ TRUE


def turned(vector: np.ndarray) -> Pose:
    """The true pose turned about the isocentre, which stands where the CT's isocentre is."""
    return Pose.about(ISOCENTER, rotation_from_vector(vector), np.zeros(3)) @ TRUE


def in_world(points: np.ndarray) -> np.ndarray:
    """Points in the CT's own world that the true pose carries to `points`."""
    return TRUE.inverse().apply(points)


def test_equal_poses_have_no_error(view, points) -> None:
    error = astuple(pose_error(TRUE, TRUE, points, view, CENTER))
    assert error == pytest.approx((0.0,) * len(error), abs=EXACT_MM)


def test_a_shift_along_the_central_axis_is_depth_alone(view, points) -> None:
    error = pose_error(shifted(-12.0 * view.axes[:, 2]), TRUE, points, view, CENTER)
    for value in (error.mtre_mm, error.seed_mtre_mm, error.depth_mm):
        assert value == pytest.approx(12.0, abs=EXACT_MM)
    assert error.in_plane_mm == pytest.approx(0.0, abs=EXACT_MM)
    assert error.rotation_deg == pytest.approx(0.0, abs=1e-9)


def test_a_shift_across_the_central_axis_is_in_plane_alone(view, points) -> None:
    error = pose_error(shifted(view.axes @ [3.0, -4.0, 0.0]), TRUE, points, view, CENTER)
    for value in (error.mtre_mm, error.seed_mtre_mm, error.in_plane_mm):
        assert value == pytest.approx(5.0, abs=EXACT_MM)
    assert error.depth_mm == pytest.approx(0.0, abs=EXACT_MM)


def test_mrpd_of_an_in_plane_shift_is_the_shift_for_points_at_the_isocentres_depth(view) -> None:
    plane = ISOCENTER + np.random.default_rng(1).uniform(-80, 80, (50, 2)) @ view.axes[:, :2].T
    error = pose_error(shifted(view.axes @ [3.0, -4.0, 0.0]), TRUE, in_world(plane), view, CENTER)
    assert error.mrpd_mm == pytest.approx(5.0, abs=EXACT_MM)


def test_mrpd_shrinks_with_the_depth_of_the_points(view) -> None:
    behind = ISOCENTER + 70.0 * view.axes[:, 2:].T
    error = pose_error(shifted(5.0 * view.axes[:, 0]), TRUE, in_world(behind), view, CENTER)
    assert error.mrpd_mm == pytest.approx(5.0 * SOURCE_TO_ISOCENTER_MM / (SOURCE_TO_ISOCENTER_MM + 70.0), abs=EXACT_MM)


def test_mrpd_does_not_see_depth_on_the_ray_through_the_isocentre(view) -> None:
    on_axis = ISOCENTER + np.linspace(-80, 80, 9)[:, None] * view.axes[:, 2]
    error = pose_error(shifted(25.0 * view.axes[:, 2]), TRUE, in_world(on_axis), view, CENTER)
    assert error.mrpd_mm == pytest.approx(0.0, abs=EXACT_MM)
    assert error.mtre_mm == pytest.approx(25.0, abs=EXACT_MM)


def test_mrpd_of_a_depth_shift_grows_with_the_distance_from_the_axis(view) -> None:
    """A point r off the axis at depth d that moves to d + z is seen r d / (d + z) off the axis, carried back to d."""
    beside = ISOCENTER + 60.0 * view.axes[:, :1].T
    error = pose_error(shifted(25.0 * view.axes[:, 2]), TRUE, in_world(beside), view, CENTER)
    expected = 60.0 * 25.0 / (SOURCE_TO_ISOCENTER_MM + 25.0)
    assert error.mrpd_mm == pytest.approx(expected, abs=EXACT_MM)


@pytest.mark.parametrize("angle_deg", [0.5, 7.0, 90.0, 179.0])
def test_a_turn_about_the_isocentre_moves_points_of_a_circle_by_its_chord(view, angle_deg) -> None:
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    circle = ISOCENTER + 80.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1) @ view.axes[:, :2].T
    estimated = turned(np.radians(angle_deg) * view.axes[:, 2])
    error = pose_error(estimated, TRUE, in_world(circle), view, CENTER)
    chord = 2 * 80.0 * np.sin(np.radians(angle_deg) / 2)
    assert error.mtre_mm == pytest.approx(chord, abs=EXACT_MM)
    assert error.mrpd_mm == pytest.approx(chord, abs=EXACT_MM)  # the circle stands across the axis
    assert error.rotation_deg == pytest.approx(angle_deg, abs=1e-6)
    assert error.in_plane_mm == pytest.approx(0.0, abs=EXACT_MM)
    assert error.depth_mm == pytest.approx(0.0, abs=EXACT_MM)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["about_columns", "about_rows", "about_the_central_ray"])
def test_seed_mtre_of_a_turn_is_the_chord_at_the_lever_arm_of_the_source(view, points, axis) -> None:
    angle = np.radians(20.0)
    error = pose_error(turned(angle * view.axes[:, axis]), TRUE, points, view, CENTER)
    lever_mm = np.linalg.norm(np.cross(TRUE.apply(points) - view.source, view.axes[:, axis]), axis=1)
    assert error.seed_mtre_mm == pytest.approx(2 * np.sin(angle / 2) * lever_mm.mean(), abs=EXACT_MM)


def test_seed_mtre_adds_the_shift_of_the_isocentre_to_the_turn_about_the_source(view) -> None:
    """Turned about the central ray and shifted along it, a point on that ray moves by the shift alone."""
    on_axis = in_world(ISOCENTER[None] + 30.0 * view.axes[:, 2])
    turn = turned(0.4 * view.axes[:, 2])
    estimated = Pose.from_parts(np.eye(3), 6.0 * view.axes[:, 2]) @ turn
    assert pose_error(estimated, TRUE, on_axis, view, CENTER).seed_mtre_mm == pytest.approx(6.0, abs=EXACT_MM)


def test_errors_grow_with_swapped_poses_alike_for_mtre_and_rotation(view, points) -> None:
    estimated = Pose.from_parts(np.eye(3), np.array([4.0, 1.0, -9.0])) @ turned(np.array([0.1, 0.2, -0.1]))
    one, other = (pose_error(a, b, points, view, CENTER) for a, b in ((estimated, TRUE), (TRUE, estimated)))
    assert one.mtre_mm == pytest.approx(other.mtre_mm, abs=EXACT_MM)
    assert one.rotation_deg == pytest.approx(other.rotation_deg, abs=1e-9)
    assert one.mtre_mm == mtre_mm(points, estimated, TRUE)


def anisotropic(array: np.ndarray) -> Volume:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_vector(np.array([0.2, -0.4, 1.0])) * [4.0, 5.0, -6.0]
    matrix[:3, 3] = 50, -300, 800
    return Volume(array, matrix)


def test_bone_points_are_above_250_hu_and_within_100_mm_of_the_centre() -> None:
    array = np.full((50, 56, 60), 250, np.int16)  # 250 HU itself is not bone
    bone = np.random.default_rng(0).random(array.shape) < 0.02
    array[bone] = 251
    ct = anisotropic(array)
    found = bone_points(ct)
    everywhere = ct.points(np.argwhere(bone)[:, ::-1].astype(float))
    near = everywhere[np.linalg.norm(everywhere - ct.center, axis=1) <= 100.0]
    assert 100 < len(near) < len(everywhere)
    np.testing.assert_allclose(found, near, atol=EXACT_MM)


def test_bone_points_are_at_most_5000_and_from_all_over_the_bone() -> None:
    array = np.zeros((25, 25, 25), np.int16)
    array[:20] = 1000  # 12 500 voxels, of which a step of two would keep 6250
    ct = anisotropic(array)
    found = bone_points(ct, radius_mm=1000.0)
    assert 2500 < len(found) <= 5000
    every = ct.points(np.argwhere(array > 250)[:, ::-1].astype(float))
    np.testing.assert_allclose(found.mean(axis=0), every.mean(axis=0), atol=1.0)  # a fifth of a voxel


def test_bone_far_from_the_centre_stands_in_where_there_is_none_near_it() -> None:
    array = np.zeros((50, 50, 50), np.int16)
    array[0, 0, 0] = 1000
    ct = anisotropic(array)
    np.testing.assert_allclose(bone_points(ct), [ct.ijk_to_world[:3, 3]], atol=EXACT_MM)


def test_a_ct_without_bone_is_measured_at_its_corners() -> None:
    ct = anisotropic(np.zeros((10, 10, 10), np.int16))
    np.testing.assert_array_equal(bone_points(ct), ct.corners())
