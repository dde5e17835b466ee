"""What a registration of bones leaves behind beside that of the whole CT: poses, a figure, rows of the report, their
place in the scene, and the table that ends the command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..bones.names import file_names
from ..bones.overlay import DrawnBone, bones_figure
from ..bones.surface import surface_of
from ..figure_layout import write_picture
from ..io.poses import write_pose
from ..io.report import BONES_FIGURE, ReportedBone
from ..io.scene import SceneBone
from ..overlay import OverlayView

if TYPE_CHECKING:
    from ..bones.registration import BoneResult, BonesResult
    from .bones import ChosenBones

TABLE = ("Bone", "Similarity", "Moved from the CT's pose", "Confidence", "X-rays that show it")


@dataclass(frozen=True, eq=False)
class RegisteredBones:
    """What was chosen, and where it was found, bone for bone."""

    chosen: ChosenBones
    found: BonesResult

    @property
    def pose_files(self) -> list[str]:
        """Names of the files of poses, one per bone."""
        return [f"pose-{stem}.tfm" for stem in file_names([bone.name for bone in self.found.bones])]

    def drawn(self) -> list[DrawnBone]:
        """The bones as overlays show them."""
        rows = zip(self.chosen.bodies, self.chosen.segments, self.found.bones)
        return [DrawnBone.of(body, segment.color, result.pose) for body, segment, result in rows if segment.color]

    def in_scene(self) -> list[SceneBone]:
        """The bones as a scene holds them, with the surfaces of their segments."""
        rows = zip(self.chosen.segments, self.found.bones)
        return [SceneBone(one.name, one.color, result.pose, surface_of(one.mask)) for one, result in rows if one.color]

    def reported(self, xray_names: Sequence[str]) -> list[ReportedBone]:
        """The bones as a report names them."""
        rows = zip(self.chosen.segments, self.found.bones, self.pose_files)
        return [
            ReportedBone(result, one.number, one.color, file, [xray_names[view] for view in result.shown])
            for one, result, file in rows
        ]


def write_bones(folder: Path, bones: RegisteredBones, views: Sequence[OverlayView]) -> list[DrawnBone]:
    """Write the pose of every bone, and the figure; returns the bones as drawn."""
    for name, bone in zip(bones.pose_files, bones.found.bones):
        write_pose(folder / name, bone.pose)
    drawn = bones.drawn()
    write_picture(folder / BONES_FIGURE, bones_figure(views, drawn, bones.found.whole.pose))
    return drawn


def table_rows(bones: RegisteredBones, xray_names: Sequence[str]) -> list[tuple[str, ...]]:
    """A row of TABLE per bone."""
    return [(bone.name, *_words(bone, xray_names)) for bone in bones.found.bones]


def _words(bone: BoneResult, xray_names: Sequence[str]) -> tuple[str, str, str, str]:
    if bone.confidence is None:
        return "", "stays with the CT", "", "none"
    shown = ", ".join(Path(xray_names[view]).name for view in bone.shown)
    confidence = f"{bone.confidence.level}, about {bone.confidence.expected_error_mm:.1f} mm"
    return f"{bone.similarity:.3f}", f"{bone.moved_deg:.1f} degrees, {bone.moved_mm:.1f} mm", confidence, shown
