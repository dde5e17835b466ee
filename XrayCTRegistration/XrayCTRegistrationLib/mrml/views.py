"""Slice views that show X-rays at their detectors, with the edges of the CT over them.

The views are the module's own, so that the user's Red, Yellow and Green stay as they are.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from ..geometry import XrayView, common_isocenter
from ..io.scene import slice_to_ras
from ..state import finished
from .display import as_registered_node, place_like
from .frames import lps_points, vtk_matrix
from .overlay import show_edges_in
from .xrays import view_of

_FIRST_LAYOUT = 4200  # layouts of the module, by number of X-rays after this, are beyond those of Slicer
_PER_COLUMN = 3  # X-rays above each other
_COLORS = ("#F34A33", "#EDD54C", "#6EB04B", "#5BA4CF", "#C98AD1", "#E8963C")
_MARGIN = 1.04  # of the image, around it
_ASIDE, _ABOVE, _REACH = 0.9, 0.45, 2.1  # of the camera


def layout_for(layout_node: Any, count: int) -> int:
    """The id of the module's layout for so many X-rays, made known: X-rays on the left, the 3D view on the right."""
    layout = _FIRST_LAYOUT + count
    if not layout_node.IsLayoutDescription(layout):
        layout_node.AddLayoutDescription(layout, _layout(count))
    return layout


def show_xrays(scene: Any, xray_nodes: Sequence[Any], as_stored: bool = False) -> None:
    """Show each X-ray in its slice view, with its edges, and in the 3D view at its detector.

    as_stored: show the pixels as they are stored, not what `display.show_as_registered` made of them. Views that the
    current layout does not have are left out.
    """
    finished(show_xrays_steps(scene, xray_nodes, as_stored))


def show_xrays_steps(scene: Any, xray_nodes: Sequence[Any], as_stored: bool = False) -> Generator[None, None, None]:
    """As `show_xrays`, with a pause after each; an X-ray that has gone meanwhile is left out."""
    for slice_node, composite, node in _views_of(scene, xray_nodes):
        if node.GetScene() is None:
            continue
        _show_image(composite, node, as_stored)
        show_edges_in(node, slice_node)
        _stand_at_detector(slice_node, view_of(node))
        yield


def show_images(scene: Any, xray_nodes: Sequence[Any], as_stored: bool = False) -> None:
    """Change between pixels as stored and as registered; the views stay where the user moved them."""
    for _, composite, node in _views_of(scene, xray_nodes):
        _show_image(composite, node, as_stored)


def fit_views(scene: Any, xray_nodes: Sequence[Any]) -> None:
    """Let each X-ray fill its slice view again, upright."""
    for slice_node, _, node in _views_of(scene, xray_nodes):
        _stand_at_detector(slice_node, view_of(node))


def _views_of(scene: Any, xray_nodes: Sequence[Any]) -> list[tuple[Any, Any, Any]]:
    """Slice node, composite node and X-ray node of every X-ray that has a view."""
    views = []
    for number, node in enumerate(xray_nodes, start=1):
        slice_node = scene.GetSingletonNode(_tag(number), "vtkMRMLSliceNode")
        composite = scene.GetSingletonNode(_tag(number), "vtkMRMLSliceCompositeNode")
        if slice_node is not None and composite is not None:
            views.append((slice_node, composite, node))
    return views


def _tag(number: int) -> str:
    return f"Xray{number}"


def _show_image(composite: Any, xray_node: Any, as_stored: bool) -> None:
    shown = None if as_stored else as_registered_node(xray_node)
    if shown is not None:
        place_like(shown, xray_node)
    composite.SetDoPropagateVolumeSelection(False)  # a volume that is loaded later does not take the X-ray's place
    composite.SetBackgroundVolumeID((shown or xray_node).GetID())
    composite.SetForegroundVolumeID(None)
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
    numbers = range(1, count + 1)
    columns = [numbers[first : first + _PER_COLUMN] for first in range(0, count, _PER_COLUMN)]
    xrays = "".join(f"<item>{_stacked(column)}</item>" for column in columns)
    return (
        '<layout type="horizontal" split="true">'
        f'<item splitSize="500"><layout type="horizontal" split="true">{xrays}</layout></item>'
        '<item splitSize="500"><view class="vtkMRMLViewNode" singletontag="1">'
        '<property name="viewlabel" action="default">1</property></view></item></layout>'
    )


def _stacked(numbers: Sequence[int]) -> str:
    slices = "".join(
        f'<item splitSize="500"><view class="vtkMRMLSliceNode" singletontag="{_tag(number)}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">X{number}</property>'
        f'<property name="viewcolor" action="default">{_COLORS[(number - 1) % len(_COLORS)]}</property></view></item>'
        for number in numbers
    )
    return f'<layout type="vertical" split="true">{slices}</layout>'
