"""The layout manager with its slice and 3D views: real VTK and real MRML displayable managers, rendered offscreen.

A view is drawn as in 3D Slicer: when its displayable managers or its slice logic ask for it, at most 60 times a second;
when it is uncovered or changes its size; and when `forceRender` is called. It takes no mouse and no keys.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import ClassVar

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from .rendering import RENDERING

_DIRECTIONS = {"horizontal": QtCore.Qt.Orientation.Horizontal, "vertical": QtCore.Qt.Orientation.Vertical}
_DIRECT = QtCore.Qt.FindChildOption.FindDirectChildrenOnly
_SLICE_MANAGERS = ("ModelSlice", "Markups", "Crosshair")
_UNTIL_DRAWN_MS = 16  # ctkVTKAbstractView draws at most 60 times a second
_THREE_D_MANAGERS = ("Camera", "View", "Model", "VolumeRendering", "Markups")


class _View(QtWidgets.QWidget):
    """A VTK render window painted onto a Qt widget."""

    def __init__(self, parent: QtWidgets.QWidget, factory: vtk.vtkObject, node: slicer.vtkMRMLAbstractViewNode) -> None:
        super().__init__(parent)
        self._name = node.GetLayoutName()
        self._drawn = False
        self._soon = QtCore.QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_UNTIL_DRAWN_MS)
        self._soon.timeout.connect(self._draw_soon)
        self.setMinimumSize(120, 100)
        self._renderer = vtk.vtkRenderer()
        self._window = vtk.vtkEGLRenderWindow() if hasattr(vtk, "vtkEGLRenderWindow") else vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._window.SetSize(400, 300)
        self._group = factory.InstantiateDisplayableManagers(self._renderer)
        self._group.SetMRMLDisplayableNode(node)
        self._group.AddObserver(vtk.vtkCommand.UpdateEvent, lambda *_: self.scheduleRender())

    def renderWindow(self) -> vtk.vtkRenderWindow:
        return self._window

    def forceRender(self) -> None:
        """Draw now, unless the view is hidden, as one of an earlier layout is."""
        if self.isVisible():
            self._draw()
            self.update()

    def scheduleRender(self) -> None:
        if not RENDERING.is_paused_for(self.scheduleRender) and not self._soon.isActive():
            self._soon.start()

    def _draw_soon(self) -> None:
        if not RENDERING.is_paused_for(self.scheduleRender):
            self.forceRender()

    def _draw(self) -> None:
        with RENDERING.drawing(self._name):
            self._render()
        self._soon.stop()
        self._drawn = True

    def _render(self) -> None:
        self._window.Render()

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        self._window.SetSize(event.size().width(), event.size().height())
        self._drawn = False

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        self._drawn = False

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        if not self._drawn:
            self._draw()
        QtGui.QPainter(self).drawImage(0, 0, self._image())

    def _image(self) -> QtGui.QImage:
        source = vtk.vtkWindowToImageFilter()
        source.SetInput(self._window)
        source.ShouldRerenderOff()
        source.ReadFrontBufferOff()
        source.Update()
        columns, rows, _ = source.GetOutput().GetDimensions()
        pixels = vtk_to_numpy(source.GetOutput().GetPointData().GetScalars()).reshape(rows, columns, 3)[::-1]
        return QtGui.QImage(pixels.tobytes(), columns, rows, 3 * columns, QtGui.QImage.Format.Format_RGB888).copy()


class qMRMLSliceView(_View):
    """The image of a slice logic, with what the slice's displayable managers draw over it."""

    def __init__(self, parent: QtWidgets.QWidget, logic: slicer.vtkMRMLSliceLogic) -> None:
        super().__init__(parent, slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(), logic.GetSliceNode())
        self._logic = logic
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._renderer.AddViewProp(self._actor)
        logic.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.scheduleRender())
        self._fit()

    def _fit(self) -> None:
        columns, rows = self._window.GetSize()
        self._logic.ResizeSliceNode(columns, rows)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _render(self) -> None:
        connection = self._logic.GetImageDataConnection()
        self._actor.SetVisibility(connection is not None)
        if connection is not None:
            self._mapper.SetInputConnection(connection)
        super()._render()


