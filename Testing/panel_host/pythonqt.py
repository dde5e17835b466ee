"""PySide6 made to speak as PythonQt does, and the module `qt` that scripted modules import.

What PythonQt does (its PythonQtInstanceWrapper.cpp), and this file makes PySide6 do:
- a Qt property is an attribute: `button.enabled`, `label.text = "x"`; calling it, `label.text()`, is a TypeError;
- `name` is `objectName`;
- `widget.connect("clicked(bool)", f)` and `widget.connect("clicked()", receiver, "slot()")` take plain signatures;
- a name that an object does not have cannot be set on it: AttributeError, unless its class was derived in Python;
- a slot cannot be overwritten.

PySide6 is changed for the whole process, once. A name that Qt 6 has and Qt 5 lacks is not noticed here.
"""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Iterator
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

_MODULES = (QtCore, QtGui, QtWidgets)
_STAND_INS = __name__.rpartition(".")[0]  # classes of this package pass for C++ classes

_qt_connect = QtCore.QObject.connect
_qt_disconnect = QtCore.QObject.disconnect
_qt_getattribute = QtCore.QObject.__getattribute__
_speaks = False
_loading = False


def qt_module() -> types.ModuleType:
    """The module `qt`: the classes of QtCore, QtGui and QtWidgets under one roof, as PythonQt offers them."""
    _speak_pythonqt()
    module = types.ModuleType("qt", "Qt as PythonQt offers it, on PySide6")
    for source in (*_MODULES, QtUiTools):
        for name in dir(source):
            if name.startswith("Q"):
                setattr(module, name, getattr(source, name))
    return module


class _QtProperty:
    """A Qt property as a Python attribute. Asked for on the class it gives what was there before: `QTimer.singleShot`
    is a property of a timer and a function of the class."""

    def __init__(self, name: str, writable: bool, of_class: Any) -> None:
        self.name, self.writable, self._of_class = name, writable, of_class

    def __get__(self, instance: QtCore.QObject | None, owner: type) -> Any:
        if instance is None:
            return self if self._of_class is None else self._of_class.__get__(None, owner)
        if isinstance(self._of_class, types.MethodDescriptorType):
            # Qt asks for virtual getters by their name: answered by `property` these would call themselves for ever.
            return self._of_class(instance)
        return instance.property(self.name)

    def __set__(self, instance: QtCore.QObject, value: Any) -> None:
        if not self.writable:
            raise AttributeError(f"Property '{self.name}' of {type(instance).__name__} object is not writable")
        if value is None or not instance.setProperty(self.name, value):
            raise AttributeError(
                f"Property '{self.name}' of {type(instance).__name__} does not accept an object of type "
                f"{type(value).__name__} ({value!r})"
            )


def _speak_pythonqt() -> None:
    global _speaks
    if _speaks:
        return
    _speaks = True
    for cls in filter(_is_qobject_class, (getattr(module, name) for module in _MODULES for name in dir(module))):
        _give_properties(cls)
        cls.__setattr__ = _setattr
    QtCore.QObject.name = _QtProperty("objectName", True, None)
    QtCore.QObject.className = lambda self: self.metaObject().className()
    QtCore.QObject.__getattribute__ = _getattribute


def _is_qobject_class(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, QtCore.QObject)


def _give_properties(cls: type) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyCount()):
        qt_property = meta.property(index)
        name = qt_property.name()
        own = index >= meta.propertyOffset() or name in vars(cls)  # QBoxLayout has its own getter of QLayout's spacing
        if own:
            before = inspect.getattr_static(cls, name, None)
            setattr(cls, name, _QtProperty(name, qt_property.isWritable(), before if callable(before) else None))


@contextlib.contextmanager
def loading_ui() -> Iterator[None]:
    """While PySide6 loads a .ui file it sets every child as an attribute of the root. These are dropped."""
    global _loading
    _loading = True
    try:
        yield
    finally:
        _loading = False


def _setattr(self: QtCore.QObject, name: str, value: Any) -> None:
    cls = type(self)
    if _loading and isinstance(value, QtCore.QObject) and not name.startswith("_"):
        return
    there = inspect.getattr_static(cls, name, None)
    if hasattr(there, "__set__"):
        there.__set__(self, value)
    elif isinstance(there, QtCore.Property):
        if there.fset is None:
            raise AttributeError(f"Property '{name}' of {cls.__name__} object is not writable")
        there.fset(self, value)
    elif not _is_cpp(cls) or name.startswith("_") or isinstance(value, QtCore.SignalInstance):  # PySide6 keeps signals
        self.__dict__[name] = value
    elif there is not None:
        raise AttributeError(f"Slot '{name}' can not be overwritten on {cls.__name__} object")
    elif name in [bytes(key).decode() for key in self.dynamicPropertyNames()]:
        self.setProperty(name, value)
    else:
        raise AttributeError(
            f"'{name}' does not exist on {cls.__name__} and creating new attributes on C++ objects is not allowed"
        )


def _is_cpp(cls: type) -> bool:
    return cls.__module__.startswith(("PySide6", _STAND_INS))


def _getattribute(self: QtCore.QObject, name: str) -> Any:
    # PySide6 looks up connect and disconnect by itself, past anything set on the class.
    if name == "connect":
        return types.MethodType(_connect, self)
    if name == "disconnect":
        return types.MethodType(_disconnect, self)
    try:
        return _qt_getattribute(self, name)
    except AttributeError:
        if name in [bytes(key).decode() for key in self.dynamicPropertyNames()]:
            return self.property(name)
        raise


def _connect(self: QtCore.QObject, signal: str, receiver: Any, slot: str | None = None) -> bool:
    """`sender.connect("signal(types)", callable)` or `sender.connect("signal(types)", receiver, "slot(types)")`."""
    target = receiver if slot is None else getattr(receiver, slot.partition("(")[0])
    bound = _stand_in_signal(self, signal)
    if bound is not None:
        bound.connect(target)
        return True
    return bool(_qt_connect(self, QtCore.SIGNAL(_known(self, signal)), target))


def _disconnect(self: QtCore.QObject, signal: str, receiver: Any, slot: str | None = None) -> bool:
    target = receiver if slot is None else getattr(receiver, slot.partition("(")[0])
    bound = _stand_in_signal(self, signal)
    if bound is not None:
        return bool(bound.disconnect(target))
    return bool(_qt_disconnect(self, QtCore.SIGNAL(_known(self, signal)), target))


def _stand_in_signal(sender: QtCore.QObject, signature: str) -> QtCore.SignalInstance | None:
    """The signal that a stand-in offers under a signature of the real widget, `currentNodeChanged(vtkMRMLNode*)`."""
    for cls in type(sender).__mro__:
        name = vars(cls).get("SIGNALS", {}).get(signature.replace(" ", ""))
        if name is not None:
            return getattr(sender, name)
    return None


def _known(sender: QtCore.QObject, signature: str) -> str:
    normalized = bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()
    if sender.metaObject().indexOfSignal(normalized) < 0 or "PyObject" in normalized:
        raise ValueError(f"{type(sender).__name__} has no signal {signature}")
    return normalized
