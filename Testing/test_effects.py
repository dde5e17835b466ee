"""The robust protocol's effects: each does to the body, the CT or the X-ray what its row of the table says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.evaluation import bodies, exposures
from XrayCTRegistrationLib.evaluation.effects import EFFECTS
from XrayCTRegistrationLib.evaluation.protocol import disagreeing_case, nearest_motion, simulated_case
from XrayCTRegistrationLib.evaluation.subject import Subject, vertebra_points
from XrayCTRegistrationLib.geometry import Pose, rotation_from_vector
from XrayCTRegistrationLib.realism import hardened
from XrayCTRegistrationLib.volume import Volume

SHAPE = (256, 256)
PHOTONS = 20_000.0


def ball(radius_mm: float, hu: float, around_hu: float = -1000.0, spacing_mm: float = 2.0) -> Volume:
    """A ball in a box of 140 mm, its middle at the world's point (10, -20, 30)."""
    axis = (np.arange(70) - 34.5) * spacing_mm
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    inside = np.clip(0.5 + (radius_mm - np.sqrt(x**2 + y**2 + z**2)) / spacing_mm, 0, 1)
    matrix = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    matrix[:3, 3] = np.array([10, -20, 30]) + axis[0]
    return Volume((around_hu + inside * (hu - around_hu)).astype(np.float32), matrix)


def trunk() -> Volume:
    """A body of 160 x 120 x 300 mm with a column of bone at its back, slices of 5 mm along a body that lies tilted."""
    k, j, i = np.meshgrid(np.arange(60), np.arange(40), np.arange(44), indexing="ij")
    x, y = 4.0 * (i - 21.5), 4.0 * (j - 19.5)
    array = np.where((x / 80) ** 2 + (y / 60) ** 2 < 1, 30.0, -1000.0)
    array[(x**2 + (y - 30) ** 2 < 14**2) & (k % 7 != 0)] = 500.0
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_vector(np.array([0.1, 0.0, 0.0])) @ np.diag([4.0, 4.0, -5.0])
    matrix[:3, 3] = -70, 20, 500
    return Volume(array.astype(np.float32), matrix)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject("trunk.nii.gz", trunk())


@pytest.fixture(scope="module")
def cases(subject):
    return {name: disagreeing_case(subject, 0, 0, name) for name in EFFECTS}


# --- cases


def test_a_case_has_the_pose_of_the_seeds_protocol_under_every_effect(subject, cases) -> None:
    of_seed = simulated_case(subject, 0, 0)
    for name, case in cases.items():
        np.testing.assert_array_equal(case.start.matrix, of_seed.start.matrix)
        tolerance_mm = 5.0 if name in ("warp", "together") else 1e-9  # the nearest rigid pose of a body that bent
        assert np.abs(case.true.matrix - of_seed.true.matrix).max() < tolerance_mm


def test_a_case_reaches_the_registration_as_a_file_without_tags(cases) -> None:
    for name, case in cases.items():
        assert case.radiograph.polarity is None
        assert not case.radiograph.logarithmic
        assert case.radiograph.pixels.shape == SHAPE
        assert case.radiograph.pixels.dtype == np.float32
        assert name in case.radiograph.where


@pytest.mark.parametrize("name", EFFECTS)
def test_a_case_depends_on_its_ct_number_seed_and_effect_alone(subject, cases, name) -> None:
    disagreeing_case(subject, 3, 1, "together")  # whatever else was drawn
    again = disagreeing_case(subject, 0, 0, name)
    np.testing.assert_array_equal(again.radiograph.pixels, cases[name].radiograph.pixels)
    np.testing.assert_array_equal(again.stand, cases[name].stand)


def test_every_effect_makes_another_case_than_nothing_does(cases) -> None:
    plain = cases["none"]
    for name, case in cases.items():
        if name == "cut":
            assert case.given.array.shape != plain.given.array.shape
        elif name != "none":
            noise = np.abs(case.radiograph.pixels - plain.radiograph.pixels) > 6 * np.sqrt(plain.radiograph.pixels + 1)
            assert noise.mean() > 0.001


def test_the_pose_where_the_bones_stand_has_no_error_but_for_how_the_body_bent(cases) -> None:
    for name, case in cases.items():
        error = case.error_of(case.true).mtre_mm
        if name in ("warp", "together"):
            assert 0.05 < error < 2.0
        else:
            assert error < 1e-6
        assert case.error_of(case.start).mtre_mm > 10


