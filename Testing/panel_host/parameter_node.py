"""`slicer.parameterNodeWrapper` for parameters that are MRML nodes, Enum, bool, int, float or str.

As in 3D Slicer: values are stored as strings on a vtkMRMLScriptedModuleNode (an Enum by its member's name), nodes as
node references; what is read is remembered until the node is modified; widgets that carry the dynamic property
SlicerParameterName follow the node and set it. Other kinds of parameters raise TypeError.
"""

from __future__ import annotations

import enum
import typing
import weakref
from collections.abc import Callable
from typing import Any

import slicer
from PySide6 import QtWidgets

from .parameter_widgets import connector_for


class Default:
    """Annotation: the value of a parameter that was never set."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value, self._generator = value, generator

    @property
    def value(self) -> Any:
        return self._generator() if self._generator else self._value


class Validator:
    """Annotation that raises ValueError for values a parameter must not take."""

    def validate(self, value: Any) -> None:
        raise NotImplementedError


class WithinRange(Validator):
    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class Minimum(Validator):
    def __init__(self, minimum: float) -> None:
        self.minimum = minimum

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"Value must be greater than {self.minimum}, is {value}")


class Maximum(Validator):
    def __init__(self, maximum: float) -> None:
        self.maximum = maximum

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"Value must be less than {self.maximum}, is {value}")


class Choice(Validator):
    def __init__(self, choices: list[Any]) -> None:
        self.choices = choices

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


class _Parameter:
    """One typed member: how it is checked, and how it is kept on the node."""

    def __init__(self, name: str, annotated: Any, default: Any) -> None:
        self.name, self.annotated = name, annotated
        self.type, *annotations = (
            typing.get_args(annotated) if typing.get_origin(annotated) is typing.Annotated else [annotated]
        )
        if not isinstance(self.type, type):
            raise TypeError(f"{name}: the panel host keeps no parameters of type {self.type}.")
        self.validators = [item for item in annotations if isinstance(item, Validator)]
        defaults = [item.value for item in annotations if isinstance(item, Default)]
        self.default = default if default is not None else (defaults[0] if defaults else self._plain_default())

    @property
    def is_node(self) -> bool:
        return issubclass(self.type, slicer.vtkMRMLNode)

    def _plain_default(self) -> Any:
        if self.is_node:
            return None
        if issubclass(self.type, enum.Enum):
            return next(iter(self.type))
        if self.type in (bool, int, float, str):
            return self.type()
        raise TypeError(f"{self.name}: the panel host keeps no parameters of type {self.type}.")

    def is_in(self, node: slicer.vtkMRMLScriptedModuleNode) -> bool:
        return bool(node.HasParameter(self.name))

    def write(self, node: slicer.vtkMRMLScriptedModuleNode, value: Any) -> None:
        accepted = (int, float) if self.type is float else self.type
        if not (isinstance(value, accepted) or (value is None and self.is_node)):
            raise TypeError(f"{self.name} must be of type {self.type.__name__}, is {value!r}")
        for validator in self.validators:
            validator.validate(value)
        if self.is_node:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def read(self, node: slicer.vtkMRMLScriptedModuleNode) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        if not self.is_in(node):
            self.write(node, self.default)
        text = node.GetParameter(self.name)
        if issubclass(self.type, enum.Enum):
            return self.type[text]
        return text == "True" if self.type is bool else self.type(text)


class _Wrapper:
    """What every class decorated with `parameterNodeWrapper` gets."""

    _parameters: typing.ClassVar[dict[str, _Parameter]] = {}

    def __init__(self, parameterNode: slicer.vtkMRMLScriptedModuleNode) -> None:
        self.parameterNode = parameterNode
        self._connectors: dict[int, dict[str, Any]] = {}
        self._gui_tags: dict[int, int] = {}
        self._updating_gui = False
        self._values: dict[str, Any] = {}
        for parameter in self._parameters.values():
            if not parameter.is_in(parameterNode):
                parameter.write(parameterNode, parameter.default)
        self._remember()
        # The observer must not keep the wrapper: a module makes a new one at every getParameterNode. One that is
        # garbage in a cycle loses its weak references before it is finalised, and may hear of the node until then.
        weak = weakref.WeakMethod(self._remember)

        def remember(*_: object) -> None:
            alive = weak()
            if alive is not None:
                alive()

        self._tag = parameterNode.AddObserver("ModifiedEvent", remember)

    def __del__(self) -> None:
        self.parameterNode.RemoveObserver(self._tag)

    def _remember(self) -> None:
        self._values = {name: parameter.read(self.parameterNode) for name, parameter in self._parameters.items()}

    def getValue(self, name: str) -> Any:
        self.dataType(name)
        return self._values[name]

    def setValue(self, name: str, value: Any) -> None:
        self.dataType(name)
        with slicer.util.NodeModify(self.parameterNode):
            self._parameters[name].write(self.parameterNode, value)
            self._values[name] = self._parameters[name].read(self.parameterNode)

    def default(self, name: str) -> Default:
        self.dataType(name)
        return Default(self._parameters[name].default)

    def dataType(self, name: str) -> Any:
        if name not in self._parameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return self._parameters[name].annotated

    def connectGui(self, gui: Any) -> int:
        """Bind the widgets of a widget's tree, or of the attributes of `childWidgetVariables`."""
        widgets = gui.findChildren(QtWidgets.QWidget) if hasattr(gui, "findChildren") else list(vars(gui).values())
        names = {widget.property("SlicerParameterName"): widget for widget in widgets}
        return self.connectParametersToGui({name: widget for name, widget in names.items() if name})

    def connectParametersToGui(self, widgets: dict[str, Any]) -> int:
        connectors = {name: connector_for(widget, self.dataType(name)) for name, widget in widgets.items()}
        tag = max(self._connectors, default=-1) + 1
        self._connectors[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.connect(lambda *_, name=name, connector=connector: self._from_gui(name, connector))
        self._gui_tags[tag] = self.AddObserver("ModifiedEvent", self._to_gui)
        return tag

    def disconnectGui(self, tag: int) -> None:
        for connector in self._connectors.pop(tag, {}).values():
            connector.disconnect()
        if tag in self._gui_tags:
            self.RemoveObserver(self._gui_tags.pop(tag))

    def _from_gui(self, name: str, connector: Any) -> None:
        if not self._updating_gui:
            self.setValue(name, connector.read())

    def _to_gui(self, *_: Any) -> None:
        if self._updating_gui:
            return
        self._updating_gui = True
        try:
            with slicer.util.NodeModify(self):
                for connectors in self._connectors.values():
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._updating_gui = False

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, was_modifying: int) -> int:
        return self.parameterNode.EndModify(was_modifying)

    def Modified(self) -> None:
        self.parameterNode.Modified()

    def AddObserver(self, event: Any, callback: Callable[..., None], priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)


def parameterNodeWrapper(cls: type | None = None) -> Any:
    """Class decorator: the annotated members become typed parameters of the node given to the constructor."""
    if cls is None:
        return parameterNodeWrapper
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {name: _Parameter(name, hint, getattr(cls, name, None)) for name, hint in hints.items()}
    members: dict[str, Any] = {"__doc__": cls.__doc__, "__module__": cls.__module__, "_parameters": parameters}
    for name in parameters:
        members[name] = property(
            lambda self, name=name: self.getValue(name), lambda self, value, name=name: self.setValue(name, value)
        )
    return type(cls.__name__, (_Wrapper, cls), members)
