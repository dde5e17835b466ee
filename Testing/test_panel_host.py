"""The panel host keeps to what 3D Slicer has: its stand-ins' names, PythonQt's idioms, the parameter node's storage."""

from __future__ import annotations

import enum
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from conftest import REPOSITORY

pytest.importorskip("PySide6", reason="the panel host needs PySide6")
slicer = pytest.importorskip("slicer", reason="the panel host needs slicer-core")

MODULE = REPOSITORY / "XrayCTRegistration"
SOURCES = [MODULE / "XrayCTRegistration.py", *sorted((MODULE / "XrayCTRegistrationLib").rglob("*.py"))]


@pytest.fixture(scope="module")
def real() -> dict[str, Any]:
    """What a running 3D Slicer reported of its widgets."""
    path = REPOSITORY.parent / "shared" / "slicer-widgets.json"
    if not path.is_file():
        pytest.skip(f"the list of 3D Slicer's widgets is absent: {path} is no file")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def qt(host) -> Any:
    return sys.modules["qt"]


def stand_ins() -> Iterator[tuple[str, type]]:
    from panel_host import application, ctk_widgets, mrml_widgets, views

    yield from ((f"ctk.{cls.__name__}", cls) for cls in ctk_widgets.STAND_INS)
    yield from ((f"slicer.{cls.__name__}", cls) for cls in mrml_widgets.STAND_INS)
    yield "slicer.app", application.qSlicerApplication
    yield "layoutManager", views.qSlicerLayoutManager
    yield "sliceWidget", views.qMRMLSliceWidget
    yield "threeDWidget", views.qMRMLThreeDWidget


def own_names(cls: type) -> set[str]:
    """Public names that the host adds to what Qt's class has."""
    of_host = [base for base in cls.__mro__ if base.__module__.startswith("panel_host")]
    of_qt = next(base for base in cls.__mro__ if base.__module__.startswith("PySide6"))
    names = {name for base in of_host for name in vars(base) if not name.startswith("_")}
    return {name for name in names - {"SIGNALS", "METHODS", "staticMetaObject"} if not hasattr(of_qt, name)}


def test_stand_ins_offer_only_names_that_the_running_application_has(host, real):
    for name, cls in stand_ins():
        known = real[name]
        if isinstance(known, dict):
            slots = {slot.partition("(")[0] for slot in known["slots"]}
            signals = {signal.partition("(")[0] for signal in known["signals"]}
            allowed = set(known["properties"]) | slots | signals | getattr(cls, "METHODS", set())
            assert set(cls.SIGNALS) <= set(known["signals"]), name
        else:
            allowed = set(known)
        assert own_names(cls) <= allowed, name


def test_properties_of_stand_ins_have_the_type_of_the_real_ones(host, real):
    compared = 0
    for name, cls in stand_ins():
        meta, known = cls.staticMetaObject, real[name]
        for index in range(meta.propertyOffset(), meta.propertyCount()) if isinstance(known, dict) else ():
            compared += 1
            assert meta.property(index).typeName() == known["properties"][meta.property(index).name()], name
    assert compared > 20


def test_invokable_methods_beside_slots_are_few_and_named(host):
    allowed = {"addAttribute", "currentNode", "mrmlScene", "nodeCount", "nodeFromIndex"}  # Q_INVOKABLE in the headers
    assert set().union(*(getattr(cls, "METHODS", set()) for name, cls in stand_ins())) <= allowed


def test_product_uses_only_names_of_slicer_util_and_app_that_exist(real):
    for path in SOURCES:
        source = path.read_text(encoding="utf-8")
        for namespace in ("util", "app"):
            used = set(re.findall(rf"slicer\.{namespace}\.(\w+)", source))
            assert used <= set(real[f"slicer.{namespace}"]), f"{path.name}: slicer.{namespace}"


def test_ui_file_sets_only_properties_of_the_real_widgets(host, qt, real):
    of_widget = {
        qt.QWidget.staticMetaObject.property(i).name() for i in range(qt.QWidget.staticMetaObject.propertyCount())
    }
    tree = ElementTree.parse(MODULE / "Resources" / "UI" / "XrayCTRegistration.ui")
    for widget in tree.iter("widget"):
        name = widget.get("class", "")
        known = real.get(f"ctk.{name}") or real.get(f"slicer.{name}")
        if known is not None:
            used = {item.get("name") for item in widget.findall("property")}
            assert used - {"SlicerParameterName"} <= set(known["properties"]) | of_widget, widget.get("name")


def test_properties_are_attributes_and_calling_them_is_a_type_error(host, qt):
    label = qt.QLabel("before")
    label.text = "after"
    assert label.text == "after"
    with pytest.raises(TypeError):
        label.text()


@pytest.mark.parametrize(("name", "value"), [("anything", 1), ("click", 1), ("text", None), ("hasFocus", 1)])
def test_what_pythonqt_does_not_let_be_set_raises(host, qt, name, value):
    button = qt.QPushButton("b")
    with pytest.raises(AttributeError):
        setattr(button, name, value)


def test_a_stand_in_has_no_other_attributes(host, qt):
    import ctk

    slider = ctk.ctkSliderWidget()
    for access in (lambda: slider.setRange, lambda: setattr(slider, "mine", 1)):
        with pytest.raises(AttributeError):
            access()


