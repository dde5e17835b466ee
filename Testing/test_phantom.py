"""The synthetic spine: reproducible, where it says it is, made of materials with real Hounsfield units."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.phantom import spine_centers_mm, synthetic_spine
from XrayCTRegistrationLib.phantom.shapes import Canvas, block, capsule, column, ellipsoid
from XrayCTRegistrationLib.volume import Volume, check_hounsfield

SIZE_MM = (318.0, 240.0, 288.0)  # whole numbers of 2 mm and of 3 mm voxels, so that both cut the body alike
NOISE_HU = 12.0


@pytest.fixture(scope="module")
def coarse() -> Volume:
    return synthetic_spine(0, 3.0, SIZE_MM)


@pytest.fixture(scope="module")
def fine() -> Volume:
    return synthetic_spine(0, 2.0, SIZE_MM)


def hu_at(volume: Volume, points: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(volume.ijk_to_world)
    indices = np.asarray(points) @ inverse[:3, :3].T + inverse[:3, 3]
    return map_coordinates(volume.array.astype(np.float32), indices[..., ::-1].T, order=1).T


def test_same_seed_gives_the_same_volume(coarse):
    again = synthetic_spine(0, 3.0, SIZE_MM)
    np.testing.assert_array_equal(again.array, coarse.array)
    np.testing.assert_array_equal(again.ijk_to_world, coarse.ijk_to_world)


def test_another_seed_gives_another_anatomy_not_only_other_noise(coarse):
    other = synthetic_spine(1, 3.0, SIZE_MM)
    # Noise alone would reach 100 HU (six standard deviations of a difference) nowhere.
    changed = np.abs(other.array.astype(int) - coarse.array) > 100
    assert changed.mean() > 0.05
    shifts = [np.linalg.norm(a - b) for a, b in zip(spine_centers_mm(0).values(), spine_centers_mm(1).values())]
    assert max(shifts) > 2


def test_volume_is_a_centred_lps_ct_of_the_asked_size(coarse):
    assert coarse.size == (106, 80, 96)
    assert coarse.array.dtype == np.int16
    np.testing.assert_allclose(coarse.ijk_to_world[:3, :3], 3 * np.eye(3))
    np.testing.assert_allclose(coarse.center, 0, atol=1e-4)  # axes are float32
    check_hounsfield(coarse)


def test_air_soft_tissue_and_bone_have_their_hounsfield_units(fine):
    array = fine.array
    corner = array[:, :6, :6]
    assert abs(np.median(corner) + 1000) < 2
    assert array.min() >= -1024
    inside = array[(array > -300) & (array < 150)]
    muscle = inside[inside > 0]
    assert 20 < np.median(muscle) < 80
    assert (inside < -60).mean() > 0.1  # fat
    assert array.max() > 500  # cortical bone
    # Cancellous bone: within 5 mm of the middle of every body, walls are 12 mm away.
    offsets = np.array(np.meshgrid(*[(-4, -2, 0, 2, 4)] * 3)).reshape(3, -1).T
    for name, center in spine_centers_mm(0).items():
        if name != "T11":  # stands at the upper border
            assert 100 < hu_at(fine, center + offsets).mean() < 400, name


def test_discs_and_the_canal_are_softer_than_the_bodies_beside_them(fine):
    centers = list(spine_centers_mm(0).values())[1:]
    lateral = np.array([(x, 0, 0) for x in (-6, -3, 0, 3, 6)])
    for upper, lower in pairwise(centers):
        profile = np.array([hu_at(fine, upper + t * (lower - upper) + lateral).mean() for t in np.linspace(0, 1, 61)])
        bodies = (profile[:10].mean() + profile[-10:].mean()) / 2
        gap = profile[25:36].min()
        assert gap < 110  # a disc has 75 HU; partial volume of 5 mm discs in 2 mm voxels stays below half of bone's
        assert bodies > gap + 60
        assert profile[12:49].max() > bodies + 100  # the endplates between
    for center in centers[1:]:  # lumbar: the canal is 8 mm behind a body that is 31 to 34 mm deep
        assert hu_at(fine, center + np.array([(0, 24.0, 0)])).max() < 110


def test_left_is_not_the_mirror_of_right(coarse):
    frontal = coarse.array.astype(np.float32).mean(axis=1)
    mirrored = frontal[:, ::-1]
    noise = NOISE_HU * np.sqrt(2 / coarse.array.shape[1])  # of a difference of two means over y
    difference = np.sqrt(np.mean((frontal - mirrored) ** 2))
    assert difference > 5 * noise


def test_anatomy_stays_in_place_when_the_spacing_changes(coarse, fine):
    def bone_centroid(volume: Volume) -> np.ndarray:
        weights = np.clip(volume.array.astype(np.float64) - 150, 0, None)
        k, j, i = np.nonzero(weights)
        points = volume.points(np.column_stack([i, j, k]))
        spine = np.abs(points[:, 0]) < 60  # the iliac wings are thinner than 3 mm: their bone sinks below any threshold
        return np.average(points[spine], axis=0, weights=weights[k, j, i][spine])

    def mass_centroid(volume: Volume) -> np.ndarray:
        weights = volume.array.ravel() + 1024.0
        points = volume.points(np.indices(volume.array.shape)[::-1].reshape(3, -1).T)
        return np.average(points, axis=0, weights=weights)

    # 0.5 mm: the threshold takes a little more of thin bone from coarse voxels. Without threshold: noise alone.
    np.testing.assert_allclose(bone_centroid(coarse), bone_centroid(fine), atol=0.5)
    np.testing.assert_allclose(mass_centroid(coarse), mass_centroid(fine), atol=0.1)


def test_a_smaller_size_cuts_the_same_anatomy(coarse):
    small = synthetic_spine(0, 3.0, (120.0, 90.0, 60.0))
    first = [(a - b) // 2 for a, b in zip(coarse.size, small.size)]
    cut = coarse.cropped(first, [f + n - 1 for f, n in zip(first, small.size)])
    np.testing.assert_allclose(cut.ijk_to_world, small.ijk_to_world, atol=1e-4)
    # Only the noise is drawn anew: a difference of two has sqrt(2) times its standard deviation.
    assert np.std(cut.array.astype(float) - small.array) < 1.1 * np.sqrt(2) * NOISE_HU


@pytest.mark.parametrize(
    ("seed", "spacing_mm", "size_mm"),
    [(0, 0.0, SIZE_MM), (0, np.nan, SIZE_MM), (0, 2.0, (1, 50, 50)), (-1, 2.0, SIZE_MM)],
)
def test_unusable_arguments_are_refused_in_words(seed, spacing_mm, size_mm):
    with pytest.raises(InputError, match="phantom"):
        synthetic_spine(seed, spacing_mm, size_mm)


@pytest.mark.parametrize(
    ("shape", "volume_mm3"),
    [
        (lambda p: ellipsoid(p, (1, -2, 0.5), (10, 14, 8)), 4 / 3 * np.pi * 10 * 14 * 8),
        (lambda p: capsule(p, (-5, 0, -5), (5, 3, 5), (7, 7)), np.pi * 49 * np.sqrt(209) + 4 / 3 * np.pi * 343),
        (lambda p: block(p, (0, 1, 0), (9, 7, 12), 0.01), 18 * 14 * 24),
        (lambda p: np.maximum(column(p, [(0, 0, 0, 9, 6)]), np.abs(p[2]) - 10), np.pi * 54 * 20),
    ],
)
def test_painted_shapes_have_their_volume_whatever_the_voxel_size(shape, volume_mm3):
    for spacing_mm in (1.0, 1.7):
        canvas = Canvas((50, 50, 50), spacing_mm, 0.0)
        where, p = canvas.box((-np.inf,) * 3, (np.inf,) * 3)
        canvas.paint(where, shape(p), 1.0)
        # Edges are antialiased: what is left is the curvature and the corners within a voxel, below 2 %.
        assert canvas.hu.sum() * spacing_mm**3 == pytest.approx(volume_mm3, rel=0.02)


def test_a_tube_has_a_shell_of_the_given_thickness():
    canvas = Canvas((40, 40, 60), 1.0, 0.0)
    line = np.column_stack([np.zeros(200), np.zeros(200), np.linspace(-20, 20, 200)])
    canvas.paint_tube(line, np.full(200, 8.0), 2.0, (1000.0, 200.0))
    middle = canvas.hu[30]
    # Sections of the shell between radii 6 and 8 and of the core; 2 %: a circle of 8 mm in 1 mm voxels.
    assert middle.sum() == pytest.approx(np.pi * (28 * 1000 + 36 * 200), rel=0.02)
