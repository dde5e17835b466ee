"""CTs whose values are not what they should be: no value at all, no Hounsfield units, no air."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.hounsfield import check_values, tell_of_no_air
from XrayCTRegistrationLib.io.stored_voxels import stored_voxels
from XrayCTRegistrationLib.io.volumes import read_ct

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")


def patient() -> np.ndarray:
    """(slices, rows, columns) Hounsfield units: fat and muscle with a lung and a bone, air around them."""
    rng = np.random.default_rng(0)
    array = np.full((12, 40, 40), -1000.0)
    array[:, 6:34, 4:36] = -100
    array[:, 8:32, 6:34] = 40
    array[:, 10:20, 8:18] = -850
    array[:, 22:28, 18:26] = 500
    return np.rint(array + rng.normal(0, 15, array.shape))


def written(path: Path, array: np.ndarray) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_voxels_without_a_value_are_air_and_told(tmp_path, ending, dtype, caplog):
    array = patient().astype(dtype)
    array[:, :3] = np.nan
    array[5, 20, 20] = np.nan
    volume = read_ct(written(tmp_path / f"ct{ending}", array))
    np.testing.assert_array_equal(volume.array, np.where(np.isnan(array), -1000, array))
    assert any(f"{12 * 3 * 40 + 1} voxels (7.5 %)" in told and "air" in told for told in caplog.messages)


def test_values_that_are_nan_at_the_other_byte_order_are_found_too(tmp_path):
    from test_nifti import STRAIGHT, write_nifti

    array = patient().astype(np.float32)
    array[3, 4, 5] = np.nan
    for order in "<>":
        volume = read_ct(write_nifti(tmp_path / "ct.nii.gz", array, STRAIGHT, order=order))
        np.testing.assert_array_equal(volume.array, np.where(np.isnan(array), -1000, array))


@pytest.mark.parametrize("ending", ENDINGS)
def test_infinite_values_are_refused_with_their_number(tmp_path, ending):
    array = patient().astype(np.float32)
    array[0, 0, :2] = np.inf
    with pytest.raises(InputError, match=r"^ct\.\S+: 2 voxels \(0\.01 %\).*not finite.*-1000"):
        read_ct(written(tmp_path / f"ct{ending}", array))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd"])
def test_a_scene_does_not_copy_voxels_without_a_value(tmp_path, ending):
    array = patient().astype(np.float32)
    assert stored_voxels(written(tmp_path / f"ct{ending}", array), array.shape) is not None
    array[5, 20, 20] = np.nan
    assert stored_voxels(written(tmp_path / f"ct{ending}", array), array.shape) is None


NO_HOUNSFIELD = {
    "normalised to 0..1": lambda hu: (hu - hu.min()) / np.ptp(hu),
    "shifted and scaled": lambda hu: hu / 3000 + 0.3,
    "normalised to the standard deviation": lambda hu: (hu - hu.mean()) / hu.std(),
    "attenuation per mm": lambda hu: (hu / 1000 + 1) * 0.0206,
    "stored without intercept": lambda hu: np.clip(hu + 1024, 0, 4095),
    "stored without intercept, 1000": lambda hu: np.clip(hu + 1000, 0, 4095),
    "label map": lambda hu: np.where(hu > 200, 1000.0, 0.0),
}


@pytest.mark.parametrize("kind", NO_HOUNSFIELD)
def test_what_is_no_hounsfield_units_is_refused_with_a_remedy(tmp_path, kind):
    path = written(tmp_path / "ct.nrrd", NO_HOUNSFIELD[kind](patient()).astype(np.float32))
    with pytest.raises(InputError, match=r"(?s)^ct\.nrrd: .*(Hounsfield units|label map).*(Load|Subtract|Give)"):
        read_ct(path)


def test_zero_around_a_patient_is_told(caplog):
    hu = patient()
    tell_of_no_air(np.where(hu < -300, 0, hu), "ct.nii")
    (told,) = caplog.messages
    assert told.startswith("ct.nii: the CT holds no air")
    assert "exactly 0" in told
    assert "-1000" in told


@pytest.mark.parametrize("kind", ["cut out", "8-bit grey"])
def test_a_ct_without_air_is_taken_with_a_word(caplog, kind):
    hu = patient()
    cut = hu[:, 21:30, 16:30] if kind == "cut out" else np.rint(255 * (hu - hu.min()) / np.ptp(hu))
    check_values(cut, "ct.nii")
    tell_of_no_air(cut, "ct.nii")
    (told,) = caplog.messages
    assert "no air" in told
    assert "cut out" in told


def test_a_ct_as_it_should_be_needs_no_word(caplog):
    with caplog.at_level(logging.INFO):
        for array in (patient(), patient().astype(np.int16)):
            check_values(array, "ct.nii")
            tell_of_no_air(array, "ct.nii")
    assert not caplog.messages
