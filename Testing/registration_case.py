"""A simulated X-ray with a known answer."""

from __future__ import annotations

import numpy as np
from XrayCTRegistrationLib.geometry import Pose, XrayView, rotation_from_euler, view_from_carm
from XrayCTRegistrationLib.metrics import PoseError, bone_points, pose_error
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.registration import Settings
from XrayCTRegistrationLib.simulation import detector_counts, line_integrals
from XrayCTRegistrationLib.volume import Volume
from XrayCTRegistrationLib.xray import Polarity, Radiograph

PHOTONS = 20_000.0
SPACING_MM = 3.0
# Degrees about the C-arm's columns, rows and depth axes, then mm along them, from the start to the truth.
NEAR_BY, MODERATE, FAR = (3, -2, 3, 4, -3, 6), (6, -5, 7, 8, -6, 15), (20, -18, 30, 25, -20, 50)
GRADIENT = Settings(method="gradient")


def small_spine() -> Volume:
    return synthetic_spine(0, spacing_mm=SPACING_MM, size_mm=(240.0, 200.0, 220.0))


def carm_view(pixels: int = 64, **changes) -> XrayView:
    """A view of 205 mm, in pixels of 3.2 mm unless there are more of them, which keeps a registration near a second."""
    size = 204.8 / pixels
    carm = {"source_to_detector_mm": 1000, "source_to_isocenter_mm": 700, "pixel_spacing_mm": [size, size]}
    return view_from_carm({**carm, "image_size_px": [pixels, pixels], **changes})


def away(start: Pose, ct: Volume, view: XrayView, motion: tuple[float, ...]) -> Pose:
    turn = view.axes @ rotation_from_euler(np.radians(motion[:3])) @ view.axes.T
    return Pose.about(start.apply(ct.center), turn, view.axes @ np.array(motion[3:], float)) @ start


def xray(ct: Volume, view: XrayView, pose: Pose, photons: float = PHOTONS) -> Radiograph:
    """What a detector counts; sampled twice as finely as the registration does, so that the two differ a little."""
    integrals = line_integrals(ct, view, pose, step_mm=SPACING_MM / 2)
    return Radiograph(detector_counts(integrals, photons, np.random.default_rng(0)), "xray.png", Polarity.DARK)


def error(ct: Volume, pose: Pose, true: Pose, view: XrayView) -> PoseError:
    return pose_error(pose, true, bone_points(ct), view, ct.center)
