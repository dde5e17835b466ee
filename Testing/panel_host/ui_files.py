"""QUiLoader that knows the stand-ins, for `slicer.util.loadUI`."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import ctk_widgets, mrml_widgets
from .pythonqt import loading_ui

STAND_INS = {cls.__name__: cls for cls in (*ctk_widgets.STAND_INS, *mrml_widgets.STAND_INS)}


class QUiLoader(QtUiTools.QUiLoader):
    """Loads a .ui file with stand-ins for its CTK and qMRML widgets.

    Raises RuntimeError where the file has a widget that neither Qt nor the host has, sets a property that a widget does
    not have, or connects what does not exist: Qt would only print a warning.
    """

    def createWidget(
        self, class_name: str, parent: QtWidgets.QWidget | None = None, name: str = ""
    ) -> QtWidgets.QWidget:
        if class_name not in STAND_INS:
            if class_name not in self.availableWidgets():
                raise RuntimeError(f"The panel host has no {class_name}.")
            return super().createWidget(class_name, parent, name)
        widget = STAND_INS[class_name](parent)
        widget.setObjectName(name)
        return widget

    def load(self, file: QtCore.QFile, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        document = bytes(file.readAll())
        tree = ElementTree.fromstring(document)
        connections = tree.find("connections")
        described = [] if connections is None else list(connections)
        if connections is not None:  # Qt cannot connect signals that carry MRML objects: made below
            tree.remove(connections)
        content = QtCore.QBuffer()
        content.setData(QtCore.QByteArray(ElementTree.tostring(tree)))
        content.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        with loading_ui():
            root = super().load(content, parent)
        _check_properties(tree, root)
        for connection in described:
            _connect(connection, root)
        return root


def _check_properties(tree: ElementTree.Element, root: QtWidgets.QWidget) -> None:
    for element in tree.iter("widget"):
        widget = _named(root, element.get("name", ""))
        for description in element.findall("property"):
            name = description.get("name", "")
            dynamic = description.get("stdset") == "0" or name.startswith("Slicer")
            if not dynamic and widget.metaObject().indexOfProperty(name) < 0:
                raise RuntimeError(f"{widget.name}: {element.get('class')} has no property {name}.")


def _connect(connection: ElementTree.Element, root: QtWidgets.QWidget) -> None:
    sender, receiver = (_named(root, connection.findtext(end, "")) for end in ("sender", "receiver"))
    sender.connect(connection.findtext("signal", ""), receiver, connection.findtext("slot", ""))


def _named(root: QtWidgets.QWidget, name: str) -> QtWidgets.QWidget:
    widget = root if root.name == name else root.findChild(QtWidgets.QWidget, name)
    if widget is None:
        raise RuntimeError(f"The .ui file names {name!r}, which it does not make.")
    return widget
