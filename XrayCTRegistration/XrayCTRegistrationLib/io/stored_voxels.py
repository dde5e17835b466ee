"""Where the voxels of a CT lie in its file, so that a scene can hold or name that file instead of writing them anew."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .stored_floats import float_parts

_NIFTI_TYPES = {
    2: "uint8",
    4: "int16",
    8: "int32",
    16: "float",
    64: "double",
    256: "int8",
    512: "uint16",
    768: "uint32",
}
_NIFTI_HEADER_BYTES = 352  # with the four bytes that say whether extensions follow
_FLOATS = {"float": "f4", "double": "f8"}  # as NRRD calls them
_NRRD_HEADER_BYTES = 65536  # more than any header of a scanner's image
_GZIP_MAGIC = b"\x1f\x8b"
_NIFTI_SUFFIXES, _NRRD_SUFFIX = (".nii.gz", ".nii"), ".nrrd"


@dataclass(frozen=True)
class StoredVoxels:
    """The voxels of a CT, column after column, row after row, slice after slice, in a file.

    type_name, endian ("little", "big", or none for bytes), encoding ("raw" or "gzip"): as NRRD calls them.
    line_skip: lines of the file before the voxels. byte_skip: bytes before them after those, uncompressed.
    """

    file: Path
    type_name: str
    endian: str | None
    encoding: str
    line_skip: int = 0
    byte_skip: int = 0

    @property
    def suffix(self) -> str:
        """How files of this kind are called: ".nii.gz", ".nii" or ".nrrd"."""
        return next(end for end in (*_NIFTI_SUFFIXES, _NRRD_SUFFIX) if self.file.name.lower().endswith(end))


def stored_voxels(file: Path, shape: tuple[int, int, int]) -> StoredVoxels | None:
    """The voxels of a CT of a shape (slices, rows, columns), where its file holds them in order, in Hounsfield units.

    That is so of most NIfTI files (one file of version 1 without a rescale slope, .nii or .nii.gz) and of NRRD files
    with their header inside, raw or compressed by gzip. None for everything else.
    """
    name = file.name.lower()
    try:
        if name.endswith(_NIFTI_SUFFIXES):
            found = _in_nifti(file, shape)
        elif name.endswith(_NRRD_SUFFIX):
            found = _in_nrrd(file, shape)
        else:
            return None
        return found if found is not None and _all_finite(found, shape) else None
    except (OSError, EOFError, ValueError, zlib.error):  # unlike what it is called
        return None


def _all_finite(stored: StoredVoxels, shape: tuple[int, int, int]) -> bool:
    """Whether every voxel has a value. The CT was given air where a file has none."""
    if stored.type_name not in _FLOATS:
        return True
    kind = np.dtype(_FLOATS[stored.type_name]).newbyteorder(">" if stored.endian == "big" else "<")
    compressed = stored.encoding == "gzip"
    parts = float_parts(stored.file, kind, math.prod(shape), compressed, stored.line_skip, stored.byte_skip)
    return all(np.isfinite(part).all() for part in parts)


def _in_nifti(file: Path, shape: tuple[int, int, int]) -> StoredVoxels | None:
    with file.open("rb") as stream:
        compressed = stream.read(2) == _GZIP_MAGIC
    with gzip.open(file) if compressed else file.open("rb") as stream:
        header = stream.read(_NIFTI_HEADER_BYTES)
    if len(header) < _NIFTI_HEADER_BYTES or header[344:348] != b"n+1\0":
        return None
    order, endian = ("<", "little") if header[:4] == struct.pack("<i", 348) else (">", "big")
    dimensions, *lengths = struct.unpack_from(f"{order}8h", header, 40)
    (kind,) = struct.unpack_from(f"{order}h", header, 70)
    offset, slope, intercept = struct.unpack_from(f"{order}3f", header, 108)
    as_they_are = slope == 0 or (slope, intercept) == (1, 0)  # a slope of zero says that there is none
    alone = tuple(lengths[:3]) == shape[::-1] and all(length == 1 for length in lengths[3:dimensions])
    if kind not in _NIFTI_TYPES or not as_they_are or not alone:
        return None
    encoding = "gzip" if compressed else "raw"
    return StoredVoxels(file, _NIFTI_TYPES[kind], endian, encoding, byte_skip=int(offset))


def _in_nrrd(file: Path, shape: tuple[int, int, int]) -> StoredVoxels | None:
    with file.open("rb") as stream:
        lines = stream.read(_NRRD_HEADER_BYTES).replace(b"\r\n", b"\n").split(b"\n")
    if not lines[0].startswith(b"NRRD") or b"" not in lines:
        return None
    end = lines.index(b"")
    pairs = (line.decode("latin-1").partition(": ") for line in lines[1:end] if not line.startswith(b"#"))
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    encoding = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}.get(fields.get("encoding", "").lower())
    elsewhere = {"data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"} & fields.keys()
    sizes = [str(length) for length in shape[::-1]]
    if encoding is None or elsewhere or "type" not in fields or fields.get("sizes", "").split() != sizes:
        return None
    return StoredVoxels(file, fields["type"], fields.get("endian"), encoding, line_skip=end + 1)
