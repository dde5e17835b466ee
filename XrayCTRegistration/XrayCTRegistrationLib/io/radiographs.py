"""X-ray images from and to files."""

from __future__ import annotations

import logging
import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..xray import Polarity, Radiograph, radiograph_of_pixels
from .dicom_files import is_dicom, read_tags
from .dicom_geometry import first_value, stored_orientation
from .volumes import read_image, write_image

if TYPE_CHECKING:
    import pydicom  # at run time only where there is a DICOM file

_REMEDY = "Give one X-ray image, grey, as PNG, JPEG, TIFF, NRRD, MetaImage, NIfTI or DICOM (CR, DX, XA, RF)."
_PROJECTION_MODALITIES = {"CR", "DX", "XA", "RF", "RG", "IO", "PX", "MG", "RTIMAGE", "OT"}
_NO_PROJECTIONS = {  # SOP classes of X-ray modalities that also come as reconstructed volumes (PS3.6 A)
    "1.2.840.10008.5.1.4.1.1.13.1.1",  # X-ray 3D angiographic
    "1.2.840.10008.5.1.4.1.1.13.1.2",  # X-ray 3D craniofacial
    "1.2.840.10008.5.1.4.1.1.13.1.3",  # breast tomosynthesis
}
_RESCALE_TAGS = ("RescaleSlope", "RescaleIntercept", "RescaleType")

log = logging.getLogger(__name__)


def read_radiograph(path: str | Path, frame: int | None = None) -> Radiograph:
    """The X-ray image of a file; of a stack, the frame with that number, counted from 1 as in DICOM.

    path: a 2D image in any format of SimpleITK, or a stack. `cine.dcm:12` means frame 12 of cine.dcm. Grey images saved
        with colour channels are taken as grey. Spacing and orientation in the file do not count: the geometry of the
        view says where pixel (column, row) is.

    `pixels` are the values as stored. In DICOM that is before the modality LUT and before MONOCHROME1 is shown with
    large values dark (PS3.3 C.7.6.3.1.2), both of which SimpleITK would apply. `polarity` is that of these values, as
    far as DICOM tags say. Pixels that are NaN are masked.

    Raises InputError, beginning with the file's name.
    """
    path = Path(path)
    suffix = re.fullmatch(r"(.+):(\d+)", path.name)
    if frame is None and suffix and not path.exists():
        path, frame = path.with_name(suffix[1]), int(suffix[2])
    where = path.name if frame is None else f"{path.name}:{frame}"
    image, polarity, logarithmic = _read(path)
    pixels = _grey(_one_frame(image, frame, path.name), path.name)
    return radiograph_of_pixels(pixels, where, polarity, logarithmic)


def read_frames(path: str | Path) -> list[Radiograph]:
    """Every frame of a file, one or many, as `read_radiograph` reads them."""
    path = Path(path)
    image, polarity, logarithmic = _read(path)
    frames = _frames(image, path.name)
    read = []
    for number, frame in enumerate(frames, start=1):
        where = path.name if len(frames) == 1 else f"{path.name}:{number}"
        pixels = _grey(frame.copy(), path.name)  # a copy, for SimpleITK's buffer goes with the image
        read.append(radiograph_of_pixels(pixels, where, polarity, logarithmic))
    return read


def as_stored(pixels: np.ndarray) -> np.ndarray:
    """The pixels of a radiograph as 16-bit integers where that loses nothing, as files hold them."""
    whole = pixels.min() >= 0 and pixels.max() <= 65535 and (pixels == np.rint(pixels)).all()
    return pixels.astype(np.uint16) if whole else pixels


