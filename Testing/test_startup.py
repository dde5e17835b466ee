"""What is loaded before it is needed makes everybody wait: each of these runs in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from XrayCTRegistrationLib.geometry import view_from_carm
from XrayCTRegistrationLib.io.radiographs import write_radiograph
from XrayCTRegistrationLib.io.volumes import write_ct
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.registration import centered
from XrayCTRegistrationLib.simulation import line_integrals
from XrayCTRegistrationLib.volume import Volume

CARM = {
    "source_to_detector_mm": 1000,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [2.5, 2.5],
    "image_size_px": [64, 64],
}
COMMAND = """
import sys
from XrayCTRegistrationLib.cli import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    print("ended with", end.code)
print(*sys.modules)
"""


def modules_after(script: str, *arguments: str, **options) -> tuple[str, set[str]]:
    """What a Python process printed before the last line, and the modules it had loaded, which the last line names."""
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, **options)
    assert run.returncode == 0, run.stderr
    *said, modules = run.stdout.splitlines()
    return "\n".join(said) + run.stderr, set(modules.split())


def test_help_loads_no_library_of_numbers():
    said, modules = modules_after(COMMAND, "register", "--help")
    assert "Usage" in said
    assert not modules & {"numpy", "torch", "SimpleITK", "scipy", "pydicom", "matplotlib"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ct.nii.gz", "xray.png", "xray.png", "-g", "carm.json"], "Give --geometry once per X-ray"),
        (["ct.nii.gz", "xray.png", "-g", "no.json"], "no.json"),
        (["ct.nii.gz", "no.png", "-g", "carm.json"], "no.png"),
        (["ct.nii.gz", "xray.png", "-g", "carm.json", "--init", "no.tfm"], "no.tfm"),
        (["ct.nii.gz", "xray.png", "-g", "carm.json", "--init", "search", "--method", "gradient"], "--method"),
        (["no.nii.gz", "xray.png", "-g", "carm.json"], "no.nii.gz"),
        (["carm.json", "xray.png", "-g", "carm.json"], "cannot be read as an image"),
    ],
    ids=[
        "one_geometry_for_two",
        "no_such_geometry",
        "no_such_xray",
        "no_such_pose",
        "contradiction",
        "no_such_ct",
        "no_ct",
    ],
)
def test_what_is_wrong_with_the_input_is_said_before_torch_is_loaded(tmp_path, arguments, message):
    (tmp_path / "carm.json").write_text(json.dumps(CARM))
    write_radiograph(tmp_path / "xray.png", np.arange(64 * 64).reshape(64, 64))
    said, modules = modules_after(COMMAND, "register", *arguments, cwd=tmp_path)
    assert "ended with 2" in said
    assert message in said
    assert not modules & {"torch", "numba", "pydicom"}


def test_a_registration_loads_nothing_that_its_method_does_without():
    """Judged by its modules, whose imports at their heads are all that a run by the usual method needs of them."""
    script = """
import sys
import XrayCTRegistrationLib.cli.inputs, XrayCTRegistrationLib.cli.report, XrayCTRegistrationLib.cli.stages
import XrayCTRegistrationLib.registration
from XrayCTRegistrationLib.registration import METHODS
from XrayCTRegistrationLib.search.sobol import sobol_points
sobol_points(8, 0)
print(*sys.modules)
"""
    _, modules = modules_after(script)
    assert {"torch", "SimpleITK"} <= modules
    unneeded = {"cma", "matplotlib", "scipy.stats", "scipy.spatial", "scipy.optimize", "pydicom", "dask", "pandas"}
    assert not modules & unneeded
    assert not modules & {"safetensors", "XrayCTRegistrationLib.networks"}


def test_a_registration_from_files_to_files_loads_no_more_than_that(tmp_path):
    spine = synthetic_spine(0, 8.0)
    write_ct(tmp_path / "ct.nii.gz", Volume(np.rint(spine.array).astype(np.int16), spine.ijk_to_world))
    (tmp_path / "carm.json").write_text(json.dumps(CARM))
    view = view_from_carm(CARM)
    integrals = line_integrals(spine, view, centered(spine, [view]))
    write_radiograph(tmp_path / "xray.png", np.rint(20000 * np.exp(-integrals)).astype(np.uint16))
    given = ["ct.nii.gz", "xray.png", "-g", "carm.json", "--method", "gradient", "-o", "out"]
    said, modules = modules_after(COMMAND, "register", *given, cwd=tmp_path)
    assert "scene.mrb" in said
    unneeded = {"cma", "matplotlib", "scipy.stats", "scipy.spatial", "scipy.optimize", "pydicom", "dask", "pandas"}
    assert not modules & (unneeded | {"safetensors", "XrayCTRegistrationLib.networks"})


def test_a_command_ends_without_taking_apart_what_it_has_loaded():
    """At the end of a process Python collects garbage: among nothing, once everything is frozen."""
    script = """
import atexit, gc, sys
from XrayCTRegistrationLib.cli import main
atexit.register(lambda: print(gc.get_freeze_count(), len(gc.get_objects())))
sys.argv = ["xrayct", "--version"]
main()
"""
    said, counts = modules_after(script)
    frozen, left = (int(count) for count in sorted(counts, key=int, reverse=True))
    assert "xrayct" in said
    assert left < frozen / 100


@pytest.mark.parametrize(("seconds", "loaded"), [("0", False), ("2", True)], ids=["quick", "slow"])
def test_what_computes_is_loaded_while_something_else_takes_long_and_not_otherwise(seconds, loaded):
    script = """
import sys, time
from XrayCTRegistrationLib.cli.loading import loading_meanwhile
try:
    with loading_meanwhile():
        time.sleep(float(sys.argv[1]))
        raise ValueError("as it was")
except ValueError as error:
    print(error)
print(*sys.modules)
"""
    said, modules = modules_after(script, seconds)
    assert said.splitlines()[0] == "as it was"
    assert ("XrayCTRegistrationLib.registration" in modules) is loaded
