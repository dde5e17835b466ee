"""Segmentations from files: label maps with names, and the .seg.nrrd of 3D Slicer with its layers and colours."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..bones.names import supposed
from ..bones.segments import Segment, labelled, whole_numbers
from ..errors import InputError
from ..volume import Volume
from .volumes import placement_of, read_image

_REMEDY = "Give a label map (NIfTI, NRRD) or a segmentation of 3D Slicer (.seg.nrrd)."
_ENTRY = re.compile(r"Segment(\d+)_(\w+)$")
_SHARE = r"(\d*\.?\d+(?:[eE]-?\d+)?)"
_COLOR = re.compile(f"{_SHARE} {_SHARE} {_SHARE}$")  # red, green, blue
_SUFFIXES = (".nii.gz", ".seg.nrrd")  # that are two endings

log = logging.getLogger(__name__)


def read_segments(path: str | Path, names: str | Path | None = None) -> list[Segment]:
    """The segments of a file, in LPS.

    Takes a label map of whole numbers, and the .seg.nrrd of 3D Slicer, whose segments may overlap. names: a JSON file
    that names numbers, see `read_names`. It goes before the names of the file itself; a label map has none, and takes
    them from a JSON file of its own name beside it. Where either names anything, other labels go by their numbers.
    Where neither does, names are those that TotalSegmentator gives the numbers, which the CT must bear out: see
    `bones.names.settled`.

    Raises InputError, beginning with the name of the file.
    """
    path = Path(path)
    image = read_image(path, _REMEDY)
    components = image.GetNumberOfComponentsPerPixel()
    if image.GetDimension() < 3 or image.GetSize()[2] == 1 or any(length > 1 for length in image.GetSize()[3:]):
        size = " x ".join(str(length) for length in image.GetSize())
        raise InputError(f"{path.name}: the image has {size} voxels, which is no segmentation of a CT. {_REMEDY}")
    array = sitk.GetArrayViewFromImage(image)
    layers = [array[..., layer] for layer in range(components)] if components > 1 else [array]
    layers = [layer.reshape(layer.shape[-3:]) for layer in layers]
    given, matrix = _given(names), placement_of(path, image)
    entries = _entries(image)
    if entries:
        return _of_entries(layers, matrix, entries, given, path.name)
    if components > 1:
        raise InputError(f"{path.name}: the image has {components} values per voxel, as of colours. {_REMEDY}")
    own = given or _names_beside(path)
    segments = labelled(layers[0], matrix, own, path.name)
    return segments if own else supposed(segments)


def read_names(path: str | Path) -> dict[int, str]:
    """Names of a label map's numbers from a JSON file, {"27": "L5"} or {"L5": 27}, alone or within "labels", as
    nnU-Net and BIDS write them. Raises InputError, beginning with the name of the file."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}). Check the path.") from None
    except ValueError as error:
        raise InputError(f"{path.name}: this is no JSON file of names ({error}).") from None
    if isinstance(content, dict) and isinstance(content.get("labels"), dict):
        content = content["labels"]
    names: dict[int, str] = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        number, name = (key, value) if isinstance(value, str) and key.strip().isdecimal() else (value, key)
        if isinstance(number, bool) or not str(number).strip().isdecimal() or not isinstance(name, str):
            raise InputError(f'{path.name}: {key!r}: {value!r} is no number with its name. Write {{"27": "L5"}}.')
        names[int(number)] = name
    if not names:
        raise InputError(f'{path.name}: the file names no label. Write {{"27": "L5", "28": "L4"}}.')
    return names


def _given(path: str | Path | None) -> dict[int, str]:
    """Names from a file that was given, none without."""
    if path is None:
        return {}
    names = read_names(path)
    log.info("Names of segments are taken from %s.", Path(path).name)
    return names


def _names_beside(path: Path) -> dict[int, str]:
    """Names from labels.json beside labels.nii.gz; none where there is no such file, or one of another kind."""
    stem = next((path.name[: -len(end)] for end in _SUFFIXES if path.name.lower().endswith(end)), path.stem)
    beside = path.with_name(f"{stem}.json")
    if not beside.is_file():
        return {}
    try:
        names = read_names(beside)
    except InputError as error:
        log.warning("The file beside %s is not used for names. %s", path.name, error)
        return {}
    log.info("Names of segments are taken from %s.", beside.name)
    return names


def _entries(image: sitk.Image) -> list[dict[str, str]]:
    """What a .seg.nrrd says of its segments, in their order."""
    entries: dict[int, dict[str, str]] = {}
    for key in image.GetMetaDataKeys():
        if match := _ENTRY.match(key):
            entries.setdefault(int(match[1]), {})[match[2]] = image.GetMetaData(key)
    return [entries[number] for number in sorted(entries)]


def _of_entries(
    layers: list[np.ndarray], matrix: np.ndarray, entries: list[dict[str, str]], given: dict[int, str], where: str
) -> list[Segment]:
    """The segments of a .seg.nrrd: each a value in one of the layers, which may overlap."""
    whole = [whole_numbers(layer, where) for layer in layers]
    places = [_place_of(entry, index, len(whole), where) for index, entry in enumerate(entries)]
    uses = Counter(number for _, number in places)
    segments = []
    for entry, (layer, number) in zip(entries, places):
        own = number if uses[number] == 1 else None  # in several layers a number may be used more than once
        name = (given.get(number) if own else None) or entry.get("Name") or entry.get("ID") or str(number)
        segments.append(Segment(name, _cropped(whole[layer] == number, matrix), own, _color(entry.get("Color", ""))))
    if not any(segment.mask.array.any() for segment in segments):
        raise InputError(f"{where}: all segments are empty. Choose the segmentation that holds them.")
    return segments


def _place_of(entry: dict[str, str], index: int, layers: int, where: str) -> tuple[int, int]:
    """Layer and number of a segment of a .seg.nrrd."""
    layer, number = entry.get("Layer", "0"), entry.get("LabelValue", str(index + 1))
    if not (layer.isdecimal() and number.isdecimal()) or int(layer) >= layers:
        raise InputError(f"{where}: segment {index + 1} names no layer or label of the file. Save it again.")
    return int(layer), int(number)


def _color(words: str) -> tuple[float, float, float] | None:
    match = _COLOR.match(words)
    return (float(match[1]), float(match[2]), float(match[3])) if match else None


def _cropped(inside: np.ndarray, matrix: np.ndarray) -> Volume:
    """The box about what is inside; one voxel where nothing is."""
    ends = [np.flatnonzero(inside.any(axis=axes)) for axes in ((0, 1), (0, 2), (1, 2))]
    first = np.array([end[0] if len(end) else 0 for end in ends])
    last = np.array([end[-1] if len(end) else 0 for end in ends])
    part = Volume(inside, matrix).cropped(first, last)
    return Volume(part.array.copy(), part.ijk_to_world)
