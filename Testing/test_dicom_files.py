"""DICOM files as old systems and export programs leave them: no preamble, no pixel spacing, folders
in folders, other orientations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import GREY, HOUNSFIELD, write_dicom, write_enhanced_ct, write_series
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ComputedRadiographyImageStorage
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.io.dicom_files import is_dicom
from XrayCTRegistrationLib.io.radiographs import read_radiograph
from XrayCTRegistrationLib.io.volumes import read_ct
from XrayCTRegistrationLib.xray import Polarity

POSITIONS = [[0, 0, z] for z in (0, 2, 4)]


def without_preamble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[132:])


def without_meta(path: Path, implicit: bool) -> None:
    """Leave the data set alone, its types written out or not."""
    dataset = dcmread(path)
    del dataset.file_meta
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, implicit
    write_dataset(buffer, dataset)
    path.write_bytes(buffer.getvalue())


STRIPPED = {
    "no preamble": without_preamble,
    "explicit data set": lambda path: without_meta(path, implicit=False),
    "implicit data set": lambda path: without_meta(path, implicit=True),
}


@pytest.mark.parametrize("how", STRIPPED)
def test_a_ct_series_without_preamble_is_the_same_ct(tmp_path, how):
    folder = write_series(tmp_path / "study", POSITIONS)
    expected = read_ct(folder)
    for path in folder.iterdir():
        STRIPPED[how](path)
    volume = read_ct(folder)
    np.testing.assert_array_equal(volume.array, HOUNSFIELD)
    np.testing.assert_array_equal(volume.ijk_to_world, expected.ijk_to_world)


def test_a_multi_frame_ct_without_preamble_is_the_same_ct(tmp_path):
    path = write_enhanced_ct(tmp_path / "ct.dcm", POSITIONS)
    without_preamble(path)
    np.testing.assert_array_equal(read_ct(path).array, HOUNSFIELD)


@pytest.mark.parametrize("how", STRIPPED)
@pytest.mark.parametrize(("shown", "polarity"), [("MONOCHROME1", Polarity.DARK), ("MONOCHROME2", Polarity.BRIGHT)])
def test_a_radiograph_without_preamble_keeps_values_and_polarity(tmp_path, how, shown, polarity):
    kind = ComputedRadiographyImageStorage
    path = write_dicom(tmp_path / "x", GREY, kind, "CR", PhotometricInterpretation=shown)
    STRIPPED[how](path)
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, GREY)
    assert radiograph.polarity == polarity


@pytest.mark.parametrize(
    "content",
    [b"", b"\x02\x00", b"\x08\x00" * 60, b"\x89PNG\r\n\x1a\n" + bytes(99), b'{"view": "PA"}' * 9, bytes(200)],
    ids=["empty", "short", "eights", "png", "json", "zeros"],
)
def test_other_files_are_no_dicom(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not is_dicom(path)


@pytest.mark.parametrize("spacing", [[0, 0], [0.7, 0], [-0.7, 0.7]])
def test_a_pixel_spacing_that_is_none_names_folder_and_remedy(tmp_path, spacing):
    folder = write_series(tmp_path / "study", POSITIONS, PixelSpacing=spacing)
    with pytest.raises(InputError, match=r"^study: .*pixel spacing is .*Export the series again"):
        read_ct(folder)


def test_a_disc_with_its_folders_names_the_folder_to_choose(tmp_path):
    for name, positions in (("SCOUT", POSITIONS[:1]), ("SER1", POSITIONS)):
        (tmp_path / "disc" / "DICOM").mkdir(parents=True, exist_ok=True)
        write_series(tmp_path / "disc" / "DICOM" / name, positions)
    for number in range(5):
        (tmp_path / "disc" / "VIEWER").mkdir(exist_ok=True)
        (tmp_path / "disc" / "VIEWER" / f"{number}.dll").write_bytes(b"MZ")
    with pytest.raises(InputError, match=r"^disc: .*no DICOM files.*Choose the folder.* below it are in DICOM/SER1\.$"):
        read_ct(tmp_path / "disc")


def test_a_patient_who_lay_the_other_way_stands_where_the_tags_say(tmp_path):
    """Prone, feet first: columns run to the right, rows to the front."""
    positions, turned = [[10, 20, z] for z in (0, 2, 4)], [-1, 0, 0, 0, -1, 0]
    folder = write_series(tmp_path / "series", positions, ImageOrientationPatient=turned)
    volume = read_ct(folder)
    np.testing.assert_array_equal(volume.array, HOUNSFIELD)
    expected = [[-0.8, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.ijk_to_world, expected, atol=1e-9)


def test_a_series_that_ends_early_is_a_shorter_ct(tmp_path):
    folder = write_series(tmp_path / "series", POSITIONS)
    (folder / "slice03").unlink()
    np.testing.assert_array_equal(read_ct(folder).array, HOUNSFIELD[:2])