def test_a_case_with_a_negative_seed_or_without_photons_is_told(subject) -> None:
    with pytest.raises(InputError, match="seed"):
        disagreeing_case(subject, 0, -1, "none")
    with pytest.raises(InputError, match="photons"):
        disagreeing_case(subject, 0, 0, "none", photons=0.0)


def test_the_nearest_motion_is_the_motion_where_there_is_one_and_the_least_squares_one_elsewhere() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-50, 50, (30, 3)) + np.array([200, 0, -100])
    motion = Pose.about(np.array([10, 20, 30]), rotation_from_vector(np.array([0.2, -0.1, 0.3])), np.array([5, -6, 7]))
    np.testing.assert_allclose(nearest_motion(points, motion.apply(points)).matrix, motion.matrix, atol=1e-9)
    bent = motion.apply(points) + rng.normal(0, 2, points.shape)
    best = nearest_motion(points, bent)

    def squares(pose: Pose) -> float:
        return float(((pose.apply(points) - bent) ** 2).sum())

    for twist in np.vstack([0.01 * np.eye(6), -0.01 * np.eye(6)]):
        assert squares(best.moved(twist, bent.mean(axis=0))) > squares(best)


# --- bodies


def test_a_cut_ct_keeps_its_voxels_where_they_were_in_the_world_and_its_centre() -> None:
    ct = trunk()
    for length_mm, slices in ((160.0, 32), (155.0, 30), (1000.0, 54)):  # as many from both ends, nine tenths at most
        cut = bodies.cut_along_body(ct, length_mm)
        assert cut.size == (ct.size[0], ct.size[1], slices)
        np.testing.assert_allclose(cut.center, ct.center, atol=1e-9)
        first = (ct.size[2] - slices) // 2
        np.testing.assert_array_equal(cut.array, ct.array[first : first + slices])
        np.testing.assert_allclose(cut.points(np.zeros(3)), ct.points(np.array([0, 0, first])), atol=1e-9)


def test_the_body_axis_is_found_whatever_the_order_of_the_voxels() -> None:
    ct = trunk()
    assert bodies.body_axis(ct) == 2
    swapped = Volume(ct.array.transpose(2, 1, 0), ct.ijk_to_world[:, [2, 1, 0, 3]])
    assert bodies.body_axis(swapped) == 0
    assert bodies.cut_along_body(swapped, 160.0).size == (32, 40, 44)


def test_moved_soft_tissue_leaves_bone_in_place_and_shifts_the_skin_by_what_was_asked() -> None:
    ct = trunk()
    shift_mm = ct.ijk_to_world[:3, 0] * 1.5  # one and a half voxels of 4 mm along the rows
    moved = bodies.with_soft_tissue_moved(ct, bodies.tissues(ct), shift_mm)
    bone = ct.array == 500.0
    np.testing.assert_array_equal(moved.array[bone], ct.array[bone])
    line, before = moved.array[30, 15], ct.array[30, 15]  # through the belly, 17 mm before the bone
    np.testing.assert_allclose(line[2:-2], (before[1:-3] + before[:-4]) / 2, atol=1e-3)
    # Where soft tissue moves off the bone there is soft tissue, not a hole, nor a second bone.
    about = ndimage.binary_dilation(bone, iterations=3) & ~ndimage.binary_dilation(bone, iterations=1)
    assert np.abs(moved.array[about & (ct.array == 30.0)] - 30.0).max() < 35.0


def test_soft_tissue_is_continued_through_bone_and_marrow_stays_with_its_bone() -> None:
    shell = ball(20.0, 700.0, 40.0)
    marrow = ball(17.0, 1.0, 0.0).array > 0.5
    array = np.where(marrow, 60.0, shell.array)  # 3 mm of cortical bone; the gap inside is wider than it grows together
    thin = ball(8.0, 700.0, 40.0)
    inside = ball(4.0, 1.0, 0.0).array > 0.5
    apart = bodies.tissues(Volume(np.where(inside, 60.0, thin.array), thin.ijk_to_world))
    assert (apart.stays[inside] == 1).all()
    assert np.abs(apart.soft.array - 40.0).max() < 1.0
    whole = bodies.tissues(Volume(array, shell.ijk_to_world))
    assert (whole.stays[shell.array - np.where(marrow, 700.0, 0) > 600] == 1).all()
    assert np.abs(whole.soft.array).max() < 100.0


