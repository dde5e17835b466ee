"""What a registration leaves behind: pose, report, overlay and scene, and the table that ends the command."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..geometry import Pose, view_to_carm
from ..io.poses import write_pose
from ..io.scene import SceneView, write_scene
from ..overlay import OverlayView, overlay_drr, overlay_figure, overlay_projector, overlay_rgb
from ..projector import device_for
from ..registration import RegistrationResult, Settings
from ..xray import Radiograph, xray_image
from .inputs import Inputs
from .output import published

SCENE = "scene.mrb"
FILES = ("pose.tfm", "overlay.png", SCENE, "report.json")
_CONVENTIONS = (
    "Matrices are ct_to_world, 4x4, in LPS and millimetres: they take a point of the CT to where it stands in the "
    "world of the X-ray geometry. pose.tfm holds the inverse, as ITK and 3D Slicer store the transform of a node."
)


def write_result(
    folder: Path, inputs: Inputs, settings: Settings, init: str, result: RegistrationResult
) -> list[SceneView]:
    """Write pose.tfm, report.json and overlay.png, all or none; returns the X-rays as a scene shows them."""
    images = [
        xray_image(radiograph, polarity, mask)
        for radiograph, polarity, mask in zip(inputs.radiographs, result.polarities, inputs.masks)
    ]
    names = [Path(name).name for name in inputs.xray_names]
    with published(folder, FILES) as hidden:
        write_pose(hidden / "pose.tfm", result.pose)
        projector = overlay_projector(inputs.ct)
        shown = [OverlayView(name, image, view) for name, image, view in zip(names, images, inputs.views)]
        Image.fromarray(overlay_figure(projector, shown, result.start, result.pose)).save(hidden / "overlay.png")
        scene = []
        for item, radiograph in zip(shown, inputs.radiographs):
            overlay = overlay_rgb(item.image, overlay_drr(projector, item.view, result.pose))
            scene.append(SceneView(item.name, item.view, _stored(radiograph), overlay))
        report = _about(inputs, settings, init, [polarity.value for polarity in result.polarities])
        report |= {
            "interrupted": False,
            "ct_to_world": result.pose.matrix.tolist(),
            "start_ct_to_world": result.start.matrix.tolist(),
            "similarity_before": result.similarity_before,
            "similarity": result.similarity,
            "moved_deg": result.moved_deg,
            "moved_mm": result.moved_mm,
            "confidence": asdict(result.confidence),
            "seconds": result.seconds,
        }
        _write_json(hidden / "report.json", report)
    return scene


def write_result_scene(folder: Path, inputs: Inputs, pose: Pose, views: list[SceneView], linked: bool) -> None:
    """Write scene.mrb; linked: it names the CT's file instead of holding the CT, see `write_scene`."""
    with published(folder, (SCENE,)) as hidden:
        write_scene(hidden / SCENE, inputs.ct, pose, views, inputs.ct_voxels, linked)


def write_interrupted(
    folder: Path, inputs: Inputs, settings: Settings, init: str, start: Pose, best: Pose, stage: str
) -> None:
    """Write pose.tfm with the best pose so far, and a report.json that says so."""
    with published(folder, FILES) as hidden:
        write_pose(hidden / "pose.tfm", best)
        report = _about(inputs, settings, init, [None] * len(inputs.radiographs))
        report |= {
            "interrupted": True,
            "interrupted_in": stage,
            "ct_to_world": best.matrix.tolist(),
            "start_ct_to_world": start.matrix.tolist(),
        }
        _write_json(hidden / "report.json", report)


def result_facts(result: RegistrationResult) -> list[tuple[str, str]]:
    """The result in words, for the table that ends a command."""
    sure = result.confidence
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result.seconds.items())
    return [
        ("Similarity", f"{result.similarity_before:.3f} before, {result.similarity:.3f} after (1 is alike)"),
        ("Moved", f"{result.moved_deg:.1f} degrees, {result.moved_mm:.1f} mm from the start"),
        ("Confidence", f"{sure.level}: {sure.reason}"),
        ("Expected error", f"about {sure.expected_error_mm:.1f} mm from image noise alone, 50 mm from the CT's centre"),
        ("Seconds", f"{sum(result.seconds.values()):.1f} ({stages})"),
    ]


def _about(inputs: Inputs, settings: Settings, init: str, polarities: list[str | None]) -> dict[str, Any]:
    rows = zip(inputs.xray_names, polarities, inputs.mask_names, inputs.geometry_names, inputs.views)
    return {
        "conventions": _CONVENTIONS,
        "ct": inputs.ct_name,
        "xrays": [
            {
                "file": name,
                "high_absorption_is": polarity,
                "mask": mask,
                "geometry_file": geometry,
                "geometry": view_to_carm(view),
            }
            for name, polarity, mask, geometry, view in rows
        ],
        "method": settings.method,
        "init": init,
        "search": asdict(settings.search) if settings.search else None,
        "device": device_for(settings.device).type,
        "seed": settings.seed,
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("XrayCTRegistration", "torch", "numpy", "numba", "SimpleITK")},
        },
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def _without_nan(value: Any) -> Any:
    """NaN and infinity, which JSON lacks, become null."""
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _stored(radiograph: Radiograph) -> np.ndarray:
    """The pixels as 16-bit integers where that loses nothing."""
    pixels = radiograph.pixels
    whole = pixels.min() >= 0 and pixels.max() <= 65535 and (pixels == np.rint(pixels)).all()
    return pixels.astype(np.uint16) if whole else pixels
