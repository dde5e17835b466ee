"""The edges of bones on X-rays, each in its own colour: what a person judges their poses by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..figure_layout import Rgb, laid_out
from ..geometry import Pose, XrayView
from ..overlay import OverlayView, enlarged, grey_image, overlay_drr, with_edges
from ..projector import Projector, projector_for
from ..xray import XrayImage
from .anatomy import Bone
from .colors import Color

_TITLES = ("X-ray", "CT in one piece", "Bone by bone")


@dataclass(frozen=True, eq=False)
class DrawnBone:
    """A bone as it is drawn. name: in the legend. color: red, green, blue, 0 to 1. projector: of the bone alone. pose:
    ct_to_world of the bone."""

    name: str
    color: Color
    projector: Projector
    pose: Pose

    @classmethod
    def of(cls, bone: Bone, color: Color, pose: Pose) -> DrawnBone:
        return cls(bone.name, color, projector_for(bone.excess, "cpu"), pose)

    @property
    def rgb(self) -> Rgb:
        """Its colour, 0 to 255."""
        red, green, blue = (round(255 * share) for share in self.color)
        return red, green, blue


def bones_rgb(image: XrayImage, view: XrayView, bones: Sequence[DrawnBone]) -> np.ndarray:
    """The X-ray in grey with the edges of bones in their colours: uint8 (rows, columns, 3), the X-ray's size."""
    return _drawn(np.repeat(grey_image(image)[..., None], 3, axis=2), view, [(bone, bone.pose) for bone in bones])


def bones_figure(views: Sequence[OverlayView], bones: Sequence[DrawnBone], whole: Pose) -> np.ndarray:
    """Every X-ray, with the bones where the CT in one piece has them, and where each of them stands; a row per X-ray,
    the bones' names in their colours below.

    whole: ct_to_world of the CT in one piece. Where bones are a small part of the X-ray, they are shown enlarged.
    Returns uint8 (rows, columns, 3).
    """
    rows = []
    for item in views:
        grey, view = enlarged(item, [(bone.projector, pose) for bone in bones for pose in (whole, bone.pose)])
        before, after = ([(bone, pose or bone.pose) for bone in bones] for pose in (whole, None))
        rows.append([grey, _drawn(grey, view, before), _drawn(grey, view, after)])
    return laid_out(rows, [item.name for item in views], _TITLES, [(bone.name, bone.rgb) for bone in bones])


def _drawn(rgb: np.ndarray, view: XrayView, placed: Sequence[tuple[DrawnBone, Pose]]) -> np.ndarray:
    for bone, pose in placed:
        rgb = with_edges(rgb, overlay_drr(bone.projector, view, pose), bone.rgb)
    return rgb
