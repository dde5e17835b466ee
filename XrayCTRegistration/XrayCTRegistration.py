"""X-ray CT Registration: the module as 3D Slicer loads it. What it does is in XrayCTRegistrationLib.

Nothing here imports a package that does not come with 3D Slicer: such packages are installed when a button needs them.
The panel and the library are imported when the module is first opened.
"""

import os
import sys
import unittest
from typing import Annotated

import slicer
from slicer import (
    vtkMRMLLinearTransformNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLScalarVolumeNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

_REPOSITORY = "https://github.com/XrayCTRegistration/SlicerXrayCTRegistration"  # changed by `make address`

# Reload of the module imports this file anew, but not what it imports, which Python keeps: without this, edits of the
# library would need a restart. When 3D Slicer starts, there is nothing yet to drop.
for _name in [name for name in sys.modules if name.partition(".")[0] == "XrayCTRegistrationLib"]:
    del sys.modules[_name]

from XrayCTRegistrationLib.panel.choices import BonePolarity, Device, Method, SearchScope  # noqa: E402


class XrayCTRegistration(ScriptedLoadableModule):
    """What the module is called, where it is found, and who made it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("X-ray CT Registration")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        parent.dependencies = []
        parent.contributors = ["The XrayCTRegistration developers"]
        parent.helpText = _(
            "<p>Finds where a CT stands in one or more X-ray images: rigid 2D/3D registration. The result is the linear "
            "transform that carries the CT.</p>"
            "<ol><li>Choose a CT and load X-rays, or press <i>Load sample</i>.</li>"
            "<li>Check the geometry of each X-ray.</li>"
            "<li>Bring the CT roughly into place, or leave that to the search.</li>"
            "<li>Press <i>Register</i>.</li>"
            "<li>Look at the green edges and at the confidence before you trust the result.</li></ol>"
            '<p>The <a href="{repository}/blob/main/Resources/docs/tutorial.md">tutorial</a> goes through it step by step, and '
            '<a href="{repository}/blob/main/Resources/docs/troubleshooting.md">troubleshooting</a> says what messages mean. '
            'See more information in <a href="{repository}#readme">module documentation</a>.</p>'
            "<p>Not a medical device.</p>"
        ).format(repository=_REPOSITORY)
        parent.acknowledgementText = _(
            "<p>If you use this module, please cite it and the paper whose problem and protocol it takes up: M. Chen, "
            "Z. Zhang, S. Gu, Z. Ge, Y. Kong, <i>Fully Differentiable Correlation-Driven 2D/3D Registration for X-ray "
            "to CT Image Fusion</i>, IEEE ISBI 2024.</p>"
        )
        slicer.app.connect("startupCompleted()", _registerSampleData)


def _registerSampleData() -> None:
    """Add the samples to the Sample Data module. Its own code is imported once all modules are loaded."""
    from XrayCTRegistrationLib.panel.sample_sources import register_samples

    register_samples(os.path.join(os.path.dirname(__file__), "Resources"))


@parameterNodeWrapper
class XrayCTRegistrationParameterNode:
    """What the panel's widgets hold, saved with the scene. The chosen X-rays are references of the node; geometry, masks,
    landmarks, initial pose and result are with the X-ray and pose nodes."""

    ct: vtkMRMLScalarVolumeNode
    pose: vtkMRMLLinearTransformNode
    ctLandmarks: vtkMRMLMarkupsFiducialNode
    method: Method = Method.AUTO
    device: Device = Device.AUTO
    polarity: BonePolarity = BonePolarity.AUTO
    scope: SearchScope = SearchScope.AUTO
    seed: Annotated[int, WithinRange(0, 999999)] = 0
    storedPixels: bool = False
    liveOverlay: bool = True
    showBone: bool = True


class XrayCTRegistrationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Keeps the panel and the parameter node together through the life of module and scene."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._guiTag = None

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        from XrayCTRegistrationLib.panel.panel import Panel  # not sooner: it would slow down the start of 3D Slicer

        widget = slicer.util.loadUI(self.resourcePath("UI/XrayCTRegistration.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = XrayCTRegistrationLogic()
        self.panel = Panel(self.ui, self.resourcePath("requirements.txt"))
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.setParameterNode(self.logic.getParameterNode())

    def cleanup(self) -> None:
        """Called when the application closes, and before the module is reloaded."""
        self.removeObservers()
        self.setParameterNode(None)
        self.panel.stop()

    def enter(self) -> None:
        """Called when the user opens the module; a registration may be running since an earlier visit."""
        if self._parameterNode is None:
            self.setParameterNode(self.logic.getParameterNode())
        else:
            self._connectGui()

    def exit(self) -> None:
        """Called when the user opens another module. Edges go on following the CT, and a registration goes on."""
        self._disconnectGui()

    def onSceneStartClose(self, caller, event) -> None:
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event) -> None:
        if self.parent.isEntered:
            self.setParameterNode(self.logic.getParameterNode())

    def onSceneStartImport(self, caller, event) -> None:
        # Selectors learn of imported nodes only at the end: until then they would unset what refers to them.
        self._disconnectGui()

    def onSceneEndImport(self, caller, event) -> None:
        if self._parameterNode is None:
            return
        if self.parent.isEntered:
            self._connectGui()
        self._parameterNode.Modified()  # references were read before the nodes that they point to

    def setParameterNode(self, parameterNode) -> None:
        """Show a parameter node, or none."""
        if self._parameterNode is not None:
            self.panel.detach()
            self._disconnectGui()
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._connectGui()
            self.panel.attach(parameterNode)

    def _connectGui(self) -> None:
        if self._guiTag is not None:
            return
        self._guiTag = self._parameterNode.connectGui(self.ui)

    def _disconnectGui(self) -> None:
        if self._guiTag is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self._guiTag = None


class XrayCTRegistrationLogic(ScriptedLoadableModuleLogic):
    """The module without its panel, for scripts."""

    def getParameterNode(self) -> XrayCTRegistrationParameterNode:
        return XrayCTRegistrationParameterNode(super().getParameterNode())

    def loadSample(self):
        """Add a synthetic CT and two simulated X-rays to the scene; returns them, and the true pose, as
        `XrayCTRegistrationLib.mrml.sample.Sample`."""
        from XrayCTRegistrationLib.mrml.sample import sample_steps
        from XrayCTRegistrationLib.state import finished

        return finished(sample_steps(slicer.mrmlScene))

    def setGeometry(self, xrayNode, carm) -> None:
        """Stand an X-ray at its detector.

        carm: the path of a C-arm JSON file, or a mapping of its entries without image_size_px.
        """
        from XrayCTRegistrationLib.geometry.entries import USER, Entry
        from XrayCTRegistrationLib.mrml.geometry import read_geometry, set_entries

        if hasattr(carm, "items"):
            set_entries(xrayNode, {name: Entry(value, USER) for name, value in carm.items()})
        else:
            read_geometry(xrayNode, carm)

    def register(
        self, ctNode, xrayNodes, transformNode=None, progress=None, segmentationNode=None, segments=None, **settings
    ):
        """Register a CT to X-rays that stand at their detectors, and wait for the result.

        transformNode: the start, and then the pose; one is made unless it is given or the CT is under one.
        progress: called with the state after every step; return False to cancel.
        segmentationNode: a segmentation or label map of the CT: its bones are registered, too, each under a linear
            transform of its own. segments: their names or ids; every one that is bone unless given.
        settings: of `XrayCTRegistrationLib.Settings`, such as method="auto", device="cpu", seed=0.
        Returns a `RegistrationResult`, of bones a `BonesResult`, None when cancelled. Needs torch, numba and cma: the
        panel installs them.
        """
        from XrayCTRegistrationLib import Settings
        from XrayCTRegistrationLib.mrml.scripted import register_nodes

        return register_nodes(
            ctNode, xrayNodes, transformNode, Settings(**settings), progress, segmentationNode, segments
        )


class XrayCTRegistrationTest(ScriptedLoadableModuleTest):
    """The panel's journeys, as run by ctest and by Reload and Test."""

    def runTest(self, **kwargs) -> None:
        """Run every journey; the first that fails ends it."""
        from XrayCTRegistrationLib.panel.journeys import Journeys

        for name in unittest.defaultTestLoader.getTestCaseNames(Journeys):
            self.delayDisplay(name)
            outcome = Journeys(name).run()
            for _test, reason in outcome.skipped:
                self.skipTest(reason)
            for _test, trace in [*outcome.errors, *outcome.failures]:
                self.fail(trace)
        self.delayDisplay("All journeys passed")
