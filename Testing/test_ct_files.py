"""CTs in and out, and what bad files are told."""

from __future__ import annotations

import gzip
import logging

import numpy as np
import pytest
import SimpleITK as sitk
from bad_files import NOISE, assert_names_fault_and_remedy, empty_folder, text_file, truncated
from image_files import HOUNSFIELD, write_dicom, write_enhanced_ct, write_image, write_series
from pydicom.uid import (
    CTImageStorage,
    MRImageStorage,
    RTStructureSetStorage,
)
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.io.volumes import read_ct, write_ct
from XrayCTRegistrationLib.volume import Volume

OBLIQUE = np.array([[0.0, -0.8, 0, 7], [-0.6, 0, 0, -3], [0, 0, -2.5, 40], [0, 0, 0, 1]])


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


@pytest.mark.parametrize("name", ["ct.png", "ct", "absent/ct.nrrd"])
def test_ct_that_cannot_be_written_is_told(tmp_path, name):
    with pytest.raises(InputError, match=r"^ct(\.\w+)?: .*(ending|folder)"):
        write_ct(tmp_path / name, Volume(HOUNSFIELD, OBLIQUE))