def test_a_ct_without_bone_moves_as_a_whole() -> None:
    ct = ball(30.0, 40.0)
    moved = bodies.with_soft_tissue_moved(ct, bodies.tissues(ct), np.array([2.0, 0, 0]))
    np.testing.assert_allclose(moved.array[:, :, 1:], ct.array[:, :, :-1], atol=1e-3)


def test_random_shifts_have_the_lengths_and_all_directions() -> None:
    rng = np.random.default_rng(0)
    shifts = np.array([bodies.random_shift(rng, 3.0, 5.0) for _ in range(500)])
    lengths = np.linalg.norm(shifts, axis=1)
    assert lengths.min() >= 3
    assert lengths.max() <= 5
    # Each component of 500 unit vectors has a mean of 0 with a standard error of 0.026; five of them.
    assert np.abs((shifts / lengths[:, None]).mean(axis=0)).max() < 0.13


def test_a_smooth_field_reaches_its_largest_displacement_and_changes_slowly() -> None:
    ct = ball(30.0, 40.0)
    field = bodies.smooth_field(ct, 4.0, np.random.default_rng(1))
    points = ct.points(np.random.default_rng(2).uniform(0, 69, (4000, 3)))
    lengths = np.linalg.norm(field.at(points), axis=1)
    assert 3.5 < lengths.max() < 4.05  # the largest was looked for on a grid
    # Waves of 150 mm and longer turn a displacement by at most 2 pi / 150 of their amplitudes per millimetre.
    slope = np.linalg.norm(field.at(points + np.array([1.0, 0, 0])) - field.at(points), axis=1)
    assert slope.max() < 2 * np.pi / 150 * np.linalg.norm(field.amplitudes, axis=1).sum()


def test_a_ball_in_a_warped_body_stands_where_its_points_are_said_to() -> None:
    ct = ball(20.0, 800.0)
    field = bodies.smooth_field(ct, 4.0, np.random.default_rng(3))
    body = bodies.warped(ct, field)
    points = bodies.warped_points(np.array([[10.0, -20.0, 30.0]]), field)  # the ball's middle
    np.testing.assert_allclose(points + field.at(points), [[10.0, -20.0, 30.0]], atol=1e-9)
    assert np.linalg.norm(points - [10, -20, 30]) > 1.0  # so that the check below can tell
    weights = body.array + 1000.0
    voxels = np.array([np.average(axis, weights=weights) for axis in np.indices(weights.shape)])[::-1]
    # The field is linear over a ball to second order: bending by |f''| r^2 / 10 moves its centroid by some 0.1 mm.
    np.testing.assert_allclose(body.points(voxels), points[0], atol=0.25)


def test_a_warp_by_one_wave_shifts_each_slice_by_that_wave() -> None:
    ct = ball(40.0, 100.0)
    field = bodies.SmoothField(np.array([[0.0, 0.0, 2 * np.pi / 140]]), np.array([0.3]), np.array([[4.0, 0.0, 0.0]]))
    body = bodies.warped(ct, field)
    for k in (25, 35, 45):
        shift = float(field.at(ct.points(np.array([0.0, 0.0, k])))[0]) / 2.0  # in voxels
        expected = ndimage.shift(ct.array[k], (0, -shift), order=1, mode="nearest")
        np.testing.assert_allclose(body.array[k], expected, atol=0.05)  # HU; interpolation in 32 bits


def test_vertebra_points_are_those_of_the_column_and_not_of_a_denser_heart_before_it() -> None:
    rng = np.random.default_rng(0)
    height = rng.uniform(-100, 100, 3000)
    bend = np.stack([0.1 * height, 60 - 0.001 * height**2], axis=1)  # a curved, leaning spine
    spine = np.column_stack([bend + rng.normal(0, 8, (3000, 2)), height])
    heart = np.column_stack([rng.normal(0, 15, (9000, 2)) + np.array([20, -20]), rng.uniform(-60, 60, 9000)])
    ribs = np.column_stack([rng.choice([-90, 90], 3000), rng.uniform(-60, 60, 3000), rng.uniform(-100, 100, 3000)])
    body = np.column_stack([rng.uniform(-150, 150, 5000), rng.uniform(-110, 110, 5000), rng.uniform(-150, 150, 5000)])
    found = vertebra_points(np.concatenate([spine, heart, ribs]), body)
    of_spine = (found[:, None] == spine[None]).all(axis=2).any(axis=1)
    assert of_spine.sum() > 0.95 * len(spine)
    assert of_spine.mean() > 0.95


