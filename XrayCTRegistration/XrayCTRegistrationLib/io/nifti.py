"""What NIfTI files say that ITK alone changes without a word: orientation, missing ends, and voxels without a value."""

from __future__ import annotations

import gzip
import logging
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .stored_floats import float_parts

_SUFFIXES = (".nii", ".nii.gz")
_GZIP_MAGIC = b"\x1f\x8b"
_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"  # the environment variable by which ITK reads an sform that is sheared
_FLOATS = {16: "f4", 64: "f8"}  # NIfTI's codes of the data types that can hold NaN
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])
_TOLD_SHEAR_DEG = 0.5  # smaller ones are rounding: 0.06 degrees are common in public data

log = logging.getLogger(__name__)


def is_nifti(path: Path, image: sitk.Image) -> bool:
    """Whether ITK read an image from a NIfTI file of one part."""
    return image.HasMetaDataKey("vox_offset") and path.name.lower().endswith(_SUFFIXES)


@contextmanager
def any_sform_accepted() -> Iterator[None]:
    """Let ITK read NIfTI files whose sform is no rotation; `placement` then gives what it says."""
    before = os.environ.get(_PERMISSIVE)
    os.environ[_PERMISSIVE] = "ON"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PERMISSIVE]
        else:
            os.environ[_PERMISSIVE] = before


def placement(path: Path, image: sitk.Image) -> np.ndarray | None:
    """The axes (3, 3), mm per voxel, and the first voxel's position, together (3, 4) in LPS, of a sform that is no
    rotation, as it stands; None where ITK's own reading of the file holds. The log tells what people should know.

    ITK would turn such axes into the nearest right-angled ones, which for the sform of a tilted gantry are 7 degrees
    off; or it would take the qform instead, which cannot hold a shear.
    """
    if image.GetMetaData("qform_code") == "0" and image.GetMetaData("sform_code") == "0":
        log.warning(
            "%s: the NIfTI file does not say how the patient lies (sform and qform are unknown). Its columns are taken "
            "as running to the patient's left, its rows to the back, its slices to the head.",
            path.name,
        )
        return None
    rows = [[float(word) for word in image.GetMetaData(f"srow_{axis}").split()] for axis in "xyz"]
    sform = np.array(rows)
    if image.GetMetaData("sform_code") != "0" and np.array_equal(sform, np.eye(3, 4)):
        log.warning(
            "%s: the NIfTI file's affine is the identity, as programs write that were not given the CT's own: voxels "
            "of 1 mm, slices to the head. If that is not so, convert the CT again from DICOM.",
            path.name,
        )
    if not image.HasMetaDataKey("ITK_sform_corrected") or image.GetMetaData("ITK_sform_corrected") != "YES":
        return None
    shear_deg = _shear_deg(sform[:, :3])
    if shear_deg > _TOLD_SHEAR_DEG:
        log.warning(
            "%s: the axes of the NIfTI file are sheared by %.3g degrees (a tilted gantry). They are taken as they are; "
            "a program that straightens them shows the CT elsewhere.",
            path.name,
            shear_deg,
        )
    return _LPS_FROM_RAS @ sform


def check_complete(path: Path, image: sitk.Image) -> None:
    """Raise InputError where a NIfTI file ends early: ITK alone fills the rest with zeros and says nothing."""
    needed = _offset(image) + _voxel_count(image) * int(image.GetMetaData("bitpix")) // 8
    if _uncompressed_bytes(path, needed) < needed:
        raise InputError(
            f"{path.name}: the file is incomplete: it ends before its last voxel. Copy or export it again."
        )


def with_missing_values(path: Path, image: sitk.Image) -> sitk.Image:
    """The image with the NaN and infinite values of its NIfTI file, of which ITK made 0, which is water."""
    kind = _FLOATS.get(int(image.GetMetaData("datatype")))
    if kind is None or image.GetNumberOfComponentsPerPixel() > 1:
        return image
    missing, values, first = [], [], 0
    for part in _stored_parts(path, image, kind):
        where = np.flatnonzero(~np.isfinite(part))
        missing.append(first + where)
        values.append(part[where])
        first += len(part)
    if not any(map(len, missing)):
        return image
    array = sitk.GetArrayFromImage(image)
    array.ravel()[np.concatenate(missing)] = np.concatenate(values)
    restored = sitk.GetImageFromArray(array, isVector=False)
    restored.CopyInformation(image)
    for key in image.GetMetaDataKeys():
        restored.SetMetaData(key, image.GetMetaData(key))
    return restored


def _stored_parts(path: Path, image: sitk.Image, kind: str) -> Iterator[np.ndarray]:
    """The voxels as stored, in parts, before any rescale."""
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    with gzip.open(path) if compressed else path.open("rb") as file:
        order = "<" if file.read(2) != b"\0\0" else ">"  # the header's length, 348 or 540, comes first
    return float_parts(path, np.dtype(order + kind), _voxel_count(image), compressed, byte_skip=_offset(image))


def _offset(image: sitk.Image) -> int:
    return int(float(image.GetMetaData("vox_offset")))


def _voxel_count(image: sitk.Image) -> int:
    return math.prod(int(image.GetMetaData(f"dim[{k + 1}]")) for k in range(int(image.GetMetaData("dim[0]"))))


def _shear_deg(axes: np.ndarray) -> float:
    """How far the axes (3, 3) are from right angles at most, degrees."""
    directions = axes / np.linalg.norm(axes, axis=0)
    return float(np.degrees(np.arcsin(np.abs(np.triu(directions.T @ directions, 1)).max())))


def _uncompressed_bytes(path: Path, expected: int) -> int:
    """How many bytes a file holds, uncompressed by gzip if need be."""
    with path.open("rb") as file:
        if file.read(2) != _GZIP_MAGIC:
            return path.stat().st_size
        file.seek(-4, 2)
        if int.from_bytes(file.read(4), "little") == expected % 2**32:  # the length that ends a gzip file, RFC 1952
            return expected
    count = 0
    try:  # bytes after the image, or gzip in several parts: only unpacking tells
        with gzip.open(path) as file:
            while part := file.read(1 << 20):
                count += len(part)
    except (EOFError, OSError, zlib.error):
        pass
    return count
