"""What the panel shows in the views beside the edges: X-rays at their detectors, beams, bone, handles."""

from __future__ import annotations

import qt
import slicer

from ..mrml.display import show_as_registered
from ..mrml.frames import lps_points
from ..mrml.landmarks import follow_ct
from ..mrml.models import bone_node, show_beam, show_bone, show_model
from ..mrml.shown import Shown
from ..mrml.views import fit_views, layout_for, look_over_sources, show_images, show_xrays
from ..mrml.xrays import has_geometry, view_of
from .ct_preparation import CtPreparation
from .selection import Change, Selection

_UNTIL_LAID_OUT_MS = 100


class SceneDisplay:
    """Keeps the views with what is chosen, and removes what belonged to nodes that are gone."""

    def __init__(self, selection: Selection, preparation: CtPreparation) -> None:
        self._selection, self._preparation = selection, preparation
        self._xrays_shown: tuple[str, ...] = ()
        self._shown_with: dict[str, Shown] = {}
        self._handles_shown = self._stored_pixels = False
        self._laid_out = qt.QTimer()  # views get their size only when the layout has changed
        self._laid_out.setSingleShot(True)
        self._laid_out.setInterval(_UNTIL_LAID_OUT_MS)
        self._laid_out.connect("timeout()", self._stand_views)
        selection.listen(Change.INPUTS, self._on_inputs)
        selection.listen(Change.RUNNING, self._show_as_registered)
        selection.listen(Change.LOOKS, self._on_looks)

    def forget(self) -> None:
        """Stop, and let go of nodes."""
        self._laid_out.stop()
        self._xrays_shown, self._shown_with = (), {}

    def show_views(self) -> None:
        """Change to the layout for so many X-rays, and show them; nothing happens without a main window."""
        xrays, manager = self._selection.xray_nodes, slicer.app.layoutManager()
        if not xrays or manager is None:
            return
        manager.setLayout(layout_for(manager.layoutLogic().GetLayoutNode(), len(xrays)))
        self._stand_views()
        self._laid_out.start()

    def fit_views(self) -> None:
        """Let each X-ray fill its view again; layout and 3D view stay as they are."""
        fit_views(slicer.mrmlScene, self._selection.xray_nodes)

    def show_handles(self, shown: bool) -> None:
        """Show handles that move the CT and turn it about its middle, or hide them."""
        self._handles_shown = shown
        node, inputs = self._selection.pose_node, self._selection.inputs
        if node is None or inputs is None or not (shown or node.GetDisplayNode()):
            return
        node.CreateDefaultDisplayNodes()
        node.SetCenterOfTransformation(*lps_points(inputs.ct.center))
        node.GetDisplayNode().SetEditorVisibility(shown)

    def _on_inputs(self) -> None:
        selection = self._selection
        for node in selection.xray_nodes:
            if has_geometry(node):
                show_beam(node, view_of(node))
        if selection.inputs is None:
            return
        self._show_as_registered()
        shown = tuple(node.GetID() for node in selection.xray_nodes)
        if shown != self._xrays_shown:
            self._xrays_shown = shown
            self.show_views()

    def _show_as_registered(self) -> None:
        """Show line integrals, bone bright: with the polarity that is known."""
        selection = self._selection
        nodes = selection.xray_nodes
        if selection.inputs is not None and not selection.running:
            for node, polarity in zip(nodes, selection.polarities() or [None] * len(nodes)):
                show_as_registered(node, polarity)

    def _on_looks(self) -> None:
        selection = self._selection
        if selection.parameters is None or selection.running:
            return
        if selection.inputs is not None and selection.pose_node is not None:
            self._show_bone()
            self.show_handles(self._handles_shown)
            landmarks = selection.parameters.ctLandmarks
            if landmarks is not None and selection.pose is not None:
                follow_ct(landmarks, selection.pose_node)
        if selection.inputs is not None and selection.parameters.storedPixels != self._stored_pixels:
            self._stored_pixels = selection.parameters.storedPixels
            show_images(slicer.mrmlScene, selection.xray_nodes, self._stored_pixels)
        self._tidy_up()

    def _show_bone(self) -> None:
        """Show the CT's bone in the 3D view, or hide it."""
        selection = self._selection
        node, shown = bone_node(selection.ct_node), selection.parameters.showBone
        if node is None and shown and self._preparation.volume is not None:
            node = show_bone(selection.ct_node, self._preparation.volume)
        if node is not None:
            node.SetAndObserveTransformNodeID(selection.ct_node.GetTransformNodeID())
            show_model(node, shown)

    def _tidy_up(self) -> None:
        """Hide beams of X-rays that are no longer chosen; remove what belonged to nodes that are gone."""
        selection = self._selection
        chosen = {node.GetID(): node for node in (selection.ct_node, *selection.xray_nodes) if node is not None}
        for node_id, shown in self._shown_with.items():
            if shown.owner.GetScene() is None:
                shown.remove()
            elif node_id not in chosen:
                shown.hide()
        self._shown_with = {node_id: Shown.of(node) for node_id, node in chosen.items()}

    def _stand_views(self) -> None:
        selection = self._selection
        if selection.inputs is None:
            return
        show_xrays(slicer.mrmlScene, selection.xray_nodes, selection.parameters.storedPixels)
        manager = slicer.app.layoutManager()
        if manager is not None and manager.threeDViewCount:
            view_node = manager.threeDWidget(0).mrmlViewNode()
            camera = slicer.modules.cameras.logic().GetViewActiveCameraNode(view_node)
            look_over_sources(camera, selection.inputs.views)
