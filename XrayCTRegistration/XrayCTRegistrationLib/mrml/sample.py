"""The samples: an invented lumbar spine and simulated X-rays of it at a pose that nobody was told."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..bones.segments import Segment
from ..evaluation.bodies import cut_along_body
from ..evaluation.exposures import rods
from ..evaluation.moved_bones import with_bones_moved
from ..geometry import Pose, XrayView, common_isocenter, rotation_from_euler, view_from_carm
from ..geometry.entries import Entry
from ..phantom import spine_centers_mm, spine_segments, synthetic_spine
from ..simulation import detector_counts, line_integrals
from ..volume import Volume
from .geometry import set_entries
from .loading import stack_as_run
from .poses import centered_pose
from .segments import add_segmentation_node
from .volumes import add_ct_node
from .xrays import add_image_node, add_xray_node

_SPACING_MM = 2.0
_STEP_MM = 1.0
_PHOTONS = 20_000.0
_COLUMNS, _ROWS = 384, 384
_CARM = {"source_to_detector_mm": 1020.0, "source_to_isocenter_mm": 700.0, "pixel_spacing_mm": [0.8, 0.8]}
_VIEWS = {"Frontal X-ray": 0.0, "Lateral X-ray": 90.0}  # primary angles
_TRUE_TURN_DEG, _TRUE_SHIFT_MM = (7.0, -5.0, 9.0), (14.0, -10.0, -18.0)
_ORIGIN = "sample"
_GREY_PER_DECADE = 4000.0
_CUT_MM = 140.0  # of the CT along the body: about three vertebrae
_RODS, _RODS_SHARE = 3, 0.04  # of the image
_RUN_FRAMES, _RUN_ANGLE_DEG = 5, 90.0
_MOVED_BONES = {"L2": ((-2.0, 0.0, 2.0), (1.5, 0.0, 0.0)), "L3": ((4.0, 2.0, 0.0), (-2.0, 0.0, 1.5))}  # deg, mm
_ABOUT_BONES_MM = 30.0  # farther away nothing changes
_RUN_TURN_DEG, _RUN_SHIFT_MM = (1.0, 0.0, 1.5), (0.0, 2.0, -2.5)  # from frame to frame


@dataclass(frozen=True)
class Sample:
    """The nodes of the sample, and the pose at which the X-rays were made.

    segmentation_node: of the vertebrae, where the sample has one. motions: of those that moved in the CT, by name, in
    the CT's own LPS.
    """

    ct_node: Any
    xray_nodes: tuple[Any, ...]
    true_pose: Pose
    segmentation_node: Any | None = None
    motions: Mapping[str, Pose] = field(default_factory=dict)


def sample_steps(scene: Any) -> Generator[float, None, Sample]:
    """Add the sample to a scene; yields the progress, 0 to 1, after every part."""
    yield 0.0
    ct = synthetic_spine(spacing_mm=_SPACING_MM)
    yield 0.4
    return (yield from _two_views(scene, ct, ct, _unchanged))


def metal_and_cut_ct_steps(scene: Any) -> Generator[float, None, Sample]:
    """As `sample_steps`: three rods lie over the spine in the X-rays, and the CT holds only the middle of the trunk."""
    yield 0.0
    whole = synthetic_spine(spacing_mm=_SPACING_MM)
    yield 0.4
    return (yield from _two_views(scene, whole, cut_along_body(whole, _CUT_MM), _with_rods))


def bones_steps(scene: Any) -> Generator[float, None, Sample]:
    """As `sample_steps`, with a segmentation of the vertebrae, two of which have moved in the X-rays."""
    yield 0.0
    ct, segments = synthetic_spine(spacing_mm=_SPACING_MM), spine_segments(spacing_mm=_SPACING_MM)
    yield 0.3
    centers = spine_centers_mm()
    motions = {
        name: Pose.about(centers[name], rotation_from_euler(np.radians(turn_deg)), np.array(shift_mm))
        for name, (turn_deg, shift_mm) in _MOVED_BONES.items()
    }
    moving = [segment for segment in segments if segment.name in motions]
    bent = _bent(ct, moving, [motions[segment.name] for segment in moving])
    yield 0.4
    sample = yield from _two_views(scene, bent, ct, _unchanged)
    node = add_segmentation_node(scene, "Vertebrae", segments, sample.ct_node)
    return replace(sample, segmentation_node=node, motions=motions)


def run_steps(scene: Any) -> Generator[float, None, Sample]:
    """As `sample_steps`: one lateral view, a run of frames in which the patient turns and moves a little. The true pose
    is that of the first frame."""
    yield 0.0
    ct = synthetic_spine(spacing_mm=_SPACING_MM)
    yield 0.3
    name = "Fluoroscopy"
    view = _view(_RUN_ANGLE_DEG)
    start = centered_pose(ct.center, common_isocenter([view]))
    frames, poses = [], []
    for number in range(_RUN_FRAMES):
        turn = rotation_from_euler(np.radians(_RUN_TURN_DEG) * number)
        true = Pose.about(start.apply(ct.center), turn, np.array(_RUN_SHIFT_MM) * (number + 1)) @ start
        poses.append(true)
        frames.append(_radiograph(_counts(ct, view, true, number)))
        yield 0.3 + 0.6 * (number + 1) / _RUN_FRAMES
    stack = add_image_node(scene, name, np.stack(frames))
    shown = stack_as_run(stack)
    scene.RemoveNode(stack)
    _set_geometry(shown, _RUN_ANGLE_DEG)
    ct_node = add_ct_node(scene, scene.GenerateUniqueName("Lumbar spine CT"), ct)
    return Sample(ct_node, (shown,), poses[0])


def _bent(ct: Volume, segments: Sequence[Segment], motions: Sequence[Pose]) -> Volume:
    """The CT with its segments moved; only what is about them is made anew, which is quicker."""
    corners = np.concatenate([segment.mask.corners() for segment in segments])
    to_ijk = np.linalg.inv(ct.ijk_to_world)
    ijk = corners @ to_ijk[:3, :3].T + to_ijk[:3, 3]
    first = np.maximum(np.floor(ijk.min(axis=0) - _ABOUT_BONES_MM / ct.spacing_mm), 0).astype(int)
    last = np.minimum(np.ceil(ijk.max(axis=0) + _ABOUT_BONES_MM / ct.spacing_mm), np.array(ct.size) - 1).astype(int)
    array = np.array(ct.array, dtype=np.float32)
    (i0, j0, k0), (i1, j1, k1) = first, last + 1
    array[k0:k1, j0:j1, i0:i1] = with_bones_moved(ct.cropped(first, last), segments, motions).array
    return Volume(array, ct.ijk_to_world)


def _two_views(
    scene: Any, imaged: Volume, given: Volume, exposed: Callable[[np.ndarray, int], np.ndarray]
) -> Generator[float, None, Sample]:
    """X-rays of a body in both views, and the CT that is given of it. exposed: counts, and number, to what is seen."""
    views = {name: _view(angle) for name, angle in _VIEWS.items()}
    start = centered_pose(given.center, common_isocenter(list(views.values())))
    turn = rotation_from_euler(np.radians(_TRUE_TURN_DEG))
    true = Pose.about(start.apply(given.center), turn, np.array(_TRUE_SHIFT_MM)) @ start
    images = []
    for number, view in enumerate(views.values()):
        images.append(_radiograph(exposed(_counts(imaged, view, true, number), number)))
        yield 0.4 + 0.5 * (number + 1) / len(views)
    nodes = []
    for (name, view), image in zip(views.items(), images):
        node = add_xray_node(scene, name, image, view)
        _set_geometry(node, _VIEWS[name])
        nodes.append(node)
    ct_node = add_ct_node(scene, scene.GenerateUniqueName("Lumbar spine CT"), given)
    return Sample(ct_node, tuple(nodes), true)


def _view(angle_deg: float) -> XrayView:
    return view_from_carm({**_CARM, "image_size_px": [_COLUMNS, _ROWS], "primary_angle_deg": angle_deg})


def _set_geometry(node: Any, angle_deg: float) -> None:
    entries = {**_CARM, "primary_angle_deg": angle_deg, "secondary_angle_deg": 0.0}
    set_entries(node, {entry: Entry(value, _ORIGIN) for entry, value in entries.items()})


def _counts(ct: Volume, view: XrayView, pose: Pose, number: int) -> np.ndarray:
    return detector_counts(line_integrals(ct, view, pose, _STEP_MM), _PHOTONS, np.random.default_rng(number))


def _unchanged(counts: np.ndarray, number: int) -> np.ndarray:
    return counts


def _with_rods(counts: np.ndarray, number: int) -> np.ndarray:
    """Counts behind rods that let nothing through."""
    return np.where(rods(counts.shape, np.random.default_rng(10 + number), _RODS, _RODS_SHARE), 0.5, counts)


def _radiograph(counts: np.ndarray) -> np.ndarray:
    """Photon counts (rows, columns) as a radiograph is stored: their logarithm, bone bright, uint16."""
    decades = np.log10(_PHOTONS) - np.log10(np.maximum(counts, 0.5))
    return np.clip(np.rint(_GREY_PER_DECADE * decades), 0, 65535).astype(np.uint16)
