"""Documents that repeat the code: thresholds with their values, and messages that people meet."""

from __future__ import annotations

import ast
import re
from importlib import import_module

import pytest
from conftest import REPOSITORY

DOCS = REPOSITORY / "Resources" / "docs"
LIBRARY = REPOSITORY / "XrayCTRegistration" / "XrayCTRegistrationLib"
THRESHOLDS = re.findall(
    r"^\| `([\w.]+)` \| ([^|]+) \|", (DOCS / "thresholds.md").read_text(encoding="utf-8"), re.MULTILINE
)


def test_the_page_of_thresholds_names_many():
    assert len(THRESHOLDS) > 40
    assert len({name for name, _ in THRESHOLDS}) == len(THRESHOLDS)


@pytest.mark.parametrize(("name", "value"), THRESHOLDS)
def test_a_threshold_has_the_value_that_its_page_says(name, value):
    module, _, constant = name.rpartition(".")
    found = getattr(import_module(f"XrayCTRegistrationLib.{module}"), constant)
    assert found == ast.literal_eval(value.strip()), "change Resources/docs/thresholds.md with it"
