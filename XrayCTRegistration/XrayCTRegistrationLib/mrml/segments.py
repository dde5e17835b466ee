"""Segments of a segmentation or label map node as the library's: read in steps, placed in the CT's own LPS."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from ..bones.anatomy import is_bone
from ..bones.colors import colored
from ..bones.names import TOTALSEGMENTATOR, holding_names
from ..bones.segments import Segment, check_distinct, whole_numbers
from ..errors import InputError
from ..volume import Volume, per_mm
from .frames import (
    RAS_FROM_LPS,
    ijk_to_ras,
    lps_motion,
    matrix_array,
    parent_to_world,
    transform_to_world,
    vtk_matrix,
)
from .volumes import voxels, vtk_image

KINDS = ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode")
LABELS = "Binary labelmap"
_NOTHING = np.zeros((1, 1, 1), bool)
_ENOUGH_VOXELS = 100_000  # of the box about a segment, to tell whether it is bone
_SAME = 1e-6
_VOXELS_AT_ONCE = 2_000_000  # read between two pauses: some ten milliseconds


@dataclass(frozen=True, eq=False)
class ListedSegment:
    """A segment as its node has it: the node's own memory, which the next edit changes.

    id: of the segment, or its number in a label map. number: None in a segmentation, where it means nothing to people.
    color: (red, green, blue) 0 to 1, or None. labels: (slices, rows, columns) about the segment, which is where they
    equal `value`; None where no voxel does. ijk_to_own: 4x4 to the node's own LPS. supposed: no label is named, see
    `naming_steps`.
    """

    id: str
    name: str
    number: int | None
    color: tuple[float, float, float] | None
    labels: np.ndarray | None
    value: int
    ijk_to_own: np.ndarray
    supposed: bool = False

    def taken(self, own_to_ct: np.ndarray) -> Segment:
        """A copy in the CT's own LPS. own_to_ct: of `segmentation_to_ct`."""
        mask = _NOTHING if self.labels is None else self.labels == self.value
        return Segment(self.name, Volume(mask, own_to_ct @ self.ijk_to_own), self.number, self.color)

    def described(self) -> Segment:
        """Without its voxels: to be found by name."""
        return Segment(self.name, Volume(_NOTHING, np.eye(4)), self.number, self.color)


@dataclass(frozen=True, eq=False)
class SegmentsToRegister:
    """Segments that are registered each at a pose of its own, and other bones of the CT, which stay with it.

    ids: of the segments.
    """

    ids: tuple[str, ...]
    segments: tuple[Segment, ...]
    others: tuple[Segment, ...]


def segments_key(node: Any) -> Any:
    """What the segments of a node depend on: while it is the same, so are they."""
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        image, colors = node.GetImageData(), _own_colors(node)
        times = [None if one is None else one.GetMTime() for one in (image, colors)]
        return node.GetID(), node.GetName(), tuple(times), ijk_to_ras(node).tolist()
    described = []
    for segment_id, segment in _segments(node):
        image = segment.GetRepresentation(LABELS)
        time = image.GetMTime() if image is not None else None
        described.append((segment_id, segment.GetName(), segment.GetColor(), segment.GetLabelValue(), time))
    return node.GetID(), node.GetName(), tuple(described)


def has_segment(node: Any, segment_id: str) -> bool:
    """Whether a segmentation still has a segment; a label map, whose voxels would have to be read, is believed."""
    if node.GetScene() is None:
        return False
    return node.IsA("vtkMRMLLabelMapVolumeNode") or node.GetSegmentation().GetSegment(segment_id) is not None


def listing_steps(node: Any) -> Generator[float, None, tuple[ListedSegment, ...]]:
    """The segments of a node, in its order, numbers without a name last; yields the progress, 0 to 1, every few
    milliseconds.

    Raises InputError that names the node, where it holds no segment or what it holds is no label.
    """
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        return (yield from _list_label_map(node))
    if not node.IsA("vtkMRMLSegmentationNode"):
        raise InputError(f"{node.GetName()}: this is no segmentation. Choose a segmentation or a label map of the CT.")
    segments = _segments(node)
    images: list[Any] = []  # several segments share one
    for _, segment in segments:
        image = label_image(node, segment)
        if image is not None and not any(image is one for one in images):
            images.append(image)
    layers = []
    for index, image in enumerate(images):
        array, to_ras = image_voxels(image)
        boxes = yield from _boxes(array, node.GetName(), index / len(images), 1 / len(images))
        layers.append((array, RAS_FROM_LPS @ to_ras, boxes))
    listed = []
    for segment_id, segment in segments:
        image, value = label_image(node, segment), segment.GetLabelValue()
        place = next((index for index, one in enumerate(images) if one is image), None)
        layer = (None, np.eye(4), {}) if place is None else layers[place]
        listed.append(_listed(segment_id, segment.GetName(), None, segment.GetColor(), *layer, value))
    if not listed:
        raise InputError(f"{node.GetName()}: the segmentation is empty. Outline a bone, or choose another one.")
    return tuple(listed)


