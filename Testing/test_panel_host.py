"""The panel host keeps to what 3D Slicer has: its stand-ins' names, PythonQt's idioms, the parameter node's storage."""

from __future__ import annotations

import enum
import json
import os
import re
import subprocess
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


def written(path: Path, value: int = 0) -> Path:
    import SimpleITK as sitk

    sitk.WriteImage(sitk.GetImageFromArray(np.full((5, 6), value, np.uint8)), str(path))
    return path


def test_files_numbered_beside_each_other_load_as_one_volume_unless_single(host, tmp_path):
    first, _ = (written(tmp_path / f"case_{number}.mha", number) for number in range(2))
    assert slicer.util.loadVolume(str(first)).GetImageData().GetDimensions() == (6, 5, 2)
    assert slicer.util.loadVolume(str(first), {"singleFile": True}).GetImageData().GetDimensions() == (6, 5, 1)
    assert not host.errors
    with pytest.raises(RuntimeError, match="absent"):
        slicer.util.loadVolume(str(tmp_path / "absent.mha"))
    host.errors.clear()  # of the reader, which 3D Slicer prints, too


def test_a_fresh_application_has_no_views_until_a_layout_is_chosen(tmp_path):
    """In a process of its own: other tests have chosen one."""
    script = (
        "import sys; from pathlib import Path; from panel_host import running_host; import slicer\n"
        f"host = running_host(Path({str(MODULE / 'XrayCTRegistration.py')!r}), Path(sys.argv[1])); host.open_window()\n"
        "manager = slicer.app.layoutManager()\n"
        "assert (manager.layout, manager.sliceViewNames(), manager.threeDViewCount) == (0, (), 0)\n"
        "manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)\n"
        "assert (set(manager.sliceViewNames()), manager.threeDViewCount) == ({'Red', 'Yellow', 'Green'}, 1)\n"
        "import os; os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(MODULE), str(REPOSITORY / "Testing")])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def views(host) -> Any:
    """The layout manager with one slice view and one 3D view, drawn and at rest."""
    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    host.idle(0.3)
    host.rendering.reset()
    return manager


def ball(host: Any) -> Any:
    import vtk

    source = vtk.vtkSphereSource()
    source.Update()
    model = host.scene.AddNewNodeByClass("vtkMRMLModelNode")
    model.SetAndObservePolyData(source.GetOutput())
    model.CreateDefaultDisplayNodes()
    return model


def test_views_are_drawn_when_what_they_show_changes_and_not_else(host, views):
    host.idle(0.3)  # what the layout itself still has to draw
    host.rendering.reset()
    host.idle(0.2)
    assert host.rendering.total == 0
    ball(host)
    host.wait(lambda: host.rendering.counts["1"] > 0, 10)


def test_many_changes_at_once_are_drawn_once(host, views):
    model = ball(host)
    host.idle(0.3)
    host.rendering.reset()
    for red in np.linspace(0, 1, 20):
        model.GetDisplayNode().SetColor(red, 0, 0)
    host.idle(0.3)
    assert host.rendering.counts["1"] == 1


def test_a_drawing_costs_at_least_what_it_is_set_to(host, views):
    host.rendering.cost_ms = 40.0
    slicer.util.forceRenderAllViews()
    assert host.rendering.total == 4  # those of earlier layouts are hidden, and not drawn
    assert host.rendering.milliseconds >= 160


def test_paused_views_are_drawn_when_they_go_on(host, views):
    model = ball(host)
    host.idle(0.3)
    host.rendering.reset()
    with slicer.util.RenderBlocker():
        model.GetDisplayNode().SetColor(1, 0, 0)
        host.idle(0.2)
        assert host.rendering.total == 0
    host.wait(lambda: host.rendering.counts["1"] == 1, 10)


def test_file_dialogs_give_what_the_test_chooses(host, qt):
    host.messages.files.append(["/a.png", "/b.png"])
    assert qt.QFileDialog.getOpenFileNames(None, "Load", "", "*.png") == ("/a.png", "/b.png")
    assert qt.QFileDialog.getOpenFileNames(None, "Load") == ()
    assert qt.QFileDialog.getExistingDirectory(None, "Save") == ""


def test_files_are_dropped_onto_the_widget_that_takes_them(host, qt, tmp_path):
    class Area(qt.QWidget):
        def __init__(self) -> None:
            super().__init__()
            self.setAcceptDrops(True)
            self.dropped: list[str] = []

        def dragEnterEvent(self, event: Any) -> None:
            event.acceptProposedAction()

        def dropEvent(self, event: Any) -> None:
            self.dropped = [url.toLocalFile() for url in event.mimeData().urls()]
            event.acceptProposedAction()

    area = Area()
    label = qt.QLabel("inside", area)
    assert host.drop(label, [tmp_path / "a.png"])
    assert area.dropped == [str(tmp_path / "a.png")]
    assert not host.drop(qt.QLabel("alone"), [tmp_path / "a.png"])
