"""The sample: an invented lumbar spine and two simulated X-rays of it at a pose that nobody was told."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry import Pose, common_isocenter, rotation_from_euler, view_from_carm
from ..geometry.entries import Entry
from ..phantom import synthetic_spine
from ..simulation import detector_counts, line_integrals
from .geometry import set_entries
from .poses import centered_pose
from .volumes import add_ct_node
from .xrays import add_xray_node

_SPACING_MM = 2.0
_STEP_MM = 1.0
_PHOTONS = 20_000.0
_COLUMNS, _ROWS = 384, 384
_CARM = {"source_to_detector_mm": 1020.0, "source_to_isocenter_mm": 700.0, "pixel_spacing_mm": [0.8, 0.8]}
_VIEWS = {"Frontal X-ray": 0.0, "Lateral X-ray": 90.0}  # primary angles
_TRUE_TURN_DEG, _TRUE_SHIFT_MM = (7.0, -5.0, 9.0), (14.0, -10.0, -18.0)
_ORIGIN = "sample"
_GREY_PER_DECADE = 4000.0


@dataclass(frozen=True)
class Sample:
    """The nodes of the sample, and the pose at which the X-rays were made."""

    ct_node: Any
    xray_nodes: tuple[Any, ...]
    true_pose: Pose


def sample_steps(scene: Any) -> Generator[float, None, Sample]:
    """Add the sample to a scene; yields the progress, 0 to 1, after every part."""
    yield 0.0
    ct = synthetic_spine(spacing_mm=_SPACING_MM)
    yield 0.4
    views = {
        name: view_from_carm({**_CARM, "image_size_px": [_COLUMNS, _ROWS], "primary_angle_deg": angle})
        for name, angle in _VIEWS.items()
    }
    start = centered_pose(ct.center, common_isocenter(list(views.values())))
    turn = rotation_from_euler(np.radians(_TRUE_TURN_DEG))
    true = Pose.about(start.apply(ct.center), turn, np.array(_TRUE_SHIFT_MM)) @ start
    images = []
    for number, view in enumerate(views.values()):
        counts = detector_counts(line_integrals(ct, view, true, _STEP_MM), _PHOTONS, np.random.default_rng(number))
        images.append(_radiograph(counts))
        yield 0.4 + 0.5 * (number + 1) / len(views)
    nodes = []
    for (name, view), image in zip(views.items(), images):
        node = add_xray_node(scene, name, image, view)
        entries = {**_CARM, "primary_angle_deg": _VIEWS[name], "secondary_angle_deg": 0.0}
        set_entries(node, {entry: Entry(value, _ORIGIN) for entry, value in entries.items()})
        nodes.append(node)
    ct_node = add_ct_node(scene, scene.GenerateUniqueName("Lumbar spine CT"), ct)
    return Sample(ct_node, tuple(nodes), true)


def _radiograph(counts: np.ndarray) -> np.ndarray:
    """Photon counts (rows, columns) as a radiograph is stored: their logarithm, bone bright, uint16."""
    decades = np.log10(_PHOTONS) - np.log10(np.maximum(counts, 0.5))
    return np.clip(np.rint(_GREY_PER_DECADE * decades), 0, 65535).astype(np.uint16)
