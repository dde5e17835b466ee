"""The files within a scene's bundle: images, the CT, surfaces, texts."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from collections.abc import Iterable, Iterator

import numpy as np

from ..bones.surface import Surface
from ..volume import Volume
from .stored_voxels import StoredVoxels

_COPIED_AT_ONCE = 1 << 20  # bytes
NRRD_TYPES = {
    "int8": "int8",
    "uint8": "uint8",
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "uint32": "uint32",
    "float32": "float",
    "float64": "double",
}


def write_image(
    bundle: zipfile.ZipFile,
    name: str,
    planes: Iterable[np.ndarray],
    shape: tuple[int, ...],
    type_name: str,
    ijk_to_world: np.ndarray,
) -> None:
    """Write an image (slices, rows, columns) or (slices, rows, columns, 3) plane by plane, compressed.

    Written by hand, because SimpleITK would call the three bytes of a colour a vector, not RGB.
    """
    header = _nrrd_header(NRRD_TYPES[type_name], shape, ijk_to_world, ["endian: little", "encoding: gzip"])
    stored = np.dtype(type_name).newbyteorder("<")
    with bundle.open(name, "w", force_zip64=True) as file:
        file.write((header + "\n").encode("ascii"))
        with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as compressed:
            for plane in planes:
                compressed.write(np.ascontiguousarray(plane, dtype=stored).tobytes())


def write_text(bundle: zipfile.ZipFile, name: str, text: str) -> None:
    bundle.writestr(zipfile.ZipInfo(name), text.encode("utf-8"))  # without the time, so that like scenes are like files


def write_surface(bundle: zipfile.ZipFile, name: str, surface: Surface) -> None:
    """Write a surface in LPS as a legacy VTK file, big-endian as that is, compressed by the bundle.

    The header's second line tells 3D Slicer the space, as its own files do.
    """
    count, faces = len(surface.points), len(surface.triangles)
    cells = np.concatenate([np.full((faces, 1), 3), surface.triangles], axis=1)
    head = "# vtk DataFile Version 3.0\nSPACE=LPS\nBINARY\nDATASET POLYDATA\n"
    content = (
        f"{head}POINTS {count} float\n".encode("ascii")
        + surface.points.astype(">f4").tobytes()
        + f"\nPOLYGONS {faces} {cells.size}\n".encode("ascii")
        + cells.astype(">i4").tobytes()
        + b"\n"
    )
    bundle.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def _nrrd_header(type_name: str, shape: tuple[int, ...], ijk_to_world: np.ndarray, storage: list[str]) -> str:
    """The lines of a NRRD header; storage: those that say how and where the voxels are kept."""
    colors = len(shape) == 4
    directions = [_nrrd_vector(ijk_to_world[:3, axis]) for axis in range(3)]
    lines = [
        "NRRD0004",
        f"type: {type_name}",
        f"dimension: {len(shape)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(size) for size in reversed(shape))}",
        f"space directions: {' '.join(['none'] * colors + directions)}",
        f"kinds: {' '.join(['RGB-color'] * colors + ['domain'] * 3)}",
        f"space origin: {_nrrd_vector(ijk_to_world[:3, 3])}",
        *storage,
    ]
    return "\n".join(lines) + "\n"


def write_ct(bundle: zipfile.ZipFile, data: str, ct: Volume, stored: StoredVoxels | None, linked: bool) -> str:
    """Write the CT into the bundle's folder `data`, or what says where it is; returns the name of its file there."""
    if stored is None:
        write_image(bundle, f"{data}CT.nrrd", _int16_planes(ct.array), ct.array.shape, "int16", ct.ijk_to_world)
        return "CT.nrrd"
    voxels_file = str(stored.file.resolve()) if linked else f"CT{stored.suffix}"
    write_text(bundle, f"{data}CT.nhdr", _header_of_stored(stored, ct, voxels_file))
    if not linked:
        with stored.file.open("rb") as source, bundle.open(data + voxels_file, "w", force_zip64=True) as target:
            shutil.copyfileobj(source, target, _COPIED_AT_ONCE)
    return "CT.nhdr"


def _header_of_stored(stored: StoredVoxels, ct: Volume, voxels_file: str) -> str:
    """A header of its own (.nhdr) for voxels that lie in another file, whatever is told there of their place."""
    storage = [] if stored.endian is None else [f"endian: {stored.endian}"]
    storage += [f"encoding: {stored.encoding}", f"line skip: {stored.line_skip}", f"byte skip: {stored.byte_skip}"]
    storage.append(f"data file: {voxels_file}")  # last, as the format asks
    return _nrrd_header(stored.type_name, ct.array.shape, ct.ijk_to_world, storage)


def _int16_planes(array: np.ndarray) -> Iterator[np.ndarray]:
    """Slice by slice, so that a large CT is not held twice."""
    limits = np.iinfo(np.int16)
    for plane in array:
        yield plane if plane.dtype == np.int16 else np.clip(np.rint(plane), limits.min, limits.max).astype(np.int16)


def _nrrd_vector(vector: np.ndarray) -> str:
    return f"({','.join(repr(float(value)) for value in vector)})"
