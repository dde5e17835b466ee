"""Which polarity an X-ray has, and whether it went through a logarithm, asked of the CT: read rightly, it is more like
its DRRs.

Where no pose is known yet, that is a hint at best: of 36 X-rays of three CTs, clean, cut, occluded and hard, the wrong
polarity was ahead in three (seed 3), of a bone alone in half. A search tries all readings, the likelier first. At the
pose, the logarithm is plain to see: of 88 X-rays of four CTs under eleven effects, seeds 0 and 6, the right reading was
ahead in 84, by 0.01 to 0.6, and the wrong one by 0.02 at most.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..geometry import Pose
from ..levels import Problem
from ..similarity import SCALES
from ..state import RegistrationState, Steps, shown
from ..xray import Polarity, Radiograph, XrayImage, xray_image_steps
from .global_search import SearchRange, turned_poses
from .matching import matched_together, matcher_steps

_PIXELS = 32
_POSES = 48
_BEST = 12  # of the matches, whose mean similarity speaks for a polarity
_PLAINLY = 0.02  # in similarity, by which the logarithm's other reading must be ahead


@dataclass(frozen=True, eq=False)
class Reading:
    """An X-ray read in one polarity, and how alike to it DRRs are that match it, at most 1 (1 where nobody asked)."""

    polarity: Polarity
    image: XrayImage
    similarity: float = 1.0


def readings(
    problem: Problem, view_index: int, radiograph: Radiograph, mask: np.ndarray | None
) -> Steps[list[Reading]]:
    """One radiograph read in both polarities, and as logarithmic or not, the polarity that DRRs near the start are more
    alike to first.

    problem: its images are not looked at.
    """
    progress = view_index / len(problem.views)
    view, span = problem.views[view_index], SearchRange()
    state = RegistrationState("prepare", progress, problem.start, float("nan"))
    poses = [problem.start, *turned_poses(replace(problem, views=(view,)), span, 0, _POSES)]
    images, levels, matchers = [], [], []
    for polarity in Polarity:
        images.append((yield from shown(xray_image_steps(radiograph, polarity, mask), state)))
        alone = replace(problem, images=(images[-1],), views=(view,))
        pixel_mm = alone.extent_mm(alone.start) / _PIXELS
        levels.append((yield from shown(alone.level(alone.start, pixel_mm, 1.6 * pixel_mm), state)))
        steps = matcher_steps(levels[-1], alone.center(alone.start), span.in_plane_mm, span.depths_mm)
        matchers.append((yield from shown(steps, state)))
    for matched in matched_together(matchers, poses):  # noqa: B007
        yield state
    found = []
    for polarity, image, level, matches in zip(Polarity, images, levels, matched):
        best = [one.pose for one in matches[:_BEST]]
        similarity = yield from shown(level.similarity_steps(best, SCALES[0]), state)
        read = [Reading(polarity, image, float(similarity.mean()))]
        for other in image.others:
            alone = replace(problem, images=(other,), views=(view,))
            level = yield from shown(alone.level(alone.start, pixel_mm, 1.6 * pixel_mm), state)
            similarity = yield from shown(level.similarity_steps(best, SCALES[0]), state)
            read.append(Reading(polarity, other, float(similarity.mean())))
        found.append(max(read, key=lambda one: one.similarity))
    found.sort(key=lambda reading: -reading.similarity)
    return found


def read_at(problem: Problem, pose: Pose, pixel_mm: float) -> Generator[None, None, Problem]:
    """The problem with each X-ray, of which nobody told whether it went through a logarithm, read as it is more alike
    at a pose; the same object where that changes nothing."""
    images = tuple((*image.others, image)[0] for image in problem.images)
    if images == problem.images:
        return problem
    similarity = []
    for one in (problem, replace(problem, images=images)):
        level = yield from one.level(pose, pixel_mm, 1.5 * pixel_mm)
        similarity.append([float(found.similarity) for found in (yield from level.compare_steps([pose]))])
    ahead = [there - here > _PLAINLY for here, there in zip(*similarity)]
    if not any(ahead):
        return problem
    return replace(problem, images=tuple(b if other else a for a, b, other in zip(problem.images, images, ahead)))


def together(read: Sequence[Sequence[Reading]]) -> list[tuple[Reading, ...]]:
    """Readings of all X-rays, from those of each, the likelier first: each read in its own likelier polarity, and all
    in the same, as those of one device are. Which of them is right, only a search can tell."""
    own = tuple(of_one[0] for of_one in read)
    alike = [tuple(_in_polarity(of_one, polarity) for of_one in read) for polarity in Polarity]
    alike.sort(key=lambda of_all: -sum(one.similarity for one in of_all))
    return [own, *(of_all for of_all in alike if of_all != own)]


def _in_polarity(readings: Sequence[Reading], polarity: Polarity) -> Reading:
    """The reading in a polarity where there are both, else the only one."""
    return next((one for one in readings if one.polarity is polarity), readings[0])
