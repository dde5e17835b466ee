"""CT volumes from and to files, in LPS millimetres and Hounsfield units."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..hounsfield import fill_missing, tell_of_no_air
from ..volume import Volume, check_hounsfield
from . import nifti
from .dicom_files import frame_count, fullest_dicom_folder, is_dicom, read_tags, with_preambles
from .png import has_grey_with_opacity, read_grey

if TYPE_CHECKING:
    import pydicom  # at run time only where there is a DICOM file

_REMEDY = "Give a 3D CT as NIfTI, NRRD or MetaImage, or the folder with the DICOM slices of one series."
_SLICE_TAGS = [
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
]
_UNEVEN = 0.25  # of a slice distance: one missing slice moves some slice by half of it or more
_SUFFIXES = (".nii", ".nii.gz", ".nrrd")

log = logging.getLogger(__name__)


def read_ct(path: str | Path) -> Volume:
    """The CT of a file or of a folder of DICOM slices, in LPS and Hounsfield units.

    Takes every 3D scalar image that SimpleITK reads, a multi-frame DICOM CT, and a folder of DICOM slices; of several
    series in the folder the one with most slices, which the log names. DICOM geometry comes from the positions of the
    slices, so a tilted gantry gives a sheared `ijk_to_world`, as does a NIfTI file whose sform is sheared. The array is
    int16 where the values allow, else float32; smaller integers stay as they are. Voxels without a value (NaN) are air.
    The log tells what is odd about the file.

    Raises InputError, beginning with the name of the file or folder.
    """
    path = Path(path)
    if path.is_dir():
        volume = _read_dicom_folder(path)
    elif path.is_file() and is_dicom(path):
        volume = _read_multi_frame(path, path.name)
    else:
        image = read_image(path, _REMEDY)
        _check_scalar_3d(image, path.name)
        volume = Volume(_compact(image, path.name), placement_of(path, image))
    check_hounsfield(volume, where=path.name)
    tell_of_no_air(volume.array, path.name)
    return volume


def write_ct(path: str | Path, volume: Volume) -> None:
    """Write a volume in LPS as .nii, .nii.gz or .nrrd.

    Raises InputError for another suffix, for a sheared volume as NIfTI, and where the file cannot be written.
    """
    path = Path(path)
    if not path.name.lower().endswith(_SUFFIXES):
        raise InputError(f"{path.name}: a CT is written as {', '.join(_SUFFIXES)}. Give the file one of these endings.")
    direction = volume.ijk_to_world[:3, :3] / volume.spacing_mm
    if not path.name.lower().endswith(".nrrd") and not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
        raise InputError(f"{path.name}: the CT is sheared (a tilted gantry), which NIfTI does not hold. Write .nrrd.")
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing_mm.tolist())
    image.SetOrigin(volume.ijk_to_world[:3, 3].tolist())
    image.SetDirection(direction.ravel().tolist())
    write_image(path, image)


def read_image(path: Path, remedy: str) -> sitk.Image:
    """The image of a file, of whatever dimension and pixel type; InputError with the remedy where there is none."""
    if path.is_dir():
        raise InputError(f"{path.name}: this is a folder, not a file. {remedy}")
    if not path.is_file():
        raise InputError(f"{path.name}: there is no such file ({path}). Check the path.")
    try:
        with _silent_itk(), nifti.any_sform_accepted(), with_preambles([path]) as (readable,):
            image = read_grey(path) if has_grey_with_opacity(path) else sitk.ReadImage(str(readable))
    except RuntimeError as error:
        reason = _reason(error)
        if "orthonormal" in reason:
            raise InputError(
                f"{path.name}: the orientation in the file (sform) is not usable: its axes coincide. Convert "
                "the image again from DICOM, or save it as NRRD."
            ) from None
        raise InputError(f"{path.name}: cannot be read as an image ({reason}). {remedy}") from None
    if not nifti.is_nifti(path, image):
        return image
    nifti.check_complete(path, image)
    return nifti.with_missing_values(path, image)


def write_image(path: Path, image: sitk.Image) -> None:
    """Write an image, compressed; InputError where that fails."""
    try:
        with _silent_itk():
            sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise InputError(
            f"{path.name}: cannot be written ({_reason(error)}). Check that the folder {path.parent} exists, that it "
            "may be written to, and that the disk is not full."
        ) from None


@contextmanager
def _silent_itk() -> Iterator[None]:
    """Keep ITK's warnings off the terminal: what matters in them is checked here and told as an InputError."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _reason(error: Exception) -> str:
    """The last line of an ITK error, which says what failed; those before it, and prefixes, say where in ITK."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Reason:")]
    return re.sub(r"^(sitk::ERROR|ITK ERROR): |\w+\(0x[0-9a-f]+\): ", "", lines[-1] if lines else "").rstrip(".")


def _matrix(axes: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """4x4 ijk_to_world from its columns (3, 3), in mm per voxel, and the position (3,) of the first voxel."""
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = origin
    return matrix


def placement_of(path: Path, image: sitk.Image) -> np.ndarray:
    """4x4 ijk_to_world of an image of three dimensions, LPS."""
    if nifti.is_nifti(path, image) and (told := nifti.placement(path, image)) is not None:
        return _matrix(told[:, :3], told[:, 3])
    direction = np.reshape(image.GetDirection(), 2 * (image.GetDimension(),))[:3, :3]
    return _matrix(direction * image.GetSpacing()[:3], image.GetOrigin()[:3])


def _check_scalar_3d(image: sitk.Image, where: str) -> None:
    size = image.GetSize()
    shape = " x ".join(str(length) for length in size)
    if image.GetNumberOfComponentsPerPixel() > 1 or "complex" in image.GetPixelIDTypeAsString():
        raise InputError(f"{where}: the image has colours or vectors, not one Hounsfield unit per voxel. {_REMEDY}")
    if any(length > 1 for length in size[3:]):
        raise InputError(
            f"{where}: the image has {len(size)} dimensions ({shape}). Save one time point of it as 3D CT."
        )
    if len(size) < 3 or size[2] == 1:
        raise InputError(
            f"{where}: this is a single 2D image ({shape}), not a CT: an X-ray comes after the CT. {_REMEDY}"
        )


class _Buffer:
    """An image's voxels as numpy takes them over without a copy: the array keeps this, and this the image."""

    def __init__(self, image: sitk.Image) -> None:
        interface = dict(sitk.GetArrayViewFromImage(image).__array_interface__)
        address, _ = interface["data"]
        self.__array_interface__ = {**interface, "data": (address, False)}  # writable: nobody else has the image
        self._image = image


