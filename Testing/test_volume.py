"""CT volumes: where voxels stand after cropping and coarsening, and Hounsfield units."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from XrayCTRegistrationLib.block_means import block_counts, planes_of_block_means
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import rotation_from_vector
from XrayCTRegistrationLib.volume import (
    WATER_ATTENUATION_PER_MM,
    Volume,
    attenuation,
    check_hounsfield,
    prepared,
    prepared_attenuation,
    pyramid,
)


def ijk_to_world(spacing=(1.0, 1, 1), rotation_vector=(0.0, 0, 0), origin=(0.0, 0, 0)) -> np.ndarray:
    """Voxel grids as scanners make them; a negative spacing flips its axis."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_vector(np.array(rotation_vector)) * np.array(spacing)
    matrix[:3, 3] = origin
    return matrix


GRIDS = {
    "straight": ijk_to_world(),
    "anisotropic": ijk_to_world((0.7, 0.9, 2.5), origin=(-50, 20, 900)),
    "oblique": ijk_to_world((0.7, 0.9, 2.5), (0.4, -1.0, 0.3), (10, -60, 5)),
    "flipped": ijk_to_world((-0.8, 0.8, 1.5), (0.1, 0.2, 2.0), (100, 0, 0)),
}


@pytest.fixture(params=GRIDS)
def matrix(request) -> np.ndarray:
    return GRIDS[request.param]


def indices(volume: Volume) -> np.ndarray:
    """(slices, rows, columns, 3) voxel indices as (i, j, k)."""
    return np.stack(np.meshgrid(*(np.arange(n) for n in volume.array.shape), indexing="ij"), axis=-1)[..., ::-1]


def blob(matrix: np.ndarray, size: tuple[int, int, int]) -> Volume:
    """A Gaussian of 2.5 voxels along every axis, off the middle."""
    volume = Volume(np.zeros(size[::-1], np.float32), matrix)
    center = np.array(size) / 2 + [1.3, -0.7, 0.4]
    return Volume(np.exp(-((indices(volume) - center) ** 2).sum(axis=-1) / (2 * 2.5**2)).astype(np.float32), matrix)


def centroid(volume: Volume) -> np.ndarray:
    weights = volume.array.astype(np.float64)[..., None]
    return (weights * volume.points(indices(volume))).sum(axis=(0, 1, 2)) / weights.sum()


