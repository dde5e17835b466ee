"""Files in and out: CTs, X-rays and C-arm geometry, and what bad ones are told."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from image_files import GREY, HOUNSFIELD, sequence, write_dicom, write_enhanced_ct, write_series
from pydicom import dcmread
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    EnhancedXAImageStorage,
    MRImageStorage,
    RTStructureSetStorage,
    XRay3DAngiographicImageStorage,
    XRayAngiographicImageStorage,
)
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import XrayView
from XrayCTRegistrationLib.io.carm_files import check_image_size, read_carm, write_carm
from XrayCTRegistrationLib.io.radiographs import read_radiograph, write_radiograph
from XrayCTRegistrationLib.io.volumes import read_ct, write_ct
from XrayCTRegistrationLib.volume import Volume
from XrayCTRegistrationLib.xray import Polarity, Radiograph

OBLIQUE = np.array([[0.0, -0.8, 0, 7], [-0.6, 0, 0, -3], [0, 0, -2.5, 40], [0, 0, 0, 1]])
CARM = {
    "source_to_detector_mm": 1020,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [0.3, 0.4],
    "image_size_px": [640, 480],
    "primary_angle_deg": 20,
}


def write_image(path: Path, array: np.ndarray, **options) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array, **options), str(path))
    return path


# ---- CT ----


@pytest.mark.parametrize(
    "name",
    [
        "lidc_0001",
        "lidc_0028",
        "lidc_0306",
        "lidc_0350",
        "cmb_crc_01068",
        "totalseg_lumbar",
        "totalseg_thorax_crop",
        "verse_L3_crop",
    ],
)
def test_real_cts_stand_where_simpleitk_puts_them(shared_data, name):
    path = shared_data / "ct" / f"{name}.nii.gz"
    volume = read_ct(path)
    image = sitk.ReadImage(str(path))
    assert volume.array.dtype == np.int16  # totalseg_lumbar is stored as int32
    assert volume.size == image.GetSize()
    index = tuple(int(n) for n in np.array(volume.size) * (0.9, 0.2, 0.6))  # no symmetry hides a swapped axis
    point = image.TransformIndexToPhysicalPoint(index)
    assert volume.points(np.array(index)) == pytest.approx(point, abs=1e-6)  # the same float64 sum
    assert volume.array[index[::-1]] == image[index]


def test_real_nrrd_ct_loads(shared_data):
    volume = read_ct(shared_data / "xray" / "wrist" / "rad_ct.nrrd")
    assert volume.spacing_mm == pytest.approx([0.39625, 0.39625, 0.625])
    assert np.diag(volume.ijk_to_world)[:3] == pytest.approx([0.39625, -0.39625, -0.625])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
def test_written_oblique_ct_reads_back(tmp_path, suffix):
    path = tmp_path / f"ct{suffix}"
    write_ct(path, Volume(HOUNSFIELD, OBLIQUE))
    volume = read_ct(path)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, HOUNSFIELD)
    np.testing.assert_allclose(volume.ijk_to_world, OBLIQUE, atol=1e-5)  # NIfTI keeps float32


def test_sheared_ct_goes_through_nrrd_and_is_refused_as_nifti(tmp_path):
    sheared = OBLIQUE.copy()
    sheared[0, 2] = 0.7
    write_ct(tmp_path / "ct.nrrd", Volume(HOUNSFIELD, sheared))
    np.testing.assert_allclose(read_ct(tmp_path / "ct.nrrd").ijk_to_world, sheared, atol=1e-9)  # text of full precision
    with pytest.raises(InputError, match=r"^ct\.nii\.gz: .*sheared.*\.nrrd"):
        write_ct(tmp_path / "ct.nii.gz", Volume(HOUNSFIELD, sheared))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (HOUNSFIELD, np.int16),
        (HOUNSFIELD.astype(np.int32), np.int16),
        (HOUNSFIELD.astype(np.float64), np.int16),
        (np.maximum(HOUNSFIELD * 6, 0).astype(np.uint16), np.int16),
        (HOUNSFIELD.astype(np.int32) * 100, np.float32),  # beyond int16: kept, not wrapped
        (HOUNSFIELD + 0.25, np.float32),
    ],
)
def test_ct_values_are_int16_where_that_loses_nothing(tmp_path, array, expected):
    volume = read_ct(write_image(tmp_path / "ct.mha", array))
    assert volume.array.dtype == expected
    np.testing.assert_array_equal(volume.array, array)


def test_gzip_in_several_parts_is_complete(tmp_path):
    """bgzip and pigz write several members; the length at the end of the file is then that of the last one."""
    content = write_image(tmp_path / "ct.nii", HOUNSFIELD).read_bytes()
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    np.testing.assert_array_equal(read_ct(path).array, HOUNSFIELD)


def test_ct_with_one_time_point_is_a_3d_ct(tmp_path):
    volume = read_ct(write_image(tmp_path / "ct.nrrd", HOUNSFIELD[None], isVector=False))
    np.testing.assert_array_equal(volume.array, HOUNSFIELD)


def test_dicom_folder_is_ordered_by_position_in_hounsfield_units(tmp_path):
    """Slices written from head to feet, among files that are no CT slices."""
    folder = write_series(tmp_path / "series", [[10, 20, 5], [10, 20, 2.5], [10, 20, 0]])
    (folder / "notes.txt").write_text("not DICOM")
    write_dicom(folder / "structures", None, RTStructureSetStorage, "RTSTRUCT")
    volume = read_ct(folder)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, HOUNSFIELD[::-1])
    expected = [[0.8, 0, 0, 10], [0, 0.7, 0, 20], [0, 0, 2.5, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.ijk_to_world, expected, atol=1e-9)


def test_tilted_gantry_gives_a_sheared_volume(tmp_path):
    positions = [[10, 20 + shift, z] for shift, z in ((0, 0), (1, 2.5), (2, 5))]
    volume = read_ct(write_series(tmp_path / "series", positions))
    np.testing.assert_allclose(volume.points(np.array([[0, 0, k] for k in range(3)])), positions, atol=1e-9)
    assert volume.ijk_to_world[:3, 1] == pytest.approx([0, 0.7, 0])


def test_largest_of_several_series_is_taken_and_named_in_the_log(tmp_path, caplog):
    folder = write_series(tmp_path / "study", [[0, 0, z] for z in (0, 2, 4)], SeriesDescription="bone", SeriesNumber=4)
    scout = {"SeriesDescription": "scout", "SeriesInstanceUID": "1.2.9"}
    write_series(folder, [[0, 0, z] for z in (0, 9)], first_number=20, **scout)
    localizer = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}  # of the same series, as CT consoles do
    write_series(folder, [[0, 0, 0]], first_number=30, **localizer)
    with caplog.at_level(logging.INFO):
        volume = read_ct(folder)
    np.testing.assert_array_equal(volume.array, HOUNSFIELD)
    assert "taken: series 4 'bone' (slices: 3)" in caplog.text
    assert "'scout' (slices: 2)" in caplog.text


def test_slice_files_that_are_there_twice_count_once(tmp_path):
    folder = write_series(tmp_path / "series", [[0, 0, z] for z in (0, 2, 4)])
    (folder / "copy of slice01").write_bytes((folder / "slice01").read_bytes())
    assert read_ct(folder).size == (5, 4, 3)


@pytest.mark.parametrize("as_folder", [False, True])
@pytest.mark.parametrize("heights", [(0, 2.5, 5), (5, 2.5, 0), (2.5, 0, 5)])
def test_multi_frame_ct_is_placed_by_its_frames(tmp_path, heights, as_folder):
    """SimpleITK silently sets the spacing to 1 mm when the frames are not in order."""
    path = write_enhanced_ct(tmp_path / "study" / "enhanced.dcm", [[10, 20, z] for z in heights])
    volume = read_ct(path.parent if as_folder else path)
    np.testing.assert_array_equal(volume.array, HOUNSFIELD[np.argsort(heights)])
    expected = [[0.8, 0, 0, 10], [0, 0.7, 0, 20], [0, 0, 2.5, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.ijk_to_world, expected, atol=1e-9)


def truncated(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


def text_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def empty_folder(path: Path) -> Path:
    path.mkdir()
    return path


NOISE = np.random.default_rng(1).integers(-1000, 1500, (20, 30, 40)).astype(np.int16)  # does not compress

BAD_CTS = {
    "missing": (lambda d: d / "none.nii.gz", "no such file", "Check the path"),
    "garbage": (lambda d: text_file(d / "ct.nii.gz", "garbage" * 99), "cannot be read", "Give a 3D CT as NIfTI"),
    "garbage DICOM": (
        lambda d: text_file(d / "ct.dcm", "\0" * 128 + "DICM" + "garbage" * 99),
        "damaged|cannot be read|not CT",
        "Export it again|Give a 3D CT",
    ),
    "truncated gz": (lambda d: truncated(write_image(d / "ct.nii.gz", NOISE)), "incomplete", "Copy or export"),
    "truncated nii": (lambda d: truncated(write_image(d / "ct.nii", NOISE)), "incomplete", "Copy or export"),
    "truncated nrrd": (lambda d: truncated(write_image(d / "ct.nrrd", NOISE)), "cannot be read", "Give a 3D CT"),
    "truncated mha": (lambda d: truncated(write_image(d / "ct.mha", NOISE)), "cannot be read", "Give a 3D CT"),
    "empty folder": (lambda d: empty_folder(d / "study"), "no DICOM files", "Choose the folder"),
    "folder of MR": (
        lambda d: write_series(d / "study", [[0, 0, 0], [0, 0, 2]], Modality="MR"),
        r"no CT slices \(only MR\)",
        "Choose the folder",
    ),
    "one slice of a series": (
        lambda d: write_series(d / "study", [[0, 0, 0]]) / "slice01",
        "single 2D slice",
        "Choose the folder",
    ),
    "folder of one slice": (lambda d: write_series(d / "study", [[0, 0, 0]]), "one 2D slice", "Choose the folder"),
    "2D": (lambda d: write_image(d / "ct.nrrd", HOUNSFIELD[0]), "single 2D image", "Give a 3D CT"),
    "3D of one slice": (lambda d: write_image(d / "ct.nrrd", HOUNSFIELD[:1]), "single 2D image", "Give a 3D CT"),
    "colour": (
        lambda d: write_image(d / "ct.nrrd", np.stack([HOUNSFIELD] * 3, -1), isVector=True),
        "colours or vectors",
        "Give a 3D CT",
    ),
    "complex": (lambda d: write_image(d / "ct.mha", HOUNSFIELD + 1j), "colours or vectors", "Give a 3D CT"),
    "4D": (
        lambda d: write_image(d / "ct.nrrd", np.stack([HOUNSFIELD, HOUNSFIELD]), isVector=False),
        "4 dimensions",
        "Save one time point",
    ),
    "constant": (lambda d: write_image(d / "ct.nrrd", np.zeros((3, 4, 5), np.int16)), "every voxel", "register"),
    "infinite": (
        lambda d: write_image(d / "ct.nrrd", np.where(HOUNSFIELD > 400, 1e300, HOUNSFIELD)),  # infinite in float32
        "not finite",
        "export it again",
    ),
    "normalised": (
        lambda d: write_image(d / "ct.nrrd", (HOUNSFIELD + 1000.0) / 1475),
        "not Hounsfield",
        "rescale slope and intercept",
    ),
    "missing slice": (
        lambda d: write_series(d / "study", [[0, 0, z] for z in (0, 2, 4, 8, 10)]),
        "2 to 4 mm apart",
        "Export the whole series",
    ),
    "two time points": (
        lambda d: write_series(d / "study", [[0, 0, z] for z in (0, 0, 2, 2)]),
        "same place",
        "Export one of them alone",
    ),
    "two equal series": (
        lambda d: write_series(
            write_series(d / "study", [[0, 0, 0], [0, 0, 2]], SeriesDescription="soft"),
            [[0, 0, 0], [0, 0, 2]],
            first_number=9,
            SeriesInstanceUID="1.2.9",
            SeriesDescription="bone",
        ),
        "'soft' .*'bone' ",
        "folder of its own",
    ),
    "no pixel spacing": (
        lambda d: write_series(d / "study", [[0, 0, 0], [0, 0, 2]], PixelSpacing=None),
        "pixel spacing is missing",
        "Export it again",
    ),
    "frames without positions": (
        lambda d: write_dicom(d / "ct.dcm", HOUNSFIELD, CTImageStorage, "CT"),
        "does not say where",
        "single slices",
    ),
    "multi-frame MR": (lambda d: write_dicom(d / "ct.dcm", HOUNSFIELD, MRImageStorage, "MR"), "MR, not CT", "Give a"),
}


def assert_names_fault_and_remedy(error: pytest.ExceptionInfo, path: Path, fault: str, remedy: str) -> None:
    assert error.match(f"(?s)^{path.name}: .*({fault}).*({remedy})")


@pytest.mark.parametrize("case", BAD_CTS)
def test_bad_ct_is_refused_with_name_and_remedy(tmp_path, case, capfd):
    make, fault, remedy = BAD_CTS[case]
    path = make(tmp_path)
    capfd.readouterr()
    with pytest.raises(InputError) as error:
        read_ct(path)
    assert_names_fault_and_remedy(error, path, fault, remedy)
    assert "WARNING" not in capfd.readouterr().err  # of ITK, beside the message


def test_truncated_slice_is_named(tmp_path):
    folder = write_series(tmp_path / "study", [[0, 0, z] for z in (0, 2, 4)], array=NOISE)
    truncated(folder / "slice02")
    with pytest.raises(InputError, match=r"^slice02: the file is incomplete.*Copy or export"):
        read_ct(folder)


def test_truncated_jpeg_2000_is_told(shared_data, tmp_path):
    path = tmp_path / "x.dcm"
    path.write_bytes((shared_data / "xray" / "dicom" / "cr_thorax.dcm").read_bytes())
    with pytest.raises(InputError, match=r"^x\.dcm: .*(ends before its last pixel|cannot be read).*(Export|Give)"):
        read_radiograph(truncated(path))


@pytest.mark.parametrize("name", ["ct.png", "ct", "absent/ct.nrrd"])
def test_ct_that_cannot_be_written_is_told(tmp_path, name):
    with pytest.raises(InputError, match=r"^ct(\.\w+)?: .*(ending|folder)"):
        write_ct(tmp_path / name, Volume(HOUNSFIELD, OBLIQUE))


# ---- X-ray ----


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


# ---- C-arm ----


@pytest.mark.parametrize("camera", ["cam1", "cam2"])
def test_real_calibration_fits_its_image(shared_data, camera):
    folder = shared_data / "xray" / "wrist"
    view = read_carm(folder / f"{camera}.json")
    check_image_size(read_radiograph(folder / f"frame0099_{camera}.png"), view, f"{camera}.json")
    assert view.size_px == (1760, 1760)


def test_written_carm_reads_back_as_the_same_view(tmp_path):
    (tmp_path / "parametric.json").write_text(json.dumps(CARM), encoding="utf-8-sig")  # with a byte order mark
    view = read_carm(tmp_path / "parametric.json")
    write_carm(tmp_path / "calibrated.json", view)
    again = read_carm(tmp_path / "calibrated.json")
    assert again.size_px == view.size_px == (640, 480)
    np.testing.assert_allclose(again.source, view.source, atol=1e-6)  # through the inverse of a matrix
    np.testing.assert_allclose(again.pixel_to_world, view.pixel_to_world, atol=1e-6)
    np.testing.assert_allclose(again.isocenter, view.isocenter, atol=1e-9)


BAD_CARMS = {
    "missing": (lambda d: d / "none.json", "no such file", "Check the path"),
    "folder": (lambda d: empty_folder(d / "carm.json"), "cannot be read", "Give a JSON file"),
    "invalid": (
        lambda d: text_file(d / "carm.json", '{\n  "image_size_px": [640, 480],\n  "view": PA\n}'),
        "line 3, column 11",
        "Correct it there",
    ),
    "empty": (lambda d: text_file(d / "carm.json", ""), "line 1", "Correct it there"),
    "a list": (lambda d: text_file(d / "carm.json", "[1, 2]"), "expected a JSON object", "README"),
    "an image": (lambda d: write_image(d / "carm.png", GREY), "no JSON text", "Give the C-arm"),
    "an entry missing": (lambda d: text_file(d / "carm.json", "{}"), "image_size_px is missing", "takes 2 numbers"),
}


@pytest.mark.parametrize("case", BAD_CARMS)
def test_bad_carm_file_is_refused_with_name_and_remedy(tmp_path, case):
    make, fault, remedy = BAD_CARMS[case]
    path = make(tmp_path)
    with pytest.raises(InputError) as error:
        read_carm(path)
    assert_names_fault_and_remedy(error, path, fault, remedy)


def test_carm_that_cannot_be_written_is_told(tmp_path):
    view = XrayView(np.array([0, 0, -700.0]), np.eye(4), (6, 5))
    with pytest.raises(InputError, match=r"^carm\.json: .*folder"):
        write_carm(tmp_path / "absent" / "carm.json", view)


@pytest.mark.parametrize(("shape", "hint"), [((640, 480), r"swapped: .*\[480, 640\]"), ((240, 320), "neither cropped")])
def test_image_of_another_size_than_the_geometry_is_told(tmp_path, shape, hint):
    view = read_carm(text_file(tmp_path / "carm.json", json.dumps(CARM)))
    check_image_size(Radiograph(np.zeros((480, 640), np.float32), "x.png"), view, "carm.json")
    radiograph = Radiograph(np.zeros(shape, np.float32), "x.png")
    sizes = rf"640 x 480 pixels.*x\.png has {shape[1]} x {shape[0]}\."
    with pytest.raises(InputError, match=rf"^carm\.json: .*{sizes}.*{hint}"):
        check_image_size(radiograph, view, "carm.json")