class qMRMLThreeDView(_View):
    """The 3D scene."""

    def __init__(self, parent: QtWidgets.QWidget, node: slicer.vtkMRMLViewNode) -> None:
        super().__init__(parent, slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(), node)
        self._renderer.SetUseDepthPeeling(1)

    def renderer(self) -> vtk.vtkRenderer:
        return self._renderer

    def resetFocalPoint(self) -> None:
        self._renderer.ResetCamera()

    def resetCamera(self) -> None:
        self._renderer.ResetCamera()


class qMRMLSliceWidget(QtWidgets.QWidget):
    def __init__(self, node: slicer.vtkMRMLSliceNode, logic: slicer.vtkMRMLSliceLogic) -> None:
        super().__init__()
        self._node, self._logic = node, logic
        self._view = qMRMLSliceView(self, logic)
        _bar_over(self, node, self._view)

    def sliceView(self) -> qMRMLSliceView:
        return self._view

    def sliceLogic(self) -> slicer.vtkMRMLSliceLogic:
        return self._logic

    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        return self._node

    def mrmlSliceCompositeNode(self) -> slicer.vtkMRMLSliceCompositeNode:
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()


class qMRMLThreeDWidget(QtWidgets.QWidget):
    def __init__(self, node: slicer.vtkMRMLViewNode) -> None:
        super().__init__()
        self._node = node
        self._view = qMRMLThreeDView(self, node)
        _bar_over(self, node, self._view)

    def threeDView(self) -> qMRMLThreeDView:
        return self._view

    def mrmlViewNode(self) -> slicer.vtkMRMLViewNode:
        return self._node


def _bar_over(widget: QtWidgets.QWidget, node: slicer.vtkMRMLAbstractViewNode, view: QtWidgets.QWidget) -> None:
    """The coloured bar with the view's label, as 3D Slicer has it above each view."""
    red, green, blue = (round(255 * part) for part in node.GetLayoutColor())
    bar = QtWidgets.QLabel(node.GetLayoutLabel() or node.GetLayoutName())
    bar.setStyleSheet(f"background: rgb({red}, {green}, {blue}); color: black; padding: 1px 6px;")
    bar.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
    column = QtWidgets.QVBoxLayout(widget)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    column.addWidget(bar)
    column.addWidget(view, 1)


