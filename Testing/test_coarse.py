"""A CT made coarse in short steps: the same voxels as in one go, at the same place, and checked on the way."""

from __future__ import annotations

import numpy as np
import pytest
from XrayCTRegistrationLib.coarse import coarse_steps
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.volume import Volume, cropped_to_body

SPACING_MM = np.array([0.5, 0.9, 1.0])  # of columns, rows, slices: blocks of 4 x 2 x 2 voxels make about 1.8 mm


def body(shape=(20, 24, 32), dtype=np.int16):
    """A block of noisy tissue and bone (slices, rows, columns) in air, standing obliquely."""
    array = np.full(np.array(shape) + 6, -1000, dtype)
    array[3:-3, 3:-3, 3:-3] = np.random.default_rng(0).integers(-200, 900, shape)
    matrix = np.diag([*SPACING_MM, 1.0])
    matrix[:3, 3] = -30, 12, 7
    matrix[0, 1], matrix[1, 0] = 0.1, -0.1
    return Volume(array, matrix)


def test_whole_blocks_are_the_means_that_downsampling_gives():
    ct = body()
    whole = cropped_to_body(ct)
    expected = whole.downsampled(whole.factors_to(1.8))
    found = finished(coarse_steps(ct, voxel_mm=1.8))
    assert found.size == expected.size == (8, 12, 10)
    np.testing.assert_allclose(found.array, expected.array, atol=1e-3)  # float32 of some hundred HU
    np.testing.assert_allclose(found.ijk_to_world, expected.ijk_to_world, atol=1e-12)


def test_blocks_that_are_cut_off_are_means_of_what_is_there():
    ct = body(shape=(21, 25, 33))
    found = finished(coarse_steps(ct, voxel_mm=1.8))
    last = ct.array[3:-3, 3:-3, 3:-3][20:, 24:, 32:]
    assert found.array[-1, -1, -1] == pytest.approx(last.mean())


def test_it_pauses_often_and_its_progress_never_goes_back():
    ct = body(shape=(60, 20, 20))
    progress = list(coarse_steps(ct, voxel_mm=1.8))
    assert len(progress) > 60 / 4 + 60 / 2 - 1
    assert progress == sorted(progress)
    assert progress[0] >= 0
    assert progress[-1] < 1


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "not finite"), (np.inf, "not finite"), (-900.0, "not Hounsfield units")]
)
def test_voxels_that_are_no_ct_are_told_with_the_name(value, said):
    array = np.full((8, 9, 10), -950.0, np.float32)
    array[4, 4, 4] = value
    with pytest.raises(InputError, match=f"Chest: .*{said}"):
        finished(coarse_steps(Volume(array, np.eye(4)), "Chest"))


def test_a_ct_of_one_value_is_told():
    with pytest.raises(InputError, match="every voxel"):
        finished(coarse_steps(Volume(np.zeros((8, 9, 10), np.int16), np.eye(4))))
