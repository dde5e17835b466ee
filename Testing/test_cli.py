"""The command line: from files to files, interruption, and what it says of itself."""

from __future__ import annotations

import errno
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import typer
from cli_case import CARM, REGISTER, RESULTS, link_into, run, simulate_into
from XrayCTRegistrationLib import registration
from XrayCTRegistrationLib.cli import app, stages
from XrayCTRegistrationLib.cli.options import Method
from XrayCTRegistrationLib.geometry import Pose
from XrayCTRegistrationLib.io.folders import published
from XrayCTRegistrationLib.io.poses import read_pose
from XrayCTRegistrationLib.io.volumes import read_ct, write_ct
from XrayCTRegistrationLib.state import RegistrationState
from XrayCTRegistrationLib.volume import Volume


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    return simulate_into(tmp_path_factory.mktemp("simulated"))


@pytest.fixture
def inputs(simulated, tmp_path, monkeypatch) -> Path:
    """A working folder of its own with links to the simulated files."""
    link_into(tmp_path, simulated)
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