def _compact(image: sitk.Image, where: str) -> np.ndarray:
    """The voxels as int16 where that loses nothing, else float32; small integers as stored; air in place of NaN.

    Works on SimpleITK's own buffer, slice by slice: a large CT must not stand in memory as floats, nor twice.
    """
    stored = np.asarray(_Buffer(image))
    stored = stored.reshape(stored.shape[-3:])  # a trailing time axis of one point
    if stored.dtype.kind in "iu" and np.can_cast(stored.dtype, np.int16):
        return stored
    fill_missing(stored, where)
    result = np.empty(stored.shape, np.int16)
    limits = np.iinfo(np.int16)
    for k, plane in enumerate(stored):
        if not (plane.min() >= limits.min and plane.max() <= limits.max and (plane == np.rint(plane)).all()):
            with np.errstate(over="ignore"):  # becomes infinite, which the check for Hounsfield units tells
                return stored.astype(np.float32)
        result[k] = plane
    return result


def _read_dicom_folder(folder: Path) -> Volume:
    where = folder.resolve().name
    series, others = _series_in(folder)
    if not series:
        found = f"DICOM files but no CT slices (only {', '.join(sorted(others))})" if others else "no DICOM files"
        below = fullest_dicom_folder(folder)
        hint = f" Most files below it are in {below}." if below else ""
        raise InputError(
            f"{where}: the folder holds {found}. Choose the folder that directly holds the CT's slices.{hint}"
        )
    ranked = sorted(series, key=_slice_count, reverse=True)
    names = [_series_name(slices) for slices in ranked]
    if len(ranked) > 1:
        if _slice_count(ranked[0]) == _slice_count(ranked[1]):
            tied = [name for name, slices in zip(names, ranked) if _slice_count(slices) == _slice_count(ranked[0])]
            raise InputError(
                f"{where}: the folder holds several CT series of equal size: {'; '.join(tied)}. "
                "Move the one to register to a folder of its own."
            )
        log.info(
            "%s: of %d series the largest is taken: %s. Not: %s.", where, len(ranked), names[0], "; ".join(names[1:])
        )
    slices = ranked[0]
    if frame_count(slices[0][1]) > 1:
        return _read_multi_frame(slices[0][0], where)
    if len(slices) == 1:
        raise InputError(f"{where}: {names[0]} is one 2D slice, not a CT. Choose the folder with all slices.")
    tags = slices[0][1]
    positions = [t.ImagePositionPatient for _, t in slices]
    order, matrix = _stack(positions, tags.ImageOrientationPatient, tags.get("PixelSpacing"), where)
    reader = sitk.ImageSeriesReader()
    try:
        with _silent_itk(), with_preambles([slices[k][0] for k in order]) as readable:
            reader.SetFileNames([str(path) for path in readable])
            image = reader.Execute()
    except RuntimeError as error:
        raise InputError(
            f"{where}: the DICOM slices cannot be read ({_reason(error)}). Export the series again, or as NIfTI."
        ) from None
    _check_scalar_3d(image, where)
    return Volume(_compact(image, where), matrix)