# --- exposures


@pytest.mark.parametrize("share", [0.1, 0.3, 0.4])
def test_blades_and_round_fields_leave_the_share_outside(share) -> None:
    for seed in range(10):
        field = exposures.four_blades(SHAPE, np.random.default_rng(seed), share)
        assert 1 - field.mean() == pytest.approx(share, abs=2 / 256)  # four edges rounded to pixels
        rows, columns = field.any(axis=1), field.any(axis=0)
        np.testing.assert_array_equal(field, np.outer(rows, columns))  # one rectangle
        assert not field[[0, -1]].any()
        assert not field[:, [0, -1]].any()
    disc = exposures.round_field(SHAPE, 0.25)
    assert 1 - disc.mean() == pytest.approx(0.25, abs=0.002)
    rows, columns = np.indices(SHAPE) - 127.5
    radius = np.hypot(rows, columns)
    assert radius[disc].max() < radius[~disc].min()


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("share", [0.03, 0.08])
def test_rods_hide_the_share_and_are_as_many_pieces_at_most(count, share) -> None:
    for seed in range(10):
        hidden = exposures.rods(SHAPE, np.random.default_rng(seed), count, share)
        assert hidden.mean() == pytest.approx(share, abs=0.001)
        assert 1 <= ndimage.label(hidden)[1] <= count
    assert ndimage.binary_opening(hidden, iterations=20).sum() == 0  # rods are narrow


def test_a_rectangle_hides_the_share_lies_within_the_image_and_is_one() -> None:
    for seed in range(20):
        hidden = exposures.rectangle(SHAPE, np.random.default_rng(seed), 0.15)
        assert hidden.mean() == pytest.approx(0.15, abs=0.005)
        outside = np.concatenate([hidden[0], hidden[-1], hidden[:, 0], hidden[:, -1]])
        assert outside.mean() < 0.05  # a corner may touch the border
        # The second moments of a rectangle are its squared sides over 12.
        rows, columns = np.nonzero(hidden)
        sides = np.sqrt(12 * np.linalg.eigvalsh(np.cov(rows, columns)))
        assert sides.prod() == pytest.approx(hidden.sum(), rel=0.02)
        assert 0.97 < sides[1] / sides[0] < 2.05


def test_rods_and_rectangle_let_nothing_through_and_leave_the_rest_as_it_was(cases) -> None:
    plain = cases["none"].radiograph.pixels
    for name, least, most in (("rods", 0.03, 0.08), ("rectangle", 0.14, 0.16)):
        pixels = cases[name].radiograph.pixels
        hidden = pixels <= 2  # 0.006 photons are expected there, and at least dozens behind the trunk
        assert plain.min() > 20
        assert least <= hidden.mean() <= most
        change = (pixels - plain)[~hidden] / np.sqrt((pixels + plain)[~hidden])
        assert change.std() == pytest.approx(1.0, abs=0.02)  # Poisson noise of both, and nothing else
        assert np.abs(change).max() < 6


def test_leakage_behind_a_collimator_is_noise_of_few_photons() -> None:
    counts, field = np.full(SHAPE, 5000.0), exposures.round_field(SHAPE, 0.3)
    found = exposures.behind_collimator(counts, field, PHOTONS, np.random.default_rng(0))
    assert (found[field] == 5000).all()
    shadow = found[~field]
    assert 20 <= shadow.mean() <= 80  # 0.1 to 0.4 % of 20,000
    assert shadow.var() == pytest.approx(shadow.mean(), rel=0.1)  # Poisson; 20,000 pixels: good to 1 %


