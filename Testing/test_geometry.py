"""X-ray views and C-arm descriptions against closed forms, exact up to float64 rounding."""

from __future__ import annotations

import json

import numpy as np
import pytest
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import (
    XrayView,
    common_isocenter,
    rotation_from_vector,
    view_from_carm,
    view_to_carm,
)

EXACT_MM = 1e-9  # float64 at lengths of 1000 mm keeps 1e-13, times some operations
PARAMETRIC = {
    "source_to_detector_mm": 1020,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [0.8, 0.8],
    "image_size_px": [40, 30],
}


def calibrated_carm(**changes) -> dict:
    """A calibration whose pixels are skewed and not square, seen from an oblique direction."""
    intrinsic = np.array([[5000.0, 40, 700], [0, 5200, 620], [0, 0, 1]])
    rotation = rotation_from_vector(np.array([0.3, -1.1, 0.6]))
    matrix = intrinsic @ np.hstack([rotation, [[20.0], [-15], [900]]])
    return {"world_to_pixel": matrix.tolist(), "image_size_px": [64, 48], **changes}


def mirrored(view: XrayView) -> XrayView:
    """The same detector read from right to left."""
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = view.size_px[0] - 1
    return XrayView(view.source, view.pixel_to_world @ flip, view.size_px, view.isocenter)


VIEWS = {
    "parametric": view_from_carm(PARAMETRIC),
    "rotated": view_from_carm({**PARAMETRIC, "primary_angle_deg": 35, "secondary_angle_deg": -20}),
    "off_centre": view_from_carm({**PARAMETRIC, "principal_point_px": [3.5, 41], "isocenter_mm": [50, -20, 300]}),
    "not_square": view_from_carm({**PARAMETRIC, "pixel_spacing_mm": [0.5, 1.2], "view": "LAT"}),
    "ap": view_from_carm({**PARAMETRIC, "view": "AP"}),
    "mirrored": mirrored(view_from_carm({**PARAMETRIC, "primary_angle_deg": -50})),
    "calibrated": view_from_carm(calibrated_carm()),
    "calibrated_mirrored": mirrored(view_from_carm(calibrated_carm(source_to_detector_mm=1200))),
}


@pytest.fixture(params=VIEWS)
def view(request) -> XrayView:
    return VIEWS[request.param]


def grid(size_px: tuple[int, int]) -> np.ndarray:
    """(rows, columns, 2) every pixel as (column, row)."""
    return np.stack(np.meshgrid(np.arange(size_px[0]), np.arange(size_px[1])), axis=-1).astype(np.float64)


# Views


def test_every_detector_point_projects_to_its_own_pixel_at_the_detectors_depth(view):
    pixels = grid(view.size_px)
    points = view.detector_points(pixels)
    homogeneous = np.concatenate([pixels, np.zeros_like(pixels[..., :1]), np.ones_like(pixels[..., :1])], axis=-1)
    np.testing.assert_allclose(points, (homogeneous @ view.pixel_to_world.T)[..., :3], atol=EXACT_MM)
    projected, depth = view.project_points(points)
    np.testing.assert_allclose(projected, pixels, atol=1e-7)  # 1e-13 of 5000 px of focal length, some operations
    np.testing.assert_allclose(depth, view.source_to_detector_mm, rtol=1e-10)


def test_points_on_a_ray_share_its_pixel_and_their_depth_grows_along_it(view):
    pixels = grid(view.size_px)[::7, ::5]
    points = view.source + 0.3 * (view.detector_points(pixels) - view.source)
    projected, depth = view.project_points(points)
    np.testing.assert_allclose(projected, pixels, atol=1e-7)
    np.testing.assert_allclose(depth, 0.3 * view.source_to_detector_mm, rtol=1e-9)


def test_the_source_projects_nowhere(view):
    homogeneous = view.world_to_pixel @ np.append(view.source, 1)
    np.testing.assert_allclose(homogeneous / np.linalg.norm(view.world_to_pixel, axis=1), 0, atol=1e-9)


