"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from panel_host import Host
    from XrayCTRegistrationLib.volume import Volume

# The tests' matrices are tiny: on two cores, threads of torch's that wait for each other took ten times as long as one.
# Set before torch is imported, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CTs and X-rays that stands beside a developer's checkout; it is not part of the repository."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"development data is absent: {folder} is no folder")
    return folder


@pytest.fixture(scope="session")
def running_host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    pytest.importorskip("slicer", reason="the panel host needs slicer-core")
    pytest.importorskip("PySide6", reason="the panel host needs PySide6")
    from panel_host import running_host

    module = REPOSITORY / "XrayCTRegistration" / "XrayCTRegistration.py"
    return running_host(module, tmp_path_factory.mktemp("panel-host"))


@pytest.fixture
def sample_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CT of the sample takes a second to make and is always the same: for tests that load the sample often."""
    pytest.importorskip("slicer", reason="the sample needs slicer-core")
    from XrayCTRegistrationLib.mrml import sample

    monkeypatch.setattr(sample, "synthetic_spine", _spine_made_once)


@cache
def _spine_made_once(spacing_mm: float) -> Volume:
    from XrayCTRegistrationLib.phantom import synthetic_spine

    return synthetic_spine(spacing_mm=spacing_mm)


@pytest.fixture
def host(running_host: Host) -> Iterator[Host]:
    """The module in the panel host, with an empty scene. A test in which Qt or VTK met an exception fails, and one in
    which the panel told of an error that nobody had thought of."""
    running_host.errors.clear()  # of tests in between that use MRML alone
    with running_host.active():
        yield running_host
    errors, running_host.errors[:] = list(running_host.errors), []
    assert not errors
    assert not [message for message in running_host.messages.shown if "should not have happened" in message.text]


@pytest.fixture
def open_scene(tmp_path: Path) -> Callable[[Path], Any]:
    """Open a bundle as Slicer does. Of slicer-core this takes the scene, and a data manager whose cache folder is
    where a bundle is unpacked; points are read by a storage class that the Markups module registers in Slicer."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    opened = []  # a node outlives its scene, but not its references to other nodes

    def open_bundle(path: Path) -> Any:
        cache = slicer.vtkCacheManager()
        (tmp_path / "cache").mkdir(exist_ok=True)
        cache.SetRemoteCacheDirectory(str(tmp_path / "cache"))
        manager = slicer.vtkDataIOManager()
        manager.SetCacheManager(cache)
        scene = slicer.vtkMRMLScene()
        opened.append(scene)
        scene.SetDataIOManager(manager)
        scene.RegisterNodeClass(slicer.vtkMRMLMarkupsJsonStorageNode())
        messages = slicer.vtkMRMLMessageCollection()
        assert scene.ReadFromMRB(str(path), True, messages), messages.GetAllMessagesAsString()
        assert messages.GetAllMessagesAsString() == ""
        return scene

    return open_bundle