def _series_in(folder: Path) -> tuple[list[list[tuple[Path, pydicom.Dataset]]], set[str]]:
    """CT series of a folder as lists of (file, tags), and the modalities of its other DICOM files.

    Slices of one series that differ in size or orientation (scout views) are series of their own, as is a multi-frame
    file. A file that is there twice counts once.
    """
    series: dict[tuple, list[tuple[Path, pydicom.Dataset]]] = {}
    others: set[str] = set()
    seen: set[str] = set()
    for path in sorted(folder.iterdir()):
        if not path.is_file() or not is_dicom(path):
            continue
        tags = read_tags(path, _SLICE_TAGS)
        instance = str(tags.get("SOPInstanceUID", path.name))
        if instance in seen:
            continue
        seen.add(instance)
        key: tuple = (instance,)
        if frame_count(tags) == 1:
            orientation = tags.get("ImageOrientationPatient")
            if orientation is None or tags.get("ImagePositionPatient") is None:
                others.add(f"{tags.get('Modality') or 'unknown'} without a position")
                continue
            orientation = tuple(np.round(np.array(orientation, float), 2) + 0.0)  # + 0.0 makes -0 the same as 0
            key = (tags.get("SeriesInstanceUID"), tags.get("Rows"), tags.get("Columns"), orientation)
        if tags.get("Modality") == "CT":
            series.setdefault(key, []).append((path, tags))
        else:
            others.add(tags.get("Modality") or "unknown")
    return list(series.values()), others


def _slice_count(slices: list[tuple[Path, pydicom.Dataset]]) -> int:
    return sum(frame_count(tags) for _, tags in slices)


def _series_name(slices: list[tuple[Path, pydicom.Dataset]]) -> str:
    tags = slices[0][1]
    description = tags.get("SeriesDescription") or tags.get("SeriesInstanceUID")
    return f"series {tags.get('SeriesNumber', '?')} '{description}' (slices: {_slice_count(slices)})"


def _read_multi_frame(path: Path, where: str) -> Volume:
    """A DICOM CT that holds all its slices in one file, placed by its functional groups (PS3.3 C.7.6.16)."""
    from pydicom import Dataset

    tags = read_tags(path)
    modality = tags.get("Modality") or "unknown"
    if modality != "CT":
        raise InputError(f"{where}: the DICOM file's modality is {modality}, not CT. {_REMEDY}")
    if frame_count(tags) == 1:
        raise InputError(
            f"{where}: this is a single 2D slice of a CT. Choose the folder with all slices of the series."
        )
    try:
        frames = tags.PerFrameFunctionalGroupsSequence
        shared = tags.get("SharedFunctionalGroupsSequence", [Dataset()])[0]
        groups = [shared, frames[0]]
        measures = next(g.PixelMeasuresSequence[0] for g in groups if "PixelMeasuresSequence" in g)
        orientation = next(g.PlaneOrientationSequence[0] for g in groups if "PlaneOrientationSequence" in g)
        positions = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
        order, matrix = _stack(positions, orientation.ImageOrientationPatient, measures.PixelSpacing, where)
    except (AttributeError, IndexError, StopIteration):
        raise InputError(
            f"{where}: the multi-frame DICOM file does not say where its slices stand. Export the CT as single slices."
        ) from None
    image = read_image(path, _REMEDY)
    _check_scalar_3d(image, where)
    array = _compact(image, where)
    if len(array) != len(order):
        raise InputError(f"{where}: {len(order)} slice positions for {len(array)} slices. Export the CT again.")
    return Volume(array if (order == np.arange(len(order))).all() else array[order], matrix)


def _stack(positions: list, orientation: list, spacing: list | None, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Order of the slices along their normal and the 4x4 ijk_to_world of the ordered stack, LPS.

    positions: one ImagePositionPatient for each slice; orientation: ImageOrientationPatient; spacing: PixelSpacing,
    between rows and between columns. The third axis runs from the first to the last position, which keeps the shear of
    a tilted gantry. Raises InputError unless the slices are evenly spaced.
    """
    try:
        corners = np.array(positions, dtype=np.float64).reshape(-1, 3)
        columns, rows = np.array(orientation, dtype=np.float64).reshape(2, 3)
        row_spacing, column_spacing = np.array(spacing, dtype=np.float64).reshape(2)
    except (TypeError, ValueError):
        raise InputError(
            f"{where}: the CT's DICOM position, orientation or pixel spacing is missing or no number. Export it again."
        ) from None
    if not (row_spacing > 0 and column_spacing > 0):
        raise InputError(
            f"{where}: the CT's DICOM pixel spacing is {row_spacing:g} x {column_spacing:g}, so its size is unknown. "
            "Export the series again from where it was reconstructed."
        )
    heights = corners @ np.cross(columns, rows)
    order = np.argsort(heights)
    corners, gaps = corners[order], np.diff(heights[order])
    if gaps.min() < 1e-3:
        raise InputError(
            f"{where}: several slices of the CT stand at the same place (time points, or two reconstructions in one "
            "series). Export one of them alone."
        )
    step = (corners[-1] - corners[0]) / (len(corners) - 1)
    even = corners[0] + np.arange(len(corners))[:, None] * step
    if np.abs(corners - even).max() > _UNEVEN * np.linalg.norm(step):
        raise InputError(
            f"{where}: the CT's slices are {gaps.min():.4g} to {gaps.max():.4g} mm apart, so one is missing or the "
            "spacing changes. Export the whole series again, or resample it to even spacing."
        )
    axes = np.stack([columns * column_spacing, rows * row_spacing, step], axis=1)
    return order, _matrix(axes, corners[0])
