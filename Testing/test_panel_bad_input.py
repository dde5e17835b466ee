"""Bad input in the panel: Register is disabled and says why, or a message says what to do; no pose is lost."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from panel_case import LONGEST_S, REFINE, add_case, choose_case, choose_xrays, prepared, xrays

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")


def refused(host, *words):
    """Register is disabled, and both its tooltip and the text below it say why."""
    host.idle(0.02)
    for said in (host.ui.registerButton.toolTip, host.ui.registerMessageLabel.text):
        for word in words:
            assert word.lower() in said.lower(), said
    return not host.ui.registerButton.enabled


def test_no_ct(host):
    case = add_case(host)
    choose_xrays(host, case.xray_nodes[0])
    assert refused(host, "choose a CT")


def test_no_xray(host):
    case = add_case(host)
    host.ui.ctSelector.setCurrentNode(case.ct_node)
    assert refused(host, "choose at least one X-ray")


def test_the_ct_as_xray(host):
    case = choose_case(host, views=1)
    choose_xrays(host, case.ct_node)
    assert refused(host, case.ct_node.GetName())


def test_an_xray_is_chosen_once(host):
    case = choose_case(host, views=1)
    host.ui.addXraySelector.setCurrentNode(case.xray_nodes[0])
    assert xrays(host) == [case.xray_nodes[0]]


def test_an_xray_with_more_slices(host):
    choose_case(host, views=1)
    volume = slicer.util.addVolumeFromArray(np.random.default_rng(0).random((3, 20, 20)), name="thick")
    choose_xrays(host, volume)
    assert refused(host, "thick", "3 slices")


def test_a_colour_png(host):
    choose_case(host, views=1)
    pixels = np.random.default_rng(0).integers(0, 255, (1, 20, 30, 3), dtype=np.uint8)
    choose_colour_image(host, pixels)
    assert refused(host, "photo.png", "colours")


def test_a_grey_png_saved_with_three_channels_is_taken(host):
    case = choose_case(host, views=1, geometry=False)
    grey = (slicer.util.arrayFromVolume(case.xray_nodes[0]) // 256).astype(np.uint8)
    choose_colour_image(host, np.repeat(grey[..., None], 3, axis=-1))
    host.press(host.ui.typicalGeometryButton)
    assert host.ui.registerButton.enabled


def choose_colour_image(host, pixels):
    """As 3D Slicer loads a .png with three channels. pixels: (1, rows, columns, 3)."""
    node = slicer.util.addVolumeFromArray(pixels, name="photo.png", nodeClassName="vtkMRMLVectorVolumeNode")
    choose_xrays(host, node)
    assert xrays(host) == [node]


@pytest.mark.parametrize("kind", ["vtkMRMLLabelMapVolumeNode", "vtkMRMLModelNode"])
def test_nodes_of_other_kinds_are_not_offered(host, kind):
    choose_case(host, views=1)
    choose_xrays(host, host.scene.AddNewNodeByClass(kind, "other"))
    assert not xrays(host)
    assert refused(host, "choose at least one X-ray")


def test_an_empty_xray(host):
    choose_case(host, views=1)
    choose_xrays(host, host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing in it"))
    assert refused(host, "nothing in it", "empty")


def test_an_xray_of_one_value(host):
    case = choose_case(host, views=1)
    slicer.util.arrayFromVolume(case.xray_nodes[0])[:] = 7
    slicer.util.arrayFromVolumeModified(case.xray_nodes[0])
    assert refused(host, "every pixel")


def test_a_ct_that_is_no_ct(host):
    case = choose_case(host, views=1)
    slicer.util.updateVolumeFromArray(case.ct_node, np.zeros((10, 10, 10), dtype=np.int16))
    prepared(host)
    assert refused(host, case.ct_node.GetName())


def test_missing_geometry(host):
    choose_case(host, views=1, geometry=False)
    assert refused(host, "X-ray 1", "geometry")


def test_geometry_that_cannot_be_is_named_and_can_be_corrected(host):
    choose_case(host, views=1)
    host.ui.sourceToIsocenterSpinBox.value = 1100
    assert refused(host, "larger")
    assert "larger" in host.ui.geometryMessageLabel.text
    host.ui.sourceToIsocenterSpinBox.value = 700
    assert host.ui.registerButton.enabled


def test_a_carm_file_of_another_image(host, tmp_path):
    choose_case(host, views=1)
    path = tmp_path / "other.json"
    path.write_text('{"source_to_detector_mm": 1000, "image_size_px": [10, 10]}', encoding="utf-8")
    host.ui.carmPathLineEdit.currentPath = str(path)
    assert "other.json" in host.ui.geometryMessageLabel.text
    assert not host.messages.shown
    assert host.ui.registerButton.enabled  # the geometry is as it was


def test_a_transform_that_is_not_linear_is_not_offered(host):
    choose_case(host, views=1)
    bspline = host.scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "bent")
    before = host.ui.poseSelector.currentNode()
    host.ui.poseSelector.setCurrentNode(bspline)
    assert host.ui.poseSelector.currentNode() is not bspline
    assert host.scene.GetNodeByID(before.GetID()) is before


def test_a_linear_transform_that_has_become_a_grid(host):
    import vtk

    case = choose_case(host, views=1)
    node = host.ui.poseSelector.currentNode()
    node.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    assert refused(host, node.GetName(), "linear")
    assert case.ct_node.GetParentTransformNode() is node


@pytest.mark.parametrize("scale", [(1.2, 1, 1), (-1, 1, 1)])
def test_a_transform_that_is_not_rigid(host, scale):
    choose_case(host, views=1)
    node = host.ui.poseSelector.currentNode()
    slicer.util.updateTransformMatrixFromArray(node, np.diag([*scale, 1.0]))
    assert refused(host, "not rigid")
    np.testing.assert_array_equal(slicer.util.arrayFromTransformMatrix(node), np.diag([*scale, 1.0]))
    slicer.util.updateTransformMatrixFromArray(node, np.eye(4))
    host.idle(0.02)
    assert host.ui.registerButton.enabled


def test_an_xray_that_would_move_with_the_ct(host):
    case = choose_case(host, views=1)
    case.xray_nodes[0].SetAndObserveTransformNodeID(host.ui.poseSelector.currentNode().GetID())
    assert refused(host, "X-ray 1")
    case.xray_nodes[0].SetAndObserveTransformNodeID(None)
    host.idle(0.02)
    assert host.ui.registerButton.enabled


def test_a_ct_that_is_deformed_keeps_its_transform(host):
    import vtk

    case = add_case(host, views=1)
    bent = host.scene.AddNewNodeByClass("vtkMRMLTransformNode", "bent")
    bent.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    case.ct_node.SetAndObserveTransformNodeID(bent.GetID())
    host.ui.ctSelector.setCurrentNode(case.ct_node)
    choose_xrays(host, case.xray_nodes[0])
    assert refused(host, case.ct_node.GetName())
    assert case.ct_node.GetParentTransformNode() is bent


def test_a_ct_outside_the_view_shows_no_edges_and_is_told_when_registered(host):
    choose_case(host)
    node = host.ui.poseSelector.currentNode()
    away = np.eye(4)
    away[:3, 3] = (0, 0, 900)
    slicer.util.updateTransformMatrixFromArray(node, away)
    host.idle(0.6)
    host.ui.methodComboBox.currentText = REFINE
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)
    told = host.messages.shown[-1].text if host.messages.shown else host.ui.confidenceLabel.text
    assert "view" in told or told.startswith("Low")
    assert host.ui.undoButton.enabled or np.allclose(slicer.util.arrayFromTransformMatrix(node), away)


def test_missing_packages_are_offered_to_be_installed(host, monkeypatch):
    """Declined: a message says what is missing, and the pose stays. Installed: it goes on."""
    import qt

    choose_case(host, views=1)
    before = slicer.util.arrayFromTransformMatrix(host.ui.poseSelector.currentNode())
    pretend_absent(host, monkeypatch, "numba")
    host.messages.answers.append(qt.QMessageBox.Cancel)
    host.press(host.ui.registerButton)
    assert "not installed" in host.messages.shown[-1].text
    assert not host.packages.installed
    assert host.ui.registerButton.text == "Register"
    np.testing.assert_array_equal(slicer.util.arrayFromTransformMatrix(host.ui.poseSelector.currentNode()), before)
    host.press(host.ui.registerButton)
    assert [name.partition(">")[0] for name in host.packages.installed] == ["numba"]
    assert host.ui.registerButton.text == "Cancel"
    host.press(host.ui.registerButton)


def test_missing_pytorch_is_left_to_its_extension(host, monkeypatch):
    choose_case(host, views=1)
    pretend_absent(host, monkeypatch, "torch")
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)  # the extension is not installed
    host.press(host.ui.registerButton)
    assert "PyTorch" in host.messages.shown[-1].text
    assert host.ui.registerButton.text == "Register"


def test_a_gpu_that_is_not_there_is_told(host):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    choose_case(host, views=1)
    host.ui.deviceComboBox.currentIndex = 2
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)
    assert "cuda" in host.messages.shown[-1].text.lower()
    assert host.ui.registerButton.enabled


def pretend_absent(host, monkeypatch, name):
    """Let a package pass for not installed, to the host and to importlib, until the host installs it."""
    import importlib.util

    find_spec = importlib.util.find_spec
    host.packages.absent.add(name)

    def found(wanted, package=None):
        return None if wanted in host.packages.absent else find_spec(wanted, package)

    from XrayCTRegistrationLib.panel import dependencies

    monkeypatch.setattr(dependencies, "find_spec", found)
