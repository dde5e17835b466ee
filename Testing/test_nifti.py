"""NIfTI files as programs leave them: an sform that is no rotation, no orientation at all, and the identity."""

from __future__ import annotations

import gzip
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.io.volumes import read_ct

VALUES = np.arange(-1000, -1000 + 60 * 25, 25, dtype=np.int16).reshape(3, 4, 5)
SPACING_MM = (2.0, 1.5, 3.0)
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
STRAIGHT = np.diag([*SPACING_MM, 1.0]) + np.outer(np.r_[5.0, 6, 7, 0], [0, 0, 0, 1])
_TYPES = {"int16": (4, 16), "float32": (16, 32), "float64": (64, 64)}


def write_nifti(path: Path, array: np.ndarray, sform: np.ndarray | None, qform_code: int = 0, order: str = "<") -> Path:
    """A NIfTI-1 file by the fields of its header; with a qform code, the qform is straight."""
    header = bytearray(352)
    kind, bits = _TYPES[array.dtype.name]
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, 3, *array.shape[::-1], 1, 1, 1, 1)
    struct.pack_into(f"{order}2h", header, 70, kind, bits)
    struct.pack_into(f"{order}8f", header, 76, 1, *SPACING_MM, 1, 1, 1, 1)
    struct.pack_into(f"{order}3f", header, 108, 352, 1, 0)
    struct.pack_into(f"{order}2h", header, 252, qform_code, 0 if sform is None else 1)
    if sform is not None:
        struct.pack_into(f"{order}12f", header, 280, *sform[:3].ravel())
    header[344:348] = b"n+1\0"
    content = bytes(header) + array.astype(array.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def sheared(degrees: float) -> np.ndarray:
    """The affine of a gantry that was tilted: slices are moved along the rows' normal from one to the next."""
    affine = STRAIGHT.copy()
    affine[1, 2] = SPACING_MM[2] * np.tan(np.radians(degrees))
    return affine


@pytest.mark.parametrize("qform_code", [0, 1])
@pytest.mark.parametrize("degrees", [0.06, -15.0])
def test_an_sform_that_is_no_rotation_is_taken_as_it_stands(tmp_path, degrees, qform_code, capfd):
    affine = sheared(degrees)
    volume = read_ct(write_nifti(tmp_path / "ct.nii", VALUES, affine, qform_code))
    # ITK hands the sform over in six digits
    np.testing.assert_allclose(volume.ijk_to_world, LPS_FROM_RAS @ affine, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(volume.array, VALUES)
    assert "WARNING" not in capfd.readouterr().err  # of ITK


def test_only_a_shear_that_one_would_see_is_told(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        read_ct(write_nifti(tmp_path / "rounded.nii", VALUES, sheared(0.06)))
        assert not caplog.messages
        read_ct(write_nifti(tmp_path / "tilted.nii", VALUES, sheared(15)))
    (told,) = caplog.messages
    assert told.startswith("tilted.nii: ")
    assert "15 degrees" in told


def test_an_sform_that_squeezes_the_ct_flat_is_refused(tmp_path):
    affine = STRAIGHT.copy()
    affine[:3, 2] = affine[:3, 1]
    with pytest.raises(InputError, match=r"^ct\.nii: the orientation .*sform.*Convert the image again"):
        read_ct(write_nifti(tmp_path / "ct.nii", VALUES, affine))


@pytest.mark.parametrize(
    ("sform", "told"), [(None, "does not say how the patient lies"), (np.eye(4), "the identity")], ids=["none", "eye"]
)
def test_an_orientation_that_nobody_wrote_is_told(tmp_path, caplog, sform, told):
    read_ct(write_nifti(tmp_path / "ct.nii", VALUES, sform))
    assert any(message.startswith("ct.nii: ") and told in message for message in caplog.messages)


def test_an_orientation_as_it_should_be_needs_no_word(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        volume = read_ct(write_nifti(tmp_path / "ct.nii.gz", VALUES, STRAIGHT))
    np.testing.assert_allclose(volume.ijk_to_world, LPS_FROM_RAS @ STRAIGHT, atol=1e-6)
    assert not caplog.messages
