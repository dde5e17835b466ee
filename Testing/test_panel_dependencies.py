"""Packages for the GPU, offered only to those who ask for the GPU, and the fallback for 3D Slicer 5.10."""

from __future__ import annotations

import importlib.util
import sys

import pytest

pytest.importorskip("slicer", reason="the panel host needs slicer-core")


@pytest.fixture
def gpu(host, monkeypatch):
    """A machine where torch finds a GPU, and numba-cuda is installed once the host says so."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "some GPU")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    find_spec = importlib.util.find_spec

    def found(name, package=None):
        if name != "numba_cuda":
            return find_spec(name, package)
        return importlib.util.spec_from_loader(name, None) if host.packages.installed else None

    dependencies = sys.modules["XrayCTRegistrationLib.panel.dependencies"]
    monkeypatch.setattr(dependencies, "find_spec", found)
    host.packages.installed.clear()
    host.packages.absent.add("numba-cuda")
    return dependencies


def test_numba_cuda_of_the_right_cuda_is_offered(host, gpu):
    gpu.ensure_gpu()
    assert host.packages.installed == ["numba-cuda[cu13]>=0.30"]
    assert len(host.messages.shown) == 1  # asked once
    gpu.ensure_gpu()
    assert len(host.messages.shown) == 1


def test_declining_says_what_to_choose_instead(host, gpu):
    from XrayCTRegistrationLib.errors import InputError

    host.messages.answers.append(sys.modules["qt"].QMessageBox.Cancel)
    with pytest.raises(InputError, match=r"numba-cuda, which was not installed\. Choose to compute on the processor"):
        gpu.ensure_gpu()
    assert not host.packages.installed


def test_where_there_is_no_gpu_nothing_is_offered(host, gpu, monkeypatch):
    import torch
    from XrayCTRegistrationLib.errors import InputError

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"no CUDA GPU here\. Choose to compute on the processor"):
        gpu.ensure_gpu()
    assert not host.messages.shown


def test_slicer_5_10_asks_by_itself_and_installs_what_the_file_names(host, monkeypatch):
    import slicer
    from XrayCTRegistrationLib.errors import InputError

    dependencies = sys.modules["XrayCTRegistrationLib.panel.dependencies"]
    asked_for = []
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(dependencies, "find_spec", lambda name: find_spec(name) if name != "cma" or asked_for else None)
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", asked_for.append)
    host.messages.answers.append(sys.modules["qt"].QMessageBox.Cancel)
    with pytest.raises(InputError, match="were not installed"):
        dependencies.ensure(host.panel.resourcePath("requirements.txt"))
    assert not asked_for
    dependencies.ensure(host.panel.resourcePath("requirements.txt"))
    assert asked_for == ["numba>=0.60 cma>=4.0 safetensors>=0.4"]
