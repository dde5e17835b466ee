"""The command line: from files to files, bad input, interruption."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
import typer
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from typer.testing import CliRunner
from XrayCTRegistrationLib import registration
from XrayCTRegistrationLib.cli import app, stages
from XrayCTRegistrationLib.cli.options import Method
from XrayCTRegistrationLib.geometry import Pose
from XrayCTRegistrationLib.io.folders import published
from XrayCTRegistrationLib.io.poses import read_pose, write_pose
from XrayCTRegistrationLib.io.volumes import read_ct, write_ct
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.state import RegistrationState
from XrayCTRegistrationLib.volume import Volume

CARM = {
    "source_to_detector_mm": 1000,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [2.5, 2.5],
    "image_size_px": [64, 64],
}
RESULTS = ["overlay.png", "pose.tfm", "report.json", "scene.mrb"]
REGISTER = ["register", "ct.nrrd", "xray.png", "-g", "carm.json", "--method", "gradient", "-o", "out"]


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    """A folder with a small CT, a C-arm, the X-ray that `xrayct simulate` makes of them, its true pose, and a start
    that is 4 degrees and 5 mm off."""
    folder = tmp_path_factory.mktemp("simulated")
    ct = synthetic_spine(0, spacing_mm=3.0, size_mm=(120.0, 110.0, 130.0))
    write_ct(folder / "ct.nrrd", ct)
    (folder / "carm.json").write_text(json.dumps(CARM))
    files = [str(folder / name) for name in ("ct.nrrd", "carm.json")]
    result = run("simulate", files[0], "-g", files[1], "--random-pose", "1", "-o", str(folder / "made"))
    assert result.exit_code == 0, result.output
    for name in ("xray.png", "pose.tfm", "geometry.json"):
        (folder / "made" / name).rename(folder / name)
    true = read_pose(folder / "pose.tfm")
    start = true.moved(np.array([0.04, -0.03, 0.05, 3.0, -4.0, 0.0]), true.apply(ct.center))
    write_pose(folder / "start.tfm", start)
    return folder


@pytest.fixture
def inputs(simulated, tmp_path, monkeypatch) -> Path:
    """A working folder of its own with links to the simulated files."""
    for path in simulated.iterdir():
        if path.is_file():
            (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_was_simulated_is_registered_and_every_output_can_be_read(inputs):
    result = run(*REGISTER, "--init", "start.tfm")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path("out").iterdir()) == RESULTS
    pose, true = read_pose("out/pose.tfm"), read_pose("pose.tfm")
    center = read_ct("ct.nrrd").center
    # Noise of 20000 photons on 64 x 64 pixels leaves some tenths of a degree and, in depth, a few millimetres.
    assert (pose @ true.inverse()).rotation_angle_deg() < 1.0
    assert np.linalg.norm(pose.apply(center) - true.apply(center)) < 4.0
    report = json.loads(Path("out/report.json").read_text())
    np.testing.assert_allclose(report["ct_to_world"], pose.matrix, atol=1e-9)
    assert report["interrupted"] is False
    assert report["similarity"] > report["similarity_before"]
    assert report["confidence"]["level"] in ("high", "moderate", "low")
    assert report["xrays"][0]["high_absorption_is"] == "dark"
    assert report["versions"]["torch"] == torch.__version__
    assert zipfile.ZipFile("out/scene.mrb").testzip() is None
    picture = sitk.GetArrayFromImage(sitk.ReadImage("out/overlay.png"))
    assert picture.shape[2] == 3
    for said in ("Similarity", "Moved", "Confidence", "Seconds", "pose.tfm"):
        assert said in result.output


def test_the_automatic_method_needs_no_start_near_the_truth(inputs):
    result = run("register", "ct.nrrd", "xray.png", "-g", "carm.json", "--polarity", "dark", "-o", "out")
    assert result.exit_code == 0, result.output
    center = read_ct("ct.nrrd").center
    pose, true = read_pose("out/pose.tfm"), read_pose("pose.tfm")
    assert (pose @ true.inverse()).rotation_angle_deg() < 1.0  # as above
    assert np.linalg.norm(pose.apply(center) - true.apply(center)) < 4.0


def test_the_same_seed_gives_the_same_bytes(inputs):
    for folder in ("first", "second"):
        arguments = [*REGISTER[:-1], folder, "--init", "start.tfm", "--seed", "3"]
        assert run(*arguments).exit_code == 0
        seed = ["--seed", "3", "--random-pose", "2", "-o", f"{folder}-simulated"]
        assert run("simulate", "ct.nrrd", "-g", "carm.json", *seed).exit_code == 0
    assert Path("first/pose.tfm").read_bytes() == Path("second/pose.tfm").read_bytes()
    for name in ("xray.png", "pose.tfm"):
        assert Path("first-simulated", name).read_bytes() == Path("second-simulated", name).read_bytes()


def test_several_views_are_registered_together_with_masks_in_their_order(inputs):
    mask = np.ones((64, 64), np.uint8)
    mask[:4] = 0
    sitk.WriteImage(sitk.GetImageFromArray(mask), "mask.png")
    Path("lateral.json").write_text(json.dumps(CARM | {"view": "LAT"}))
    assert run("simulate", "ct.nrrd", "-g", "lateral.json", "--pose", "pose.tfm", "-o", "lateral").exit_code == 0
    views = ["ct.nrrd", "xray.png", "lateral/xray.png", "-g", "carm.json", "-g", "lateral.json"]
    result = run("register", *views, "--mask", "none", "--mask", "mask.png", *REGISTER[5:], "--init", "start.tfm")
    assert result.exit_code == 0, result.output
    pose, true = read_pose("out/pose.tfm"), read_pose("pose.tfm")
    center = read_ct("ct.nrrd").center
    assert np.linalg.norm(pose.apply(center) - true.apply(center)) < 1.0  # two views see each other's depth
    masks = [xray["mask"] for xray in json.loads(Path("out/report.json").read_text())["xrays"]]
    assert masks == [None, "mask.png"]


def _interrupt_after(steps_before: int, monkeypatch) -> list[RegistrationState]:
    """Let Ctrl-C be pressed after some steps of a registration; returns the states, as they are shown."""
    shown: list[RegistrationState] = []

    def interrupted(stage):
        def steps(*arguments):
            states = stage(*arguments)
            while True:
                try:
                    state = next(states)
                except StopIteration as end:
                    return end.value
                if len(shown) == steps_before:
                    raise KeyboardInterrupt
                shown.append(state)
                yield state

        return steps

    for name in ("prepared_steps", "registered_problem_steps"):
        monkeypatch.setattr(registration, name, interrupted(getattr(registration, name)))
    return shown


def test_an_interruption_keeps_the_best_pose_and_says_so(inputs, monkeypatch):
    shown = _interrupt_after(12, monkeypatch)
    result = run(*REGISTER, "--init", "start.tfm")
    assert result.exit_code == 130
    assert "Interrupted" in result.output
    assert "out/pose.tfm" in result.output
    assert sorted(path.name for path in Path("out").iterdir()) == ["pose.tfm", "report.json"]
    np.testing.assert_allclose(read_pose("out/pose.tfm").matrix, shown[-1].pose.matrix, atol=1e-9)
    report = json.loads(Path("out/report.json").read_text())
    assert report["interrupted"] is True
    np.testing.assert_allclose(report["ct_to_world"], shown[-1].pose.matrix)


def test_an_interruption_before_the_first_pose_writes_nothing(inputs, monkeypatch):
    _interrupt_after(0, monkeypatch)
    result = run(*REGISTER)
    assert result.exit_code == 130
    assert "Nothing was written" in result.output
    assert list(Path("out").iterdir()) == []


def test_an_interrupted_run_leaves_no_picture_of_an_earlier_result_beside_its_pose(inputs, monkeypatch):
    Path("out").mkdir()
    for name in RESULTS:
        Path("out", name).write_text("of an earlier run")
    _interrupt_after(2, monkeypatch)
    assert run(*REGISTER, "--init", "start.tfm").exit_code == 130
    assert sorted(path.name for path in Path("out").iterdir()) == ["pose.tfm", "report.json"]


def test_an_error_while_writing_leaves_the_results_of_an_earlier_run(tmp_path):
    (tmp_path / "pose.tfm").write_text("earlier")

    def fail_halfway():
        with published(tmp_path, ["pose.tfm", "report.json"]) as hidden:
            (hidden / "pose.tfm").write_text("new")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail_halfway()
    assert [path.name for path in tmp_path.iterdir()] == ["pose.tfm"]
    assert (tmp_path / "pose.tfm").read_text() == "earlier"


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


def test_simulated_counts_follow_the_photons_and_scatter_adds_to_them(inputs):
    means = []
    for extra in ([], ["--scatter", "0.5", "--scatter-width", "2"]):
        arguments = ["--pose", "pose.tfm", "--photons", "10000", *extra, "-o", "made"]
        assert run("simulate", "ct.nrrd", "-g", "carm.json", *arguments).exit_code == 0
        means.append(sitk.GetArrayFromImage(sitk.ReadImage("made/xray.png")).astype(float))
    assert abs(means[0].max() - 10000) < 600  # the open beam: six times the Poisson noise of 100
    assert means[1].sum() == pytest.approx(1.5 * means[0].sum(), rel=0.01)  # smoothing loses little over the border
    assert Path("made/geometry.json").read_bytes() == Path("carm.json").read_bytes()
    np.testing.assert_allclose(read_pose("made/pose.tfm").matrix, read_pose("pose.tfm").matrix, atol=1e-9)


def test_errors_go_to_the_error_stream_of_the_process_with_exit_code_2(tmp_path):
    code = "from XrayCTRegistrationLib.cli import main; main()"
    arguments = ["simulate", "no.nrrd", "-g", "no.json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: no.json: there is no such file")
    assert len(done.stderr.strip().splitlines()) == 1


def test_every_command_and_every_option_is_explained():
    commands = typer.main.get_command(app).commands
    assert set(commands) == {"demo", "register", "simulate", "evaluate", "calibrate", "train", "adapt"}
    for name, command in commands.items():
        assert command.help
        assert all(parameter.help for parameter in command.params), name
        assert run(name, "--help").exit_code == 0


def test_the_command_line_knows_the_methods_of_the_library():
    assert {method.value for method in Method} == set(registration.METHODS)


def test_demo_with_an_own_ct_reports_the_true_errors(inputs):
    result = run("demo", "--ct", "ct.nrrd", "-o", "out")
    assert result.exit_code == 0, result.output
    assert {*RESULTS, "xray.png", "geometry.json", "true_pose.tfm"} == {path.name for path in Path("out").iterdir()}
    for said in ("True mTRE", "Rotation error", "In-plane error", "Depth error", "Seconds"):
        assert said in result.output
    start = json.loads(Path("out/report.json").read_text())["start_ct_to_world"]
    moved = read_pose("out/true_pose.tfm") @ Pose(np.array(start)).inverse()
    assert moved.rotation_angle_deg() > 5 or np.linalg.norm(moved.translation_mm) > 30  # the start is far


def test_evaluate_takes_several_cts_after_one_option_and_writes_its_tables(inputs):
    pytest.importorskip("matplotlib", reason="the plot is of the evaluation extra")
    small = read_ct("ct.nrrd")
    write_ct("other.nrrd", Volume(small.array[:, :, ::-1].copy(), small.ijk_to_world))
    arguments = ["--cases", "1", "--method", "gradient", "--seed", "0", "-o", "out"]
    result = run("evaluate", "--protocol", "seed", "--ct", "ct.nrrd", "other.nrrd", *arguments)
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in Path("out").iterdir())
    assert names == ["cases.csv", "cases.jsonl", "success.png", "summary.csv", "summary.md"]
    assert len(Path("out/cases.csv").read_text().splitlines()) == 1 + 2 * 2  # start and gradient on two CTs
    assert "other.nrrd" in result.output


def test_evaluate_without_a_ct_says_what_is_missing(tmp_path):
    result = run("evaluate", "-o", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "Give --ct" in result.output


def test_the_compilation_is_announced_only_where_nothing_compiled_is_kept(monkeypatch, capsys, tmp_path):
    cpu = pytest.importorskip("XrayCTRegistrationLib.projector.cpu", reason="Numba is not installed")

    class Kernel:
        signatures: list = []  # noqa: RUF012
        stats = type("Stats", (), {"cache_path": str(tmp_path)})

        def __init__(self, name: str) -> None:
            self.__name__ = name

    names = ("_draw", "_draw_with_jacobian")
    for name in names:
        monkeypatch.setattr(cpu, name, Kernel(name))
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    for name in names:
        stages.announce_compilation()
        assert "Compiling the projector" in capsys.readouterr().out
        (tmp_path / f"cpu.{name}-118.{python}.nbi").write_bytes(b"")
    stages.announce_compilation()
    assert capsys.readouterr().out == ""
