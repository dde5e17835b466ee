"""Stand-ins for the qMRML widgets that the panel uses, on real MRML. SIGNALS and METHODS: see ctk_widgets.py."""

from __future__ import annotations

from typing import Any, ClassVar

import slicer
from PySide6 import QtCore, QtWidgets

Property, Signal = QtCore.Property, QtCore.Signal


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that knows the scene and tells its children about it."""

    SIGNALS: ClassVar[dict[str, str]] = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}
    METHODS: ClassVar[set[str]] = {"mrmlScene"}
    mrmlSceneChanged = Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: slicer.vtkMRMLScene | None = None

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        return self._scene


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """The nodes of a scene that have certain types, with None and commands to add, rename and remove.

    As the real one, it is disabled without a scene, shows None first, chooses a node itself where None is not enabled,
    and turns to None or to another node when the current one leaves the scene.
    """

    SIGNALS: ClassVar[dict[str, str]] = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeIDChanged(QString)": "currentNodeIDChanged",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
    }
    METHODS: ClassVar[set[str]] = {"addAttribute", "currentNode", "mrmlScene", "nodeCount", "nodeFromIndex"}
    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeAddedByUser = Signal(object)
    nodeActivated = Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: slicer.vtkMRMLScene | None = None
        self._tags: list[int] = []
        self._name_tags: list[tuple[slicer.vtkMRMLNode, int]] = []
        self._types: tuple[str, ...] = ()
        self._attributes: list[tuple[str, str, str | None]] = []
        self._flags: dict[str, bool] = {"noneEnabled": False, "addEnabled": True, "removeEnabled": True}
        self._base_name, self._none_display = "", "Select a node"
        self._nodes: list[slicer.vtkMRMLNode] = []
        self._current: slicer.vtkMRMLNode | None = None
        self._requested: slicer.vtkMRMLNode | None = None
        self._combo = QtWidgets.QComboBox()
        self._combo.setMinimumContentsLength(10)
        self._combo.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._combo.activated.connect(self._activated)
        self.setFocusProxy(self._combo)
        self.setEnabled(False)

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        if scene is self._scene:
            return
        self.setEnabled(scene is not None)
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene = scene
        self._tags = [] if scene is None else self._observed(scene)
        self._refresh()
        if self._requested is not None and scene is not None:
            self.setCurrentNode(self._requested)
            self._requested = None

    def _observed(self, scene: slicer.vtkMRMLScene) -> list[int]:
        return [
            scene.AddObserver(scene.NodeAddedEvent, self._node_added),
            scene.AddObserver(scene.NodeRemovedEvent, self._node_removed),
            scene.AddObserver(scene.EndCloseEvent, self._scene_changed),
            scene.AddObserver(scene.EndImportEvent, self._scene_changed),
        ]

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        return self._scene

    def currentNode(self) -> slicer.vtkMRMLNode | None:
        return self._current

    def nodeCount(self) -> int:
        return len(self._nodes)

    def nodeFromIndex(self, index: int) -> slicer.vtkMRMLNode | None:
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def setCurrentNode(self, node: slicer.vtkMRMLNode | str | None) -> None:
        """A node that is not among those offered clears the choice, as in the real widget."""
        if self._scene is None:
            self._requested = None if isinstance(node, str) else node
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node) if self._scene and node else None
        self._choose(node if node in self._nodes else None)

    def setCurrentNodeID(self, identifier: str) -> None:
        self.setCurrentNode(identifier)

    def setCurrentNodeIndex(self, index: int) -> None:
        self._choose(self.nodeFromIndex(index))

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        self._attributes.append((node_type, name, None if value is None else str(value)))
        self._refresh()

    def addNode(self, node_type: str = "") -> slicer.vtkMRMLNode | None:
        """What the command "Create new ..." of the menu does."""
        if self._scene is None:
            return None
        kind = node_type or self._types[0]
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(self._base_name or kind[7:-4]))
        self._choose(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        if self._current is not None:
            self._scene.RemoveNode(self._current)

    def _node_added(self, scene: slicer.vtkMRMLScene, event: str) -> None:
        if not scene.IsImporting():  # looked at when the import has ended, as the real one does
            self._refresh()

    def _node_removed(self, scene: slicer.vtkMRMLScene, event: str) -> None:
        if not scene.IsClosing():
            self._refresh()

    def _scene_changed(self, scene: slicer.vtkMRMLScene, event: str) -> None:
        self._refresh()

    def _refresh(self) -> None:
        self._nodes = [] if self._scene is None else [node for node in self._all_nodes() if self._offers(node)]
        for node, tag in self._name_tags:
            node.RemoveObserver(tag)
        self._name_tags = [
            (node, node.AddObserver("ModifiedEvent", lambda *_: self._relabel())) for node in self._nodes
        ]
        self._relabel()
        current = self._current if self._current in self._nodes else None
        if current is None and not self._flags["noneEnabled"] and self._nodes:
            current = self._nodes[-1]
        self._choose(current)

    def _all_nodes(self) -> list[slicer.vtkMRMLNode]:
        return [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())]

    def _offers(self, node: slicer.vtkMRMLNode) -> bool:
        if node.GetHideFromEditors() and not self._flags.get("showHidden"):
            return False
        children = self._flags.get("showChildNodeTypes", True)
        kinds = [kind for kind in self._types if (node.IsA(kind) if children else node.GetClassName() == kind)]
        wanted = [(name, value) for kind, name, value in self._attributes if kind in kinds]
        return bool(kinds) and all(
            node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name)) for name, value in wanted
        )

    def _relabel(self) -> None:
        labels = [self._none_display] * self._flags["noneEnabled"] + [node.GetName() or "" for node in self._nodes]
        if labels != [self._combo.itemText(index) for index in range(self._combo.count)]:
            self._combo.clear()
            self._combo.addItems(labels)
            self._show_current()

    def _show_current(self) -> None:
        place = self._nodes.index(self._current) if self._current in self._nodes else -1
        self._combo.setCurrentIndex(place + self._flags["noneEnabled"])

    def _choose(self, node: slicer.vtkMRMLNode | None) -> None:
        changed = node is not self._current
        self._current = node
        self._show_current()
        if changed:
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(node.GetID() if node else "")

    def _activated(self, index: int) -> None:
        self._choose(self.nodeFromIndex(index - self._flags["noneEnabled"]))
        self.nodeActivated.emit(self._current)

    def _set_types(self, types: list[str]) -> None:
        self._types = tuple(types)
        self._refresh()

    def _set_base_name(self, name: str) -> None:
        self._base_name = name

    def _set_none_display(self, text: str) -> None:
        self._none_display = text
        self._relabel()

    @staticmethod
    def _flag(name: str) -> Property:
        def write(self: qMRMLNodeComboBox, value: bool) -> None:
            self._flags[name] = value
            self._refresh()

        return Property(bool, lambda self: self._flags.get(name, name == "showChildNodeTypes"), write)

    noneEnabled = _flag("noneEnabled")
    addEnabled = _flag("addEnabled")
    removeEnabled = _flag("removeEnabled")
    renameEnabled = _flag("renameEnabled")
    editEnabled = _flag("editEnabled")
    showHidden = _flag("showHidden")
    showChildNodeTypes = _flag("showChildNodeTypes")
    selectNodeUponCreation = _flag("selectNodeUponCreation")
    baseName = Property(str, lambda self: self._base_name, _set_base_name)
    noneDisplay = Property(str, lambda self: self._none_display, _set_none_display)
    nodeTypes = Property("QStringList", lambda self: self._types, _set_types)
    currentNodeID = Property(str, lambda self: self._current.GetID() if self._current else "", setCurrentNodeID)


STAND_INS = (qMRMLNodeComboBox, qMRMLWidget)
