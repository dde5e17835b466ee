"""The extension as it is shipped: the module runs from the files that CMake's lists name, and from nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY
from test_extension_files import listed

RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {testing!r})
from panel_host import running_host
host = running_host(Path({module!r}), Path({folder!r}))
with host.active():
    host.press(host.ui.loadSampleButton)
    host.wait(lambda: host.ui.registerButton.enabled, 120)
    for name in list(sys.modules):
        file = getattr(sys.modules[name], "__file__", None)
        if name.partition(".")[0] == "XrayCTRegistrationLib" and file:
            assert Path(file).is_relative_to(Path({module!r}).parent), file
    from XrayCTRegistrationLib.networks.weights import load_network, shipped_weights
    load_network(shipped_weights())
assert not host.errors and not host.messages.shown, (host.errors, host.messages.shown)
print("ran")
"""


def test_the_module_runs_from_the_files_that_are_packaged(tmp_path):
    pytest.importorskip("slicer", reason="the panel host needs slicer-core")
    pytest.importorskip("PySide6", reason="the panel host needs PySide6")
    shipped = tmp_path / "qt-scripted-modules"
    for name in listed("MODULE_PYTHON_SCRIPTS") | listed("MODULE_PYTHON_RESOURCES"):
        copy = shipped / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "XrayCTRegistration" / name, copy)
    (tmp_path / "settings").mkdir()
    run = RUN.format(
        testing=str(REPOSITORY / "Testing"),
        module=str(shipped / "XrayCTRegistration.py"),
        folder=str(tmp_path / "settings"),
    )
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run([sys.executable, "-c", run], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("ran\n")


def test_pictures_stay_below_a_megabyte_in_all():
    folders = (REPOSITORY / name for name in ("Resources", "XrayCTRegistration", "Testing"))
    sizes = [path.stat().st_size for folder in folders for path in folder.rglob("*.png")]
    assert len(sizes) > 8
    assert sum(sizes) < 1_000_000


@pytest.fixture
def address(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "Resources"))
    import address

    return address


def test_the_repositorys_address_is_the_one_of_its_entry_in_the_index(address):
    page = address.address()
    name = page.rpartition("/")[2]
    places = 0
    for file in address.REPEATED:
        text = (REPOSITORY / file).read_text(encoding="utf-8")
        for word in text.split():
            if f"/{name}" in word and "github" in word:
                places += 1
                assert page in word or address.raw(page) in word, (file, word)
    assert places >= 5


def test_publishing_elsewhere_is_one_command(address, tmp_path, monkeypatch):
    """Every file that has the address is changed, and none is forgotten."""
    old, new = address.address(), "https://github.com/somebody/SlicerXrayCTRegistration2"
    texts = {
        path: path.read_text(encoding="utf-8")
        for pattern in ("*.*", "Resources/**/*.*", "XrayCTRegistration/**/*.*")
        for path in REPOSITORY.glob(pattern)
        if path.suffix in (".md", ".py", ".json", ".txt", ".cff", ".toml", ".ui", ".cmake")
    }
    files = [path for path, text in texts.items() if old in text or address.raw(old) in text]
    for path in files:
        copy = tmp_path / path.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(texts[path], encoding="utf-8")
    for name in address.REPEATED:
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((REPOSITORY / name).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(address, "ROOT", tmp_path)
    monkeypatch.setattr(address, "ENTRY", tmp_path / "XrayCTRegistration.json")
    monkeypatch.setattr("sys.argv", ["address.py", f"{new}.git"])
    address.main()
    assert address.address() == new
    for path in tmp_path.rglob("*.*"):
        text = path.read_text(encoding="utf-8")
        assert old not in text, path
        assert address.raw(old) not in text, path
