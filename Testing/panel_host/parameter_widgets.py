"""Which widgets can hold which parameters, as in 3D Slicer's `parameterNodeWrapper.guiConnectors`."""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable
from typing import Any

import slicer
from PySide6 import QtWidgets

from .ctk_widgets import ctkSliderWidget
from .mrml_widgets import qMRMLNodeComboBox


def connector_for(widget: Any, annotated: Any) -> Connector:
    """Raises RuntimeError where 3D Slicer cannot bind such a widget to a parameter of this type either."""
    is_annotated = typing.get_origin(annotated) is typing.Annotated
    datatype, *annotations = typing.get_args(annotated) if is_annotated else (annotated,)
    for kind in (NodeConnector, EnumConnector, ChoiceConnector, CheckConnector, NumberConnector, TextConnector):
        if kind.accepts(type(widget), datatype):
            return kind(widget, datatype, annotations)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{annotated}' to widget type '{type(widget)}'.")


class Connector:
    """Reads and writes one widget. `signal`: its name."""

    signal: str | None

    def __init__(self, widget: Any, datatype: type, annotations: list[Any]) -> None:
        self.widget, self._slot = widget, None

    @staticmethod
    def accepts(widget_type: type, datatype: type) -> bool:
        raise NotImplementedError

    def read(self) -> Any:
        raise NotImplementedError

    def write(self, value: Any) -> None:
        raise NotImplementedError

    def connect(self, slot: Callable[..., None]) -> None:
        if self.signal:
            self._slot = slot
            getattr(self.widget, self.signal).connect(slot)

    def disconnect(self) -> None:
        if self._slot is not None:
            getattr(self.widget, self.signal).disconnect(self._slot)


class NodeConnector(Connector):
    signal = "currentNodeChanged"

    def __init__(self, widget: qMRMLNodeComboBox, datatype: type, annotations: list[Any]) -> None:
        super().__init__(widget, datatype, annotations)
        widget.nodeTypes = [datatype.__name__]

    @staticmethod
    def accepts(widget_type: type, datatype: type) -> bool:
        return widget_type is qMRMLNodeComboBox and issubclass(datatype, slicer.vtkMRMLNode)

    def read(self) -> Any:
        return self.widget.currentNode()

    def write(self, value: Any) -> None:
        self.widget.setCurrentNode(value)


class EnumConnector(Connector):
    signal = "currentIndexChanged"

    def __init__(self, widget: QtWidgets.QComboBox, datatype: type, annotations: list[Any]) -> None:
        super().__init__(widget, datatype, annotations)
        self._members = list(datatype)
        label = getattr(datatype, "label", lambda member: member.name)
        widget.clear()
        widget.addItems([label(member) for member in self._members])

    @staticmethod
    def accepts(widget_type: type, datatype: type) -> bool:
        return widget_type is QtWidgets.QComboBox and issubclass(datatype, enum.Enum)

    def read(self) -> Any:
        return self._members[self.widget.currentIndex]

    def write(self, value: Any) -> None:
        self.widget.currentIndex = self._members.index(value)


class ChoiceConnector(EnumConnector):
    def __init__(self, widget: QtWidgets.QComboBox, datatype: type, annotations: list[Any]) -> None:
        Connector.__init__(self, widget, datatype, annotations)
        choices = [item.choices for item in annotations if hasattr(item, "choices")]
        if not choices:
            raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
        self._members = list(choices[0])
        widget.clear()
        widget.addItems([str(choice) for choice in self._members])

    @staticmethod
    def accepts(widget_type: type, datatype: type) -> bool:
        return widget_type is QtWidgets.QComboBox and datatype in (int, float, str, bool)


class CheckConnector(Connector):
    signal = "toggled"

    def __init__(self, widget: QtWidgets.QAbstractButton, datatype: type, annotations: list[Any]) -> None:
        super().__init__(widget, datatype, annotations)
        widget.checkable = True

    @staticmethod
    def accepts(widget_type: type, datatype: type) -> bool:
        return widget_type in (QtWidgets.QCheckBox, QtWidgets.QPushButton) and datatype is bool

    def read(self) -> Any:
        return self.widget.checked

    def write(self, value: Any) -> None:
        self.widget.checked = value


class NumberConnector(Connector):
    signal = "valueChanged"

    def __init__(self, widget: Any, datatype: type, annotations: list[Any]) -> None:
        super().__init__(widget, datatype, annotations)
        self._type = datatype
        lows = [item.minimum for item in annotations if hasattr(item, "minimum")]
        highs = [item.maximum for item in annotations if hasattr(item, "maximum")]
        if isinstance(widget, ctkSliderWidget) and not (lows and highs):
            raise RuntimeError("Cannot have a connection to ctkSliderWidget where the float types is unbounded.")
        whole = isinstance(widget, QtWidgets.QSpinBox)
        widget.minimum = lows[0] if lows else (-(2**31) if whole else float("-inf"))
        widget.maximum = highs[0] if highs else (2**31 - 1 if whole else float("inf"))
        if datatype is int and not whole:
            widget.decimals = 0

    @staticmethod
    def accepts(widget_type: type, datatype: type) -> bool:
        if widget_type in (QtWidgets.QDoubleSpinBox, ctkSliderWidget):
            return datatype in (int, float)
        return widget_type in (QtWidgets.QSpinBox, QtWidgets.QSlider) and datatype is int

    def read(self) -> Any:
        return self._type(self.widget.value)

    def write(self, value: Any) -> None:
        self.widget.value = value


class TextConnector(Connector):
    def __init__(self, widget: Any, datatype: type, annotations: list[Any]) -> None:
        super().__init__(widget, datatype, annotations)
        self.signal = "textChanged" if isinstance(widget, QtWidgets.QLineEdit) else None

    @staticmethod
    def accepts(widget_type: type, datatype: type) -> bool:
        return widget_type in (QtWidgets.QLineEdit, QtWidgets.QLabel) and datatype is str

    def read(self) -> Any:
        return self.widget.text

    def write(self, value: Any) -> None:
        if value != self.widget.text:
            self.widget.text = value
