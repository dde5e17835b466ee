"""X-ray images in and out, and what bad files are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from bad_files import NOISE, assert_names_fault_and_remedy, empty_folder, text_file, truncated
from image_files import GREY, HOUNSFIELD, sequence, write_dicom, write_image, write_series
from pydicom import dcmread
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    EnhancedXAImageStorage,
    MRImageStorage,
    RTStructureSetStorage,
    XRay3DAngiographicImageStorage,
    XRayAngiographicImageStorage,
)
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.io.radiographs import read_radiograph, write_radiograph
from XrayCTRegistrationLib.xray import Polarity


@pytest.mark.parametrize("suffix", [".png", ".tif", ".nrrd", ".mha", ".nii.gz"])
def test_grey_image_keeps_rows_columns_and_values(tmp_path, suffix):
    radiograph = read_radiograph(write_image(tmp_path / f"x{suffix}", GREY))
    assert radiograph.pixels.dtype == np.float32
    np.testing.assert_array_equal(radiograph.pixels, GREY)
    assert radiograph.where == f"x{suffix}"
    assert radiograph.polarity is None


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii"])
def test_volume_of_one_slice_is_an_image(tmp_path, suffix):
    radiograph = read_radiograph(write_image(tmp_path / f"x{suffix}", GREY[None]))
    np.testing.assert_array_equal(radiograph.pixels, GREY)


@pytest.mark.parametrize("channels", [3, 4])
def test_grey_saved_with_colour_channels_is_grey(tmp_path, channels):
    grey = (GREY // 12).astype(np.uint8)
    opaque = np.full_like(grey, 255)
    stack = np.stack([grey, grey, grey, opaque][:channels], -1)
    path = write_image(tmp_path / "x.png", stack, isVector=True)
    np.testing.assert_array_equal(read_radiograph(path).pixels, grey)


def test_grey_jpeg_is_read(tmp_path):
    grey = np.repeat(np.repeat(np.arange(0, 240, 30, dtype=np.uint8)[None], 8, axis=0), 8, axis=1)  # 8 flat bands
    path = write_image(tmp_path / "x.jpg", grey)
    assert np.abs(read_radiograph(path).pixels - grey).max() <= 2  # quantisation of the DCT of a flat block


@pytest.mark.parametrize("kind", [ComputedRadiographyImageStorage, XRayAngiographicImageStorage])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 2, "RescaleIntercept": -50}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_dicom_pixels_are_as_stored(tmp_path, kind, photometric, rescale, dtype):
    """GDCM inverts MONOCHROME1 and rescales; neither is what the detector measured."""
    stored = (GREY // 12).astype(dtype) - dtype(0 if dtype != np.int16 else 40)
    depth = {} if dtype == np.uint8 else {"BitsStored": 12, "HighBit": 11}
    tags = {"PhotometricInterpretation": photometric, **rescale, **depth}
    radiograph = read_radiograph(write_dicom(tmp_path / "x.dcm", stored, kind, "XA", **tags))
    np.testing.assert_array_equal(radiograph.pixels, stored)


@pytest.mark.parametrize(
    ("modality", "tags", "polarity"),
    [
        ("DX", {"PixelIntensityRelationshipSign": 1, "PhotometricInterpretation": "MONOCHROME2"}, Polarity.DARK),
        ("DX", {"PixelIntensityRelationshipSign": -1, "PhotometricInterpretation": "MONOCHROME1"}, Polarity.BRIGHT),
        ("XA", {"PixelIntensityRelationship": "LIN"}, Polarity.DARK),
        ("RF", {"PixelIntensityRelationship": "LOG"}, Polarity.DARK),
        ("XA", {"PixelIntensityRelationship": "DISP"}, None),
        ("XA", {}, None),
        ("CR", {"PhotometricInterpretation": "MONOCHROME1"}, Polarity.DARK),
        ("CR", {"PhotometricInterpretation": "MONOCHROME2"}, Polarity.BRIGHT),
        ("CR", {"PhotometricInterpretation": "MONOCHROME2", "RescaleSlope": -1, "RescaleIntercept": 0}, None),
        ("OT", {"PhotometricInterpretation": "MONOCHROME1"}, None),
    ],
)
def test_polarity_is_what_the_tags_say_of_the_stored_values(tmp_path, modality, tags, polarity):
    """The sign outranks the photometric interpretation: it speaks of the beam, not of the display."""
    path = write_dicom(tmp_path / "x.dcm", GREY, ComputedRadiographyImageStorage, modality, **tags)
    assert read_radiograph(path).polarity == polarity


def test_enhanced_xa_is_read_without_the_rescale_of_its_functional_groups(tmp_path):
    groups = sequence(
        PixelValueTransformationSequence=sequence(RescaleIntercept=7, RescaleSlope=3, RescaleType="US"),
        FramePixelDataPropertiesSequence=sequence(PixelIntensityRelationship="LIN"),
    )
    stack = np.stack([GREY, GREY + 1])
    tags = {"SharedFunctionalGroupsSequence": groups}
    path = write_dicom(tmp_path / "x.dcm", stack, EnhancedXAImageStorage, "XA", **tags)
    radiograph = read_radiograph(path, frame=2)
    np.testing.assert_array_equal(radiograph.pixels, GREY + 1)
    assert radiograph.polarity == Polarity.DARK


def test_frame_is_chosen_by_number_or_by_suffix(tmp_path):
    stack = np.stack([GREY + n for n in range(3)])
    path = write_dicom(tmp_path / "cine.dcm", stack, XRayAngiographicImageStorage, "XA")
    np.testing.assert_array_equal(read_radiograph(path, frame=3).pixels, GREY + 2)
    radiograph = read_radiograph(f"{path}:1")
    np.testing.assert_array_equal(radiograph.pixels, GREY)
    assert radiograph.where == "cine.dcm:1"


def test_real_cr_has_air_at_large_values(shared_data):
    """JPEG 2000, MONOCHROME1: small stored values are shown bright, so the mediastinum is small and air large."""
    radiograph = read_radiograph(shared_data / "xray" / "dicom" / "cr_thorax.dcm")
    assert radiograph.pixels.shape == (1955, 1841)
    assert radiograph.polarity == Polarity.DARK
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (803, 26512)  # of the stored code words, 15 bits
    assert radiograph.pixels[900:1000, 900:1000].mean() < np.median(radiograph.pixels)


def test_real_cine_asks_for_a_frame(shared_data):
    path = shared_data / "xray" / "dicom" / "xa_cine.dcm"
    with pytest.raises(InputError, match=r"^xa_cine\.dcm: holds 96 frames.*xa_cine\.dcm:48"):
        read_radiograph(path)
    radiograph = read_radiograph(path, frame=96)
    assert radiograph.pixels.shape == (512, 512)
    assert radiograph.polarity == Polarity.DARK


def coloured(path: Path) -> Path:
    return write_image(path, np.stack([GREY // 12, GREY // 12, GREY // 24], -1).astype(np.uint8), isVector=True)


BAD_XRAYS = {
    "missing": (lambda d: d / "none.png", "no such file", "Check the path"),
    "folder": (lambda d: empty_folder(d / "study"), "a folder", "Give one X-ray"),
    "garbage": (lambda d: text_file(d / "x.png", "garbage" * 99), "cannot be read", "Give one X-ray"),
    "garbage DICOM": (
        lambda d: text_file(d / "x.dcm", "\0" * 128 + "DICM" + "garbage" * 99),
        "damaged|cannot be read|no image",
        "Export it again|Give one X-ray",
    ),
    "truncated": (lambda d: truncated(write_image(d / "x.png", NOISE[0].astype(np.uint16))), "cannot be", "Give one"),
    "truncated jpg": (
        lambda d: truncated(write_image(d / "x.jpg", (NOISE[0] % 256).astype(np.uint8))),
        "incomplete",
        "Copy or export",
    ),
    "truncated nii": (lambda d: truncated(write_image(d / "x.nii.gz", NOISE[0])), "incomplete", "Copy or export"),
    "truncated DICOM": (
        lambda d: truncated(write_dicom(d / "x.dcm", NOISE[0], XRayAngiographicImageStorage, "XA")),
        "incomplete",
        "Copy or export",
    ),
    "truncated inverted DICOM": (
        lambda d: truncated(
            write_dicom(
                d / "x.dcm", NOISE[0], ComputedRadiographyImageStorage, "CR", PhotometricInterpretation="MONOCHROME1"
            )
        ),
        "incomplete",
        "Copy or export",
    ),
    "colour": (lambda d: coloured(d / "x.png"), "has colours", "Save the X-ray as grey"),
    "complex": (lambda d: write_image(d / "x.nrrd", GREY + 1j), "complex", "Give one X-ray"),
    "volume": (
        lambda d: write_image(d / "x.nrrd", HOUNSFIELD),
        "3 frames or slices",
        r"CT's place.*choose a frame.*x\.nrrd:1",
    ),
    "cine": (
        lambda d: write_dicom(d / "x.dcm", HOUNSFIELD, XRayAngiographicImageStorage, "XA"),
        "3 frames or slices",
        r"x\.dcm:1, or frame=1",
    ),
    "CT": (
        lambda d: write_series(d / "study", [[0, 0, 0]]) / "slice01",
        r"CT Image Storage \(modality CT\)",
        "Give one X-ray",
    ),
    "MR": (lambda d: write_dicom(d / "x.dcm", GREY, MRImageStorage, "MR"), "modality MR", "Give one X-ray"),
    "RTSTRUCT": (
        lambda d: write_dicom(d / "x.dcm", None, RTStructureSetStorage, "RTSTRUCT"),
        "modality RTSTRUCT",
        "Give one X-ray",
    ),
    "3D angiography": (
        lambda d: write_dicom(d / "x.dcm", GREY, XRay3DAngiographicImageStorage, "XA"),
        "3D Angiographic.*no X-ray projection",
        "Give one X-ray",
    ),
    "no pixels": (
        lambda d: write_dicom(d / "x.dcm", None, XRayAngiographicImageStorage, "XA"),
        "holds no image",
        "Give one X-ray",
    ),
    "constant": (lambda d: write_image(d / "x.png", np.full_like(GREY, 7)), "every pixel .* 7", "Check the file"),
    "only NaN": (lambda d: write_image(d / "x.nrrd", GREY * np.nan), "no pixel .* value", "Export it again"),
    "infinite": (
        lambda d: write_image(d / "x.nrrd", np.where(GREY > 2700, np.inf, GREY)),
        "2 pixels .* infinite",
        "export it again",
    ),
}


@pytest.mark.parametrize("case", BAD_XRAYS)
def test_bad_xray_is_refused_with_name_and_remedy(tmp_path, case, capfd):
    make, fault, remedy = BAD_XRAYS[case]
    path = make(tmp_path)
    capfd.readouterr()
    with pytest.raises(InputError) as error:
        read_radiograph(path)
    assert_names_fault_and_remedy(error, path, fault, remedy)
    assert "WARNING" not in capfd.readouterr().err


def test_a_dicom_xray_that_is_stored_mirrored_says_what_its_c_arm_file_must_say(tmp_path, caplog):
    for orientation, told in ((["L", "F"], []), (["R", "F"], ['["R", "F"]'])):
        caplog.clear()
        tags = {"ViewPosition": "PA", "PatientOrientation": orientation}
        read_radiograph(write_dicom(tmp_path / "x.dcm", GREY, ComputedRadiographyImageStorage, "CR", **tags))
        assert len(caplog.messages) == len(told)
        assert all(words in message for words, message in zip(told, caplog.messages))


@pytest.mark.parametrize("frame", [0, 4])
def test_frame_out_of_range_names_the_range(tmp_path, frame):
    path = write_dicom(tmp_path / "cine.dcm", HOUNSFIELD, XRayAngiographicImageStorage, "XA")
    with pytest.raises(InputError, match=r"^cine\.dcm: has no frame \d\. Frames are numbered from 1 to 3"):
        read_radiograph(path, frame=frame)


def test_reading_a_dicom_xray_leaves_the_file_alone(tmp_path):
    tags = {"PhotometricInterpretation": "MONOCHROME1"}
    path = write_dicom(tmp_path / "x.dcm", GREY, ComputedRadiographyImageStorage, "CR", **tags)
    before = path.read_bytes()
    read_radiograph(path)
    assert path.read_bytes() == before
    assert dcmread(path).PhotometricInterpretation == "MONOCHROME1"
    assert list(tmp_path.iterdir()) == [path]


def test_written_xray_is_16_bit_png(tmp_path):
    path = tmp_path / "x.png"
    write_radiograph(path, np.array([[0.4, 65535.0], [1.6, 300.0]]))
    assert sitk.ReadImage(str(path)).GetPixelID() == sitk.sitkUInt16
    np.testing.assert_array_equal(read_radiograph(path).pixels, [[0, 65535], [2, 300]])


@pytest.mark.parametrize(
    ("name", "pixels", "remedy"),
    [
        ("x.jpg", GREY, "ending .png"),
        ("x.png", HOUNSFIELD, "rows and columns"),
        ("x.png", GREY - 1.0, "Scale the image"),
        ("x.png", GREY * 100.0, "Scale the image"),
        ("x.png", GREY * np.nan, "Scale the image"),
        ("absent/x.png", GREY, "folder"),
    ],
)
def test_xray_that_cannot_be_written_is_told(tmp_path, name, pixels, remedy):
    with pytest.raises(InputError, match=rf"^x\.\w+: .*{remedy}"):
        write_radiograph(tmp_path / name, pixels)


def test_truncated_jpeg_2000_is_told(shared_data, tmp_path):
    path = tmp_path / "x.dcm"
    path.write_bytes((shared_data / "xray" / "dicom" / "cr_thorax.dcm").read_bytes())
    with pytest.raises(InputError, match=r"^x\.dcm: .*(ends before its last pixel|cannot be read).*(Export|Give)"):
        read_radiograph(truncated(path))
