"""The report of a registration in a folder, as the command line writes it, from what is kept with the scene."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bones.joints import Joint
from ..bones.names import file_names
from ..errors import InputError
from ..geometry import Pose
from ..io.folders import published
from ..io.poses import write_pose
from ..io.report import (
    BONES_FIGURE,
    ReportedBone,
    ReportedXray,
    about_bones,
    about_input,
    about_result,
    about_settings,
    report_text,
    with_earlier_files,
    write_report,
)
from ..xray import Meaning, Polarity, xray_image
from .geometry import calibration_of
from .xrays import file_of, radiograph_of, view_of

if TYPE_CHECKING:
    from ..bones.overlay import DrawnBone
    from ..bones.registration import BonesResult
    from ..bones.segments import Segment
    from ..overlay import OverlayView
    from ..projector import Projector
    from ..registration import RegistrationResult, Settings

FILES = ("pose.tfm", "overlay.png", "report.json")
_REPORT = "XrayCTRegistration.Report"


@dataclass(frozen=True, eq=False)
class BonesToReport:
    """The bones of a registration. segments: one each. segmentation: the name of its node."""

    found: BonesResult
    segments: Sequence[Segment]
    segmentation: str

    def reported(self, xray_nodes: Sequence[Any]) -> list[ReportedBone]:
        """The bones as a report names them."""
        stems = file_names([bone.name for bone in self.found.bones])
        return [
            ReportedBone(
                bone,
                segment.number,
                segment.color,
                f"pose-{stem}.tfm",
                [_source_name(xray_nodes[view]) for view in bone.shown],
            )
            for bone, segment, stem in zip(self.found.bones, self.segments, stems)
        ]


def keep_report(
    pose_node: Any,
    result: RegistrationResult,
    settings: Settings,
    init: str,
    ct_node: Any,
    xray_nodes: Sequence[Any],
    mask_nodes: Sequence[Any | None] | None = None,
    bones: BonesToReport | None = None,
) -> None:
    """Keep what there is to report of a registration with the node of its pose, saved with the scene.

    init: where it began, in words. mask_nodes: one per X-ray, None for an X-ray without; or None. bones: those that
    were registered, too.
    """
    masks = mask_nodes or [None] * len(xray_nodes)
    xrays = [
        ReportedXray(
            _source_name(node),
            view_of(node),
            meaning,
            mask.GetName() if mask is not None else None,
            calibration_of(node),
        )
        for node, mask, meaning in zip(xray_nodes, masks, result.meanings)
    ]
    content = about_input(_source_name(ct_node), xrays) | about_settings(settings, init) | about_result(result)
    if bones is not None:
        content |= about_bones(bones.found, bones.reported(xray_nodes), Joint(), bones.segmentation)
    pose_node.SetAttribute(_REPORT, report_text(content))


def kept_report(pose_node: Any) -> dict[str, Any] | None:
    """What is kept of the last registration of a pose's node, as in report.json; None where there is none."""
    text = pose_node.GetAttribute(_REPORT)
    return json.loads(text) if text else None


def forget_report(pose_node: Any) -> None:
    """Keep nothing to report: of a run of frames there is no single result."""
    pose_node.SetAttribute(_REPORT, None)


def files_replaced(folder: str | Path, pose_node: Any) -> list[str]:
    """The names of files in a folder that `save_report` would replace, or remove as those of an earlier result."""
    names = with_earlier_files(Path(folder), _files_of(kept_report(pose_node) or {}))
    return [name for name in names if (Path(folder) / name).exists()]


