"""The evaluation's protocol: one C-arm view, random true poses, and noisy simulated X-rays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ..errors import InputError
from ..geometry import Pose, XrayView, common_isocenter, rotation_from_euler, view_from_carm
from ..realism import Realism, degraded
from ..registration import centered
from ..simulation import detector_counts, line_integrals
from ..volume import Volume
from ..xray import Polarity, Radiograph

ROTATION_DEG = 20.0  # standard deviation about each axis of the C-arm
TRANSLATION_MM = (30.0, 30.0, 60.0)  # standard deviations along columns, rows and depth
PHOTONS = 20_000.0  # mean count of a pixel behind nothing

_CARM = {
    "source_to_detector_mm": 1011.9,
    "source_to_isocenter_mm": 700.0,
    "pixel_spacing_mm": [0.798, 0.798],
    "image_size_px": [256, 256],
    "view": "PA",
}


class _Draw(IntEnum):
    """Independent random streams of a case, so that another photon count keeps the pose."""

    POSE = 0
    NOISE = 1
    REALISM = 2


@dataclass(frozen=True, eq=False)
class Case:
    """One registration with a known answer.

    ct: name of the CT's file. number: of the case, from 0. start: the CT centred at the isocentre. true: the pose the
    X-ray was simulated at. Poses are ct_to_world.
    """

    ct: str
    number: int
    view: XrayView
    start: Pose
    true: Pose
    radiograph: Radiograph


def protocol_view() -> XrayView:
    """The posterior-anterior view of all cases: 256 x 256 pixels of 0.798 mm, source 700 mm from the isocentre and
    1011.9 mm from the detector."""
    return view_from_carm(_CARM, "the evaluation's C-arm")


def simulated_case(
    ct: Volume, name: str, number: int, seed: int, photons: float = PHOTONS, realism: Realism | None = None
) -> Case:
    """Case `number` of a CT in Hounsfield units; it depends on nothing but the arguments, on any machine.

    name: of the CT's file, part of the random seed. photons: see `detector_counts`; the X-ray holds photon counts.
    realism: what the X-ray goes through instead of a detector that counts, as an image of unknown contrast, bone
    bright. Raises InputError for a negative seed or too few photons.
    """
    if photons < 1:
        raise InputError(f"The X-rays cannot be simulated with {photons:g} photons a pixel. Give at least one.")
    view = protocol_view()
    start = centered(ct, [view])
    true = random_motion(view, name, number, seed) @ start
    integrals, where = line_integrals(ct, view, true), f"the simulated X-ray of {name}, case {number}"
    if realism is not None:
        image, weights = degraded(integrals, _generator(name, number, seed, _Draw.REALISM), realism)
        radiograph = Radiograph(np.where(weights > 0, image, image.max()), where, Polarity.BRIGHT)
    else:
        counts = detector_counts(integrals, photons, _generator(name, number, seed, _Draw.NOISE))
        radiograph = Radiograph(counts, where, Polarity.DARK)
    return Case(name, number, view, start, true, radiograph)


def random_motion(view: XrayView, name: str, number: int, seed: int) -> Pose:
    """The motion of a case, in world, from the centred CT to its true pose.

    Normally distributed turns about the C-arm's column, row and depth axes through the isocentre, in this order, then
    a normally distributed shift along the same axes.
    """
    draws = _generator(name, number, seed, _Draw.POSE).standard_normal(6)
    turn = view.axes @ rotation_from_euler(np.radians(ROTATION_DEG) * draws[:3]) @ view.axes.T
    return Pose.about(common_isocenter([view]), turn, view.axes @ (TRANSLATION_MM * draws[3:]))


def _generator(name: str, number: int, seed: int, draw: _Draw) -> np.random.Generator:
    if seed < 0:
        raise InputError(f"The seed is {seed}. Give a whole number from 0.")
    return np.random.default_rng([seed, number, int(draw), *name.encode()])
