"""What the panel shows in the views beside the edges: X-rays at their detectors, beams, bone, handles."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import qt
import slicer

from ..mrml.display import show_as_registered_steps
from ..mrml.frames import lps_points
from ..mrml.landmarks import follow_ct
from ..mrml.models import bone_node, bone_surface_steps, show_beam, show_bone, show_model, surface_node
from ..mrml.shown import Shown
from ..mrml.views import fit_views, layout_for, look_over_sources, show_images, show_xrays_steps
from ..mrml.xrays import has_geometry, view_of
from .changes import Change
from .ct_preparation import CtPreparation
from .selection import Selection
from .ticker import Preparation, Ticker

_UNTIL_LAID_OUT_MS = 100


class SceneDisplay:
    """Keeps the views with what is chosen, and removes what belonged to nodes that are gone."""

    def __init__(self, selection: Selection, preparation: CtPreparation, ticker: Ticker) -> None:
        self._selection, self._preparation, self._ticker = selection, preparation, ticker
        self._images: Preparation | None = None  # X-rays as they are registered, on their way
        self._standing: Preparation | None = None  # X-rays, on their way to their views
        self._bone: Preparation | None = None  # the surface of the CT's bone, on its way
        self._xrays_shown: tuple[str, ...] = ()
        self._shown_with: dict[str, Shown] = {}
        self._handles_shown = self._stored_pixels = False
        self._bone_of: Any = None  # what the CT's bone in 3D was made of
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
        for job in (self._images, self._standing, self._bone):
            if job is not None:
                self._ticker.drop(job)
        self._images = self._standing = self._bone = None
        self._xrays_shown, self._shown_with, self._bone_of = (), {}, None

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
        """Show handles that move what is chosen to move, the CT or one of its bones, about its middle, or hide them."""
        self._handles_shown = shown
        selection = self._selection
        if selection.pose_node is None or selection.inputs is None:
            return
        moving = selection.bones.moving
        _show_handles(selection.pose_node, selection.inputs.ct.center, shown and moving is None)
        for bone in selection.bones.standing:
            _show_handles(bone.node, bone.center, shown and bone is moving)

    def _on_inputs(self) -> None:
        selection = self._selection
        for node in selection.xray_nodes:
            if has_geometry(node):
                show_beam(node, view_of(node))
        self._show_as_registered()

    def _show_as_registered(self) -> None:
        """Show line integrals, bone bright, read as is known: one X-ray after the other, then the layout for so
        many."""
        if self._images is not None:
            self._ticker.drop(self._images)
            self._images = None
        if self._selection.inputs is not None and not self._selection.running:
            self._images = Preparation(self._image_steps(), self._on_images)
            self._ticker.run_first(self._images)

    def _image_steps(self) -> Generator[None, None, None]:
        nodes = self._selection.xray_nodes
        for node, means in zip(nodes, self._selection.meanings()):
            if node.GetScene() is not None:
                yield from show_as_registered_steps(node, means.polarity, means.logarithmic)
                yield

    def _on_images(self, _nothing: None) -> None:
        self._images = None
        shown = tuple(node.GetID() for node in self._selection.xray_nodes)
        if shown != self._xrays_shown:
            self._xrays_shown = shown
            self.show_views()

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
        """Show the CT's bone in the 3D view, and the chosen bones, which are not in it then; or hide them."""
        selection, prepared = self._selection, self._selection.bones.prepared
        node, shown = bone_node(selection.ct_node), selection.parameters.showBone
        source = prepared.rest_surface if prepared is not None else self._preparation.volume
        waiting = prepared is None and bool(selection.bones.ids)  # it would be made twice
        if shown and source is not None and not waiting and (node is None or self._is_of_others(source)):
            if prepared is None:
                self._make_bone(selection.ct_node, source)
            else:
                node, self._bone_of = show_bone(selection.ct_node, source), source
        if node is not None:
            node.SetAndObserveTransformNodeID(selection.ct_node.GetTransformNodeID())
            show_model(node, shown)
        for bone in selection.bones.standing:
            if surface_node(bone.node) is not None:
                show_model(surface_node(bone.node), shown)

    def _make_bone(self, ct_node: Any, ct: Any) -> None:
        """Make the surface of a CT's bone a little at a time, and show it."""
        if self._bone is not None:
            return

        def show(surface: Any) -> None:
            self._bone = None
            if ct_node.GetScene() is not None and ct_node is self._selection.ct_node:
                show_bone(ct_node, surface)
                self._bone_of = ct
                self._on_looks()

        self._bone = Preparation(bone_surface_steps(ct), show)
        self._ticker.run(self._bone)

    def _is_of_others(self, source: Any) -> bool:
        """Whether the CT's bone in 3D was made with other bones in it. One that was read with the scene is believed."""
        if self._bone_of is None:
            self._bone_of = source
        return self._bone_of is not source

    def _tidy_up(self) -> None:
        """Hide beams of X-rays that are no longer chosen; remove what belonged to nodes that are gone."""
        selection = self._selection
        bones = [bone.node for bone in selection.bones.standing]
        nodes = (selection.ct_node, *selection.xray_nodes, *bones)
        chosen = {node.GetID(): node for node in nodes if node is not None}
        for node_id, shown in self._shown_with.items():
            if shown.owner.GetScene() is None:
                shown.remove()
            elif node_id not in chosen:
                shown.hide()
        self._shown_with = {node_id: Shown.of(node) for node_id, node in chosen.items()}

    def _stand_views(self) -> None:
        """Show the X-rays in their views, one after the other."""
        if self._standing is not None:
            self._ticker.drop(self._standing)
        self._standing = Preparation(self._standing_steps(), self._on_standing)
        self._ticker.run_first(self._standing)

    def _standing_steps(self) -> Generator[None, None, None]:
        selection = self._selection
        if selection.inputs is not None:
            yield from show_xrays_steps(slicer.mrmlScene, selection.xray_nodes, selection.parameters.storedPixels)

    def _on_standing(self, _nothing: None) -> None:
        self._standing = None
        selection, manager = self._selection, slicer.app.layoutManager()
        if selection.inputs is not None and manager is not None and manager.threeDViewCount:
            view_node = manager.threeDWidget(0).mrmlViewNode()
            camera = slicer.modules.cameras.logic().GetViewActiveCameraNode(view_node)
            look_over_sources(camera, selection.inputs.views)


def _show_handles(transform_node: Any, center: np.ndarray, shown: bool) -> None:
    """Show handles of a transform about a point of what it carries, (3,) in LPS, or hide them."""
    if shown or transform_node.GetDisplayNode():
        transform_node.CreateDefaultDisplayNodes()
        transform_node.SetCenterOfTransformation(*lps_points(center))
        transform_node.GetDisplayNode().SetEditorVisibility(shown)