def test_a_collimators_shadow_is_flat_and_covers_its_share(cases) -> None:
    pixels, plain = cases["collimator"].radiograph.pixels, cases["none"].radiograph.pixels
    shadow = pixels == pixels[0, 0]
    assert pixels[0, 0] == pytest.approx(0.004 * PHOTONS)
    assert shadow.mean() == pytest.approx(0.3, abs=0.01)  # edges rounded to pixels, and some equal counts in the field
    assert np.corrcoef(pixels[~shadow], plain[~shadow])[0, 1] > 0.99


def test_black_surrounds_are_black_and_a_noisy_shadow_is_neither_flat_nor_extreme(cases) -> None:
    corner = np.s_[:8, :8]
    for name in ("round-field", "four-blades", "black-surround"):
        assert (cases[name].radiograph.pixels[corner] == 0).all()
        assert 0.19 < (cases[name].radiograph.pixels == 0).mean() < 0.5
    bright, dark = (cases[f"noisy-shadow-{polarity}"].radiograph.pixels for polarity in ("bright", "dark"))
    for pixels in (bright, dark):
        assert pixels.min() == 0
        assert pixels.max() == 255
        assert pixels[2:10, :].std() > 1
    assert bright[:4].mean() > 150 > 105 > dark[:4].mean()


def test_eight_bits_hold_whole_greys_with_both_ends_clipped_and_bone_bright(cases) -> None:
    pixels, plain = cases["8-bit"].radiograph.pixels, cases["none"].radiograph.pixels
    assert (pixels == np.rint(pixels)).all()
    for end in (0, 255):
        assert 0.004 < (pixels == end).mean() < 0.06  # 0.5 to 5 %, and values that the rounding adds
    assert np.corrcoef(pixels.ravel(), np.log(plain.ravel()))[0, 1] < -0.9


def test_an_unknown_window_is_of_the_field_alone() -> None:
    rng = np.random.default_rng(0)
    values, field = rng.uniform(0, 1, SHAPE), exposures.round_field(SHAPE, 0.3)
    shown = exposures.unknown_window(np.where(field, values, 50.0), field, np.random.default_rng(1))
    np.testing.assert_array_equal(
        shown[field], exposures.unknown_window(values, field, np.random.default_rng(1))[field]
    )
    assert (shown[~field] == 255).all()


def test_an_inverted_picture_is_black_for_white(cases) -> None:
    counts = np.array([[3.0, 10.0]], np.float32)
    np.testing.assert_array_equal(exposures.inverted(counts), [[7.0, 0.0]])
    pixels, plain = cases["inverted"].radiograph.pixels, cases["none"].radiograph.pixels
    assert np.corrcoef(pixels.ravel(), plain.ravel())[0, 1] < -0.99


def test_scatter_adds_the_share_that_was_asked_for_and_flattens() -> None:
    integrals = np.full(SHAPE, 1.0)
    integrals[:, 128:] = 4.0
    found = exposures.with_scatter(integrals, PHOTONS, np.random.default_rng(0), (1.0, 1.0))
    assert found.sum() / (PHOTONS * np.exp(-integrals)).sum() == pytest.approx(2.0, rel=0.02)
    # At the edge both sides get as much scatter, half of the mean of both, so that the contrast falls from 20 to
    # (1 + 0.525) / (0.05 + 0.525) = 2.7; within 10 columns it has not changed by a third.
    assert found[:, 118:128].mean() / found[:, 128:138].mean() == pytest.approx(2.7, rel=0.35)


def test_hardening_is_that_of_the_two_energies_and_counts_are_poisson(subject, cases) -> None:
    plain, found = cases["none"].radiograph.pixels, cases["hardening"].radiograph.pixels
    integrals = ndimage.gaussian_filter(np.log(PHOTONS / plain), 3)  # noise is averaged away
    seen = ndimage.gaussian_filter(np.log(PHOTONS / found), 3)
    misfits = [np.abs(hardened(integrals, s) - seen)[10:-10, 10:-10].mean() for s in np.linspace(0, 0.9, 91)]
    strength = np.linspace(0, 0.9, 91)[np.argmin(misfits)]
    assert 0.28 <= strength <= 0.62
    assert min(misfits) < 0.01


def test_no_detector_pixel_is_negative_or_not_finite_under_any_effect(cases) -> None:
    for name, case in cases.items():
        assert np.isfinite(case.radiograph.pixels).all()
        if not name.startswith("hard"):  # whose pixels have no unit
            assert case.radiograph.pixels.min() >= 0
