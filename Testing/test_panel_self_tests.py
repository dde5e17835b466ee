"""The tests that run inside 3D Slicer, run in the panel host, so that they are known to work before they get there."""

from __future__ import annotations

import importlib.util
import unittest

import pytest
from conftest import REPOSITORY

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")

SCRIPTS = REPOSITORY / "XrayCTRegistration" / "Testing" / "Python"


def test_the_modules_own_self_test_passes(host, sample_made_once):
    slicer.selfTests["XrayCTRegistration"]()


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*Test.py")), ids=lambda path: path.stem)
def test_tests_of_scripts_pass_and_skip_nothing(host, sample_made_once, path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    outcome = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(module).run(outcome)
    assert outcome.testsRun > 0
    assert not [text for _, text in (*outcome.errors, *outcome.failures, *outcome.skipped)]
