"""X-ray nodes to radiographs and views.

The node's IJK-to-RAS under its parent transforms is `pixel_to_world`: what the 3D view shows is what is registered. The
source and the isocentre stand beside it in two attributes, in the node's own RAS, so that they move with it and are
saved with the scene.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import XrayView
from ..io.scene import ISOCENTER_ATTRIBUTE, SOURCE_ATTRIBUTE
from ..xray import Polarity, Radiograph, radiograph_of_pixels
from .frames import RAS_FROM_LPS, ijk_to_ras, lps_points, parent_to_world, vtk_matrix
from .sequences import frames_of
from .volumes import fill_volume, voxels

_POLARITY, _LOGARITHMIC = "XrayCTRegistration.Polarity", "XrayCTRegistration.Logarithmic"
_FILE = "XrayCTRegistration.File"
_STORED_PERCENTS = (0.5, 99.5)  # of the pixels, that the window of stored pixels spans


@dataclass(frozen=True, eq=False)
class Xray:
    """An X-ray node as the library needs it. view: in the world, LPS."""

    radiograph: Radiograph
    view: XrayView


def xray_of(node: Any) -> Xray:
    """The image and the geometry of an X-ray node; InputError that names the node."""
    return Xray(radiograph_of(node), view_of(node))


def radiograph_of(node: Any) -> Radiograph:
    """The pixels of an X-ray node as they are stored, float32.

    Colours are taken as grey where they are all alike. Polarity is known of files that `loading` read; what Slicer's
    own readers did to the values is not known, so DICOM tags say nothing of them.
    """
    where = node.GetName()
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(f"{where}: this is a label map. Choose the X-ray it belongs to.")
    array = voxels(node)
    if array is None:
        raise InputError(f"{where}: the image is empty. Load it again.")
    if array.shape[0] != 1:
        raise InputError(
            f"{where}: the volume has {array.shape[0]} slices, an X-ray has one. Split it into single images, or "
            "make it a run of frames."
        )
    pixels = grey(array[0], where).astype(np.float32)
    polarity = node.GetAttribute(_POLARITY)
    logarithmic = {"1": True, "0": False}.get(node.GetAttribute(_LOGARITHMIC))
    return radiograph_of_pixels(pixels, where, Polarity(polarity) if polarity else None, logarithmic)


def grey(pixels: np.ndarray, where: str) -> np.ndarray:
    """Pixels (rows, columns) of an image (rows, columns) or (rows, columns, colours) whose colours are all alike."""
    if pixels.ndim == 2:
        return pixels
    if not all((pixels[..., k] == pixels[..., 0]).all() for k in range(min(3, pixels.shape[2]))):
        raise InputError(f"{where}: the image has colours. Save the X-ray as grey values, without annotations.")
    return pixels[..., 0]


def keep_kind(node: Any, radiograph: Radiograph) -> None:
    """Remember, with an X-ray node, the polarity of its pixels and whether they are logarithmic."""
    node.SetAttribute(_POLARITY, radiograph.polarity.value if radiograph.polarity else None)
    node.SetAttribute(_LOGARITHMIC, None if radiograph.logarithmic is None else str(int(radiograph.logarithmic)))


def copy_kind(source: Any, target: Any) -> None:
    """Remember of the pixels of one X-ray node what is known of those of another."""
    for name in (_POLARITY, _LOGARITHMIC):
        target.SetAttribute(name, source.GetAttribute(name))


def keep_file(node: Any, path: Path | None) -> None:
    """Remember, with an X-ray node, the file that it was read from."""
    node.SetAttribute(_FILE, None if path is None else str(path))


def file_of(node: Any) -> Path | None:
    """The file that an X-ray node was read from, by `loading` or by Slicer's own reader."""
    storage = node.GetStorageNode()
    name = node.GetAttribute(_FILE) or (storage.GetFileName() if storage is not None else None)
    return Path(name) if name else None


def size_px(node: Any) -> tuple[int, int]:
    """(columns, rows); (0, 0) of an empty node."""
    image = node.GetImageData()
    return image.GetDimensions()[:2] if image is not None else (0, 0)


def is_single_image(node: Any) -> bool:
    """Whether a node holds one slice, as an X-ray does."""
    image = node.GetImageData()
    return image is not None and image.GetDimensions()[2] == 1 and image.GetNumberOfPoints() > 0


def has_geometry(node: Any) -> bool:
    """Whether it is known where the source of an X-ray node stands."""
    return node.GetAttribute(SOURCE_ATTRIBUTE) is not None


def own_view(node: Any) -> XrayView:
    """The view of an X-ray node in its own LPS, before parent transforms: what its C-arm geometry describes."""
    where = node.GetName()
    if not has_geometry(node):
        raise InputError(f"{where}: where the X-ray source stood is not known. Enter the geometry of this X-ray.")
    isocenter = node.GetAttribute(ISOCENTER_ATTRIBUTE)
    try:
        return XrayView(
            lps_points(_numbers(node.GetAttribute(SOURCE_ATTRIBUTE))),
            RAS_FROM_LPS @ ijk_to_ras(node),
            size_px(node),
            None if isocenter is None else lps_points(_numbers(isocenter)),
        )
    except (InputError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None


def view_of(node: Any) -> XrayView:
    """The view of an X-ray node in the world, LPS, under its parent transforms."""
    view = own_view(node)
    to_world = RAS_FROM_LPS @ parent_to_world(node) @ RAS_FROM_LPS
    return replace(
        view,
        source=(to_world @ [*view.source, 1])[:3],
        pixel_to_world=to_world @ view.pixel_to_world,
        isocenter=None if view.isocenter is None else (to_world @ [*view.isocenter, 1])[:3],
    )


def place_at_detector(node: Any, view: XrayView) -> None:
    """Stand an X-ray node at its detector, and remember its source; `own_view` gives the view back.

    view: in the node's own LPS. The frames of a sequence are placed alike, since a sequence browser overwrites the
    node with them.
    """
    matrix = vtk_matrix(RAS_FROM_LPS @ view.pixel_to_world)
    for one in (node, *frames_of(node)):
        one.SetIJKToRASMatrix(matrix)
    node.SetAttribute(ISOCENTER_ATTRIBUTE, None if view.isocenter is None else _words(lps_points(view.isocenter)))
    node.SetAttribute(SOURCE_ATTRIBUTE, _words(lps_points(view.source)))


def forget_geometry(node: Any) -> None:
    """Remove what is known of the source; the image stays where it stands."""
    node.SetAttribute(SOURCE_ATTRIBUTE, None)
    node.SetAttribute(ISOCENTER_ATTRIBUTE, None)


def add_xray_node(scene: Any, name: str, pixels: np.ndarray, view: XrayView) -> Any:
    """A new X-ray node with pixels (rows, columns), standing at its detector."""
    node = add_image_node(scene, name, pixels[None])
    place_at_detector(node, view)
    return node


def add_image_node(scene: Any, name: str, frames: np.ndarray, spacing_mm: tuple[float, float] = (1.0, 1.0)) -> Any:
    """A new node of a free name with pixels (frames, rows, columns), nowhere yet.

    spacing_mm: between columns and between rows.
    """
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))
    fill_volume(node, frames, np.diag([*spacing_mm, 1.0, 1.0]))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    low, high = np.nanpercentile(frames, _STORED_PERCENTS)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(float(low), float(high))
    return node


def _words(numbers: np.ndarray) -> str:
    return " ".join(repr(float(number)) for number in numbers)


def _numbers(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])
