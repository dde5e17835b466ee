"""What a registration reports as JSON: what was registered, how, and what came of it."""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..geometry import XrayView, view_to_carm
from ..xray import Meaning

if TYPE_CHECKING:
    from ..bones.joints import Joint
    from ..bones.registration import BoneResult, BonesResult
    from ..registration import RegistrationResult, Settings

BONES_FIGURE = "bones.png"
_POSE_FILE = re.compile(r"pose-[^/\\]+\.tfm$")
_CONVENTIONS = (
    "Matrices are ct_to_world, 4x4, in LPS and millimetres: they take a point of the CT to where it stands in the "
    "world of the X-ray geometry. pose.tfm holds the inverse, as ITK and 3D Slicer store the transform of a node."
)


@dataclass(frozen=True, eq=False)
class ReportedXray:
    """An X-ray as a report names it. file, mask, geometry_file: names of files or nodes, None where there is none.
    meaning: of its pixels, as they were read."""

    file: str
    view: XrayView
    meaning: Meaning = field(default_factory=Meaning)
    mask: str | None = None
    geometry_file: str | None = None


@dataclass(frozen=True, eq=False)
class ReportedBone:
    """A bone as a report names it. number: in a label map. color: red, green, blue, 0 to 1. file: of its pose. xrays:
    names of those that show it. None where there is none."""

    result: BoneResult
    number: int | None
    color: tuple[float, float, float] | None
    file: str | None
    xrays: Sequence[str]


def about_input(ct_name: str, xrays: Sequence[ReportedXray]) -> dict[str, Any]:
    """What was registered, by name and geometry."""
    return {
        "conventions": _CONVENTIONS,
        "ct": ct_name,
        "xrays": [
            {
                "file": xray.file,
                "high_absorption_is": xray.meaning.polarity.value if xray.meaning.polarity else None,
                "logarithmic": xray.meaning.logarithmic,
                "scatter": asdict(xray.meaning.scatter) if xray.meaning.scatter else None,
                "tone": asdict(xray.meaning.tone) if xray.meaning.tone else None,
                "mask": xray.mask,
                "geometry_file": xray.geometry_file,
                "geometry": view_to_carm(xray.view),
            }
            for xray in xrays
        ],
    }


def about_settings(settings: Settings, init: str) -> dict[str, Any]:
    """How it was registered. init: where it began, in words."""
    from ..projector import device_for

    return {
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


def about_result(result: RegistrationResult) -> dict[str, Any]:
    """What came of it."""
    return {
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


def about_bones(found: BonesResult, rows: Sequence[ReportedBone], joint: Joint, segmentation: str) -> dict[str, Any]:
    """What came of the bones, a row each. segmentation: the name of its file or node. Seconds are of all bones, beyond
    those of the whole CT, since they are found together."""
    return {
        "segmentation": segmentation,
        "joint": {name: value if math.isfinite(value) else "free" for name, value in asdict(joint).items()},
        "bones": [_about_bone(row) for row in rows],
        "bones_seconds": found.seconds,
    }


def _about_bone(row: ReportedBone) -> dict[str, Any]:
    bone = row.result
    return {
        "name": bone.name,
        "number": row.number,
        "color": row.color,
        "file": row.file,
        "xrays": list(row.xrays),
        "stays_with_ct": not bone.shown,
        "ct_to_world": bone.pose.matrix.tolist(),
        "similarity": bone.similarity,
        "moved_deg": bone.moved_deg,
        "moved_mm": bone.moved_mm,
        "confidence": asdict(bone.confidence) if bone.confidence else None,
    }


def report_text(content: dict[str, Any]) -> str:
    """A report as JSON; NaN and infinity, which JSON lacks, become null."""
    return json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n"


def write_report(path: Path, content: dict[str, Any]) -> None:
    """Write a report as a JSON file."""
    path.write_text(report_text(content), encoding="utf-8", newline="\n")


def with_earlier_files(folder: Path, files: Sequence[str]) -> list[str]:
    """The files of a result for `folders.published`, before them those of the bones of an earlier one, which go: their
    figure, and the poses that the report in this folder names."""
    return [*(name for name in (BONES_FIGURE, *_earlier_poses(folder)) if name not in files), *files]


def _earlier_poses(folder: Path) -> list[str]:
    try:
        rows = json.loads((folder / "report.json").read_text(encoding="utf-8"))["bones"]
        names = [str(row["file"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # no report, or none of bones
    return [name for name in names if _POSE_FILE.match(name)]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