def write_radiograph(path: str | Path, pixels: np.ndarray) -> None:
    """Write pixels (rows, columns) from 0 to 65535, rounded, as a 16-bit PNG.

    Raises InputError for another suffix or shape, for values out of range, and where the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{path.name}: an X-ray is written as PNG. Give the file the ending .png.")
    pixels = np.asarray(pixels)
    if pixels.ndim != 2 or not pixels.size:
        raise InputError(f"{path.name}: an X-ray has rows and columns, but the array's shape is {pixels.shape}.")
    if not (pixels.min() >= 0 and pixels.max() <= 65535):  # false for NaN, too
        raise InputError(f"{path.name}: 16-bit PNG holds values from 0 to 65535. Scale the image to this range first.")
    write_image(path, sitk.GetImageFromArray(np.rint(pixels).astype(np.uint16)))


def _read(path: Path) -> tuple[sitk.Image, Polarity | None, bool | None]:
    """The image of a file with its values as stored, and its polarity and whether they are logarithmic by its tags."""
    if path.is_file() and is_dicom(path):
        tags = read_tags(path)
        _check_projection(tags, path.name)
        _tell_orientation(tags, path.name)
        return _read_stored_pixels(path, tags), _polarity(tags), _logarithmic(tags)
    image = read_image(path, _REMEDY)
    _check_jpeg_complete(path)
    return image, None, None


def _check_projection(tags: pydicom.Dataset, where: str) -> None:
    from pydicom.uid import UID

    modality = tags.get("Modality") or ""
    kind = UID(tags.get("SOPClassUID") or "")
    if (modality and modality not in _PROJECTION_MODALITIES) or kind in _NO_PROJECTIONS:
        described = f"{kind.name} " if kind else ""
        raise InputError(f"{where}: a DICOM file of {described}(modality {modality}) is no X-ray projection. {_REMEDY}")
    if not tags.get("Rows") or not tags.get("Columns"):
        raise InputError(f"{where}: the DICOM file holds no image. {_REMEDY}")


def _tell_orientation(tags: pydicom.Dataset, where: str) -> None:
    """Say in the log how the image is stored, if turned or mirrored: a C-arm file beside it cannot know."""
    entry = stored_orientation(tags)
    if entry is not None:
        log.warning(
            "%s: by its DICOM tags the image is stored turned or mirrored. A C-arm file of it must say "
            '"patient_orientation": ["%s", "%s"].',
            where,
            *entry.value,
        )


def _polarity(tags: pydicom.Dataset) -> Polarity | None:
    """Which stored values are rays that lost most, by the first of these that the tags hold; None where none does.

    The sign of the pixel intensity relationship, which speaks of stored values (PS3.3 C.8.11.3.1.2). In angiography
    and fluoroscopy, values linear (LIN) or logarithmic (LOG) to the beam's intensity (X-Ray Image module, C.8.7.1).
    In CR and DX, the photometric interpretation, since they are shown with bone bright.
    """
    sign = first_value(tags, "PixelIntensityRelationshipSign")
    if sign in (1, -1):
        return Polarity.DARK if sign == 1 else Polarity.BRIGHT
    modality = tags.get("Modality")
    if modality in ("XA", "RF") and first_value(tags, "PixelIntensityRelationship") in ("LIN", "LOG"):
        return Polarity.DARK
    if modality in ("CR", "DX") and float(tags.get("RescaleSlope") or 1) > 0:
        shown = {"MONOCHROME1": Polarity.DARK, "MONOCHROME2": Polarity.BRIGHT}
        return shown.get(tags.get("PhotometricInterpretation"))
    return None


def _logarithmic(tags: pydicom.Dataset) -> bool | None:
    """Whether the stored values went through a logarithm: they say so, or they are CR or DX made to be shown; None
    where they do not say."""
    relationship = first_value(tags, "PixelIntensityRelationship")
    if relationship in ("LIN", "LOG"):
        return relationship == "LOG"
    return True if relationship is None and tags.get("Modality") in ("CR", "DX") else None


def _check_jpeg_complete(path: Path) -> None:
    """Raise InputError where a JPEG file ends early: ITK alone fills the rest with grey."""
    content = path.read_bytes() if path.suffix.lower() in (".jpg", ".jpeg") else b""
    if content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):  # no end of image after the last start of a scan
        raise InputError(f"{path.name}: the file is incomplete: it ends before its last row. Copy or export it again.")


def _read_stored_pixels(path: Path, tags: pydicom.Dataset) -> sitk.Image:
    """The image with the values that the DICOM file stores.

    GDCM, as ITK calls it, applies a linear rescale to every kind of image, inverts MONOCHROME1, and fails on signed
    MONOCHROME1. So it is given a copy of the file whose tags ask for none of this.
    """
    rescaled = any(keyword in tags for keyword in _RESCALE_TAGS)
    if tags.get("PhotometricInterpretation") != "MONOCHROME1" and not rescaled:
        return read_image(path, _REMEDY)
    from pydicom import dcmread

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in `read_tags`
            dataset = dcmread(path, force=True)
        if "PixelData" not in dataset:  # what pydicom leaves of compressed pixels that end early
            raise ValueError("it ends before its last pixel")
        for keyword in _RESCALE_TAGS:
            dataset.pop(keyword, None)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            dataset.PhotometricInterpretation = "MONOCHROME2"
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            dataset.save_as(copy)
            return read_image(copy, _REMEDY)
    except InputError:
        raise
    except Exception as error:  # a damaged file makes pydicom raise errors of many kinds
        raise InputError(f"{path.name}: the DICOM file is damaged ({error}). Export it again.") from None


def _one_frame(image: sitk.Image, frame: int | None, where: str) -> np.ndarray:
    """(rows, columns, channels) of the frame asked for, or of the only one."""
    frames = _frames(image, where)
    if frame is None and len(frames) > 1:
        raise InputError(
            f"{where}: holds {len(frames)} frames or slices, where one X-ray is needed. If it is the CT, it belongs in "
            "the CT's place: first on the command line. If it is a run, choose a frame, counted from 1: for example "
            f"{where}:{len(frames) // 2}, or frame={len(frames) // 2} in Python."
        )
    number = 1 if frame is None else frame
    if not 1 <= number <= len(frames):
        raise InputError(f"{where}: has no frame {number}. Frames are numbered from 1 to {len(frames)}.")
    return np.array(frames[number - 1])  # a copy, for SimpleITK's buffer goes with the image


def _frames(image: sitk.Image, where: str) -> np.ndarray:
    """(frames, rows, columns, channels), a view of the image's buffer."""
    if "complex" in image.GetPixelIDTypeAsString():
        raise InputError(f"{where}: the image has complex values. {_REMEDY}")
    columns, rows = image.GetSize()[:2]
    return sitk.GetArrayViewFromImage(image).reshape(-1, rows, columns, image.GetNumberOfComponentsPerPixel())


def _grey(channels: np.ndarray, where: str) -> np.ndarray:
    """(rows, columns) float32 of an image of grey values, or of equal colours with or without opacity."""
    count = channels.shape[2]
    grey = channels[..., 0]
    if count not in (1, 3, 4) or (count > 1 and not all((channels[..., k] == grey).all() for k in (1, 2))):
        raise InputError(f"{where}: the image has colours. Save the X-ray as grey values, without annotations.")
    with np.errstate(over="ignore"):  # becomes infinite, which the check of the values tells
        return np.ascontiguousarray(grey, dtype=np.float32)
