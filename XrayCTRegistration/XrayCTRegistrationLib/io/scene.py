"""A 3D Slicer scene (.mrb) of a registration: the CT under its pose, and the X-rays standing at their detectors."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ..errors import InputError
from ..geometry import Pose, XrayView
from ..volume import Volume
from .poses import pose_text, replacing
from .stored_voxels import StoredVoxels

# Where the source and the isocentre of an X-ray's volume node stand, as three numbers in the node's own RAS.
SOURCE_ATTRIBUTE, ISOCENTER_ATTRIBUTE = "XrayCTRegistration.Source", "XrayCTRegistration.Isocenter"

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_BONE_WINDOW_LEVEL_HU = (1000.0, 400.0)
_RGB_WINDOW_LEVEL = (255.0, 127.5)  # colours as they are
_SLICE_VIEWS = ("Red", "Yellow", "Green")  # the slice views of Slicer's standard layouts, in the order they are filled
_MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_COPIED_AT_ONCE = 1 << 20  # bytes
_NRRD_TYPES = {
    "int8": "int8",
    "uint8": "uint8",
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "uint32": "uint32",
    "float32": "float",
    "float64": "double",
}


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
        if self.image.dtype.name not in _NRRD_TYPES:
            raise InputError(
                f"{self.name}: pixels of type {self.image.dtype} have no place in a Slicer scene. "
                "Convert the image to 8, 16 or 32 bit integers or to floating point first."
            )


def write_scene(
    path: str | Path,
    ct: Volume,
    pose: Pose,
    views: list[SceneView],
    stored: StoredVoxels | None = None,
    linked: bool = False,
) -> None:
    """Write the bundle (.mrb) that 3D Slicer opens; Slicer itself is not needed.

    ct: Hounsfield units, in its own LPS mm. pose: ct_to_world, LPS mm. The scene holds the CT under the transform node
    'CT to world', every X-ray and its overlay as one-slice volumes whose pixels stand where `view.pixel_to_world` says,
    a point at every source, and the first three overlays shown in the Red, Yellow and Green slice views at their
    detectors.

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
    scene = _Scene()
    # No compression by zip: the images within are compressed already, and Slicer stores them likewise.
    with replacing(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as bundle:
        data = f"{folder}/Data/"
        transform = scene.add_transform("CT to world", "CT_to_world.tfm")
        _write_text(bundle, f"{data}CT_to_world.tfm", pose_text(pose))
        ct_file = _write_ct(bundle, data, ct, stored, linked)
        scene.add_volume("CT", ct_file, window_level=_BONE_WINDOW_LEVEL_HU, transform=transform)
        for number, item in enumerate(views, start=1):
            matrix = item.view.pixel_to_world
            shape, type_name = (1, *item.image.shape), item.image.dtype.name
            scene.add_volume(item.name, f"view_{number}.nrrd", attributes=_geometry_attributes(item.view))
            _write_nrrd(bundle, f"{data}view_{number}.nrrd", [item.image], shape, type_name, matrix)
            overlay = scene.add_overlay(f"{item.name} overlay", f"view_{number}_overlay.nrrd")
            overlay_file = f"{data}view_{number}_overlay.nrrd"
            _write_nrrd(bundle, overlay_file, [item.overlay_rgb], (*shape, 3), "uint8", matrix)
            source = f"{item.name} source"
            scene.add_point(source, f"view_{number}_source.mrk.json")
            _write_text(bundle, f"{data}view_{number}_source.mrk.json", _markups_json(source, item.view.source))
            if number <= len(_SLICE_VIEWS):
                scene.add_slice_view(_SLICE_VIEWS[number - 1], item.view, overlay)
        _write_text(bundle, f"{folder}/{folder}.mrml", scene.xml())


class _Scene:
    """The MRML elements of a scene while it is put together: counts ids and keeps names apart."""

    def __init__(self) -> None:
        # Slicer warns about scenes of a newer version than its own; 5.10 knows all that stands here.
        self._root = ElementTree.Element("MRML", version="Slicer 5.10.0 0")
        self._counts: dict[str, int] = {}
        self._names: set[str] = set()

    def xml(self) -> str:
        ElementTree.indent(self._root)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(self._root, encoding="unicode")

    def add_transform(self, name: str, file_name: str) -> str:
        """A linear transform node; returns its id."""
        return self._displayed("LinearTransform", name, self._storage("TransformStorage", file_name))

    def add_volume(
        self,
        name: str,
        file_name: str,
        window_level: tuple[float, float] | None = None,
        transform: str | None = None,
        attributes: str = "",
    ) -> str:
        """A scalar volume, under the node `transform` if given; Slicer chooses a window if none is. Returns its id."""
        display = self._volume_display("VolumeDisplay", name, window_level, colorNodeID="vtkMRMLColorTableNodeGrey")
        references = display + self._storage("NRRDStorage", file_name)
        if transform is not None:
            references += f"transform:{transform};"
        return self._displayed("Volume", name, references, **({"attributes": attributes} if attributes else {}))

    def add_overlay(self, name: str, file_name: str) -> str:
        """An RGB volume; returns its id."""
        references = self._volume_display("VectorVolumeDisplay", name, _RGB_WINDOW_LEVEL)
        references += self._storage("NRRDStorage", file_name)
        return self._displayed("VectorVolume", name, references, voxelVectorType="colorRGB")

    def add_point(self, name: str, file_name: str) -> str:
        """A locked list of points; returns its id."""
        display = self._add("MarkupsFiducialDisplay", f"{name} display", hideFromEditors="true")
        storage = self._storage("MarkupsJsonStorage", file_name)
        return self._displayed("MarkupsFiducial", name, f"display:{display};{storage}", locked="true")

    def add_slice_view(self, layout_name: str, view: XrayView, background: str) -> None:
        """A slice view that stands at the detector, in 3D too, and shows the volume `background`."""
        columns, rows = view.size_px
        size_mm = view.pixel_spacing_mm * (columns, rows)
        field_mm = 1.05 * float(size_mm.max())  # a margin, and square: the window's shape is not known here
        singleton = {"singletonTag": layout_name, "layoutName": layout_name}
        self._add(
            "Slice",
            layout_name,
            id=f"vtkMRMLSliceNode{layout_name}",
            fieldOfView=f"{field_mm!r} {field_mm!r} 1",
            dimensions="256 256 1",
            sliceToRAS=_words(slice_to_ras(view)),
            sliceVisibility="true",
            **singleton,
        )
        self._add(
            "SliceComposite",
            f"{layout_name} composite",
            id=f"vtkMRMLSliceCompositeNode{layout_name}",
            hideFromEditors="true",
            references=f"backgroundVolume:{background};",
            **singleton,
        )

    def _displayed(self, kind: str, name: str, references: str, **attributes: str) -> str:
        """A node that people see in lists: its name is made different from all others."""
        unique, number = name, 1
        while unique.lower() in self._names:
            number += 1
            unique = f"{name} ({number})"
        self._names.add(unique.lower())
        return self._add(kind, unique, references=references, **attributes)

    def _volume_display(self, kind: str, name: str, window_level: tuple[float, float] | None, **attributes: str) -> str:
        """A volume's display node, as the reference to it."""
        attributes["autoWindowLevel"] = "1" if window_level is None else "0"
        if window_level is not None:
            attributes["window"], attributes["level"] = (repr(value) for value in window_level)
        return f"display:{self._add(kind, f'{name} display', hideFromEditors='true', **attributes)};"

    def _storage(self, kind: str, file_name: str) -> str:
        """A storage node, as the reference to it. Never VolumeArchetypeStorage: it reorders a left-handed CT."""
        file_name = f"Data/{file_name}"
        node = self._add(kind, file_name, hideFromEditors="true", fileName=file_name, useCompression="1")
        return f"storage:{node};"

    def _add(self, kind: str, name: str, id: str | None = None, **attributes: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        node_class = {"Volume": "ScalarVolume", "VolumeDisplay": "ScalarVolumeDisplay"}.get(kind, kind)
        node_id = id or f"vtkMRML{node_class}Node{self._counts[kind]}"
        ElementTree.SubElement(self._root, kind, id=node_id, name=_xml_text(name), **attributes)
        return node_id


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
        f"{name}:{_words(_RAS_FROM_LPS[:3, :3] @ point)};" for name, point in points.items() if point is not None
    )


def _write_nrrd(
    bundle: zipfile.ZipFile,
    name: str,
    planes: Iterable[np.ndarray],
    shape: tuple[int, ...],
    type_name: str,
    ijk_to_world: np.ndarray,
) -> None:
    """Write an image (slices, rows, columns) or (slices, rows, columns, 3) plane by plane, compressed.

    Written by hand, because SimpleITK would call the three bytes of a colour a vector, not RGB.
    """
    header = _nrrd_header(_NRRD_TYPES[type_name], shape, ijk_to_world, ["endian: little", "encoding: gzip"])
    stored = np.dtype(type_name).newbyteorder("<")
    with bundle.open(name, "w", force_zip64=True) as file:
        file.write((header + "\n").encode("ascii"))
        with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as compressed:
            for plane in planes:
                compressed.write(np.ascontiguousarray(plane, dtype=stored).tobytes())


def _nrrd_header(type_name: str, shape: tuple[int, ...], ijk_to_world: np.ndarray, storage: list[str]) -> str:
    """The lines of a NRRD header; storage: those that say how and where the voxels are kept."""
    colors = len(shape) == 4
    directions = [_nrrd_vector(ijk_to_world[:3, axis]) for axis in range(3)]
    lines = [
        "NRRD0004",
        f"type: {type_name}",
        f"dimension: {len(shape)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(size) for size in reversed(shape))}",
        f"space directions: {' '.join(['none'] * colors + directions)}",
        f"kinds: {' '.join(['RGB-color'] * colors + ['domain'] * 3)}",
        f"space origin: {_nrrd_vector(ijk_to_world[:3, 3])}",
        *storage,
    ]
    return "\n".join(lines) + "\n"


def _write_ct(bundle: zipfile.ZipFile, data: str, ct: Volume, stored: StoredVoxels | None, linked: bool) -> str:
    """Write the CT into the bundle's folder `data`, or what says where it is; returns the name of its file there."""
    if stored is None:
        _write_nrrd(bundle, f"{data}CT.nrrd", _int16_planes(ct.array), ct.array.shape, "int16", ct.ijk_to_world)
        return "CT.nrrd"
    voxels_file = str(stored.file.resolve()) if linked else f"CT{stored.suffix}"
    _write_text(bundle, f"{data}CT.nhdr", _header_of_stored(stored, ct, voxels_file))
    if not linked:
        with stored.file.open("rb") as source, bundle.open(data + voxels_file, "w", force_zip64=True) as target:
            shutil.copyfileobj(source, target, _COPIED_AT_ONCE)
    return "CT.nhdr"


def _header_of_stored(stored: StoredVoxels, ct: Volume, voxels_file: str) -> str:
    """A header of its own (.nhdr) for voxels that lie in another file, whatever is told there of their place."""
    storage = [] if stored.endian is None else [f"endian: {stored.endian}"]
    storage += [f"encoding: {stored.encoding}", f"line skip: {stored.line_skip}", f"byte skip: {stored.byte_skip}"]
    storage.append(f"data file: {voxels_file}")  # last, as the format asks
    return _nrrd_header(stored.type_name, ct.array.shape, ct.ijk_to_world, storage)


def _write_text(bundle: zipfile.ZipFile, name: str, text: str) -> None:
    bundle.writestr(zipfile.ZipInfo(name), text.encode("utf-8"))  # without the time, so that like scenes are like files


def _int16_planes(array: np.ndarray) -> Iterator[np.ndarray]:
    """Slice by slice, so that a large CT is not held twice."""
    limits = np.iinfo(np.int16)
    for plane in array:
        yield plane if plane.dtype == np.int16 else np.clip(np.rint(plane), limits.min, limits.max).astype(np.int16)


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


def _nrrd_vector(vector: np.ndarray) -> str:
    return f"({','.join(repr(float(value)) for value in vector)})"


def _words(matrix: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in matrix.ravel())


def _xml_text(text: str) -> str:
    """Without the control characters that no XML file may hold."""
    return "".join(character for character in text if character.isprintable())