def test_axes_are_unit_vectors_that_look_from_source_to_detector(view):
    np.testing.assert_allclose(np.linalg.norm(view.axes, axis=0), 1, atol=1e-12)
    middle = view.detector_points((np.array(view.size_px) - 1) / 2) - view.source
    assert middle @ view.axes[:, 2] == pytest.approx(view.source_to_detector_mm)
    np.testing.assert_allclose(view.axes[:, 2] @ view.axes[:, :2], 0, atol=1e-10)  # the depth is across the detector


def test_projection_of_a_point_by_the_pinhole_formula():
    view = view_from_carm(
        {**PARAMETRIC, "pixel_spacing_mm": [0.5, 1.25], "principal_point_px": [12, 7], "isocenter_mm": [5, 6, 7]}
    )
    left, anterior, up = 8.0, 40.0, -11.0  # of the isocentre; PA: the detector is anterior
    pixel, depth = view.project_points(np.array([5 + left, 6 - anterior, 7 + up]))
    assert depth == pytest.approx(700 + anterior, abs=EXACT_MM)
    magnification = 1020 / (700 + anterior)
    np.testing.assert_allclose(
        pixel, [12 + left * magnification / 1.25, 7 - up * magnification / 0.5], atol=EXACT_MM
    )  # spacing is [between rows, between columns], and rows run to the feet
    np.testing.assert_allclose(view.pixel_spacing_mm, [1.25, 0.5], atol=1e-12)  # along columns, along rows
    np.testing.assert_allclose(view.millimetres_per_pixel_at([5, 6, 7]), np.array([1.25, 0.5]) * 700 / 1020)


