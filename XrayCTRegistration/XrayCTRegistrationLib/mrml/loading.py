"""X-ray files into the scene: each file an image of its own, with the geometry that lies beside it.

3D Slicer's own reader takes files whose names are numbered for slices of one volume, colours for vectors, and applies
what DICOM tags ask for when an image is shown. Here every file is read as the command line reads it.

Geometry, the first of these that fits the image:
- a C-arm JSON file of the image's name: `frontal.json` beside `frontal.png`;
- `carm.json` or `geometry.json`, where the image is the only one in its folder;
- DICOM tags, or the pixel spacing in the header of a NRRD, MetaImage or NIfTI file, which may leave entries open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..io.dicom_files import is_dicom
from ..io.radiographs import as_stored, read_frames
from .dicom import dicom_entries
from .geometry import read_geometry, start_geometry
from .sequences import add_run
from .volumes import fill_volume, voxels
from .xrays import add_image_node, copy_kind, file_of, grey, is_single_image, keep_file, keep_kind

CARM_NAMES = ("carm.json", "geometry.json")
_WITH_SPACING = (".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz")  # of the detector; others hold that of a printer
_IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".dcm", *_WITH_SPACING)


@dataclass(frozen=True, eq=False)
class LoadedXrays:
    """nodes: those that were added, in the order of their files. problems: what people are to know, a sentence per file
    that is no X-ray or whose geometry file cannot be used."""

    nodes: tuple[Any, ...]
    problems: tuple[str, ...]


def load_xrays(scene: Any, paths: Sequence[str | Path]) -> LoadedXrays:
    """Add X-ray files to a scene, each as an image of its own. A file that cannot be used is told of, and adds nothing.

    A file of several frames becomes a volume with as many slices: see `split_stack` and `stack_as_run`.
    """
    nodes, problems = [], []
    for path in map(Path, paths):
        try:
            node = _image_node(scene, path)
        except InputError as error:
            problems.append(str(error))
            continue
        nodes.append(node)
        problems += _with_geometry(node)
    return LoadedXrays(tuple(nodes), tuple(problems))


def is_xray_file(path: str | Path) -> bool:
    """Whether a file may hold an X-ray, by its ending, or as DICOM where it has none."""
    path = Path(path)
    return path.name.lower().endswith(_IMAGES) or (not path.suffix and path.is_file() and is_dicom(path))


def carm_files_beside(path: str | Path) -> list[Path]:
    """The C-arm JSON files that may belong to an image file, the likeliest first; see the head of this file."""
    path = Path(path)
    own = path.with_name(f"{_stem(path)}.json")
    found = [own] if own.is_file() else []
    shared = [path.with_name(name) for name in CARM_NAMES if path.with_name(name).is_file()]
    if shared and not any(is_xray_file(other) for other in path.parent.iterdir() if other != path):
        found += [one for one in shared if one != own]
    return found


def split_stack(volume_node: Any) -> LoadedXrays:
    """A new X-ray node per slice of a volume, which stays as it is.

    They are named after the files of the volume, where it was loaded from one file per slice, else after the volume
    with the slice's number; the geometry of each is looked for beside its file.
    """
    slices, files = _slices(volume_node), _files_of(volume_node)
    if len(files) != len(slices):
        files = [file_of(volume_node)] * len(slices)
    nodes, problems = [], []
    for name, path, pixels in zip(_slice_names(volume_node, len(slices)), files, slices):
        node = add_image_node(volume_node.GetScene(), name, pixels[None], _spacing_mm(volume_node))
        copy_kind(volume_node, node)
        keep_file(node, path)
        nodes.append(node)
        problems += _with_geometry(node)
    return LoadedXrays(tuple(nodes), tuple(problems))


def stack_as_run(volume_node: Any) -> Any:
    """A sequence of X-rays, one per slice of a volume, which stays as it is; returns the node that shows its frames."""
    scene, spacing_mm, slices = volume_node.GetScene(), _spacing_mm(volume_node), _slices(volume_node)
    frames = []
    for name, pixels in zip(_slice_names(volume_node, len(slices)), slices):
        frame = scene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
        frame.UnRegister(None)
        frame.SetName(name)
        fill_volume(frame, pixels[None], np.diag([*spacing_mm, 1.0, 1.0]))
        copy_kind(volume_node, frame)
        frames.append(frame)
    shown = add_image_node(scene, f"{volume_node.GetName()} frame", slices[0][None], spacing_mm)
    copy_kind(volume_node, shown)
    keep_file(shown, file_of(volume_node))
    add_run(shown, frames, volume_node.GetName())
    _with_geometry(shown)
    return shown


def _image_node(scene: Any, path: Path) -> Any:
    """The node of an image file, without a geometry; InputError that begins with the file's name."""
    frames = read_frames(path)
    node = add_image_node(
        scene, _stem(path), as_stored(np.stack([one.stored for one in frames])), _header_spacing(path)
    )
    keep_kind(node, frames[0])
    keep_file(node, path)
    return node


def _with_geometry(node: Any) -> list[str]:
    """Give a new X-ray node the geometry that is found for it; returns what is wrong with files that lie beside it."""
    if not is_single_image(node):
        return []
    path, problems = file_of(node), []
    for carm in carm_files_beside(path) if path is not None else ():
        try:
            read_geometry(node, carm)
            return problems
        except InputError as error:
            problems.append(str(error))
    try:
        start_geometry(node, dicom_entries(node, None))
    except InputError as error:
        problems.append(str(error))
    return problems


def _slices(volume_node: Any) -> list[np.ndarray]:
    """The slices (rows, columns) of a volume; InputError that names it when it is empty or has colours."""
    array = voxels(volume_node)
    if array is None:
        raise InputError(f"{volume_node.GetName()}: the volume is empty. Load it again.")
    return [grey(one, volume_node.GetName()) for one in array]


def _slice_names(volume_node: Any, count: int) -> list[str]:
    files = _files_of(volume_node)
    if len(files) == count:
        return [_stem(path) for path in files]
    digits = len(str(count))
    return [f"{volume_node.GetName()} {number:0{digits}d}" for number in range(1, count + 1)]


def _files_of(volume_node: Any) -> list[Path]:
    """The files that 3D Slicer's reader made a volume of."""
    storage = volume_node.GetStorageNode()
    if storage is None:
        return []
    names = [storage.GetNthFileName(index) for index in range(storage.GetNumberOfFileNames())]
    return [Path(name) for name in names or [storage.GetFileName()] if name]


def _spacing_mm(volume_node: Any) -> tuple[float, float]:
    return tuple(volume_node.GetSpacing()[:2])


def _header_spacing(path: Path) -> tuple[float, float]:
    """(2,) distance between columns and between rows as the header says, 1 where it says nothing of a detector."""
    if not path.name.lower().endswith(_WITH_SPACING):
        return 1.0, 1.0
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return tuple(reader.GetSpacing()[:2])


def _stem(path: Path) -> str:
    """The name without its ending: `spine` of `spine.nii.gz`."""
    return path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem
