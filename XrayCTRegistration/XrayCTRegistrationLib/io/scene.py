"""A 3D Slicer scene (.mrb) of a registration: the CT under its pose, and the X-rays standing at their detectors."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..bones.surface import Surface
from ..errors import InputError
from ..geometry import Pose, XrayView
from ..volume import Volume
from .bundle_files import NRRD_TYPES, write_ct, write_image, write_surface, write_text
from .poses import pose_text, replacing
from .scene_nodes import SceneNodes, words
from .stored_voxels import StoredVoxels

# Where the source and the isocentre of an X-ray's volume node stand, as three numbers in the node's own RAS.
SOURCE_ATTRIBUTE, ISOCENTER_ATTRIBUTE = "XrayCTRegistration.Source", "XrayCTRegistration.Isocenter"

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_BONE_WINDOW_LEVEL_HU = (1000.0, 400.0)
_MARGIN = 1.05  # of a slice view about the X-ray
_SLICE_VIEWS = ("Red", "Yellow", "Green")  # the slice views of Slicer's standard layouts, in the order they are filled
_MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)


@dataclass(frozen=True, eq=False)
class SceneView:
    """One X-ray of the scene.

    name: what it is called in Slicer.
    view: its geometry, world LPS mm.
    image: (rows, columns) raw pixels, integers or floating point.
    overlay_rgb: (rows, columns, 3) uint8, the X-ray with the registered CT's edges in green.

    Raises InputError when an image's shape or type does not fit.
    """

    name: str
    view: XrayView
    image: np.ndarray
    overlay_rgb: np.ndarray

    def __post_init__(self) -> None:
        columns, rows = self.view.size_px
        if self.image.shape != (rows, columns):
            raise InputError(
                f"{self.name}: the image has the shape {self.image.shape} and its geometry is of {columns} x {rows} "
                f"pixels. Give an array of {rows} rows and {columns} columns."
            )
        if self.overlay_rgb.shape != (rows, columns, 3) or self.overlay_rgb.dtype != np.uint8:
            raise InputError(
                f"{self.name}: the overlay must be 8-bit RGB of the shape {(rows, columns, 3)}, not "
                f"{self.overlay_rgb.dtype} of the shape {self.overlay_rgb.shape}."
            )
        if self.image.dtype.name not in NRRD_TYPES:
            raise InputError(
                f"{self.name}: pixels of type {self.image.dtype} have no place in a Slicer scene. "
                "Convert the image to 8, 16 or 32 bit integers or to floating point first."
            )


@dataclass(frozen=True, eq=False)
class SceneBone:
    """A bone that stands at a pose of its own. name: of its transform node. color: red, green, blue, 0 to 1. pose:
    ct_to_world of this bone, LPS mm. surface: in the CT's own LPS mm."""

    name: str
    color: tuple[float, float, float]
    pose: Pose
    surface: Surface