def test_downsampled_pixels_stand_at_the_mean_of_their_block(view):
    columns, rows = 3, 4
    coarse = view.downsampled(columns, rows)
    assert coarse.size_px == (view.size_px[0] // columns, view.size_px[1] // rows)
    fine = view.detector_points(grid((coarse.size_px[0] * columns, coarse.size_px[1] * rows)))
    means = fine.reshape(coarse.size_px[1], rows, coarse.size_px[0], columns, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(coarse.detector_points(grid(coarse.size_px)), means, atol=EXACT_MM)
    np.testing.assert_array_equal(coarse.source, view.source)


def test_bands_of_a_view_are_all_its_rows_once_each_where_they_were(view):
    columns, rows = view.size_px
    bands = view.bands(7 * columns + 1)
    assert [band.size_px for band in bands[:-1]] == [(columns, 7)] * (len(bands) - 1)
    assert sum(band.size_px[1] for band in bands) == rows
    for number, band in enumerate(bands):
        np.testing.assert_allclose(band.pixel_to_world @ [3, 2, 0, 1], view.pixel_to_world @ [3, 7 * number + 2, 0, 1])
    assert len(view.bands(1)) == rows  # a row at least


def test_cropped_pixels_stay_where_they_were_also_beyond_the_detector(view):
    part = view.cropped((-5, 11), (20, 25))
    assert part.size_px == (20, 25)
    points = part.detector_points(grid(part.size_px))
    np.testing.assert_allclose(points, view.detector_points(grid(part.size_px) + np.array([-5, 11])), atol=EXACT_MM)


def test_a_calibration_goes_through_a_view_and_back_unchanged(view):
    again = view_from_carm(json.loads(json.dumps(view_to_carm(view))))
    scale = np.linalg.norm(view.world_to_pixel, axis=1, keepdims=True)
    np.testing.assert_allclose(again.world_to_pixel / scale, view.world_to_pixel / scale, atol=1e-10)
    np.testing.assert_allclose(again.source, view.source, atol=1e-8)
    np.testing.assert_allclose(again.pixel_to_world, view.pixel_to_world, atol=1e-8)
    assert again.size_px == view.size_px
    np.testing.assert_array_equal(again.isocenter, view.isocenter)


@pytest.mark.parametrize("scale", [1e-7, 1e3])
def test_a_calibration_of_any_scale_is_the_same_view(scale):
    carm = calibrated_carm()
    scaled = view_from_carm({**carm, "world_to_pixel": (scale * np.array(carm["world_to_pixel"])).tolist()})
    np.testing.assert_allclose(scaled.pixel_to_world, view_from_carm(carm).pixel_to_world, atol=1e-7)


def test_the_detector_distance_of_a_calibration_changes_no_projection():
    near, far = (view_from_carm(calibrated_carm(source_to_detector_mm=distance)) for distance in (950, 1500))
    assert (near.source_to_detector_mm, far.source_to_detector_mm) == (pytest.approx(950), pytest.approx(1500))
    scale = np.linalg.norm(far.world_to_pixel, axis=1, keepdims=True)
    np.testing.assert_allclose(near.world_to_pixel / scale, far.world_to_pixel / scale, atol=1e-11)


def test_a_real_calibration_goes_through_a_view_and_back_unchanged(shared_data):
    carm = json.loads((shared_data / "xray" / "wrist" / "cam1.json").read_text())
    given = np.array(carm["world_to_pixel"])
    view = view_from_carm(carm, "cam1.json")
    scale = np.linalg.norm(given, axis=1, keepdims=True)
    np.testing.assert_allclose(view.world_to_pixel / scale, given / scale, atol=1e-9)  # given with 12 digits
    pixels = grid(view.size_px)[::200, ::200]
    projected, depth = view.project_points(view.detector_points(pixels))
    np.testing.assert_allclose(projected, pixels, atol=1e-7)
    np.testing.assert_allclose(depth, view.source_to_detector_mm, rtol=1e-10)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pixel_to_world": np.diag([0.0, 1, 1, 1])}, "no area"),
        ({"pixel_to_world": np.array([[1.0, 2, 0, 0], [1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])}, "no area"),
        ({"source": np.array([3.0, 4, 0])}, "detector plane"),
        ({"source": np.array([0.0, np.nan, 0])}, "not finite"),
        ({"size_px": (0, 5)}, "size 0 x 5"),
    ],
)
def test_a_view_that_sees_nothing_is_refused(changes, reason):
    with pytest.raises(InputError, match=reason):
        XrayView(**{"source": np.array([0, 0, 1000.0]), "pixel_to_world": np.eye(4), "size_px": (5, 5), **changes})


# DICOM positioner angles, in LPS: x to the patient's left, y to the back, z to the head

LEFT, BACK, FEET = np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, -1.0])
SIN30, COS30, SIN20, COS20 = 0.5, np.sqrt(0.75), np.sin(np.radians(20)), np.cos(np.radians(20))


@pytest.mark.parametrize(
    ("angles", "to_detector", "column", "row"),
    [
        pytest.param({}, -BACK, LEFT, FEET, id="default_is_PA"),
        pytest.param({"view": "PA"}, -BACK, LEFT, FEET, id="PA"),
        pytest.param({"view": "AP"}, BACK, LEFT, FEET, id="AP_mirrored_so_that_left_stays_right"),
        pytest.param({"view": "LAT"}, LEFT, BACK, FEET, id="LAT"),
        pytest.param({"primary_angle_deg": 90}, LEFT, BACK, FEET, id="LAO_90"),
        pytest.param({"primary_angle_deg": -90}, -LEFT, -BACK, FEET, id="RAO_90"),
        pytest.param(
            {"secondary_angle_deg": 30}, [0, -COS30, SIN30], LEFT, [0, -SIN30, -COS30], id="cranial_30_detector_higher"
        ),
        pytest.param(
            {"secondary_angle_deg": -30}, [0, -COS30, -SIN30], LEFT, [0, SIN30, -COS30], id="caudal_30_detector_lower"
        ),
        pytest.param(
            {"primary_angle_deg": 30, "secondary_angle_deg": 20},
            [COS20 * SIN30, -COS20 * COS30, SIN20],
            [COS30, SIN30, 0],
            [SIN20 * SIN30, -SIN20 * COS30, -COS20],
            id="LAO_30_cranial_20",
        ),
    ],
)
def test_positioner_angles_place_source_and_detector_as_dicom_says(angles, to_detector, column, row):
    isocenter = np.array([10.0, 20, 30])
    view = view_from_carm({**PARAMETRIC, **angles, "isocenter_mm": isocenter.tolist()})
    np.testing.assert_allclose(view.source, isocenter - 700 * np.array(to_detector), atol=EXACT_MM)
    middle = view.detector_points((np.array(view.size_px) - 1) / 2)
    np.testing.assert_allclose(middle, isocenter + 320 * np.array(to_detector), atol=EXACT_MM)
    np.testing.assert_allclose(view.axes, np.stack([column, row, to_detector], axis=1), atol=1e-12)