@pytest.mark.parametrize("size", [(36, 36, 32), (37, 35, 33)], ids=["whole_blocks", "incomplete_blocks"])
@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 3, 1), (3, 2, 2)])
def test_downsampling_keeps_a_blob_where_it_is_in_the_world(matrix, size, factors):
    volume = blob(matrix, size)
    coarse = volume.downsampled(factors)
    assert coarse.size == tuple(-(-n // f) for n, f in zip(size, factors))
    # Blocks up to 1.2 widths of the blob alias exp(-2 pi^2 / 1.2^2), its tails end at 6 widths, float32 adds 1e-5.
    np.testing.assert_allclose(centroid(coarse), centroid(volume), atol=1e-3)
    np.testing.assert_allclose(coarse.spacing_mm, volume.spacing_mm * factors, rtol=1e-12)


def test_downsampled_values_are_block_means_with_the_edge_repeated():
    array = np.random.default_rng(0).integers(-1000, 3000, size=(4, 6, 7), dtype=np.int16)
    coarse = Volume(array, np.eye(4)).downsampled((2, 3, 4))
    whole = np.concatenate([array, array[..., -1:]], axis=2).astype(np.float64)
    expected = whole.reshape(1, 4, 2, 3, 4, 2).mean(axis=(1, 3, 5))
    assert coarse.array.dtype == np.float32
    np.testing.assert_allclose(coarse.array, expected, atol=1e-3)  # float32 of values up to 3000


def test_cropping_keeps_the_world(matrix):
    array = np.random.default_rng(1).normal(size=(9, 8, 7))
    volume = Volume(array, matrix)
    part = volume.cropped((2, 1, 3), (5, 6, 8))
    assert part.size == (4, 6, 6)
    for first in ((0, 0, 0), (3, 5, 5)):
        i, j, k = np.add(first, (2, 1, 3))
        assert part.array[first[::-1]] == array[k, j, i]
        np.testing.assert_allclose(part.points(np.array(first)), volume.points(np.array([i, j, k])), atol=1e-10)


def test_center_and_corners_are_those_of_whole_voxels():
    volume = Volume(np.zeros((5, 4, 3)), ijk_to_world((2.0, 3, -4), origin=(10, 20, 30)))
    np.testing.assert_allclose(volume.center, [10 + 2, 20 + 4.5, 30 - 8])
    np.testing.assert_allclose(volume.corners().min(axis=0), [10 - 1, 20 - 1.5, 30 - 18])
    np.testing.assert_allclose(volume.corners().max(axis=0), [10 + 5, 20 + 10.5, 30 + 2])
    assert len(np.unique(volume.corners(), axis=0)) == 8


@pytest.mark.parametrize(
    ("array", "matrix", "reason"),
    [
        (np.zeros((4, 4)), np.eye(4), "not a 3D image"),
        (np.zeros((4, 0, 4)), np.eye(4), "not a 3D image"),
        (np.zeros((2, 2, 2)), np.diag([1.0, 1, 0, 1]), "spacing or orientation"),
        (np.zeros((2, 2, 2)), np.full((4, 4), np.nan), "spacing or orientation"),
        (np.zeros((2, 2, 2)), np.eye(3), "spacing or orientation"),
    ],
)
def test_a_volume_without_usable_shape_or_orientation_is_refused(array, matrix, reason):
    with pytest.raises(InputError, match=reason):
        Volume(array, matrix)


def test_attenuation_of_air_water_and_bone():
    array = np.array([-3024, -1001, -1000, -500, 0, 1000, 3071], dtype=np.int16).reshape(1, 1, 7)
    values = attenuation(Volume(array, np.eye(4))).array
    assert values.dtype == np.float32
    water = WATER_ATTENUATION_PER_MM
    np.testing.assert_allclose(values.ravel(), [0, 0, 0, water / 2, water, 2 * water, 4.071 * water], atol=1e-8)
    assert values.min() >= 0
    assert water == pytest.approx(0.0206)  # per mm at 60 keV


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([-1000, np.nan, 300], "not finite"),
        ([-1000, np.inf, 300], "not finite"),
        ([40, 40, 40], "every voxel of the CT is 40"),
        ([-1024, -900, -600], "not Hounsfield units"),
        ([0, 1, 3], "not Hounsfield units"),
        ([0.0, 0.4, 1.0], "not Hounsfield units"),
    ],
    ids=["nan", "infinite", "constant", "only_air", "label_map", "normalised"],
)
def test_values_that_cannot_be_hounsfield_units_are_refused_by_name(values, reason):
    volume = Volume(np.array(values, dtype=np.float64).reshape(1, 1, 3), np.eye(4))
    with pytest.raises(InputError, match=reason) as error:
        check_hounsfield(volume, "spine.nrrd")
    assert str(error.value).startswith("spine.nrrd: ")
    with pytest.raises(InputError, match=reason):
        prepared(volume)


@pytest.mark.parametrize("values", [[-1000, 0, 300], [-100, 0, 40], [0, 20, 1500]], ids=["ct", "soft", "no_air"])
def test_hounsfield_units_pass(values):
    check_hounsfield(Volume(np.array(values, dtype=np.int16).reshape(1, 1, 3), np.eye(4)))


def body_in_air(matrix: np.ndarray) -> Volume:
    array = np.full((20, 18, 16), -1000, np.int16)
    array[4:15, 3:9, 5:12] = 40
    array[9, 5, 8] = 1200
    return Volume(array, matrix)


def test_prepared_crops_the_air_keeps_the_world_and_says_so(matrix, caplog):
    volume = body_in_air(matrix)
    with caplog.at_level(logging.INFO):
        result = prepared(volume)
    assert result.size == (7, 6, 11)
    k, j, i = np.argwhere(result.array == 1200)[0]
    np.testing.assert_allclose(result.points(np.array([i, j, k])), volume.points(np.array([8, 5, 9])), atol=1e-10)
    assert "16 x 18 x 20 to 7 x 6 x 11" in caplog.text


