"""What a registration leaves behind: pose, report, overlay and scene, and the table that ends the command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bones.overlay import bones_rgb
from ..figure_layout import write_picture
from ..geometry import Pose
from ..io.folders import published
from ..io.poses import write_pose
from ..io.radiographs import as_stored
from ..io.report import (
    BONES_FIGURE,
    ReportedXray,
    about_bones,
    about_input,
    about_result,
    about_settings,
    with_earlier_files,
    write_report,
)
from ..io.scene import SceneView, write_scene
from ..overlay import OverlayView, overlay_drr, overlay_figure, overlay_projector_of, overlay_rgb
from ..registration import RegistrationResult, Settings
from ..volume import Volume
from ..xray import Meaning, XrayImage
from .bone_results import RegisteredBones, write_bones
from .hints import hints
from .inputs import Inputs

SCENE = "scene.mrb"
FILES = ("pose.tfm", "overlay.png", SCENE, "report.json")


@dataclass(frozen=True, eq=False)
class Registered:
    """What a registration found, of the CT in one piece and of its bones, and what it was found with.

    attenuation: the CT per mm, as it was prepared. images: one per X-ray, in the polarity that fits.
    """

    attenuation: Volume
    images: Sequence[XrayImage]
    result: RegistrationResult
    bones: RegisteredBones | None = None


def write_result(
    folder: Path, inputs: Inputs, settings: Settings, init: str, registered: Registered
) -> list[SceneView]:
    """Write pose.tfm, report.json and overlay.png, and what there is of bones, all or none; returns the X-rays as a
    scene shows them."""
    result, bones = registered.result, registered.bones
    names = [Path(name).name for name in inputs.xray_names]
    with published(folder, _all_files(folder, bones)) as hidden:
        write_pose(hidden / "pose.tfm", result.pose)
        projector = overlay_projector_of(registered.attenuation)
        shown = [OverlayView(name, image, view) for name, image, view in zip(names, registered.images, inputs.views)]
        drrs = [overlay_drr(projector, view, result.pose) for view in inputs.views]
        write_picture(hidden / "overlay.png", overlay_figure(projector, shown, result.start, result.pose, drrs))
        report = _about(inputs, settings, init, result.meanings)
        report |= about_result(result)
        if bones is None:
            overlays = [overlay_rgb(image, drr) for image, drr in zip(registered.images, drrs)]
        else:
            drawn = write_bones(hidden, bones, shown)
            overlays = [bones_rgb(item.image, item.view, drawn) for item in shown]
            rows = bones.reported(inputs.xray_names)
            report |= about_bones(bones.found, rows, bones.chosen.joint, str(bones.chosen.file))
        write_report(hidden / "report.json", report)
    return [
        SceneView(item.name, item.view, as_stored(radiograph.pixels), overlay)
        for item, radiograph, overlay in zip(shown, inputs.radiographs, overlays)
    ]


def write_result_scene(
    folder: Path,
    inputs: Inputs,
    pose: Pose,
    views: list[SceneView],
    linked: bool,
    bones: RegisteredBones | None = None,
) -> None:
    """Write scene.mrb; linked: it names the CT's file instead of holding the CT, see `write_scene`."""
    standing = [] if bones is None else bones.in_scene()
    with published(folder, (SCENE,)) as hidden:
        write_scene(hidden / SCENE, inputs.ct, pose, views, inputs.ct_voxels, linked, standing)


def write_interrupted(
    folder: Path, inputs: Inputs, settings: Settings, init: str, start: Pose, best: Pose, stage: str
) -> None:
    """Write pose.tfm with the best pose so far, and a report.json that says so."""
    with published(folder, _all_files(folder)) as hidden:
        write_pose(hidden / "pose.tfm", best)
        report = _about(inputs, settings, init, [Meaning()] * len(inputs.radiographs))
        report |= {
            "interrupted": True,
            "interrupted_in": stage,
            "ct_to_world": best.matrix.tolist(),
            "start_ct_to_world": start.matrix.tolist(),
        }
        write_report(hidden / "report.json", report)


def files_of(bones: RegisteredBones | None) -> list[str]:
    """The files of a result, the report last."""
    *files, report = FILES
    return [*files, *([BONES_FIGURE, *bones.pose_files] if bones else []), report]


def result_facts(result: RegistrationResult) -> list[tuple[str, str]]:
    """The result in words, for the table that ends a command."""
    sure = result.confidence
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result.seconds.items())
    scatter = [f"{one.scatter.per_primary:.1f}" if one.scatter else "none" for one in result.meanings]
    taken_off = [("Scatter", f"taken off, for each primary photon: {', '.join(scatter)}")]
    curves = ["yes" if one.tone else "no" for one in result.meanings]
    undone = [("Tone curve", f"undone: {', '.join(curves)}")]
    return [
        ("Similarity", f"{result.similarity_before:.3f} before, {result.similarity:.3f} after (1 is alike)"),
        ("Moved", f"{result.moved_deg:.1f} degrees, {result.moved_mm:.1f} mm from the start"),
        ("Confidence", f"{sure.level} ({sure.probability:.0%} that the error is below 10 mm): {sure.reason}"),
        ("Expected error", f"about {sure.expected_error_mm:.1f} mm at the bones; four of five are below twice that"),
        *(taken_off if any(one.scatter for one in result.meanings) else []),
        *(undone if any(one.tone for one in result.meanings) else []),
        ("Seconds", f"{sum(result.seconds.values()):.1f} ({stages})"),
    ]


def hint_facts(inputs: Inputs, result: RegistrationResult) -> list[tuple[str, str]]:
    """What to check where the result is not to be trusted, for the same table."""
    found = hints(result.confidence, inputs.ct, inputs.views)
    return [("Check that" if number == 0 else "", hint) for number, hint in enumerate(found)]


def _about(inputs: Inputs, settings: Settings, init: str, meanings: Sequence[Meaning]) -> dict[str, Any]:
    rows = zip(inputs.xray_names, inputs.views, meanings, inputs.mask_names, inputs.geometry_names)
    xrays = [ReportedXray(name, view, means, mask, geometry) for name, view, means, mask, geometry in rows]
    return about_input(inputs.ct_name, xrays) | about_settings(settings, init)


def _all_files(folder: Path, bones: RegisteredBones | None = None) -> list[str]:
    """The files of a result, before them those of an earlier run's bones, which go."""
    return with_earlier_files(folder, files_of(bones))
