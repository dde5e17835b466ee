"""Journeys through the life of the scene and the module: saved and read back, closed, reloaded, without a window."""

from __future__ import annotations

import json

import numpy as np
import pytest
from panel_case import LONGEST_S, PIXEL_MM, REFINE, SLOW, add_case, choose_case, choose_xrays, xrays

slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")

SHOWN = ("shiftLeftSlider", "turnSuperiorSlider", "seedSpinBox")
OF_AN_XRAY = ("sourceToDetector", "rowSpacing", "primaryAngle")
TOLD = ("similarityLabel", "movedLabel", "confidenceLabel", "resultNoteLabel")


def register(host):
    """Refine what there is: what the scene keeps of it matters here, not how good it is."""
    host.ui.methodComboBox.currentText = REFINE
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", LONGEST_S)


def seen(host):
    """What the panel shows of inputs, geometry, pose, settings and result."""
    names = [node.GetName() for node in chosen(host)]
    values = [round(getattr(host.ui, name).value, 3) for name in SHOWN]
    texts = [getattr(host.ui, name).text for name in TOLD]
    return names, values, geometries(host), texts, host.ui.polarityComboBox.currentText


def geometries(host):
    """The geometry of every X-ray, and where it is said to come from."""
    combo, seen = host.ui.geometryViewComboBox, []
    for index in range(combo.count):
        combo.currentIndex = index
        for name in OF_AN_XRAY:
            value, origin = getattr(host.ui, f"{name}SpinBox").value, getattr(host.ui, f"{name}OriginLabel").text
            seen.append((round(value, 3), origin))
    return seen


def chosen(host):
    return [host.ui.ctSelector.currentNode(), *xrays(host), host.ui.poseSelector.currentNode()]


@pytest.mark.parametrize("suffix", [".mrb", ".mrml"])
def test_a_saved_scene_brings_everything_back(host, tmp_path, suffix):
    from XrayCTRegistrationLib.mrml.overlay import edge_points

    case = choose_case(host)
    host.ui.sourceToDetectorSpinBox.value = 1020.5
    host.ui.sourceToDetectorSpinBox.value = 1020.0
    host.ui.seedSpinBox.value = 5
    host.ui.polarityComboBox.currentText = "Dark"
    register(host)
    host.idle(0.6)
    before = seen(host)
    edges = edge_points(case.xray_nodes[0])
    pose = slicer.util.arrayFromTransformMatrix(host.ui.poseSelector.currentNode())
    save(host, tmp_path, suffix)
    host.scene.Clear(0)
    assert host.ui.ctSelector.currentNode() is None
    slicer.util.loadScene(str(tmp_path / f"scene{suffix}"))
    host.idle(0.6)
    assert seen(host) == before
    np.testing.assert_allclose(
        slicer.util.arrayFromTransformMatrix(host.ui.poseSelector.currentNode()), pose, atol=1e-6
    )
    np.testing.assert_allclose(edge_points(xrays(host)[0]), edges, atol=1e-3)
    models = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLModelNode") if "eam" in node.GetName()]
    assert len(models) == 2  # read back, not made a second time
    register(host)  # and it can go on


def test_a_result_that_was_saved_before_it_told_of_the_logarithm_still_tells_the_polarity(host):
    choose_case(host)
    register(host)
    selection = host.panel.panel.selection
    told = selection.meanings()
    node, (name,) = selection.pose_node, [name for name in selection.pose_node.GetAttributeNames() if "Result" in name]
    content = json.loads(node.GetAttribute(name))
    del content["logarithmic"], content["scatter"], content["tone"]
    node.SetAttribute(name, json.dumps(content))
    read = [(one.polarity, one.logarithmic, one.scatter, one.tone) for one in selection.meanings()]
    assert read == [(one.polarity, None, None, None) for one in told]
    assert all(one.polarity is not None for one in told)


def save(host, folder, suffix):
    """As 3D Slicer's save dialog does for .mrml: every storable node into a file of its own, then the scene."""
    if suffix == ".mrml":
        nodes = slicer.util.getNodesByClass("vtkMRMLStorableNode")
        for index, node in enumerate(nodes):
            if node.GetSaveWithScene() and node.GetModifiedSinceRead():
                node.AddDefaultStorageNode()
                storage = node.GetStorageNode()
                if storage is not None:
                    extension = storage.GetDefaultWriteFileExtension()
                    storage.SetFileName(str(folder / f"node-{index}.{extension}"))
                    assert storage.WriteData(node), node.GetName()
    assert slicer.util.saveScene(str(folder / f"scene{suffix}"))