def test_prepared_coarsens_the_finest_axes_first_until_it_fits(caplog):
    array = np.full((10, 40, 40), 40, np.int16)
    array[0, 0, 0] = 1000
    with caplog.at_level(logging.INFO):
        result = prepared(Volume(array, ijk_to_world((0.5, 0.5, 2.0))), max_voxels=4000)
    assert result.size == (20, 20, 10)
    np.testing.assert_allclose(result.spacing_mm, [1, 1, 2])
    assert "40 x 40 x 10 to 20 x 20 x 10" in caplog.text


def test_prepared_says_nothing_when_it_changes_nothing(caplog):
    array = np.full((4, 4, 4), 40, np.int16)
    array[0, 0, 0] = 1000
    with caplog.at_level(logging.INFO):
        result = prepared(Volume(array, np.eye(4)))
    assert result.size == (4, 4, 4)
    assert not caplog.records


def test_pyramid_levels_have_about_the_spacing_asked_for_and_are_never_finer():
    volume = Volume(np.zeros((16, 32, 32), np.float32), ijk_to_world((0.8, 0.8, 2.5)))
    levels = pyramid(volume, [4.0, 2.0, 0.1])
    np.testing.assert_allclose([level.spacing_mm for level in levels], [[4, 4, 5], [1.6, 1.6, 2.5], [0.8, 0.8, 2.5]])


def consumed(steps) -> tuple[int, Volume]:
    """How many pauses there were, and what came out."""
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return pauses, end.value
        pauses += 1


@pytest.mark.parametrize("max_voxels", [20_000_000, 300], ids=["as_it_is", "coarsened"])
def test_attenuation_in_one_pass_is_that_of_the_prepared_ct(matrix, max_voxels):
    ct = body_in_air(matrix)
    expected = attenuation(prepared(ct, max_voxels))
    pauses, volume = consumed(prepared_attenuation(ct, max_voxels))
    np.testing.assert_array_equal(volume.array, expected.array)
    np.testing.assert_array_equal(volume.ijk_to_world, expected.ijk_to_world)
    assert volume.array.dtype == np.float32
    assert pauses >= len(volume.array)  # one for every plane: a window stays alive beside a CT of any size


def test_one_pass_refuses_what_is_no_ct():
    with pytest.raises(InputError, match="not Hounsfield units"):
        consumed(prepared_attenuation(Volume(np.zeros((3, 3, 3), np.int16) + np.arange(3, dtype=np.int16), np.eye(4))))


def test_means_of_a_part_of_the_voxels_are_those_of_a_volume_of_that_part(matrix):
    ct = Volume(body_in_air(matrix).array.astype(np.float32), matrix)
    for factors in ((1, 1, 1), (2, 3, 4)):
        pauses, volume = consumed(ct.downsampled_steps(factors, np.square))
        expected = Volume(np.square(ct.array), matrix).downsampled(factors)
        np.testing.assert_allclose(volume.array, expected.array, rtol=1e-6)  # order of float32 sums
        np.testing.assert_array_equal(volume.ijk_to_world, expected.ijk_to_world)
        assert pauses == len(volume.array)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 3, 4), (40, 40, 40)])
def test_means_of_blocks_are_exact_to_rounding_for_every_type_of_voxel(dtype, factors):
    array = np.random.default_rng(2).integers(0, 32767, (7, 9, 11)).astype(dtype)
    padded = np.pad(array.astype(np.float64), [(0, -n % f) for n, f in zip(array.shape, factors)], mode="edge")
    blocks = padded.reshape([part for n, f in zip(padded.shape, factors) for part in (n // f, f)])
    planes = list(planes_of_block_means(array, factors))
    assert all(plane.dtype == np.float32 for plane in planes)
    assert np.stack(planes).shape == block_counts(array.shape, factors)
    # 64,000 voxels added up in float32 are off by 64,000 / 2 roundings of 6e-8 at worst.
    np.testing.assert_allclose(np.stack(planes), blocks.mean(axis=(1, 3, 5)), rtol=2e-3 if max(factors) > 9 else 1e-6)