def test_classes_derived_in_python_may_keep_attributes(host, qt):
    class Dialog(qt.QDialog):
        pass

    dialog = Dialog()
    dialog.mine = 1
    assert dialog.mine == 1


def test_signals_connect_by_signature_and_by_name(host, qt):
    import ctk

    heard: list[Any] = []
    slider = ctk.ctkSliderWidget()
    slider.connect("valueChanged(double)", heard.append)
    slider.valueChanged.connect(heard.append)
    slider.value = 2.5
    assert heard == [2.5, 2.5]
    slider.disconnect("valueChanged(double)", heard.append)
    slider.value = 3.0
    assert heard == [2.5, 2.5, 3.0]
    with pytest.raises(ValueError, match="has no signal"):
        slider.connect("valueChanged(int)", heard.append)


def test_timer_single_shot_is_a_property_and_a_function_of_the_class(host, qt):
    heard: list[str] = []
    timer = qt.QTimer()
    timer.singleShot = True
    timer.connect("timeout()", lambda: heard.append("timer"))
    timer.start(0)
    qt.QTimer.singleShot(0, lambda: heard.append("function"))
    host.wait(lambda: len(heard) == 2)
    assert not timer.active


def test_an_exception_in_a_slot_is_noted(host, qt):
    button = qt.QPushButton("b")
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert [type(error) for error in host.errors] == [ZeroDivisionError]
    host.errors.clear()


def test_messages_are_written_down_and_answered(host, qt):
    slicer.util.errorDisplay("It went wrong.")
    assert (host.messages.shown[-1].icon, host.messages.shown[-1].text) == ("Critical", "It went wrong.")
    assert slicer.util.confirmOkCancelDisplay("Go on?")
    host.messages.answers.append(qt.QMessageBox.Cancel)
    assert not slicer.util.confirmOkCancelDisplay("Go on?")


def test_node_combo_box_follows_the_scene(host):
    combo = slicer.qMRMLNodeComboBox()
    chosen: list[Any] = []
    combo.nodeTypes = ["vtkMRMLLinearTransformNode"]
    combo.noneEnabled = True
    combo.connect("currentNodeChanged(vtkMRMLNode*)", chosen.append)
    assert not combo.enabled  # no scene yet
    combo.setMRMLScene(host.scene)
    node = host.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "pose")
    host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "not offered")
    assert combo.nodeCount() == 1
    assert combo.currentNode() is None
    combo.setCurrentNode(node)
    assert combo.currentNodeID == node.GetID()
    host.scene.RemoveNode(node)
    assert combo.currentNode() is None
    assert chosen == [node, None]
    combo.setMRMLScene(None)


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


@pytest.fixture
def parameters(host) -> Any:
    from slicer import vtkMRMLScalarVolumeNode
    from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

    class Parameters:
        volume: vtkMRMLScalarVolumeNode
        colour: Colour = Colour.GREEN
        count: Annotated[int, WithinRange(0, 10)] = 3
        shown: bool = True

    Parameters.__annotations__ = {
        "volume": vtkMRMLScalarVolumeNode,
        "colour": Colour,
        "count": Annotated[int, WithinRange(0, 10)],
        "shown": bool,
    }
    return parameterNodeWrapper(Parameters)(host.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def test_parameters_are_stored_as_strings_and_node_references(host, parameters):
    node = parameters.parameterNode
    volume = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    parameters.volume, parameters.colour, parameters.shown = volume, Colour.RED, False
    stored = [node.GetParameter(name) for name in ("volume", "colour", "count", "shown")]
    assert stored == ["", "RED", "3", "False"]
    assert node.GetNodeReferenceID("volume") == volume.GetID()
    node.SetParameter("count", "7")  # as a scene that is read does
    assert parameters.count == 7


@pytest.mark.parametrize(("name", "value"), [("count", 11), ("count", "3"), ("colour", "RED"), ("shown", 1)])
def test_parameters_refuse_other_values(parameters, name, value):
    with pytest.raises((TypeError, ValueError)):
        setattr(parameters, name, value)


def test_widgets_follow_parameters_and_set_them(host, qt, parameters):
    spin, combo = qt.QSpinBox(), qt.QComboBox()
    tag = parameters.connectParametersToGui({"count": spin, "colour": combo})
    assert (spin.value, spin.maximum, combo.currentText) == (3, 10, "GREEN")
    spin.value, combo.currentIndex = 5, 0
    assert (parameters.count, parameters.colour) == (5, Colour.RED)
    parameters.count = 6
    assert spin.value == 6
    parameters.disconnectGui(tag)
    spin.value = 1
    assert parameters.count == 6


def test_a_slider_without_a_range_cannot_be_bound(host, parameters):
    import ctk
    from panel_host.parameter_widgets import connector_for

    with pytest.raises(RuntimeError, match="unbounded"):
        connector_for(ctk.ctkSliderWidget(), float)


def test_scenes_are_saved_and_read_as_bundles(host, tmp_path: Path):
    volume = slicer.util.addVolumeFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4), name="kept")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    expected = slicer.util.arrayFromVolume(volume).copy()
    host.scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert (slicer.util.arrayFromVolume(slicer.util.getNode("kept")) == expected).all()