def naming_steps(
    listed: Sequence[ListedSegment], own_to_ct: np.ndarray, ct: Volume, where: str
) -> Generator[float, None, tuple[ListedSegment, ...]]:
    """The segments of a node, those whose names are supposed with the names that hold in a CT, see
    `bones.names.holding_names`; yields the progress, 0 to 1.

    ct: Hounsfield units in the CT's own LPS, at any resolution. where: the name of the node.
    """
    if not any(one.supposed for one in listed):
        return tuple(listed)
    attenuation = Volume(per_mm(ct.array), ct.ijk_to_world)
    dense = []
    for count, one in enumerate(listed, start=1):
        if is_bone(attenuation, _thinned(one.taken(own_to_ct))):
            dense.append(one.value)
        yield count / len(listed)
    names = holding_names([one.value for one in listed], dense, where)
    return _in_order(replace(one, name=names.get(one.value, one.id)) if one.supposed else one for one in listed)


def segmentation_to_ct(node: Any, ct_node: Any) -> np.ndarray:
    """4x4 from a segmentation's own LPS to the CT's own, wherever both were moved to.

    One that is under no transform was outlined before the CT was moved: its own space is the CT's. One under the CT's
    transform moves with the CT. Transforms of its own place it in the CT as that stood before it was moved.
    Raises InputError that names the node when they are not linear.
    """
    if node.GetParentTransformNode() is None:
        return np.eye(4)
    to_world, pose_node = parent_to_world(node), ct_node.GetParentTransformNode()
    if pose_node is None:
        return lps_motion(to_world)
    above = parent_to_world(ct_node if _is_under(node, pose_node) else pose_node)
    return lps_motion(np.linalg.inv(above) @ to_world)


def is_taken_as_unmoved(node: Any, ct_node: Any) -> bool:
    """Whether `segmentation_to_ct` has to assume where a segmentation belongs: under no transform, while the CT was
    moved, it may as well have been outlined where the CT stands now."""
    pose_node = ct_node.GetParentTransformNode()
    if pose_node is None or node.GetParentTransformNode() is not None:
        return False
    to_world = transform_to_world(pose_node)
    return to_world is None or not np.allclose(to_world, np.eye(4), rtol=0, atol=_SAME)


def follow_ct(node: Any, ct_node: Any) -> None:
    """Let a segmentation that no transform carries stand in the CT wherever that is moved to."""
    if node.GetParentTransformNode() is None and ct_node.GetParentTransformNode() is not None:
        node.SetAndObserveTransformNodeID(ct_node.GetTransformNodeID())


def chosen_steps(
    listed: Sequence[ListedSegment], ids: Sequence[str] | None, own_to_ct: np.ndarray, ct: Volume
) -> Generator[float, None, SegmentsToRegister]:
    """Copies of the segments of these ids, or of every one that is bone, each in its own colour, with pauses.

    ct: Hounsfield units in the CT's own LPS, at any resolution. Raises InputError where two bear one name, or where
    none is bone.
    """
    attenuation = Volume(per_mm(ct.array), ct.ijk_to_world)
    chosen, others = [], []
    for number, one in enumerate(listed):
        asked = None if ids is None else one.id in ids
        segment = one.taken(own_to_ct)
        if asked or (asked is None and is_bone(attenuation, _thinned(segment))):
            chosen.append((one.id, segment))
        elif asked is False and is_bone(attenuation, _thinned(segment)):
            others.append(segment)
        yield (number + 1) / len(listed)
    if not chosen:
        raise InputError("No segment is bone in this CT. Does the segmentation belong to it?")
    check_distinct([segment for _, segment in chosen])
    kept_ids, segments = zip(*chosen)
    return SegmentsToRegister(kept_ids, tuple(colored(segments)), tuple(others))


def add_segmentation_node(scene: Any, name: str, segments: Sequence[Segment], ct_node: Any | None = None) -> Any:
    """A new segmentation node of segments in its own LPS. ct_node: whose grid it is saved on."""
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    node.CreateDefaultDisplayNodes()
    if ct_node is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(ct_node)
    for segment in segments:
        image = slicer.vtkOrientedImageData()
        image.ShallowCopy(vtk_image(segment.mask.array.astype(np.uint8)))
        image.SetImageToWorldMatrix(vtk_matrix(RAS_FROM_LPS @ segment.mask.ijk_to_world))
        added = slicer.vtkSegment()
        added.SetName(segment.name)
        if segment.color is not None:
            added.SetColor(*segment.color)
        added.AddRepresentation(LABELS, image)
        node.GetSegmentation().AddSegment(added)
    return node


def label_image(node: Any, segment: Any) -> Any | None:
    """The binary label map of a segment of a segmentation node; None where nothing was drawn in it.

    Raises InputError where the segment has no such representation.
    """
    image = segment.GetRepresentation(LABELS)
    if image is None:
        raise InputError(
            f"{node.GetName()}: the segment {segment.GetName()} has no binary label map. Create that "
            "representation in the Segmentations module, or draw with the Segment Editor."
        )
    scalars = image.GetPointData().GetScalars()
    return image if scalars is not None and scalars.GetNumberOfTuples() else None


