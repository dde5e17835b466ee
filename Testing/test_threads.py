"""What is loaded beside the window."""

from __future__ import annotations

import sys
import warnings

import pytest
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.threads import imported_steps


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """The name of a module that warns, waits and has one value."""
    text = "import time, warnings\nwarnings.warn('no plots')\ntime.sleep(0.1)\nvalue = 7\n"
    (tmp_path / "slow_to_import.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "slow_to_import"
    sys.modules.pop("slow_to_import", None)


def test_a_module_that_takes_long_is_imported_with_pauses_and_without_its_warnings(slow):
    steps = imported_steps(slow)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            next(steps)
        assert finished(steps).value == 7


def test_what_is_loaded_already_comes_at_once():
    with pytest.raises(StopIteration) as end:
        next(imported_steps("numpy"))
    assert end.value.value is sys.modules["numpy"]


def test_an_import_that_fails_says_why_to_who_waits():
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        finished(imported_steps("no_such_module_anywhere"))
