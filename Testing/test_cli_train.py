"""`xrayct train` and `xrayct adapt`, from files to files."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner
from XrayCTRegistrationLib.cli import app
from XrayCTRegistrationLib.cli.train import Network
from XrayCTRegistrationLib.io.volumes import write_ct
from XrayCTRegistrationLib.networks.weights import ARCHITECTURES, load_network, network_named, save_weights
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.training.anatomy import Source
from XrayCTRegistrationLib.training.log import read_log
from XrayCTRegistrationLib.training.trainer import Recipe


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def ct(tmp_path) -> Path:
    path = tmp_path / "ct.nrrd"
    write_ct(path, synthetic_spine(0, spacing_mm=4.0, size_mm=(160.0, 140.0, 160.0)))
    return path


def test_the_command_line_knows_the_networks_of_the_library():
    assert {network.value for network in Network} == set(ARCHITECTURES)


def test_the_command_line_trains_by_the_librarys_recipe():
    options = {option.name: option.default for option in typer.main.get_command(app).commands["train"].params}
    recipe = Recipe(Source(()))
    for name in ("batch", "steps", "learning_rate", "residual_from", "seed"):
        assert options[name] == getattr(recipe, name), name
    assert options["network"] == recipe.network
    assert options["synthetic"] == recipe.source.synthetic_share


def test_training_writes_weights_checkpoint_log_and_plot_and_goes_on_where_it_stopped(ct, tmp_path):
    folder = tmp_path / "out"
    common = ["train", "--ct", str(ct), "--synthetic", "0", "--batch", "2", "--steps", "3", "-o", str(folder)]
    first = run(*common, "--max-minutes", "0")
    assert first.exit_code == 0, first.output
    assert read_log(folder / "log.csv") == []
    second = run(*common)
    assert second.exit_code == 0, second.output
    assert "3 of 3" in second.output
    assert [row.step for row in read_log(folder / "log.csv")] == [0, 1, 2]
    assert load_network(folder / "dual-branch.safetensors").name == "dual-branch"
    assert (folder / "log.png").read_bytes().startswith(b"\x89PNG")
    other = run(*common[:-4], "--steps", "9", "-o", str(folder))
    assert other.exit_code == 2
    assert "differs in steps" in other.output


def test_adapting_begins_with_the_given_weights(ct, tmp_path):
    save_weights(tmp_path / "prost.safetensors", network_named("prost"), {})
    arguments = ["--steps", "1", "--batch", "2", "--learning-rate", "0", "-o", str(tmp_path / "out")]
    result = run("adapt", str(ct), "--weights", str(tmp_path / "prost.safetensors"), *arguments)
    assert result.exit_code == 0, result.output
    begun, ended = (load_network(folder / "prost.safetensors").state_dict() for folder in (tmp_path, tmp_path / "out"))
    assert all(bool((begun[name] == ended[name]).all()) for name in begun)  # at a learning rate of 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--ct", "none.nrrd"], "none.nrrd: there is no such CT"),
        (["adapt", "none.nrrd"], "none.nrrd: there is no such CT"),
        (["adapt", "ct.nrrd", "--weights", "none.safetensors"], "none.safetensors: there are no weights"),
        (["register", "ct.nrrd", "ct.nrrd", "-g", "none.json", "--method", "learn"], "'learn' is not one of"),
    ],
)
def test_bad_input_ends_with_a_message(ct, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, "-o", "out")
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