def image_voxels(image: Any) -> tuple[np.ndarray, np.ndarray]:
    """An oriented image's own memory (slices, rows, columns), and the 4x4 from its indices to RAS."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    matrix, to_first = vtk.vtkMatrix4x4(), np.eye(4)
    image.GetImageToWorldMatrix(matrix)
    to_first[:3, 3] = image.GetExtent()[::2]
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    return array, matrix_array(matrix) @ to_first


def _segments(node: Any) -> list[tuple[str, Any]]:
    """The segments of a segmentation node by their ids, in its order."""
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    return [(segment_id, segmentation.GetSegment(segment_id)) for segment_id in ids]


def _list_label_map(node: Any) -> Generator[float, None, tuple[ListedSegment, ...]]:
    array = voxels(node)
    if array is None or array.ndim != 3:
        raise InputError(f"{node.GetName()}: the label map is empty. Choose the one that holds the segments.")
    boxes = yield from _boxes(array, node.GetName(), 0.0, 1.0)
    if not boxes:
        raise InputError(f"{node.GetName()}: every voxel is 0. Choose the label map that holds the segments.")
    named, color_node = _own_colors(node), node.GetDisplayNode() and node.GetDisplayNode().GetColorNode()
    own = {value: name for value in boxes if _has(named, value) and (name := named.GetColorName(value))}
    names, to_own, listed = own or TOTALSEGMENTATOR, RAS_FROM_LPS @ ijk_to_ras(node), []
    for value in boxes:
        name, color = names.get(value, str(value)), _color(color_node, value)
        one = _listed(str(value), name, value, color, array, to_own, boxes, value)
        listed.append(replace(one, supposed=not own))
    return _in_order(listed)


def _in_order(listed: Iterable[ListedSegment]) -> tuple[ListedSegment, ...]:
    """The labels of a label map by number; those without a name, which are organs, mostly, come last."""
    return tuple(sorted(listed, key=lambda one: (one.name == one.id, one.value)))


def _listed(
    segment_id: str,
    name: str,
    number: int | None,
    color: tuple[float, float, float] | None,
    array: np.ndarray | None,
    ijk_to_own: np.ndarray,
    boxes: dict[int, tuple[slice, ...]],
    value: int,
) -> ListedSegment:
    box = boxes.get(value)
    if array is None or box is None:
        return ListedSegment(segment_id, name, number, color, None, value, ijk_to_own)
    shift = np.eye(4)
    shift[:3, 3] = [one.start for one in reversed(box)]
    return ListedSegment(segment_id, name, number, color, array[box], value, ijk_to_own @ shift)


def _own_colors(node: Any) -> Any | None:
    """The table that names a label map's numbers; those that come with 3D Slicer name other things."""
    display = node.GetDisplayNode()
    colors = display.GetColorNode() if display is not None else None
    return None if colors is None or colors.GetSingletonTag() else colors


def _has(color_node: Any | None, value: int) -> bool:
    """Whether a table has an entry for a number; VTK calls it an error to ask for one that it has not."""
    return color_node is not None and value < color_node.GetNumberOfColors()


def _color(color_node: Any | None, value: int) -> tuple[float, float, float] | None:
    color = [0.0] * 4
    if not _has(color_node, value) or not color_node.GetColor(value, color):
        return None
    return color[0], color[1], color[2]


def _thinned(segment: Segment) -> Segment:
    """A large segment by fewer of its voxels, evenly: enough to tell bone from a lung, without waiting."""
    mask = segment.mask
    every = max(1, round((mask.array.size / _ENOUGH_VOXELS) ** (1 / 3)))
    matrix = mask.ijk_to_world @ np.diag([every, every, every, 1.0])
    return replace(segment, mask=Volume(mask.array[::every, ::every, ::every], matrix))


def _boxes(
    array: np.ndarray, where: str, begin: float, share: float
) -> Generator[float, None, dict[int, tuple[slice, ...]]]:
    """The boxes [k, j, i] of all labels but 0; yields the progress from begin on, by a share in all."""
    boxes: dict[int, tuple[slice, ...]] = {}
    per_slab = max(1, _VOXELS_AT_ONCE // max(1, array[0].size))
    for first in range(0, len(array), per_slab):
        found = ndimage.find_objects(whole_numbers(array[first : first + per_slab], where))
        for value, box in enumerate(found, start=1):
            if box is not None:
                k, *plane = box
                moved = (slice(k.start + first, k.stop + first), *plane)
                boxes[value] = _joined(boxes[value], moved) if value in boxes else moved
        yield begin + share * min(1.0, (first + per_slab) / len(array))
    return boxes


def _joined(one: tuple[slice, ...], other: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other))


def _is_under(node: Any, transform_node: Any) -> bool:
    """Whether a transform, or one below it, carries a node."""
    parent = node.GetParentTransformNode()
    while parent is not None and parent.GetID() != transform_node.GetID():
        parent = parent.GetParentTransformNode()
    return parent is not None
