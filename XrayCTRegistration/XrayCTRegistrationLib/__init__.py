"""Rigid registration of a CT to X-ray images, without qt, slicer or MRML.

    from XrayCTRegistrationLib import Settings, read_ct, register

Names below are loaded when they are first used, so that importing the package alone needs nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"  # the only place; CITATION.cff repeats it

_HOMES = {
    "InputError": "errors",
    "Pose": "geometry",
    "XrayView": "geometry",
    "view_from_carm": "geometry",
    "Volume": "volume",
    "Polarity": "xray",
    "Radiograph": "xray",
    "Meaning": "xray",
    "Scatter": "scatter",
    "ToneCurve": "tone",
    "VolumeTensor": "projector",
    "project": "projector",
    "SearchRange": "search.search_range",
    "Confidence": "confidence",
    "RegistrationResult": "registration",
    "Settings": "registration",
    "centered": "registration",
    "register": "registration",
    "registration_steps": "registration",
    "RegistrationState": "state",
    "Evidence": "confidence",
    "read_ct": "io.volumes",
    "read_radiograph": "io.radiographs",
    "read_carm": "io.carm_files",
    "read_pose": "io.poses",
    "write_pose": "io.poses",
    "read_segments": "io.label_files",
    "Segment": "bones.segments",
    "Joint": "bones.joints",
    "register_bones": "bones.registration",
    "BonesResult": "bones.registration",
    "BoneResult": "bones.registration",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
