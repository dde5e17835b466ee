"""The samples in 3D Slicer's Sample Data module: registered, made without network, and what is in them."""

from __future__ import annotations

import sys
import types
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY

slicer = pytest.importorskip("slicer", reason="the samples are nodes of a scene")

NAMES = [
    "X-ray CT spine, two views",
    "X-ray CT spine, metal and a cut CT",
    "X-ray CT spine, fluoroscopy run",
    "X-ray CT spine, bones that moved",
]


@pytest.fixture
def registered(host, monkeypatch) -> dict[str, dict]:
    """What the module registers when 3D Slicer has started, by the sample's name."""
    found: dict[str, dict] = {}

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(**source):
            # As the module of 3D Slicer takes them: one of each, or nothing at all.
            assert all(isinstance(source[name], str) for name in ("uris", "fileNames", "nodeNames"))
            found[source["sampleName"]] = source

    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=SampleDataLogic))
    slicer.app.startupCompleted.emit()
    return found


def test_samples_are_registered_at_startup_with_thumbnails(registered):
    assert list(registered) == NAMES
    for source in registered.values():
        picture = Path(source["thumbnailFileName"]).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 20_000


def test_registering_them_imports_nothing_that_is_slow(registered):
    from XrayCTRegistrationLib.panel import sample_sources

    text = Path(sample_sources.__file__).read_text(encoding="utf-8")
    assert "import torch" not in text
    head = text.partition("def register_samples")[0]
    assert "mrml" not in [word for line in head.splitlines() if "import" in line for word in line.split()]


@pytest.mark.usefixtures("sample_made_once")
def test_metal_lies_over_the_x_rays_of_a_ct_that_is_cut(host, registered):
    plain_ct, *plain = registered[NAMES[0]]["customDownloader"](None)
    ct, *xrays = registered[NAMES[1]]["customDownloader"](None)
    assert len(xrays) == len(plain) == 2
    size, whole = ct.GetImageData().GetDimensions(), plain_ct.GetImageData().GetDimensions()
    assert size[:2] == whole[:2]
    assert size[2] * ct.GetSpacing()[2] == pytest.approx(140, abs=2 * ct.GetSpacing()[2])
    for bare, node in zip(plain, xrays):
        difference = slicer.util.arrayFromVolume(node) != slicer.util.arrayFromVolume(bare)
        assert difference.mean() == pytest.approx(0.04, abs=0.003)  # the rods, and nothing else
    assert not host.messages.shown


@pytest.mark.usefixtures("sample_made_once")
def test_the_run_is_a_sequence_of_moving_frames_that_stands_at_its_detector(host, registered):
    from XrayCTRegistrationLib.mrml.geometry import check_geometry
    from XrayCTRegistrationLib.mrml.sequences import frames_of

    _ct, node = registered[NAMES[2]]["customDownloader"](None)
    check_geometry(node)
    frames = [slicer.util.arrayFromVolume(frame).astype(float) for frame in frames_of(node)]
    assert len(frames) == 5
    for one, other in pairwise(frames):
        assert np.abs(one - other).mean() > 50  # of grey values of 4000 a decade: more than the noise alone
    assert host.scene.GetNodesByName("Fluoroscopy").GetNumberOfItems() == 0  # the stack is gone
    assert not host.messages.shown


@pytest.mark.usefixtures("sample_made_once")
def test_bones_that_moved_come_with_the_segmentation_of_the_ct_as_it_was(host, registered):
    """The segments lie on bone of the CT; the X-rays differ from the plain ones about the bones that moved alone."""
    from XrayCTRegistrationLib.bones.segments import place_in
    from XrayCTRegistrationLib.mrml.segments import listing_steps
    from XrayCTRegistrationLib.mrml.volumes import ct_volume
    from XrayCTRegistrationLib.state import finished

    _, *plain = registered[NAMES[0]]["customDownloader"](None)
    ct, *xrays, segmentation = registered[NAMES[3]]["customDownloader"](None)
    listed = finished(listing_steps(segmentation))
    assert [one.name for one in listed] == ["T11", "T12", "L1", "L2", "L3", "L4", "L5"]
    volume = ct_volume(ct)
    for one in listed:
        place = place_in(one.taken(np.eye(4)), volume)
        assert volume.array[place.box][place.inside].mean() > 150
    for bare, node in zip(plain, xrays, strict=True):
        difference = slicer.util.arrayFromVolume(node).astype(float) - slicer.util.arrayFromVolume(bare)
        moved = np.abs(difference[0]) > 200  # of 4000 a decade: more than the noise
        assert 0.01 < moved.mean() < 0.25
    assert not host.messages.shown


def test_declined_packages_make_no_sample_and_no_traceback(host, registered, monkeypatch):
    from XrayCTRegistrationLib.errors import InputError
    from XrayCTRegistrationLib.panel import dependencies

    def declined(requirements):
        raise InputError(f"The packages of {Path(requirements).name} were not installed.")

    monkeypatch.setattr(dependencies, "ensure", declined)
    assert registered[NAMES[0]]["customDownloader"](None) == []
    assert [message.text for message in host.messages.shown] == ["The packages of requirements.txt were not installed."]
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


def test_thumbnails_are_shipped():
    text = (REPOSITORY / "XrayCTRegistration" / "CMakeLists.txt").read_text(encoding="utf-8")
    for name in ("two-views", "metal-and-cut-ct", "fluoroscopy-run", "bones-that-moved"):
        assert f"Resources/Icons/{name}.png" in text
