"""X-rays as they are registered: line integrals, bone bright, windowed to the body inside the field.

They are hidden volumes beside the X-rays, which keep the pixels that are stored and registered, and their own window.
They are made anew when a scene is read, so they are not saved with it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..grey import SEEN_PX, grey_window
from ..state import finished
from ..xray import Meaning, Polarity, Radiograph, XrayImage, line_integrals_steps, xray_image_steps
from .frames import ijk_to_ras, vtk_matrix
from .volumes import vtk_image
from .xrays import radiograph_of

_ROLE = "XrayCTRegistration.AsRegistered"
_SHOWS, _READ, _WINDOW = (f"XrayCTRegistration.{name}" for name in ("Shows", "ShownAs", "ShownWindow"))
_SAME = 1e-6  # of a window, after a way through text
_RIM_SHARE = 0.15  # of the field's half width


def show_as_registered(xray_node: Any, polarity: Polarity | None = None, logarithmic: bool | None = None) -> Any:
    """The hidden volume that shows an X-ray as it is registered, made or brought up to date where something changed.

    polarity: as it is registered; where it is not known yet, that of the pixels' tags, or what it looks like.
    logarithmic: likewise, see `Radiograph`. A window that a person has set stays until the image is read otherwise.
    Raises InputError where the node is no X-ray.
    """
    return finished(show_as_registered_steps(xray_node, polarity, logarithmic))


def show_as_registered_steps(
    xray_node: Any, polarity: Polarity | None = None, logarithmic: bool | None = None
) -> Generator[None, None, Any]:
    """As `show_as_registered`, with pauses; None where the X-ray has gone meanwhile."""
    node = as_registered_node(xray_node)
    pixels = f"{xray_node.GetImageData().GetMTime() if xray_node.GetImageData() else 0}"
    shows = f"{pixels} {polarity} {logarithmic}"
    guessed = node is not None and node.GetAttribute(_SHOWS) == f"{pixels} None None"
    if guessed and polarity is not None and node.GetAttribute(_READ) in _readings(polarity, logarithmic):
        node.SetAttribute(_SHOWS, shows)
    elif node is None or node.GetAttribute(_SHOWS) != shows:
        picture = yield from _picture_steps(radiograph_of(xray_node).read_as(Meaning(polarity, logarithmic)))
        if xray_node.GetScene() is None:
            return None
        node = as_registered_node(xray_node) or _added(xray_node)
        yield
        if node.GetScene() is None:
            return None
        _fill(node, picture)
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


@dataclass(frozen=True, eq=False)
class _Picture:
    """An X-ray as it is registered: line integrals (rows, columns), how they were read, and what is black and white."""

    values: np.ndarray
    read: str
    window: tuple[float, float]


def _readings(polarity: Polarity, logarithmic: bool | None) -> list[str]:
    """How an image can have been read, as it is remembered: in one way where that is known."""
    return [f"{polarity.value} {one}" for one in (True, False) if logarithmic in (None, one)]


def _picture_steps(radiograph: Radiograph) -> Generator[None, None, _Picture]:
    every = -(-max(radiograph.pixels.shape) // SEEN_PX)  # enough pixels to find the field in, once for all
    few = Radiograph(radiograph.pixels[::every, ::every], radiograph.where, None, radiograph.logarithmic)
    yield
    polarity = radiograph.polarity or likely_polarity(few)
    yield
    values = yield from line_integrals_steps(radiograph, polarity)
    image = yield from xray_image_steps(few, polarity)
    yield
    (read,) = _readings(polarity, image.logarithmic)
    return _Picture(values, read, grey_window(XrayImage(values[::every, ::every], image.mask)))


def _fill(node: Any, picture: _Picture) -> None:
    node.SetAndObserveImageData(vtk_image(picture.values[None]))
    display = node.GetDisplayNode()
    if node.GetAttribute(_READ) != picture.read or not _set_by_person(node, display):
        display.SetWindowLevelMinMax(*picture.window)
        node.SetAttribute(_WINDOW, " ".join(map(repr, picture.window)))
    node.SetAttribute(_READ, picture.read)


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