# Isocentre


def unnamed(view: XrayView) -> XrayView:
    return XrayView(view.source, view.pixel_to_world, view.size_px)


def looking_at(point, **angles) -> XrayView:
    return unnamed(view_from_carm({**PARAMETRIC, "isocenter_mm": list(point), **angles}))


def test_isocentre_is_that_of_the_first_view_that_names_one():
    first, second = (view_from_carm({**PARAMETRIC, "isocenter_mm": point}) for point in ([1, 2, 3], [7, 8, 9]))
    np.testing.assert_array_equal(common_isocenter([looking_at([0, 0, 0]), first, second]), [1, 2, 3])


def test_isocentre_of_one_calibrated_view_is_the_world_origin_if_it_is_seen():
    np.testing.assert_array_equal(common_isocenter([looking_at([3, 40, -2])]), [0, 0, 0])


def test_isocentre_of_one_view_beside_the_origin_is_the_point_of_its_central_ray_nearest_to_it():
    np.testing.assert_allclose(common_isocenter([looking_at([300, 40, -2])]), [300, 0, -2], atol=EXACT_MM)


def test_isocentre_is_never_behind_the_source():
    view = looking_at([0, -5000, 0])  # PA: the source is at y = -4300, the rays run to smaller y, away from the origin
    np.testing.assert_allclose(common_isocenter([view]), [0, -4300 - 0.25 * 1020, 0], atol=EXACT_MM)


def test_isocentre_of_two_calibrated_views_is_where_their_central_rays_meet():
    point = [300, -40, 90]
    views = [looking_at(point), looking_at(point, primary_angle_deg=75, secondary_angle_deg=10)]
    np.testing.assert_allclose(common_isocenter(views), point, atol=1e-8)


def test_isocentre_of_rays_that_pass_each_other_is_halfway_between_them():
    views = [looking_at([0, 0, 3]), looking_at([0, 0, 7], view="LAT")]
    np.testing.assert_allclose(common_isocenter(views), [0, 0, 5], atol=1e-8)


def test_isocentre_of_opposite_views_is_on_their_common_ray():
    views = [looking_at([300, 0, 3]), looking_at([300, 0, 3], view="AP")]
    np.testing.assert_allclose(common_isocenter(views), [300, 0, 3], atol=1e-8)


# What a person can write wrongly


def without(name: str) -> dict:
    return {key: value for key, value in PARAMETRIC.items() if key != name}


