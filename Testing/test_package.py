"""The Python package: what is in its wheel and source archive, its version, and the reference of its names."""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import XrayCTRegistrationLib as library
from conftest import REPOSITORY
from typer.testing import CliRunner
from XrayCTRegistrationLib.cli import app

DOCS = REPOSITORY / "Resources" / "docs"


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    """A folder with the wheel and the source archive, built without network by the environment's own setuptools."""
    pytest.importorskip("setuptools", minversion="77", reason="builds the package")
    folder = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source") / "package"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((REPOSITORY / name).read_bytes())
    module = REPOSITORY / "XrayCTRegistration" / "XrayCTRegistrationLib"
    for path in module.rglob("*"):
        if path.is_file() and path.suffix in (".py", ".json", ".typed"):
            copy = source / "XrayCTRegistration" / path.relative_to(module.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    for kind in ("sdist", "wheel"):
        call = f"import setuptools.build_meta as b; b.build_{kind}({str(folder)!r})"
        subprocess.run([sys.executable, "-c", call], cwd=source, check=True, capture_output=True)
    return folder


def test_the_wheel_holds_every_file_of_the_library_and_says_that_it_is_typed(archives):
    names = set(zipfile.ZipFile(next(archives.glob("*.whl"))).namelist())
    root = REPOSITORY / "XrayCTRegistration"
    expected = {
        path.relative_to(root).as_posix()
        for path in (root / "XrayCTRegistrationLib").rglob("*")
        if path.suffix in (".py", ".json", ".typed")
    }
    assert {name for name in names if name.startswith("XrayCTRegistrationLib/")} == expected
    assert "XrayCTRegistrationLib/py.typed" in expected
    with tarfile.open(next(archives.glob("*.tar.gz"))) as source:
        inside = {name.partition("/")[2] for name in source.getnames()}
    assert {"pyproject.toml", "LICENSE", "XrayCTRegistration/XrayCTRegistrationLib/py.typed"} <= inside


def test_the_wheel_runs_in_an_environment_that_has_nothing_but_it_and_its_dependencies(archives, tmp_path):
    wheel = str(next(archives.glob("*.whl")))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path)]
    subprocess.run([*install, wheel], check=True, capture_output=True)
    call = (
        "import XrayCTRegistrationLib as lib, importlib.metadata as m; from XrayCTRegistrationLib.cli import app; "
        "print(lib.__file__, m.version('XrayCTRegistration'), lib.Pose.identity().rotation_angle_deg())"
    )
    # -S: the environment's packages without its link to the checkout.
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    paths = f"import sys; sys.path[:0] = {[str(tmp_path), *dependencies]!r}; "
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", paths + call], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    file, version, angle = done.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert version == library.__version__
    assert float(angle) == 0


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


def test_the_reference_is_what_make_api_writes():
    spec = importlib.util.spec_from_file_location("api", DOCS / "api.py")
    api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(api)
    assert (DOCS / "api.md").read_text(encoding="utf-8") == api.reference(), "run make api"
    for name in library.__all__:
        assert getattr(library, name).__doc__, name
