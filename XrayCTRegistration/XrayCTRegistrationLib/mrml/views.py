"""Slice views that show X-rays as they are stored, at their detectors, with the edges of the CT over them.

The views are the module's own, so that the user's Red, Yellow and Green stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..geometry import XrayView, common_isocenter
from ..io.scene import slice_to_ras
from .frames import lps_points, vtk_matrix
from .overlay import overlay_node
from .xrays import view_of

LAYOUT_OF = {1: 4201, 2: 4202, 3: 4203}  # layout ids by number of X-rays, beyond those of Slicer
_TAGS = ("Xray1", "Xray2", "Xray3")
_COLORS = ("#F34A33", "#EDD54C", "#6EB04B")
_MARGIN = 1.04  # of the image, around it
_ASIDE, _ABOVE, _REACH = 0.9, 0.45, 2.1  # of the camera


def add_layouts(layout_node: Any) -> None:
    """Make the module's layouts known: X-rays on the left, the 3D view on the right."""
    for count, layout in LAYOUT_OF.items():
        if not layout_node.IsLayoutDescription(layout):
            layout_node.AddLayoutDescription(layout, _layout(count))


def show_xrays(scene: Any, xray_nodes: Sequence[Any]) -> None:
    """Show each X-ray in its slice view, with its overlay, and in the 3D view at its detector.

    Views that the current layout does not have are left out.
    """
    for tag, node in zip(_TAGS, xray_nodes):
        slice_node = scene.GetSingletonNode(tag, "vtkMRMLSliceNode")
        composite = scene.GetSingletonNode(tag, "vtkMRMLSliceCompositeNode")
        if slice_node is None or composite is None:
            continue
        show_overlay(composite, node)
        _stand_at_detector(slice_node, view_of(node))


def show_overlays(scene: Any, xray_nodes: Sequence[Any]) -> None:
    """Show overlays that were made since `show_xrays`; the views stay where the user moved them."""
    for tag, node in zip(_TAGS, xray_nodes):
        composite = scene.GetSingletonNode(tag, "vtkMRMLSliceCompositeNode")
        if composite is not None and composite.GetBackgroundVolumeID() == node.GetID():
            show_overlay(composite, node)


def show_overlay(composite: Any, xray_node: Any) -> None:
    """An X-ray as the background of a slice view, its overlay as the foreground."""
    overlay = overlay_node(xray_node)
    composite.SetBackgroundVolumeID(xray_node.GetID())
    composite.SetForegroundVolumeID(overlay.GetID() if overlay is not None else None)
    composite.SetForegroundOpacity(1.0)
    composite.SetLabelVolumeID(None)


def _stand_at_detector(slice_node: Any, view: XrayView) -> None:
    """Set the slice explicitly: snapping it to the volume's plane can mirror the picture."""
    slice_node.GetSliceToRAS().DeepCopy(vtk_matrix(slice_to_ras(view)))
    width, height, _ = slice_node.GetDimensions()
    size_mm = _MARGIN * np.array(view.size_px) * view.pixel_spacing_mm
    per_pixel = max(size_mm[0] / max(width, 1), size_mm[1] / max(height, 1))
    slice_node.SetFieldOfView(per_pixel * max(width, 1), per_pixel * max(height, 1), 1.0)
    slice_node.SetSliceVisible(True)
    slice_node.UpdateMatrices()


def look_over_sources(camera_node: Any, views: Sequence[XrayView]) -> None:
    """Put a 3D view's camera where it sees the CT before the detectors: beyond the sources, aside and above.

    views: in the world's LPS.
    """
    middle = common_isocenter(list(views))
    back = np.mean([-view.axes[:, 2] for view in views], axis=0)
    up = -views[0].axes[:, 1]
    aside = np.cross(up, back) if len(views) == 1 else np.zeros(3)
    direction = back / max(np.linalg.norm(back), 1e-3) + _ASIDE * aside + _ABOVE * up
    reach_mm = max(view.source_to_detector_mm for view in views)
    camera_node.SetFocalPoint(*lps_points(middle))
    camera_node.SetPosition(*lps_points(middle + _REACH * reach_mm * direction / np.linalg.norm(direction)))
    camera_node.SetViewUp(*lps_points(up))
    camera_node.ResetClippingRange()


def _layout(count: int) -> str:
    slices = "".join(
        f'<item splitSize="500"><view class="vtkMRMLSliceNode" singletontag="{tag}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">X{number}</property>'
        f'<property name="viewcolor" action="default">{color}</property></view></item>'
        for number, (tag, color) in enumerate(zip(_TAGS[:count], _COLORS), start=1)
    )
    return (
        '<layout type="horizontal" split="true">'
        f'<item splitSize="500"><layout type="vertical" split="true">{slices}</layout></item>'
        '<item splitSize="500"><view class="vtkMRMLViewNode" singletontag="1">'
        '<property name="viewlabel" action="default">1</property></view></item></layout>'
    )
