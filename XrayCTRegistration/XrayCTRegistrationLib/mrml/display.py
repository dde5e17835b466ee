"""X-rays as they are registered: line integrals, bone bright, windowed to the body inside the field.

They are hidden volumes beside the X-rays, which keep the pixels that are stored and registered, and their own window.
They are made anew when a scene is read, so they are not saved with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from ..grey import SEEN_PX, grey_window
from ..xray import Polarity, Radiograph, XrayImage, line_integrals_of, xray_image
from .frames import ijk_to_ras, vtk_matrix
from .volumes import vtk_image
from .xrays import radiograph_of

_ROLE = "XrayCTRegistration.AsRegistered"
_SHOWS, _POLARITY, _WINDOW = (f"XrayCTRegistration.{name}" for name in ("Shows", "ShownPolarity", "ShownWindow"))
_SAME = 1e-6  # of a window, after a way through text
_RIM_SHARE = 0.15  # of the field's half width


def show_as_registered(xray_node: Any, polarity: Polarity | None = None) -> Any:
    """The hidden volume that shows an X-ray as it is registered, made or brought up to date where something changed.

    polarity: as it is registered; where it is not known yet, that of the pixels' tags, or what it looks like. A window
    that a person has set stays until the polarity changes. Raises InputError where the node is no X-ray.
    """
    node = as_registered_node(xray_node)
    pixels = f"{xray_node.GetImageData().GetMTime() if xray_node.GetImageData() else 0}"
    shows = f"{pixels} {polarity}"
    guessed = node is not None and node.GetAttribute(_SHOWS) == f"{pixels} None"
    if guessed and polarity is not None and node.GetAttribute(_POLARITY) == polarity.value:
        node.SetAttribute(_SHOWS, shows)
    elif node is None or node.GetAttribute(_SHOWS) != shows:
        radiograph = radiograph_of(xray_node)
        node = node or _added(xray_node)
        _fill(node, radiograph, polarity)
        node.SetAttribute(_SHOWS, shows)
    place_like(node, xray_node)
    return node


def as_registered_node(xray_node: Any) -> Any | None:
    """The volume that shows an X-ray node as it is registered, if there is one."""
    return xray_node.GetNodeReference(_ROLE)


def place_like(node: Any, xray_node: Any) -> None:
    """Stand a volume where an X-ray stands, under the same transform."""
    if not np.array_equal(ijk_to_ras(node), ijk_to_ras(xray_node)):
        node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras(xray_node)))
    if node.GetTransformNodeID() != xray_node.GetTransformNodeID():
        node.SetAndObserveTransformNodeID(xray_node.GetTransformNodeID())


def likely_polarity(radiograph: Radiograph) -> Polarity:
    """What the polarity of an X-ray looks like: the middle of the field holds more of the patient than its rim. A guess
    to show an image by; a registration asks the CT."""
    seen, field = radiograph.pixels, radiograph.irradiated
    depth = ndimage.distance_transform_edt(np.pad(field, 1))[1:-1, 1:-1]
    rim = field & (depth <= max(1.0, _RIM_SHARE * depth.max()))
    return Polarity.DARK if seen[depth > 0.5 * depth.max()].mean() < seen[rim].mean() else Polarity.BRIGHT


def _fill(node: Any, radiograph: Radiograph, polarity: Polarity | None) -> None:
    every = -(-max(radiograph.pixels.shape) // SEEN_PX)  # enough pixels to find the field in, once for all
    few = Radiograph(radiograph.pixels[::every, ::every], radiograph.where, None, radiograph.logarithmic)
    polarity = polarity or radiograph.polarity or likely_polarity(few)
    values = line_integrals_of(radiograph, polarity)
    node.SetAndObserveImageData(vtk_image(values[None]))
    window = grey_window(XrayImage(values[::every, ::every], xray_image(few, polarity).mask))
    display = node.GetDisplayNode()
    if node.GetAttribute(_POLARITY) != polarity.value or not _set_by_person(node, display):
        display.SetWindowLevelMinMax(*window)
        node.SetAttribute(_WINDOW, " ".join(map(repr, window)))
    node.SetAttribute(_POLARITY, polarity.value)


def _set_by_person(node: Any, display: Any) -> bool:
    """Whether the window is another one than was set here."""
    ours = [float(word) for word in (node.GetAttribute(_WINDOW) or "").split()]
    now = (display.GetWindowLevelMin(), display.GetWindowLevelMax())
    return bool(ours) and not np.allclose(ours, now, rtol=0, atol=_SAME * (abs(ours[0]) + abs(ours[1]) + _SAME))


def _added(xray_node: Any) -> Any:
    scene = xray_node.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{xray_node.GetName()} as registered")
    node.SetHideFromEditors(True)  # no input to choose
    node.SetSaveWithScene(False)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetSaveWithScene(False)
    xray_node.SetNodeReferenceID(_ROLE, node.GetID())
    return node