def write_scene(
    path: str | Path,
    ct: Volume,
    pose: Pose,
    views: list[SceneView],
    stored: StoredVoxels | None = None,
    linked: bool = False,
    bones: Sequence[SceneBone] = (),
) -> None:
    """Write the bundle (.mrb) that 3D Slicer opens; Slicer itself is not needed.

    ct: Hounsfield units, in its own LPS mm. pose: ct_to_world, LPS mm. The scene holds the CT under the transform node
    'CT to world', every X-ray and its overlay as one-slice volumes whose pixels stand where `view.pixel_to_world` says,
    a point at every source, and the first three overlays shown in the Red, Yellow and Green slice views at their
    detectors. bones: each a transform node of its name under that of the CT, and under it its surface.

    stored: where the CT's voxels lie in its file, of which the scene then holds a copy as it is: nothing is compressed
    again. Linked, the scene names the file instead, and opens only where that file is. Without `stored` the CT is
    written as int16, rounded.

    Raises InputError that names the file when it cannot be written, or when the CT holds values that are not finite.
    The file appears whole or not at all.
    """
    path = Path(path)
    if path.suffix.lower() != ".mrb":
        raise InputError(f"{path}: a scene is written as a Slicer bundle. Give a name that ends in .mrb.")
    if ct.array.dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in ct.array):
        raise InputError(f"{path}: the CT holds values that are not finite (NaN or infinite). Export it again.")
    folder = re.sub(r"[^A-Za-z0-9._-]", "_", path.stem)  # unpacked on any system, whatever the bundle is called
    nodes = SceneNodes()
    # No compression by zip: the images within are compressed already, and Slicer stores them likewise.
    with replacing(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as bundle:
        data = f"{folder}/Data/"
        transform = nodes.add_transform("CT to world", "CT_to_world.tfm")
        write_text(bundle, f"{data}CT_to_world.tfm", pose_text(pose))
        ct_file = write_ct(bundle, data, ct, stored, linked)
        nodes.add_volume("CT", ct_file, window_level=_BONE_WINDOW_LEVEL_HU, transform=transform)
        for number, bone in enumerate(bones, start=1):
            _write_bone(bundle, data, nodes, number, bone, pose, transform)
        for number, item in enumerate(views, start=1):
            _write_view(bundle, data, nodes, number, item)
        write_text(bundle, f"{folder}/{folder}.mrml", nodes.xml())


def _write_bone(
    bundle: zipfile.ZipFile, data: str, nodes: SceneNodes, number: int, bone: SceneBone, ct_pose: Pose, parent: str
) -> None:
    """A bone's transform node, which says how it moved within the CT, and under it its surface."""
    transform = nodes.add_transform(bone.name, f"bone_{number}.tfm", parent)
    write_text(bundle, f"{data}bone_{number}.tfm", pose_text(ct_pose.inverse() @ bone.pose))
    nodes.add_model(f"{bone.name} surface", f"bone_{number}.vtk", bone.color, transform)
    write_surface(bundle, f"{data}bone_{number}.vtk", bone.surface)


def _write_view(bundle: zipfile.ZipFile, data: str, nodes: SceneNodes, number: int, item: SceneView) -> None:
    """An X-ray, its overlay and its source, and the slice view that shows it."""
    matrix = item.view.pixel_to_world
    shape, type_name = (1, *item.image.shape), item.image.dtype.name
    nodes.add_volume(item.name, f"view_{number}.nrrd", attributes=_geometry_attributes(item.view))
    write_image(bundle, f"{data}view_{number}.nrrd", [item.image], shape, type_name, matrix)
    overlay = nodes.add_overlay(f"{item.name} overlay", f"view_{number}_overlay.nrrd")
    write_image(bundle, f"{data}view_{number}_overlay.nrrd", [item.overlay_rgb], (*shape, 3), "uint8", matrix)
    source = f"{item.name} source"
    nodes.add_point(source, f"view_{number}_source.mrk.json")
    write_text(bundle, f"{data}view_{number}_source.mrk.json", _markups_json(source, item.view.source))
    if number <= len(_SLICE_VIEWS):
        size_mm = item.view.pixel_spacing_mm * item.view.size_px
        field_mm = _MARGIN * float(size_mm.max())
        nodes.add_slice_view(_SLICE_VIEWS[number - 1], slice_to_ras(item.view), field_mm, overlay)


def slice_to_ras(view: XrayView) -> np.ndarray:
    """4x4 SliceToRAS of a slice view that shows the detector as the image is stored: x along columns, y up the rows.

    The origin is the middle of the image. Slice axes are orthonormal: of skewed pixels, x is along columns.
    """
    detector = _RAS_FROM_LPS @ view.pixel_to_world
    columns, rows = view.size_px
    x = detector[:3, 0] / np.linalg.norm(detector[:3, 0])
    z = np.cross(x, -detector[:3, 1])
    z /= np.linalg.norm(z)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    matrix[:3, 3] = (detector @ [(columns - 1) / 2, (rows - 1) / 2, 0, 1])[:3]
    return matrix


def _geometry_attributes(view: XrayView) -> str:
    """Node attributes as MRML writes them, by which the panel knows the geometry of an X-ray."""
    points = {SOURCE_ATTRIBUTE: view.source, ISOCENTER_ATTRIBUTE: view.isocenter}
    return "".join(
        f"{name}:{words(_RAS_FROM_LPS[:3, :3] @ point)};" for name, point in points.items() if point is not None
    )


def _markups_json(label: str, point: np.ndarray) -> str:
    control_point = {"id": "1", "label": label, "position": point.tolist(), "locked": True}
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": True,
        "controlPoints": [control_point],
    }
    return json.dumps({"@schema": _MARKUPS_SCHEMA, "markups": [markup]}, indent=2)
