"""Segments of a segmentation: what it calls a bone, and which voxels of a CT that is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..volume import Volume

MANY = 60  # segments of one registration; from there on people are told how long it takes
_OUTSIDE = 0.25  # of a segment's voxels may lie beside the CT: what is cut off there
_LEAST_VOXELS = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of a CT that somebody has outlined.

    name: as the segmentation says it. mask: bool (slices, rows, columns), cropped to the segment or not, placed in the
    CT's own world; its grid may be another one than the CT's. number: its value in a label map, None elsewhere.
    color: (red, green, blue) 0 to 1, None where the segmentation has none. supposed: no label of the file is named, so
    that the name is only what TotalSegmentator calls the number, or the number; `bones.names.settled` asks the CT.
    """

    name: str
    mask: Volume
    number: int | None = None
    color: tuple[float, float, float] | None = None
    supposed: bool = False


@dataclass(frozen=True, eq=False)
class Place:
    """Which voxels of a grid a segment takes. first: (3,) voxel (i, j, k) of the box's corner. inside: bool (slices,
    rows, columns) of the box."""

    first: np.ndarray
    inside: np.ndarray

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The box as an index of the grid's array [k, j, i]."""
        k, j, i = (slice(int(a), int(a) + n) for a, n in zip(self.first[::-1], self.inside.shape))
        return k, j, i


def labelled(array: np.ndarray, ijk_to_world: np.ndarray, names: dict[int, str], where: str) -> list[Segment]:
    """The segments of a label map (slices, rows, columns) of whole numbers, 0 for none, in ascending order.

    names: of numbers; a number without a name is called by itself. Raises InputError, beginning with `where`, when the
    numbers are not whole, negative, or all 0.
    """
    array = whole_numbers(array, where)
    boxes = ndimage.find_objects(array)
    segments = []
    for number, box in enumerate(boxes, start=1):
        if box is None:
            continue
        k, j, i = (one.start for one in box)
        shift = np.eye(4)
        shift[:3, 3] = i, j, k
        mask = Volume(array[box] == number, ijk_to_world @ shift)
        segments.append(Segment(names.get(number, str(number)), mask, number))
    if not segments:
        raise InputError(f"{where}: the label map is empty: every voxel is 0. Choose the one that holds the segments.")
    return segments


def whole_numbers(array: np.ndarray, where: str) -> np.ndarray:
    """A label map's numbers as integers of 32 bits; InputError unless they are whole and not negative."""
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.rint(array)).any():
            raise InputError(
                f"{where}: the values are not all whole numbers, as in an image or in a label map that was "
                "interpolated. Give a label map, resampled by nearest neighbours."
            )
    elif array.dtype.kind not in "iub":
        raise InputError(f"{where}: values of type {array.dtype} are no labels. Give a label map of whole numbers.")
    least, most = array.min(), array.max()
    if least < 0:
        raise InputError(f"{where}: the least value is {least:g}, but labels begin at 0. Is it a CT? Give a label map.")
    if most > np.iinfo(np.uint16).max:
        raise InputError(f"{where}: the largest value is {most:g}, too large for a label. Give a label map.")
    return array.astype(np.int32)


def check_extent(segment: Segment) -> None:
    """Raise InputError when a segment is empty or a single voxel."""
    count = int(np.count_nonzero(segment.mask.array))
    if count < _LEAST_VOXELS:
        what = "empty" if count == 0 else "a single voxel"
        raise InputError(f"{segment.name}: the segment is {what}, which is no bone. Outline it, or leave it out.")


def place_in(segment: Segment, grid: Volume) -> Place:
    """The voxels of a CT whose centres lie in a segment, resampled where its grid is another one.

    Raises InputError that names the segment when it is empty, or mostly beside the CT.
    """
    check_extent(segment)
    mask = segment.mask.array
    to_grid = np.linalg.inv(grid.ijk_to_world) @ segment.mask.ijk_to_world
    _check_beside(segment, to_grid, grid.size)
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in segment.mask.size], indexing="ij")).reshape(3, 8).T
    corners = corners @ to_grid[:3, :3].T + to_grid[:3, 3]
    first = np.clip(np.ceil(corners.min(axis=0) - 1e-6), 0, None).astype(int)
    last = np.minimum(np.floor(corners.max(axis=0) + 1e-6), np.array(grid.size) - 1).astype(int)
    inside = _sampled(mask, np.linalg.inv(to_grid), first, last - first + 1) if (first <= last).all() else None
    if inside is None or not inside.any():
        raise InputError(
            f"{segment.name}: the segment is smaller than a voxel of the CT ({_times(grid.spacing_mm)} mm). Outline it "
            "larger, or leave it out."
        )
    return Place(first, inside)


def _sampled(mask: np.ndarray, to_mask: np.ndarray, first: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The mask, interpolated linearly, at the voxels of a box of the grid: True from one half on."""
    turn, shift = to_mask[:3, :3], to_mask[:3, :3] @ first + to_mask[:3, 3]
    if np.allclose(turn, np.eye(3), atol=1e-6) and np.allclose(shift, np.rint(shift), atol=1e-3):
        return _shifted(mask, np.rint(shift).astype(int), size)
    values = ndimage.affine_transform(
        mask.astype(np.float32), turn[::-1, ::-1], shift[::-1], tuple(size[::-1]), order=1, mode="grid-constant"
    )
    return values >= 0.5


def _shifted(mask: np.ndarray, first: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The box of a mask that begins at voxel `first`, which may lie outside; nothing is interpolated."""
    box = np.zeros(size[::-1], bool)
    ends = [(max(0, -int(f)), min(int(n), m - int(f)), int(f)) for f, n, m in zip(first, size, mask.shape[::-1])][::-1]
    into = tuple(slice(a, b) for a, b, _ in ends)
    box[into] = mask[tuple(slice(a + f, b + f) for a, b, f in ends)]
    return box


def _check_beside(segment: Segment, to_grid: np.ndarray, size: tuple[int, int, int]) -> None:
    """Raise InputError when much of a segment lies beside the CT."""
    indices = np.argwhere(segment.mask.array)[:, ::-1]
    indices = indices[:: max(1, len(indices) // 20_000)]
    there = indices @ to_grid[:3, :3].T + to_grid[:3, 3]
    beside = float(((there < -0.5) | (there > np.array(size) - 0.5)).any(axis=1).mean())
    if beside > _OUTSIDE:
        raise InputError(
            f"{segment.name}: {beside:.0%} of the segment lie outside the CT, so it is the segmentation of another CT, "
            "or placed otherwise. Give the one that belongs to this CT."
        )


def check_distinct(segments: Sequence[Segment]) -> None:
    """Raise InputError when two segments bear the same name, so that nobody could tell their poses apart."""
    names = [segment.name for segment in segments]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{twice[0]}: several segments bear this name. Rename them, or choose one of them.")


def about_many(count: int, seconds_each: float = 1.5) -> str:
    """How long it takes to register so many bones, for people; nothing where they are few."""
    if count <= MANY:
        return ""
    minutes = max(count * seconds_each / 60, 1)
    return (
        f"{count} bones are registered, each on its own: this takes at most {minutes:.0f} minutes. Choose fewer to be "
        "quicker."
    )


def tell_of_many(segments: Sequence[Segment]) -> None:
    """Say in the log how long it takes where many segments are registered."""
    if text := about_many(len(segments)):
        log.warning("%s", text)


def _times(lengths: np.ndarray) -> str:
    return " x ".join(f"{length:.2g}" for length in lengths)
