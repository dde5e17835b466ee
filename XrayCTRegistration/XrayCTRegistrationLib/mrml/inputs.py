"""The nodes of a registration, checked and turned into the library's types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry import XrayView, common_isocenter
from ..volume import Volume, check_hounsfield
from ..xray import Radiograph
from .chosen import mask_node
from .frames import ijk_to_ras, parent_to_world
from .geometry import check_geometry
from .masks import drawing_key, mask_of
from .sequences import frames_of
from .volumes import unchecked_ct
from .xrays import radiograph_of, view_of


@dataclass(frozen=True, eq=False)
class Inputs:
    """A CT in its own LPS, and per X-ray a radiograph, a view in the world's LPS, and a mask: None, or bool
    (rows, columns), True where pixels may be used."""

    ct: Volume
    radiographs: tuple[Radiograph, ...]
    views: tuple[XrayView, ...]
    masks: tuple[np.ndarray | None, ...]

    @property
    def isocenter(self) -> np.ndarray:
        return common_isocenter(list(self.views))


def inputs_of(ct_node: Any | None, xray_nodes: Sequence[Any]) -> Inputs:
    """Everything that is registered; InputError says which node cannot be used, and what to do."""
    inputs = unchecked_inputs(ct_node, xray_nodes)
    check_hounsfield(inputs.ct, ct_node.GetName())
    return inputs


def unchecked_inputs(ct_node: Any | None, xray_nodes: Sequence[Any]) -> Inputs:
    """As `inputs_of`, without looking at every voxel of the CT, which takes a while."""
    if ct_node is None:
        raise InputError("Choose a CT.")
    if not xray_nodes:
        raise InputError("Choose at least one X-ray.")
    ids = [node.GetID() for node in xray_nodes]
    for node in xray_nodes:
        if node.GetID() == ct_node.GetID():
            raise InputError(f"{node.GetName()}: this is the CT. Choose an X-ray beside it.")
        if ids.count(node.GetID()) > 1:
            raise InputError(f"{node.GetName()}: this X-ray is chosen twice. Choose each X-ray once.")
    ct = unchecked_ct(ct_node)
    radiographs = tuple(radiograph_of(node) for node in xray_nodes)
    for node in xray_nodes:
        check_geometry(node)
    masks = tuple(mask_of(mask_node(node), node) for node in xray_nodes)
    return Inputs(ct, radiographs, tuple(view_of(node) for node in xray_nodes), masks)


def inputs_key(ct_node: Any | None, xray_nodes: Sequence[Any]) -> tuple[Any, ...]:
    """What the inputs depend on, one entry per node, the CT's first: while it is the same, so are they."""
    return tuple(
        (
            node.GetID(),
            node.GetName(),
            node.GetImageData().GetMTime() if node.GetImageData() is not None else None,
            ijk_to_ras(node).tolist(),
            [node.GetAttribute(name) for name in node.GetAttributeNames() if name.startswith("XrayCTRegistration.")],
            _surroundings(node) if node is not ct_node else None,  # above the CT stands the pose
        )
        for node in (ct_node, *xray_nodes)
        if node is not None
    )


def _surroundings(xray_node: Any) -> Any:
    """What stands above an X-ray, and what was drawn on it."""
    try:
        return parent_to_world(xray_node).tolist(), drawing_key(mask_node(xray_node), xray_node)
    except InputError as error:
        return str(error)


def frames_of_inputs(xray_nodes: Sequence[Any]) -> list[tuple[Radiograph, ...]]:
    """Per frame, the radiographs of X-ray nodes that show frames of sequences of one length.

    Raises InputError when a node is no sequence, or the lengths differ.
    """
    runs = [frames_of(node) for node in xray_nodes]
    for node, run in zip(xray_nodes, runs):
        if not run:
            raise InputError(f"{node.GetName()}: this is a single image. Load a fluoroscopy run as a sequence.")
        if len(run) != len(runs[0]):
            raise InputError(
                f"{node.GetName()}: it has {len(run)} frames, {xray_nodes[0].GetName()} has {len(runs[0])}. Choose "
                "views that were taken together."
            )
    return [tuple(radiograph_of(one) for one in frame) for frame in zip(*runs)]
