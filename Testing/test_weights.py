"""Weights of networks in files: they come back as they went, and every wrong file is told from a right one."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.evaluation.convexity import convexity
from XrayCTRegistrationLib.networks.weights import (
    ARCHITECTURES,
    load_network,
    network_named,
    save_weights,
    shipped_weights,
)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_weights(path, network_named("sopi"), {"steps": 3, "seed": 1})
    return path


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_weights_come_back_as_they_went(name, tmp_path):
    network, path = network_named(name), tmp_path / "w.safetensors"
    save_weights(path, network, {"steps": 3})
    loaded = load_network(path)
    assert loaded.name == name
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    for key, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key])
    assert path.stat().st_size < 20_000_000  # what a Slicer extension may carry


def test_the_file_says_what_it_holds(weights):
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    assert (metadata["architecture"], metadata["version"]) == ("sopi", "1")
    assert json.loads(metadata["facts"]) == {"steps": 3, "seed": 1}


def test_missing_weights_are_an_input_error_with_the_path(tmp_path):
    with pytest.raises(InputError, match=r"nothere\.safetensors.*no weights"):
        load_network(tmp_path / "nothere.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_weights_that_were_cut_off_are_an_input_error(weights, share):
    content = weights.read_bytes()
    weights.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"mine\.safetensors.*no complete safetensors file"):
        load_network(weights)


def test_another_kind_of_file_is_an_input_error(tmp_path):
    path = tmp_path / "w.safetensors"
    torch.save({"a": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="no complete safetensors file"):
        load_network(path)


@pytest.mark.parametrize("metadata", [None, {"architecture": "resnet", "version": "1"}, {"architecture": "sopi"}])
def test_weights_of_an_unknown_network_or_version_are_an_input_error(tmp_path, metadata):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(3)}, path, metadata)
    with pytest.raises(InputError, match="Known are: dual-branch version 1"):
        load_network(path)


def test_tensors_that_do_not_fit_the_network_are_an_input_error(tmp_path):
    path = tmp_path / "w.safetensors"
    state = network_named("sopi").state_dict()
    state.popitem()
    save_file(state, path, {"architecture": "sopi", "version": "1"})
    with pytest.raises(InputError, match="do not fit"):
        load_network(path)


def test_weights_that_are_not_finite_are_an_input_error(tmp_path):
    path, network = tmp_path / "w.safetensors", network_named("sopi")
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    save_weights(path, network, {})
    with pytest.raises(InputError, match="not finite"):
        load_network(path)


def test_an_unknown_name_is_an_input_error():
    with pytest.raises(InputError, match="no network 'resnet'"):
        network_named("resnet")


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_weights_are_shipped_with_the_modules_resources(name):
    path = shipped_weights(name)
    assert path.parts[-3:] == ("Resources", "Models", f"{name}.safetensors")
    assert load_network(path).name == name
    assert path.stat().st_size < 20_000_000


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_shipped_networks_point_to_the_truth_on_a_ct_they_have_not_seen(name, shared_data):
    rows = convexity(load_network(shipped_weights(name)), [shared_data / "ct" / "lidc_0001.nii.gz"], cases=48)
    means = {row.part: row.mean for row in rows if row.least == 20.0}
    assert means["rotation"] > 0.5
    assert means["translation"] > 0.5