def test_a_scene_of_the_command_line_needs_only_to_be_chosen(host, tmp_path):
    """`xrayct register` writes scene.mrb: its X-rays know their C-arm in the panel, too."""
    write_command_line_scene(host, tmp_path / "scene.mrb")
    host.scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    host.ui.ctSelector.setCurrentNode(slicer.util.getNode("CT"))
    choose_xrays(host, slicer.util.getNode("frontal"))
    host.idle(0.1)
    assert host.ui.registerButton.enabled, host.ui.registerButton.toolTip
    assert host.ui.sourceToDetectorSpinBox.value == pytest.approx(1020)
    assert [round(getattr(host.ui, name).value, 1) for name in ("shiftLeftSlider", "turnSuperiorSlider")] == [10, 6]


def write_command_line_scene(host, path):
    from XrayCTRegistrationLib.io.scene import SceneView, write_scene
    from XrayCTRegistrationLib.mrml.volumes import ct_volume
    from XrayCTRegistrationLib.mrml.xrays import view_of

    case = add_case(host, views=1)
    image = slicer.util.arrayFromVolume(case.xray_nodes[0])[0].copy()
    overlay = np.zeros((*image.shape, 3), dtype=np.uint8)
    view = SceneView("frontal", view_of(case.xray_nodes[0]), image, overlay)
    write_scene(path, ct_volume(case.ct_node), case.true_pose, [view])


def test_closing_the_scene_empties_the_panel_and_a_new_case_works(host):
    choose_case(host)
    host.scene.Clear(0)
    host.idle(0.1)
    assert chosen(host) == [None, None]
    assert host.ui.similarityLabel.text == ""
    assert not host.ui.registerButton.enabled
    assert not host.ui.undoButton.enabled
    choose_case(host)
    register(host)
    assert "before" in host.ui.similarityLabel.text


def test_deleting_each_input_disables_register_and_says_why(host):
    case = choose_case(host)
    for node in case.xray_nodes:
        host.scene.RemoveNode(node)
    host.idle(0.05)
    assert not host.ui.registerButton.enabled
    assert "X-ray" in host.ui.registerButton.toolTip
    host.scene.RemoveNode(case.ct_node)
    host.idle(0.05)
    assert "CT" in host.ui.registerButton.toolTip


def test_a_deleted_pose_is_made_again(host):
    case = choose_case(host)
    host.scene.RemoveNode(host.ui.poseSelector.currentNode())
    host.idle(0.05)
    assert host.ui.poseSelector.currentNode() is not None
    assert case.ct_node.GetParentTransformNode() is host.ui.poseSelector.currentNode()


def test_reloading_the_module_keeps_inputs_pose_and_result(host):
    choose_case(host)
    register(host)
    before = seen(host)
    slicer.util.reloadScriptedModule("XrayCTRegistration")
    host.idle(0.3)
    assert seen(host) == before
    register(host)


def test_reloading_while_registering_stops_it_and_loses_no_pose(host):
    choose_case(host)
    node = host.ui.poseSelector.currentNode()
    host.ui.methodComboBox.currentText = SLOW
    host.press(host.ui.registerButton)
    host.idle(0.3)
    slicer.util.reloadScriptedModule("XrayCTRegistration")
    kept = slicer.util.arrayFromTransformMatrix(node)
    host.idle(0.3)
    np.testing.assert_array_equal(slicer.util.arrayFromTransformMatrix(node), kept)
    assert host.ui.registerButton.text == "Register"
    assert host.ui.poseSelector.currentNode() is node


def test_switching_modules_keeps_what_was_chosen(host):
    choose_case(host)
    before = seen(host)
    representation = host.module.widgetRepresentation()
    representation.exit()
    host.idle(0.05)
    representation.enter()
    assert seen(host) == before


def test_setup_survives_without_a_main_window(host):
    with host.without_window():
        slicer.util.reloadScriptedModule("XrayCTRegistration")
        choose_case(host)
        assert host.ui.registerButton.enabled
        host.press(host.ui.showViewsButton)


def test_a_script_registers_without_the_panel(host):
    case = add_case(host)
    logic = slicer.util.getModuleLogic("XrayCTRegistration")
    stages: list[str] = []
    result = logic.register(case.ct_node, case.xray_nodes, progress=lambda state: stages.append(state.stage))
    assert case.error_mm(result.pose) < PIXEL_MM
    assert len(stages) > 20
    carried_by = case.ct_node.GetParentTransformNode()
    np.testing.assert_allclose(
        slicer.util.arrayFromTransformMatrix(carried_by)[:3, 3], result.pose.matrix[:3, 3] * (-1, -1, 1), atol=1e-6
    )


def test_a_script_that_returns_false_cancels(host):
    case = add_case(host)
    logic = slicer.util.getModuleLogic("XrayCTRegistration")
    assert logic.register(case.ct_node, case.xray_nodes, progress=lambda state: False) is None