def save_report(
    folder: str | Path,
    pose_node: Any,
    xray_nodes: Sequence[Any],
    projector: Projector,
    masks: Sequence[np.ndarray | None] | None = None,
    bone_projectors: Mapping[str, Projector] | None = None,
) -> list[Path]:
    """Write pose.tfm, overlay.png and report.json of the last registration into a folder, the pose of each bone that
    was registered, and bones.png where all of them can be drawn, all or none; returns them.

    projector: of `overlay.overlay_projector`, of the CT. masks: of the X-rays, which are dimmed outside.
    bone_projectors: likewise of bones, by name.
    Raises InputError when nothing was registered, when the X-rays or their geometries are others than were, or when the
    folder cannot be written to.
    """
    content = kept_report(pose_node)
    if content is None:
        raise InputError(f"{pose_node.GetName()}: nothing was registered with this pose. Press Register first.")
    _check_views(pose_node, xray_nodes, [one["geometry"]["world_to_pixel"] for one in content["xrays"]])
    pose = Pose(np.array(content["ct_to_world"]))
    start = Pose(np.array(content["start_ct_to_world"]))
    views = _overlay_views(xray_nodes, content["xrays"], masks)
    bones = _drawn_bones(content, bone_projectors or {})
    folder, files = Path(folder), _files_of(content, bool(bones))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with published(folder, with_earlier_files(folder, files)) as hidden:
            write_pose(hidden / "pose.tfm", pose)
            for row in content.get("bones", ()):
                write_pose(hidden / row["file"], Pose(np.array(row["ct_to_world"])))
            _write_figures(hidden, views, projector, start, pose, bones)
            write_report(hidden / "report.json", content)
    except OSError as error:
        raise InputError(
            f"{folder}: the report cannot be written there ({error.strerror}). Choose another folder."
        ) from None
    return [folder / name for name in files]


def _files_of(content: dict[str, Any], bones_drawn: bool = False) -> list[str]:
    """The files of a report's content, the report last."""
    figure = [BONES_FIGURE] if bones_drawn else []
    return [*FILES[:-1], *figure, *(row["file"] for row in content.get("bones", ())), FILES[-1]]


def _drawn_bones(content: dict[str, Any], projectors: Mapping[str, Projector]) -> list[DrawnBone]:
    """The bones of a report's content as a figure shows them; none where one of them cannot be drawn."""
    from ..bones.overlay import DrawnBone

    rows = [row for row in content.get("bones", ()) if row["color"]]
    if not all(row["name"] in projectors for row in rows):
        return []
    return [
        DrawnBone(row["name"], tuple(row["color"]), projectors[row["name"]], Pose(np.array(row["ct_to_world"])))
        for row in rows
    ]


def _check_views(pose_node: Any, xray_nodes: Sequence[Any], registered: list[list[list[float]]]) -> None:
    """Raise InputError unless the X-rays stand where they stood when they were registered."""
    views = [view_of(node) for node in xray_nodes]
    same = len(views) == len(registered) and all(
        np.allclose(view.world_to_pixel, matrix, rtol=1e-6, atol=1e-6) for view, matrix in zip(views, registered)
    )
    if not same:
        raise InputError(
            f"{pose_node.GetName()}: it was registered to other X-rays, or to another geometry, than are chosen now. "
            "Choose those, or register again."
        )


def _overlay_views(
    xray_nodes: Sequence[Any], reported: Sequence[dict[str, Any]], masks: Sequence[np.ndarray | None] | None
) -> list[OverlayView]:
    """The X-rays, read as they were registered; reported: a report's rows of them."""
    from ..overlay import OverlayView

    views = []
    for node, row, mask in zip(xray_nodes, reported, masks or [None] * len(xray_nodes)):
        polarity = Polarity(row["high_absorption_is"])
        meaning = Meaning.told(polarity, row.get("logarithmic"), row.get("scatter"), row.get("tone"))
        radiograph = radiograph_of(node).read_as(meaning)
        views.append(OverlayView(node.GetName(), xray_image(radiograph, polarity, mask), view_of(node)))
    return views


def _write_figures(
    folder: Path,
    views: Sequence[OverlayView],
    projector: Projector,
    start: Pose,
    pose: Pose,
    bones: Sequence[DrawnBone],
) -> None:
    if find_spec("PIL") is None:
        raise InputError("The overlay's picture needs the Python package pillow, which is not installed.")
    from ..bones.overlay import bones_figure
    from ..figure_layout import write_picture
    from ..overlay import overlay_figure

    write_picture(folder / "overlay.png", overlay_figure(projector, views, start, pose))
    if bones:
        write_picture(folder / BONES_FIGURE, bones_figure(views, bones, pose))


def _source_name(node: Any) -> str:
    """The file that a node was read from, else its name."""
    path = file_of(node)
    return str(path) if path is not None else node.GetName()
