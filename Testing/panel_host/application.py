"""`slicer.app`, its module manager and its reading and writing of scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .rendering import RENDERING
from .views import qSlicerLayoutManager

_LOGICS = {
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Units": "vtkSlicerUnitsLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}
BUILT_IN_MODULES = tuple(_LOGICS)

_VOLUMES = (".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz")
_VOLUME_OPTIONS = {"labelmap": 1, "center": 2, "singleFile": 4, "autoWindowLevel": 8, "discardOrientation": 16}


class qSlicerApplication(QtWidgets.QApplication):
    """The application around the scene. `folder`: for its settings, cache and temporary files."""

    startupCompleted = QtCore.Signal()  # once all modules are loaded; sent by the tests that need it

    def __init__(self, folder: Path) -> None:
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, str(folder))
        super().__init__(["panel-host"])
        self.setApplicationName("PanelHost")
        self.setOrganizationName("PanelHost")
        self._folder = folder
        self._scene = slicer.vtkMRMLScene()
        _allow_bundles(self._scene, folder)
        self._logic = slicer.vtkMRMLApplicationLogic()
        self._logic.SetTemporaryPath(str(folder))
        self._logic.SetMRMLScene(self._scene)
        colors = slicer.vtkSlicerColorLogic()
        colors.SetMRMLScene(self._scene)
        self._logic.SetColorLogic(colors)
        self._logic.SetModuleLogic("Colors", colors)
        self._module_logics = {name: self._new_logic(name) for name in _LOGICS}
        self._layout_manager: qSlicerLayoutManager | None = None
        self._module_manager = qSlicerModuleManager()
        self._io_manager = qSlicerIOManager(self._scene, self._logic, self._module_logics["Volumes"])

    def _new_logic(self, name: str) -> slicer.vtkMRMLAbstractLogic:
        logic = getattr(slicer, _LOGICS[name])()
        logic.SetMRMLApplicationLogic(self._logic)
        logic.SetMRMLScene(self._scene)
        self._logic.SetModuleLogic(name, logic)
        return logic

    def mrmlScene(self) -> slicer.vtkMRMLScene:
        return self._scene

    def applicationLogic(self) -> slicer.vtkMRMLApplicationLogic:
        return self._logic

    def moduleLogic(self, name: str) -> slicer.vtkMRMLAbstractLogic | None:
        return self._module_logics.get(name)

    def setLayoutManager(self, manager: qSlicerLayoutManager | None) -> None:
        self._layout_manager = manager

    def layoutManager(self) -> qSlicerLayoutManager | None:
        """None where there is no main window."""
        return self._layout_manager

    def moduleManager(self) -> qSlicerModuleManager:
        return self._module_manager

    def coreIOManager(self) -> qSlicerIOManager:
        return self._io_manager

    def ioManager(self) -> qSlicerIOManager:
        return self._io_manager

    def testingEnabled(self) -> bool:
        """False, so that messages are shown: the host writes them down."""
        return False

    def pauseRender(self) -> None:
        """From now on views are drawn by `forceRender` alone; calls nest."""
        RENDERING.pause()

    def resumeRender(self) -> None:
        """Draw what asked to be drawn meanwhile."""
        RENDERING.resume()

    def userSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    settings = userSettings
    temporaryPath = QtCore.Property(str, lambda self: str(self._folder))


class qSlicerModuleManager(QtCore.QObject):
    """The modules by name."""

    SIGNALS: ClassVar[dict[str, str]] = {"moduleAboutToBeUnloaded(QString)": "moduleAboutToBeUnloaded"}
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, Any] = {}

    def addModule(self, module: Any) -> None:
        self._modules[module.name] = module

    def module(self, name: str) -> Any:
        return self._modules.get(name)


class qSlicerIOManager(QtCore.QObject):
    """Reads and writes scenes, .mrb and .mrml, and reads volumes as 3D Slicer's reader does; nothing else."""

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        logic: slicer.vtkMRMLApplicationLogic,
        volumes: slicer.vtkSlicerVolumesLogic,
    ) -> None:
        super().__init__()
        self._scene, self._logic, self._volumes = scene, logic, volumes

    def saveNodes(self, file_type: str, properties: dict[str, Any], messages: vtk.vtkObject) -> bool:
        path = _scene_file(file_type, properties)
        if path.suffix == ".mrb":
            return bool(self._scene.WriteToMRB(str(path), None, messages))
        self._scene.SetURL(str(path))
        return bool(self._scene.Commit(str(path), messages))

    def loadNodes(
        self, file_type: str, properties: dict[str, Any], nodes: vtk.vtkCollection, messages: vtk.vtkObject
    ) -> bool:
        if file_type == "VolumeFile":
            return self._load_volume(properties, nodes)
        path, clear = _scene_file(file_type, properties), bool(properties.get("clear", False))
        if path.suffix == ".mrb":
            return bool(self._scene.ReadFromMRB(str(path), clear, messages))
        self._scene.SetURL(str(path))
        return bool(self._scene.Connect(messages) if clear else self._scene.Import(messages))

    def _load_volume(self, properties: dict[str, Any], nodes: vtk.vtkCollection) -> bool:
        """As the Volumes module's reader: files numbered beside each other are slices of one volume unless `singleFile`
        is set, and what was loaded is shown in every view that takes part."""
        path = Path(properties["fileName"])
        if not path.name.lower().endswith(_VOLUMES):
            raise NotImplementedError(f"slicer-core reads {', '.join(_VOLUMES)} only, not {path.name}.")
        options = sum(bit for name, bit in _VOLUME_OPTIONS.items() if properties.get(name))
        name = properties.get("name") or path.name.partition(".")[0]
        volume = self._volumes.AddArchetypeVolume(str(path), self._scene.GenerateUniqueName(name), options)
        if volume is None:
            return False
        nodes.AddItem(volume)
        if properties.get("show", True):
            self._logic.GetSelectionNode().SetActiveVolumeID(volume.GetID())
            self._logic.PropagateVolumeSelection()
        return True


def _scene_file(file_type: str, properties: dict[str, Any]) -> Path:
    path = Path(properties["fileName"])
    if file_type != "SceneFile" or path.suffix not in (".mrb", ".mrml"):
        raise NotImplementedError(f"The panel host reads volumes and scenes, and writes scenes; not {file_type}.")
    return path


def _allow_bundles(scene: slicer.vtkMRMLScene, folder: Path) -> None:
    """Reading an .mrb needs a data manager with a cache."""
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(str(folder))
    cache.SetMRMLScene(scene)
    data = slicer.vtkDataIOManager()
    data.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(data)
