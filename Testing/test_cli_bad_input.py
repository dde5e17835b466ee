"""The command line and bad input: one message that names file and remedy, and nothing written."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from cli_case import CARM, REGISTER, link_into, run, simulate_into
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from XrayCTRegistrationLib.geometry import Pose
from XrayCTRegistrationLib.io.poses import read_pose, write_pose
from XrayCTRegistrationLib.io.volumes import read_ct


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    return simulate_into(tmp_path_factory.mktemp("simulated"))


@pytest.fixture
def inputs(simulated, tmp_path, monkeypatch) -> Path:
    """A working folder of its own with links to the simulated files."""
    link_into(tmp_path, simulated)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write_ct(name: str, array: np.ndarray) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(array), name)


def _spoiled(value: float) -> np.ndarray:
    array = read_ct("ct.nrrd").array.astype(np.float32)
    array[3, 3, 3] = value
    return array


def _write_dicom(name: str, kind: str, modality: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = kind, meta.MediaStorageSOPInstanceUID, modality
    dataset.Rows = dataset.Columns = 64
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = np.arange(4096, dtype=np.uint16).tobytes()
    pydicom.dcmwrite(name, dataset)


def _write_carm(name: str, **changes: object) -> None:
    Path(name).write_text(json.dumps(CARM | changes))


def _write_matrix(name: str, matrix: np.ndarray) -> None:
    np.savetxt(name, matrix)


# name, what makes the file, arguments instead of the right ones (CT, X-ray, geometry, start), words of the remedy
BAD = {
    "missing CT": ("no.nrrd", lambda name: None, 0, "Check the path"),
    "missing X-ray": ("no.png", lambda name: None, 1, "Check the path"),
    "missing geometry": ("no.json", lambda name: None, 2, "Check the path"),
    "missing pose": ("no.tfm", lambda name: None, 3, "Check the path"),
    "unreadable CT": ("bad.nrrd", lambda name: Path(name).write_bytes(b"NRRD0004\nrubbish"), 0, "Give a 3D CT"),
    "unreadable X-ray": ("bad.png", lambda name: Path(name).write_bytes(b"\x89PNG rubbish"), 1, "Give one X-ray"),
    "unreadable geometry": ("bad.json", lambda name: Path(name).write_text("{"), 2, "Correct it there"),
    "unreadable pose": ("bad.tfm", lambda name: Path(name).write_text("rubbish"), 3, "Give a rigid transform"),
    "2D CT": ("flat.nrrd", lambda name: _write_ct(name, np.zeros((9, 9), np.int16)), 0, "Give a 3D CT"),
    "X-ray in the CT's place": ("xray.png", lambda name: None, 0, "an X-ray comes after the CT"),
    "CT in the X-ray's place": ("ct.nrrd", lambda name: None, 1, "it belongs in the CT's place"),
    "X-ray stack": ("stack.nrrd", lambda name: _write_ct(name, np.ones((3, 64, 64))), 1, "choose a frame"),
    "CT of one value": ("one.nrrd", lambda name: _write_ct(name, np.full((9, 9, 9), 40.0)), 0, "nothing to register"),
    "CT with infinity": ("inf.nrrd", lambda name: _write_ct(name, _spoiled(np.inf)), 0, "export it again"),
    "label map as CT": (
        "map.nrrd",
        lambda name: _write_ct(name, np.arange(729.0).reshape(9, 9, 9) % 118),
        0,
        "rescale slope",
    ),
    "image size against geometry": (
        "big.json",
        lambda name: _write_carm(name, image_size_px=[64, 80]),
        2,
        "Give the X",
    ),
    "scaled pose": ("scaled.txt", lambda name: _write_matrix(name, np.diag([2, 2, 2, 1])), 3, "not rigid"),
    "singular pose": ("singular.txt", lambda name: _write_matrix(name, np.diag([1, 1, 0, 1])), 3, "Give a rigid"),
    "detector behind the source": (
        "behind.json",
        lambda name: _write_carm(name, source_to_detector_mm=-1000),
        2,
        "Give a",
    ),
    "detector before the isocentre": (
        "near.json",
        lambda name: _write_carm(name, source_to_detector_mm=600),
        2,
        "larger",
    ),
    "DICOM that is no CT": ("mr.dcm", lambda name: _write_dicom(name, MRImageStorage, "MR"), 0, "Give a 3D CT"),
    "DICOM that is no X-ray": ("slice.dcm", lambda name: _write_dicom(name, CTImageStorage, "CT"), 1, "Give one X-ray"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_one_message_that_names_file_and_remedy_and_writes_nothing(case, inputs):
    name, make, place, remedy = BAD[case]
    make(name)
    given = ["ct.nrrd", "xray.png", "carm.json", "start.tfm"]
    given[place] = name
    ct, xray, geometry, start = given
    result = run("register", ct, xray, "-g", geometry, "--init", start, "-o", "out")
    _assert_refused(result, name, remedy)


def _assert_refused(result, name: str, remedy: str) -> None:
    assert result.exit_code == 2, result.output
    assert name in result.output
    assert remedy in result.output
    assert "Traceback" not in result.output
    assert len([line for line in result.output.splitlines() if line.startswith("Error")]) == 1
    assert not Path("out").is_dir() or list(Path("out").iterdir()) == []


def test_a_ct_outside_the_view_is_refused_by_register_and_simulate(inputs):
    aside = read_pose("pose.tfm")
    write_pose("aside.tfm", Pose.from_parts(aside.rotation, aside.translation_mm + np.array([900.0, 0, 0])))
    _assert_refused(run(*REGISTER, "--init", "aside.tfm"), "xray.png", "Check the geometry's isocentre")
    simulated = run("simulate", "ct.nrrd", "-g", "carm.json", "--pose", "aside.tfm", "-o", "out")
    _assert_refused(simulated, "carm.json", "Check the geometry's isocentre")


@pytest.mark.parametrize(
    ("extra", "name", "remedy"),
    [
        (["-g", "carm.json"], "xray.png", "Give --geometry once per X-ray"),
        (["--mask", "start.tfm", "--mask", "none"], "start.tfm", "Give --mask once per X-ray"),
        (["--mask", "no.png"], "no.png", "Check the path"),
        (["--mask", "small.png"], "small.png", "Give a grey image of the size of xray.png"),
        (["--mask", "empty.png"], "empty.png", "nonzero where"),
        (["--init", "search"], "--init search", "--method auto or search"),
    ],
)
def test_options_that_do_not_fit_are_refused(inputs, extra, name, remedy):
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((9, 9), np.uint8)), "small.png")
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((64, 64), np.uint8)), "empty.png")
    _assert_refused(run(*REGISTER, *extra), name, remedy)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none_is_refused(inputs):
    _assert_refused(run(*REGISTER, "--device", "cuda"), "cuda", "Choose the device cpu or auto")


@pytest.mark.parametrize("command", ["register", "simulate", "demo", "evaluate"])
def test_an_output_folder_that_cannot_be_written_is_found_before_anything_is_read(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")  # a folder below a file cannot be made, not even by root
    given = {"register": ["no.nrrd", "no.png", "-g", "no.json"], "simulate": ["no.nrrd", "-g", "no.json"]}
    given |= {"demo": ["--ct", "no.nrrd"], "evaluate": ["--ct", "no.nrrd"]}
    result = run(command, *given[command], "-o", "file/out")
    _assert_refused(result, "file/out", "Choose another folder")


def test_files_that_only_the_system_refuses_give_a_message_too(inputs, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out/pose.tfm")

    monkeypatch.setattr("XrayCTRegistrationLib.cli.report.write_pose", full)
    _assert_refused(run(*REGISTER, "--init", "start.tfm"), "out/pose.tfm", "space on the disk")


@pytest.mark.parametrize(
    ("arguments", "name", "remedy"),
    [
        (["--pose", "pose.tfm", "--random-pose", "1"], "pose.tfm", "Give one of them"),
        (["--photons", "50000", "--scatter", "2"], "--photons", "Give at most"),
    ],
)
def test_simulate_refuses_what_contradicts_itself(inputs, arguments, name, remedy):
    _assert_refused(run("simulate", "ct.nrrd", "-g", "carm.json", *arguments, "-o", "out"), name, remedy)


def test_errors_go_to_the_error_stream_of_the_process_with_exit_code_2(tmp_path):
    code = "from XrayCTRegistrationLib.cli import main; main()"
    arguments = ["simulate", "no.nrrd", "-g", "no.json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: no.json: there is no such file")
    assert len(done.stderr.strip().splitlines()) == 1
