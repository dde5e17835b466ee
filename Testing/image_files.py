"""DICOM files that tests write: CT series and X-rays of a few pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

HOUNSFIELD = np.arange(-1000, -1000 + 60 * 25, 25, dtype=np.int16).reshape(3, 4, 5)  # -1000 to 475
GREY = (np.arange(30, dtype=np.uint16) * 100).reshape(5, 6)


def sequence(**tags) -> list[Dataset]:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return [item]


def write_dicom(path: Path, pixels: np.ndarray | None, kind: str, modality: str, **tags) -> Path:
    path.parent.mkdir(exist_ok=True)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = kind, generate_uid(), modality
    dataset.SeriesInstanceUID = "1.2.3"
    if pixels is not None:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = pixels.shape[-2:]
        if pixels.ndim == 3:
            dataset.NumberOfFrames = len(pixels)
        dataset.BitsAllocated = dataset.BitsStored = pixels.itemsize * 8
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, positions: list, first_number: int = 1, array: np.ndarray = HOUNSFIELD, **tags) -> Path:
    """A CT series stored as unsigned values with an intercept, slice k at positions[k]."""
    for k, position in enumerate(positions):
        number = first_number + k
        write_dicom(
            folder / f"slice{number:02d}",
            (array[k % len(array)] + 1024).astype(np.uint16),
            CTImageStorage,
            "CT",
            **{
                "ImagePositionPatient": position,
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [0.7, 0.8],
                "RescaleSlope": 1,
                "RescaleIntercept": -1024,
                "InstanceNumber": number,
                **tags,
            },
        )
    return folder


def write_enhanced_ct(path: Path, positions: list, array: np.ndarray = HOUNSFIELD) -> Path:
    shared = sequence(
        PixelMeasuresSequence=sequence(PixelSpacing=[0.7, 0.8], SliceThickness=2.5),
        PlaneOrientationSequence=sequence(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelValueTransformationSequence=sequence(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU"),
    )
    frames = [sequence(PlanePositionSequence=sequence(ImagePositionPatient=p))[0] for p in positions]
    groups = {"SharedFunctionalGroupsSequence": shared, "PerFrameFunctionalGroupsSequence": frames}
    return write_dicom(path, (array + 1024).astype(np.uint16), EnhancedCTImageStorage, "CT", **groups)


def write_image(path: Path, array: np.ndarray, **options) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array, **options), str(path))
    return path
