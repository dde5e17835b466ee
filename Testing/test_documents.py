"""Documents that repeat the code: thresholds with their values, and messages that people meet."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module

import pytest
from conftest import REPOSITORY

DOCS = REPOSITORY / "Resources" / "docs"
LIBRARY = REPOSITORY / "XrayCTRegistration" / "XrayCTRegistrationLib"
THRESHOLDS = re.findall(
    r"^\| `([\w.]+)` \| ([^|]+) \|", (DOCS / "thresholds.md").read_text(encoding="utf-8"), re.MULTILINE
)

MESSAGES = re.findall(r"^\| `([^`]+)`", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_of_thresholds_names_many():
    assert len(THRESHOLDS) > 40
    assert len({name for name, _ in THRESHOLDS}) == len(THRESHOLDS)


@pytest.mark.parametrize(("name", "value"), THRESHOLDS)
def test_a_threshold_has_the_value_that_its_page_says(name, value):
    module, _, constant = name.rpartition(".")
    found = getattr(import_module(f"XrayCTRegistrationLib.{module}"), constant)
    assert found == ast.literal_eval(value.strip()), "change Resources/docs/thresholds.md with it"


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
