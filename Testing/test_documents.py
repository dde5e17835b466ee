"""Documents that repeat the code: messages, the tutorial's buttons and commands; and links."""

from __future__ import annotations

import ast
import json
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer
from conftest import REPOSITORY
from typer.testing import CliRunner
from XrayCTRegistrationLib.cli import app

DOCS = REPOSITORY / "Resources" / "docs"
LIBRARY = REPOSITORY / "XrayCTRegistration" / "XrayCTRegistrationLib"
MESSAGES = re.findall(r"^\| `([^`]+)`", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)


@cache
def texts() -> tuple[str, ...]:
    """Every text in the library's code, whole, with dots where values stand in it."""
    found = []
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"\{\w+\}", "...", node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "..." for part in node.values]
                found.append("".join(map(str, parts)))
    return tuple(found)


def test_ten_messages_are_explained():
    assert len(set(MESSAGES)) == 10


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_that_is_explained_is_one_of_the_programs_own(message):
    assert any(message in text for text in texts())


TUTORIAL = (DOCS / "tutorial.md").read_text(encoding="utf-8")


def test_what_the_tutorial_says_to_press_is_written_on_the_panel():
    panel = (LIBRARY.parent / "Resources" / "UI" / "XrayCTRegistration.ui").read_text(encoding="utf-8")
    written = {text.rstrip(":") for text in re.findall(r"<string[^>]*>([^<]*)</string>", panel)}
    named = {" ".join(text.split()) for text in re.findall(r"\*\*([^*]+)\*\*", TUTORIAL)}
    assert len(named) > 20
    assert named <= written, named - written


def test_the_tutorials_commands_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    last = TUTORIAL[TUTORIAL.index(". Without 3D Slicer\n") :]
    commands = re.findall(r"^    xrayct (.+)$", last, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        outcome = CliRunner().invoke(app, shlex.split(command))
        assert outcome.exit_code == 0, (command, outcome.output)
    confidence = [json.loads(Path(f"{name}/report.json").read_text())["confidence"] for name in ("result", "near")]
    assert [one["level"] for one in confidence] == ["high", "high"]


PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_and_options_that_pages_name_are_those_of_the_command_line(path):
    commands = typer.main.get_command(app).commands
    options = {name: {"--help", *(o for one in it.params for o in one.opts)} for name, it in commands.items()}
    every = {"--version"}.union(*options.values())
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
    for line in re.findall(r"xrayct ([a-z]+ [^`\n]*)", text):
        name, *given = line.split()
        assert name in options, line
        assert {one for one in given if re.match(r"--?[a-z]", one)} <= options[name], line
    for line in text.splitlines():
        if not re.search(r"benchmarks/|pip |torchrun", line):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)) <= every, line


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(path):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text(encoding="utf-8")):
        file, _, section = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        if section:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert section in anchors, link


def test_pages_that_the_panels_help_names_are_in_the_repository():
    module = (LIBRARY.parent / "XrayCTRegistration.py").read_text(encoding="utf-8")
    pages = re.findall(r"\{repository\}/blob/main/([^\"]+)\"", module)
    assert {"tutorial.md", "troubleshooting.md"} <= {Path(page).name for page in pages}
    for page in pages:
        assert (REPOSITORY / page).is_file(), page
