"""The protocol of bones: a CT whose labelled bones have each moved on their own, X-rays of it, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..bones.levels import SEEN, seen_share
from ..bones.names import is_vertebra
from ..bones.registration import BonesResult, register_bones
from ..bones.segments import Segment, place_in
from ..calibrated import RIGHT_MM
from ..errors import InputError
from ..geometry import Pose, XrayView, rotation_from_euler, view_from_carm
from ..io.label_files import read_segments
from ..io.volumes import read_ct
from ..registration import Settings, centered
from ..search.search_range import SearchRange
from ..simulation import detector_counts
from ..volume import Volume
from ..xray import Polarity, Radiograph
from .moved_bones import spline_line_integrals, with_bones_moved
from .protocol import CARM, PHOTONS, Draw, generator, random_motion

ROTATION_DEG, SHIFT_MM = 3.0, 2.0  # standard deviations about, and along, each axis: of every bone on its own
BETWEEN_VIEWS_DEG = 60.0
_MOST_POINTS = 2000
_LABELS = "_labels"


@dataclass(frozen=True, eq=False)
class LabelledSubject:
    """A CT in Hounsfield units and its labelled vertebrae. name: of its file, part of every random seed."""

    name: str
    ct: Volume
    segments: tuple[Segment, ...]

    @classmethod
    def read(cls, path: str | Path) -> LabelledSubject:
        """A CT with its label map beside it, of the same name with _labels. Raises InputError where there is none, or
        where it names no vertebra."""
        path = Path(path)
        stem = path.name.split(".")[0]
        labels = path.with_name(path.name.replace(stem, stem + _LABELS, 1))
        if not labels.exists():
            raise InputError(f"{path}: its label map is missing. Put it beside the CT as {labels.name}.")
        segments = tuple(segment for segment in read_segments(labels) if is_vertebra(segment.name))
        if not segments:
            raise InputError(f"{labels}: no label is a vertebra. Give labels numbered as TotalSegmentator does.")
        return cls(path.name, read_ct(path), segments)

    @cached_property
    def points(self) -> tuple[np.ndarray, ...]:
        """(N, 3) points of every bone, in the CT's own world."""
        found = []
        for segment in self.segments:
            place = place_in(segment, self.ct)
            inside = np.argwhere(place.inside)[:, ::-1] + place.first
            found.append(self.ct.points(inside[:: -(-len(inside) // _MOST_POINTS)].astype(np.float64)))
        return tuple(found)


@dataclass(frozen=True, eq=False)
class BonesCase:
    """One registration of bones with a known answer. start: the CT centred. true: pose of every bone, ct_to_world.
    points: (N, 3) of every bone in the CT's own world."""

    ct: str
    number: int
    given: Volume
    segments: tuple[Segment, ...]
    points: tuple[np.ndarray, ...]
    radiographs: tuple[Radiograph, ...]
    views: tuple[XrayView, ...]
    start: Pose
    true: tuple[Pose, ...]

    def seen_in(self, views: int) -> BonesCase:
        """The same with the first X-rays only."""
        return replace(self, radiographs=self.radiographs[:views], views=self.views[:views])


@dataclass(frozen=True)
class BoneRow:
    """One bone of one case.

    ct, case, views: which, and how many X-rays. bone: its name. in_field: whether every X-ray shows it at its true
    pose. error_mm, in_plane_mm: mean distance of its points from where they truly stand, in all and across the first
    X-ray's rays; whole_mm, whole_in_plane_mm: the same of the pose of the CT in one piece. similarity: of the bone,
    None where no X-ray showed it. seconds: of all bones beyond the whole, whole_seconds: of the whole. evidence: of the
    bone, by name, as in `Evidence`.
    """

    ct: str
    case: int
    views: int
    bone: str
    in_field: bool
    whole_mm: float
    whole_in_plane_mm: float
    error_mm: float
    in_plane_mm: float
    similarity: float | None
    whole_seconds: float
    seconds: float
    evidence: Mapping[str, float] = field(default_factory=dict)

    @property
    def mtre_mm(self) -> float:
        """The error, as the rows of other protocols call it."""
        return self.error_mm

    @property
    def effect(self) -> str:
        """What tells the rows of one case apart."""
        return f"{self.bone}, {self.views} X-rays"

    @property
    def judged(self) -> bool:
        """Whether a confidence can be fitted to it: it is shown and was looked at, and the CT stood where it belongs,
        which the confidence of the whole is for."""
        return self.in_field and bool(self.evidence) and self.whole_mm < RIGHT_MM


def bones_case(subject: LabelledSubject, number: int, seed: int, photons: float = PHOTONS) -> BonesCase:
    """Case `number` of a CT in two X-rays, 60 degrees apart; it depends on nothing but the arguments.

    The whole is posed as in the seed's protocol, and every bone moved from there on its own, about its middle.
    """
    seen = [view_from_carm({**CARM, "primary_angle_deg": BETWEEN_VIEWS_DEG * index}) for index in range(2)]
    start = centered(subject.ct, seen[:1])
    posed = random_motion(seen[0], subject.name, number, seed) @ start
    draws = generator(subject.name, number, seed, Draw.BODY).standard_normal((len(subject.segments), 6))
    motions = [_motion(points.mean(axis=0), draw) for points, draw in zip(subject.points, draws)]
    body = with_bones_moved(subject.ct, subject.segments, motions)
    noise, where = generator(subject.name, number, seed, Draw.NOISE), f"{subject.name}, case {number}"
    radiographs = tuple(
        Radiograph(detector_counts(integrals, photons, noise), f"{where}, X-ray {index + 1}", Polarity.DARK)
        for index, integrals in enumerate(spline_line_integrals(body, seen, posed))
    )
    true = tuple(posed @ motion for motion in motions)
    return BonesCase(
        subject.name, number, subject.ct, subject.segments, subject.points, radiographs, tuple(seen), start, true
    )


def _motion(center: np.ndarray, draw: np.ndarray) -> Pose:
    return Pose.about(center, rotation_from_euler(np.radians(ROTATION_DEG) * draw[:3]), SHIFT_MM * draw[3:])


def rows_of_bones(case: BonesCase, device: str = "auto", seed: int = 0) -> list[BoneRow]:
    """The case registered from the centred CT, and a row for every bone."""
    settings = Settings(search=SearchRange(), device=device, seed=seed)
    found = register_bones(case.given, case.radiographs, case.views, case.segments, case.start, settings)
    return rows_of_result(case, found)


def rows_of_result(case: BonesCase, found: BonesResult) -> list[BoneRow]:
    """A row for every bone of what was found."""
    rows = []
    for bone, true, points in zip(found.bones, case.true, case.points, strict=True):
        whole_mm, whole_in_plane_mm = _apart(found.whole.pose, true, points, case.views[0])
        error_mm, in_plane_mm = _apart(bone.pose, true, points, case.views[0])
        rows.append(
            BoneRow(
                case.ct,
                case.number,
                len(case.views),
                bone.name,
                all(seen_share(true.apply(points), view) >= SEEN for view in case.views),
                whole_mm,
                whole_in_plane_mm,
                error_mm,
                in_plane_mm,
                bone.similarity if bone.shown else None,
                sum(found.whole.seconds.values()),
                found.seconds,
                asdict(bone.evidence) if bone.evidence else {},
            )
        )
    return rows


def _apart(pose: Pose, true: Pose, points: np.ndarray, view: XrayView) -> tuple[float, float]:
    """Mean distance of points under two poses, mm: in all, and across the view's rays."""
    stand = true.apply(points)
    apart, rays = pose.apply(points) - stand, stand - view.source
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    across = apart - (apart * rays).sum(axis=1, keepdims=True) * rays
    return float(np.linalg.norm(apart, axis=1).mean()), float(np.linalg.norm(across, axis=1).mean())