@pytest.mark.parametrize(
    ("carm", "named"),
    [
        pytest.param([1, 2], "JSON object", id="no_mapping"),
        pytest.param({**PARAMETRIC, "pixel_spacing": 1}, "pixel_spacing'", id="unknown_entry"),
        pytest.param(calibrated_carm(view="PA"), "view", id="parametric_entry_in_a_calibration"),
        *(pytest.param(without(name), f"{name} is missing", id=f"no_{name}") for name in PARAMETRIC),
        pytest.param({"world_to_pixel": np.eye(3, 4).tolist()}, "image_size_px is missing", id="calibrated_no_size"),
        pytest.param({**PARAMETRIC, "source_to_detector_mm": 600}, "source_to_detector_mm", id="SDD_below_SID"),
        pytest.param({**PARAMETRIC, "source_to_detector_mm": 700}, "source_to_detector_mm", id="SDD_equals_SID"),
        pytest.param({**PARAMETRIC, "source_to_detector_mm": -1020}, "source_to_detector_mm", id="SDD_negative"),
        pytest.param({**PARAMETRIC, "source_to_detector_mm": float("nan")}, "source_to_detector_mm", id="SDD_nan"),
        pytest.param({**PARAMETRIC, "source_to_detector_mm": "1020"}, "source_to_detector_mm", id="SDD_text"),
        pytest.param({**PARAMETRIC, "source_to_detector_mm": True}, "source_to_detector_mm", id="SDD_true"),
        pytest.param({**PARAMETRIC, "source_to_isocenter_mm": 0}, "source_to_isocenter_mm", id="SID_zero"),
        pytest.param({**PARAMETRIC, "pixel_spacing_mm": 0.8}, "pixel_spacing_mm", id="spacing_scalar"),
        pytest.param({**PARAMETRIC, "pixel_spacing_mm": [0.8]}, "pixel_spacing_mm", id="spacing_one_number"),
        pytest.param({**PARAMETRIC, "pixel_spacing_mm": [0.8, 0]}, "pixel_spacing_mm", id="spacing_zero"),
        pytest.param({**PARAMETRIC, "pixel_spacing_mm": [-0.8, 0.8]}, "pixel_spacing_mm", id="spacing_negative"),
        pytest.param({**PARAMETRIC, "image_size_px": [0, 30]}, "image_size_px", id="size_zero"),
        pytest.param({**PARAMETRIC, "image_size_px": [40.5, 30]}, "image_size_px", id="size_fraction"),
        pytest.param({**PARAMETRIC, "image_size_px": [40, 30, 1]}, "image_size_px", id="size_three_numbers"),
        pytest.param({**PARAMETRIC, "principal_point_px": [20, None]}, "principal_point_px", id="principal_point_null"),
        pytest.param({**PARAMETRIC, "isocenter_mm": [0, 0]}, "isocenter_mm", id="isocentre_two_numbers"),
        pytest.param({**PARAMETRIC, "view": "XY"}, "view is 'XY'", id="view_unknown"),
        pytest.param({**PARAMETRIC, "view": ["PA"]}, "view is", id="view_list"),
        pytest.param({**PARAMETRIC, "primary_angle_deg": "30"}, "primary_angle_deg", id="primary_angle_text"),
        pytest.param({**PARAMETRIC, "secondary_angle_deg": None}, "secondary_angle_deg", id="secondary_angle_null"),
        pytest.param(calibrated_carm(world_to_pixel=[[1, 2], [3]]), "world_to_pixel", id="matrix_ragged"),
        pytest.param(calibrated_carm(world_to_pixel="P"), "world_to_pixel", id="matrix_text"),
        pytest.param(calibrated_carm(world_to_pixel=np.eye(3).tolist()), "world_to_pixel", id="matrix_3x3"),
        pytest.param(calibrated_carm(world_to_pixel=np.zeros((3, 4)).tolist()), "world_to_pixel", id="matrix_zero"),
        pytest.param(calibrated_carm(world_to_pixel=np.ones((3, 4)).tolist()), "world_to_pixel", id="matrix_singular"),
        pytest.param(
            calibrated_carm(world_to_pixel=np.full((3, 4), np.nan).tolist()), "world_to_pixel", id="matrix_nan"
        ),
        pytest.param(calibrated_carm(isocenter_mm=[1, 2]), "isocenter_mm", id="calibrated_isocentre_two_numbers"),
        pytest.param(calibrated_carm(source_to_detector_mm=-5), "source_to_detector_mm", id="calibrated_SDD_negative"),
    ],
)
def test_a_wrong_description_is_refused_by_file_and_entry(carm, named):
    with pytest.raises(InputError) as error:
        view_from_carm(carm, "arm.json")
    message = str(error.value)
    assert message.startswith("arm.json: ")
    assert message.count("arm.json") == 1
    assert named in message
