"""Several bones of one CT registered to the same X-rays, as a stepper.

    CT taken apart -> whole CT -> one bone after another, coarse to fine -> all bones together -> report

The X-ray is explained as the sum of the DRRs of all bodies, each at its present pose.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from ..confidence import Confidence, Evidence, bone_confidence, evidence_of
from ..errors import InputError
from ..geometry import Pose, XrayView
from ..levels import Problem
from ..registration import METHODS, Prepared, RegistrationResult, Settings, prepared_steps, registered_problem_steps
from ..similarity import SCALES
from ..state import RegistrationState, Result, Steps, finished, shown
from ..threads import torch_on_one_thread
from ..volume import Volume
from ..xray import Radiograph
from .anatomy import Anatomy, Bone, taken_apart_steps
from .descent import Bodies, Climbed, climbed
from .joints import Joint, ties_of
from .levels import SEEN, Resolution, seen_share
from .segments import Segment, check_distinct, tell_of_many

_PIXELS_MM = (3.0, 1.5)  # at the isocentre: a bone after another at each, then all together at the finest
_STEPS = 4  # of Gauss-Newton at each resolution and scale of the similarity
_STAGE = "bones"


@dataclass(frozen=True, eq=False)
class BoneResult:
    """name, color: of the segment. pose: ct_to_world of this bone. similarity: about it, at most 1; NaN where no X-ray
    shows it. moved_deg, moved_mm: rotation, and shift of its middle, from where the CT's pose has it. shown: which
    X-rays show it; none: it stays with the CT. confidence, evidence: None where no X-ray shows it.
    """

    name: str
    color: tuple[float, float, float] | None
    pose: Pose
    similarity: float
    moved_deg: float
    moved_mm: float
    shown: tuple[int, ...]
    confidence: Confidence | None
    evidence: Evidence | None


@dataclass(frozen=True, eq=False)
class BonesResult:
    """whole: of the CT in one piece. bones: in the order of their segments. seconds: beyond the whole."""

    whole: RegistrationResult
    bones: tuple[BoneResult, ...]
    seconds: float


def register_bones(
    ct: Volume,
    radiographs: Sequence[Radiograph],
    views: Sequence[XrayView],
    segments: Sequence[Segment],
    start: Pose | None = None,
    settings: Settings | None = None,
    masks: Sequence[np.ndarray | None] | None = None,
    others: Sequence[Segment] = (),
    joint: Joint | None = None,
) -> BonesResult:
    """Find the pose of a CT and of each of its bones; see `bones_steps`."""
    return finished(bones_steps(ct, radiographs, views, segments, start, settings, masks, others, joint))


def bones_steps(
    ct: Volume,
    radiographs: Sequence[Radiograph],
    views: Sequence[XrayView],
    segments: Sequence[Segment],
    start: Pose | None = None,
    settings: Settings | None = None,
    masks: Sequence[np.ndarray | None] | None = None,
    others: Sequence[Segment] = (),
    joint: Joint | None = None,
) -> Steps[BonesResult]:
    """Register a CT as `registration_steps` does, then every bone of segments; yields states, returns the result.

    others: segments that stay with the rest of the CT. joint: what is known of the motion between neighbours. Raises
    InputError that names the segment, or the X-ray, that cannot be registered, before any pose is sought; and where the
    method is too coarse for bones.
    """
    steps = bones_problem_steps(ct, radiographs, views, segments, start, settings, masks, others, joint)
    _, result = yield from steps
    return result


def bones_problem_steps(
    ct: Volume,
    radiographs: Sequence[Radiograph],
    views: Sequence[XrayView],
    segments: Sequence[Segment],
    start: Pose | None = None,
    settings: Settings | None = None,
    masks: Sequence[np.ndarray | None] | None = None,
    others: Sequence[Segment] = (),
    joint: Joint | None = None,
) -> Steps[tuple[Problem, BonesResult]]:
    """As `bones_steps`; returns the problem, too, as `registered_problem_steps` does."""
    _check_method(settings)
    check_distinct(segments)
    tell_of_many(segments)
    prepared = yield from prepared_steps(ct, radiographs, views, start, settings, masks)
    begin = time.perf_counter()
    anatomy = yield from _taken_apart(prepared, segments, others)
    spent = time.perf_counter() - begin
    problem, whole = yield from registered_problem_steps(prepared)
    begin = time.perf_counter()
    with torch_on_one_thread():
        yield RegistrationState(_STAGE, 0.0, whole.pose, -1.0)
        bodies = _standing(problem, anatomy, whole.pose, joint or Joint())
        seen = [number for number, views in enumerate(bodies.views, start=1) if views]
        course = _Course(whole.pose, len(_PIXELS_MM) * (1 + len(SCALES) * len(seen)) + 1 + len(seen))
        for pixel_mm in _PIXELS_MM:
            resolution = yield from course.through(Resolution.of(problem, anatomy, pixel_mm))
            for scale in SCALES:
                for number in seen:
                    steps = climbed(resolution, bodies, (number,), scale, _STEPS)
                    bodies = (yield from course.through(steps)).bodies
        bones = [_unseen(bone, whole.pose) for bone in anatomy.bones]
        if seen:
            together = yield from course.through(climbed(resolution, bodies, (0, *seen), SCALES[-1], _STEPS))
            for number in seen:
                bones[number - 1] = yield from course.through(_reported(resolution, together, number, whole))
    return problem, BonesResult(whole, tuple(bones), spent + time.perf_counter() - begin)


def _check_method(settings: Settings | None) -> None:
    """Raise InputError where a method ends without a descent at full resolution."""
    if settings is not None and "gradient" not in METHODS.get(settings.method, ("gradient",)):
        raise InputError(
            f"The method {settings.method!r} alone is too coarse for bones. Choose another method, or no bones."
        )


def _taken_apart(prepared: Prepared, segments: Sequence[Segment], others: Sequence[Segment]) -> Steps[Anatomy]:
    """Bones and the rest of the CT that was prepared."""
    problem = prepared.problem
    state = RegistrationState("prepare", 1.0, problem.start, math.nan)
    return (yield from shown(taken_apart_steps(problem.attenuation, segments, others), state))


def _standing(problem: Problem, anatomy: Anatomy, pose: Pose, joint: Joint) -> Bodies:
    """All bodies where the CT in one piece stands."""
    shown = tuple(
        tuple(
            index
            for index, (image, view) in enumerate(zip(problem.images, problem.views))
            if seen_share(pose.apply(bone.points), view, image.mask) >= SEEN
        )
        for bone in anatomy.bones
    )
    poses = (pose,) * (len(anatomy.bones) + 1)
    return Bodies(anatomy.bones, shown, tuple(ties_of(anatomy.bones)), joint, poses)


@dataclass
class _Course:
    """How many of the parts of all bones are done, which the states tell. pose: of the whole, which they show."""

    pose: Pose
    parts: int
    done: int = 0

    def through(self, steps: Generator[object, None, Result]) -> Steps[Result]:
        """The steps of one part."""
        progress = min(1.0, self.done / self.parts)
        result = yield from shown(steps, RegistrationState(_STAGE, progress, self.pose, -1.0))
        self.done += 1
        return result


def _unseen(bone: Bone, whole: Pose) -> BoneResult:
    return BoneResult(bone.name, bone.color, whole, math.nan, 0.0, 0.0, (), None, None)


def _reported(
    resolution: Resolution, together: Climbed, number: int, whole: RegistrationResult
) -> Generator[None, None, BoneResult]:
    bodies = together.bodies
    bone, pose = bodies.bones[number - 1], bodies.poses[number]
    level = yield from resolution.level((number,), bodies.poses, bodies.views)
    evidence = evidence_of(level.compare([pose]), together.covariance_of(number), math.nan)
    return BoneResult(
        bone.name,
        bone.color,
        pose,
        evidence.similarity,
        (pose @ whole.pose.inverse()).rotation_angle_deg(),
        float(np.linalg.norm(pose.apply(bone.center) - whole.pose.apply(bone.center))),
        bodies.views[number - 1],
        bone_confidence(evidence, whole.confidence),
        evidence,
    )
