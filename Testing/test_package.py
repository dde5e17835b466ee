"""The Python package: what is in its wheel and source archive, its version, and the reference of its names."""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import XrayCTRegistrationLib as library
from conftest import REPOSITORY
from typer.testing import CliRunner
from XrayCTRegistrationLib.cli import app

DOCS = REPOSITORY / "Resources" / "docs"
MODULE = REPOSITORY / "XrayCTRegistration"


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    """A folder with the source archive, and the wheel that is built of nothing else; without network, by the
    environment's own setuptools."""
    pytest.importorskip("setuptools", minversion="77", reason="builds the package")
    folder, source = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((REPOSITORY / name).read_bytes())
    for name in ("XrayCTRegistrationLib", "Resources"):
        unwanted = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
        shutil.copytree(MODULE / name, source / "XrayCTRegistration" / name, ignore=unwanted)
    _build("sdist", source, folder)
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(unpacked, filter="data")
    _build("wheel", next(unpacked.iterdir()), folder)
    return folder


def _build(kind: str, source: Path, folder: Path) -> None:
    call = f"import setuptools.build_meta as b; b.build_{kind}({str(folder)!r})"
    subprocess.run([sys.executable, "-c", call], cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def bare(archives, tmp_path_factory) -> Path:
    """The folder of programs of a new environment: the wheel, and what it depends on, but no link to the checkout."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    install = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", next(archives.glob("*.whl"))], check=True, capture_output=True)
    packages = next(folder.rglob("site-packages"))
    # The packages of this environment; files of links (.pth) among them, as that to the checkout, do not count there.
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    return programs


def _run(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _library_files() -> set[str]:
    root = MODULE / "XrayCTRegistrationLib"
    return {
        path.relative_to(MODULE).as_posix() for path in root.rglob("*") if path.suffix in (".py", ".json", ".typed")
    }


def test_the_packages_named_for_setuptools_are_those_of_the_library_and_its_weights():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^packages = \[\n(.*?)\n\]", text, re.MULTILINE | re.DOTALL)[1]
    listed = re.findall(r'"(.+)",', block)
    on_disk = {Path(name).parent.as_posix().replace("/", ".") for name in _library_files() if name.endswith(".py")}
    assert set(listed) == on_disk | {"XrayCTRegistrationLib.models"}
    assert len(set(listed)) == len(listed)


def test_the_wheel_holds_every_file_of_the_library_its_weights_and_says_that_it_is_typed(archives):
    names = set(zipfile.ZipFile(next(archives.glob("*.whl"))).namelist())
    weights = {f"XrayCTRegistrationLib/models/{path.name}" for path in (MODULE / "Resources" / "Models").iterdir()}
    assert len(weights) > 3
    assert {name for name in names if name.startswith("XrayCTRegistrationLib/")} == _library_files() | weights
    assert "XrayCTRegistrationLib/py.typed" in names
    with tarfile.open(next(archives.glob("*.tar.gz"))) as source:
        inside = {name.partition("/")[2] for name in source.getnames()}
    assert {"pyproject.toml", "LICENSE", "XrayCTRegistration/XrayCTRegistrationLib/py.typed"} <= inside


def test_the_wheel_runs_in_an_environment_that_has_nothing_but_it_and_its_dependencies(bare, tmp_path):
    assert _run([str(bare / "xrayct"), "--version"], tmp_path) == f"xrayct {library.__version__}\n"
    call = (
        "import XrayCTRegistrationLib as lib, importlib.metadata as m; "
        "from XrayCTRegistrationLib.networks.weights import ARCHITECTURES, load_network, shipped_weights; "
        "[load_network(shipped_weights(name)) for name in ARCHITECTURES]; "
        "print(lib.__file__, shipped_weights(), m.version('XrayCTRegistration'), sep='\\n')"
    )
    file, weights, version = _run([str(bare / "python"), "-c", call], tmp_path).splitlines()
    assert Path(file).is_relative_to(bare.parent)
    assert Path(weights).is_relative_to(bare.parent)
    assert version == library.__version__


def test_the_wheel_registers_the_demonstration(bare, tmp_path):
    _run([str(bare / "xrayct"), "demo", "-o", "demo"], tmp_path)
    assert {"overlay.png", "pose.tfm", "report.json", "scene.mrb"} <= {
        path.name for path in (tmp_path / "demo").iterdir()
    }


def test_the_version_is_told_by_the_command_and_repeated_where_people_cite():
    assert CliRunner().invoke(app, ["--version"]).output == f"xrayct {library.__version__}\n"
    assert f"\nversion: {library.__version__}\n" in (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(
        rf"^## {re.escape(library.__version__)}\b", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def test_every_public_name_has_an_example_that_runs():
    text = (DOCS / "examples.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == sorted(library.__all__)
    examples = doctest.DocTestParser().get_doctest(text, {}, "examples.md", "examples.md", 0)
    report: list[str] = []
    outcome = doctest.DocTestRunner().run(examples, out=report.append)
    assert outcome.attempted > 30
    assert outcome.failed == 0, "".join(report)


def test_everything_that_the_reference_says_of_a_type_is_in_its_example():
    sections = re.split(r"^## ", (DOCS / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    missing = []
    for section in sections:
        text, _, example = section.partition("Example:")
        members = re.findall(r"^\*\*`(\w+)", text, re.MULTILINE)
        missing += [f"{section.split()[0]}.{one}" for one in members if not re.search(rf"\.{one}\b", example)]
    assert not missing


def test_the_reference_is_what_make_api_writes():
    spec = importlib.util.spec_from_file_location("api", DOCS / "api.py")
    api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(api)
    assert (DOCS / "api.md").read_text(encoding="utf-8") == api.reference(), "run make api"
    for name in library.__all__:
        assert getattr(library, name).__doc__, name