class qSlicerLayoutManager(QtCore.QObject):
    """A widget for every view node of the current layout; those of earlier layouts are kept, as in 3D Slicer.

    Begins with layout 0, in which there are no views, as 3D Slicer does where no settings exist.
    """

    SIGNALS: ClassVar[dict[str, str]] = {"layoutChanged(int)": "layoutChanged"}
    layoutChanged = QtCore.Signal(int)

    def __init__(self, scene: slicer.vtkMRMLScene, application: slicer.vtkMRMLApplicationLogic) -> None:
        super().__init__()
        self._scene, self._application = scene, application
        self._slices: dict[str, qMRMLSliceWidget] = {}
        self._views: dict[str, qMRMLThreeDWidget] = {}
        self._slice_logics, self._view_logics = vtk.vtkCollection(), vtk.vtkCollection()
        application.SetSliceLogics(self._slice_logics)
        application.SetViewLogics(self._view_logics)
        _register(slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(), _SLICE_MANAGERS, application)
        _register(slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(), _THREE_D_MANAGERS, application)
        self._viewport: QtWidgets.QWidget | None = None
        self._layout_logic = slicer.vtkMRMLLayoutLogic()
        self._layout_logic.SetMRMLScene(scene)
        self._layout_logic.AddObserver("ModifiedEvent", lambda *_: self._make_views())

    def viewport(self) -> QtWidgets.QWidget | None:
        return self._viewport

    def setViewport(self, viewport: QtWidgets.QWidget) -> None:
        """Where the views of the current layout are placed, in the order and with the directions of its description."""
        self._viewport = viewport
        self._arrange()

    def layoutLogic(self) -> slicer.vtkMRMLLayoutLogic:
        return self._layout_logic

    def setLayout(self, layout: int) -> None:
        self._layout_logic.GetLayoutNode().SetViewArrangement(layout)
        self._make_views()
        self.layoutChanged.emit(layout)

    def sliceWidget(self, name: str) -> qMRMLSliceWidget | None:
        return self._slices.get(name)

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._slices)

    def threeDWidget(self, which: int | str) -> qMRMLThreeDWidget | None:
        if isinstance(which, str):
            return self._views.get(which)
        return list(self._views.values())[which] if which < len(self._views) else None

    def mrmlSliceLogics(self) -> vtk.vtkCollection:
        return self._slice_logics

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget.sliceLogic().FitSliceToAll()

    def resetThreeDViews(self) -> None:
        for widget in self._views.values():
            widget.threeDView().resetFocalPoint()

    def pauseRender(self) -> None:
        RENDERING.pause()

    def resumeRender(self) -> None:
        RENDERING.resume()

    layout = QtCore.Property(int, lambda self: self._layout_logic.GetLayoutNode().GetViewArrangement(), setLayout)
    threeDViewCount = QtCore.Property(int, lambda self: len(self._views))
    tableViewCount = QtCore.Property(int, lambda self: 0)
    plotViewCount = QtCore.Property(int, lambda self: 0)

    def _make_views(self) -> None:
        nodes = self._layout_logic.GetViewNodes()
        for node in [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]:
            name = node.GetLayoutName()
            if isinstance(node, slicer.vtkMRMLSliceNode) and name not in self._slices:
                self._slices[name] = qMRMLSliceWidget(node, self._new_slice_logic(node))
            elif isinstance(node, slicer.vtkMRMLViewNode) and name not in self._views:
                self._add_view_logic(node)
                self._views[name] = qMRMLThreeDWidget(node)

        self._arrange()

    def _arrange(self) -> None:
        if self._viewport is None:
            return
        for child in self._viewport.findChildren(QtWidgets.QSplitter, options=_DIRECT):
            for widget in (*self._slices.values(), *self._views.values()):
                if child.isAncestorOf(widget):
                    widget.setParent(None)
            child.setParent(None)
        description = self._layout_logic.GetLayoutNode().GetCurrentLayoutDescription()
        content = self._placed(ElementTree.fromstring(description)) if description else None
        if content is not None:
            self._viewport.layout().addWidget(content)

    def _placed(self, element: ElementTree.Element) -> QtWidgets.QWidget | None:
        """The widget of a `layout` or `view` element of a layout's description."""
        if element.tag == "view":
            tag = element.get("singletontag", "")
            return self._slices.get(tag) or self._views.get(tag) or self._views.get(f"View{tag}")
        splitter = QtWidgets.QSplitter(_DIRECTIONS[element.get("type", "horizontal")])
        for item in element.findall("item"):
            widget = self._placed(item[0])
            if widget is not None:
                splitter.addWidget(widget)
                widget.show()
        splitter.setSizes([10_000] * splitter.count())  # equal shares
        return splitter

    def _new_slice_logic(self, node: slicer.vtkMRMLSliceNode) -> slicer.vtkMRMLSliceLogic:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._application)
        logic.SetMRMLScene(self._scene)
        logic.SetSliceNode(node)
        self._slice_logics.AddItem(logic)
        return logic

    def _add_view_logic(self, node: slicer.vtkMRMLViewNode) -> None:
        logic = slicer.vtkMRMLViewLogic()
        logic.SetMRMLApplicationLogic(self._application)
        logic.SetMRMLScene(self._scene)
        logic.AddViewNode(node.GetLayoutName())
        self._view_logics.AddItem(logic)


def _register(factory: vtk.vtkObject, managers: tuple[str, ...], application: slicer.vtkMRMLApplicationLogic) -> None:
    factory.SetMRMLApplicationLogic(application)
    for name in managers:
        factory.RegisterDisplayableManager(f"vtkMRML{name}DisplayableManager")
