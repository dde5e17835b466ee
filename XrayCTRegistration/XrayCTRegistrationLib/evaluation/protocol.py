"""The evaluation's protocol: one C-arm view, random true poses, and noisy simulated X-rays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import InputError
from ..geometry import Pose, XrayView, common_isocenter, rotation_from_euler, view_from_carm
from ..metrics import PoseError, pose_error
from ..realism import Realism, stored
from ..registration import centered
from ..simulation import detector_counts, line_integrals
from ..volume import Volume
from ..xray import Polarity, Radiograph
from .effects import EFFECTS
from .subject import Subject

ROTATION_DEG = 20.0  # standard deviation about each axis of the C-arm
TRANSLATION_MM = (30.0, 30.0, 60.0)  # standard deviations along columns, rows and depth
PHOTONS = 20_000.0  # mean count of a pixel behind nothing

CARM = {
    "source_to_detector_mm": 1011.9,
    "source_to_isocenter_mm": 700.0,
    "pixel_spacing_mm": [0.798, 0.798],
    "image_size_px": [256, 256],
    "view": "PA",
}


class Draw(IntEnum):
    """Independent random streams of a case, so that another photon count keeps the pose."""

    POSE = 0
    NOISE = 1
    REALISM = 2
    BODY = 3
    EXPOSURE = 4


@dataclass(frozen=True, eq=False)
class Case:
    """One registration with a known answer.

    ct: name of the CT's file. number: of the case, from 0. effect: of EFFECTS, "" in the seed's protocol. given: the CT
    that the registration gets. start: the CT centred at the isocentre. true: the pose the X-ray was simulated at; where
    the body bent, the rigid pose that brings the CT's points nearest to where they stand. Poses are ct_to_world.
    points: (N, 3) bone in the CT's own world. stand: (N, 3) where it truly stands in the world of the view, mm.
    """

    ct: str
    number: int
    effect: str
    view: XrayView
    given: Volume
    start: Pose
    true: Pose
    points: np.ndarray
    stand: np.ndarray
    radiograph: Radiograph

    @property
    def radiographs(self) -> tuple[Radiograph, ...]:
        return (self.radiograph,)

    @property
    def views(self) -> tuple[XrayView, ...]:
        return (self.view,)

    @property
    def masks(self) -> None:
        """Nothing is masked by hand."""

    def error_of(self, pose: Pose) -> PoseError:
        """The errors of an estimated pose: distances at the bones, turns and shifts from the true pose."""
        return pose_error(pose, self.true, self.points, self.view, self.given.center, self.stand)


def protocol_view() -> XrayView:
    """The posterior-anterior view of all cases: 256 x 256 pixels of 0.798 mm, source 700 mm from the isocentre and
    1011.9 mm from the detector."""
    return view_from_carm(CARM, "the evaluation's C-arm")


def simulated_case(
    subject: Subject, number: int, seed: int, photons: float = PHOTONS, realism: Realism | None = None
) -> Case:
    """Case `number` of a CT; it depends on nothing but the arguments, on any machine.

    photons: see `detector_counts`; the X-ray holds photon counts. realism: what the X-ray goes through instead of a
    detector that counts, as an image of unknown contrast, bone bright. Raises InputError for a negative seed or too few
    photons.
    """
    view, start, true = _posed(subject, number, seed, photons)
    integrals, where = line_integrals(subject.ct, view, true), _where(subject, number)
    if realism is not None:
        image = stored(integrals, generator(subject.name, number, seed, Draw.REALISM), realism)
        radiograph = Radiograph(image, where, Polarity.BRIGHT)
    else:
        counts = detector_counts(integrals, photons, generator(subject.name, number, seed, Draw.NOISE))
        radiograph = Radiograph(counts, where, Polarity.DARK)
    points = subject.bone_points
    return Case(subject.name, number, "", view, subject.ct, start, true, points, true.apply(points), radiograph)


def disagreeing_case(subject: Subject, number: int, seed: int, effect: str, photons: float = PHOTONS) -> Case:
    """Case `number` of a CT whose X-ray disagrees with it, by an effect of EFFECTS.

    The pose is that of `simulated_case`, the same under every effect; what else is random depends on the effect's name,
    too. The X-ray shows the whole body and reaches the registration as a file without tags would: its polarity unknown.
    Raises InputError as `simulated_case` does.
    """
    chosen = EFFECTS[effect]
    view, start, posed = _posed(subject, number, seed, photons)
    patient = chosen.body(subject.ct, generator(subject.name, number, seed, Draw.BODY, effect))
    integrals = line_integrals(patient.imaged, view, posed)
    pixels = chosen.exposure(integrals, photons, generator(subject.name, number, seed, Draw.EXPOSURE, effect))
    points = subject.vertebra_points if chosen.at_vertebrae else subject.bone_points
    moved = patient.displaced(points)
    true = posed @ nearest_motion(points, moved)
    radiograph = Radiograph(pixels.astype(np.float32), f"{_where(subject, number)}, {effect}")
    return Case(subject.name, number, effect, view, patient.given, start, true, points, posed.apply(moved), radiograph)


def nearest_motion(points: np.ndarray, moved: np.ndarray) -> Pose:
    """The rigid motion that brings points (N, 3) nearest to moved (N, 3), by least squares (Kabsch 1976)."""
    middle, other = points.mean(axis=0), moved.mean(axis=0)
    turn, _ = Rotation.align_vectors(moved - other, points - middle)
    return Pose.about(middle, turn.as_matrix(), other - middle)


def _posed(subject: Subject, number: int, seed: int, photons: float) -> tuple[XrayView, Pose, Pose]:
    """The view of a case, its start and its true pose."""
    if photons < 1:
        raise InputError(f"The X-rays cannot be simulated with {photons:g} photons a pixel. Give at least one.")
    view = protocol_view()
    start = centered(subject.ct, [view])
    return view, start, random_motion(view, subject.name, number, seed) @ start


def _where(subject: Subject, number: int) -> str:
    return f"the simulated X-ray of {subject.name}, case {number}"


def random_motion(view: XrayView, name: str, number: int, seed: int) -> Pose:
    """The motion of a case, in world, from the centred CT to its true pose.

    Normally distributed turns about the C-arm's column, row and depth axes through the isocentre, in this order, then
    a normally distributed shift along the same axes.
    """
    draws = generator(name, number, seed, Draw.POSE).standard_normal(6)
    turn = view.axes @ rotation_from_euler(np.radians(ROTATION_DEG) * draws[:3]) @ view.axes.T
    return Pose.about(common_isocenter([view]), turn, view.axes @ (TRANSLATION_MM * draws[3:]))


def generator(name: str, number: int, seed: int, draw: Draw, effect: str = "") -> np.random.Generator:
    if seed < 0:
        raise InputError(f"The seed is {seed}. Give a whole number from 0.")
    return np.random.default_rng([seed, number, int(draw), *name.encode(), *effect.encode()])
