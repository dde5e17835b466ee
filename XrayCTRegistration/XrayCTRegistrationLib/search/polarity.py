"""Which polarity an X-ray has, and whether it went through a logarithm, asked of the CT: read rightly, it is more like
its DRRs.

Where no pose is known yet, that is a hint at best: of 48 X-rays of four CTs under twelve effects, the wrong polarity
was ahead in five (seed 6), of a bone alone in half. A search tries both, the likelier first. At the pose, the logarithm
is plain to see: of 88 X-rays of four CTs under eleven effects (seeds 0 and 6), the right reading was ahead in 84, by
0.01 to 0.6, and the wrong one by 0.02 at most.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..geometry import Pose, XrayView
from ..levels import LevelSteps, Problem
from ..similarity import SCALES
from ..state import RegistrationState, Steps, shown
from ..xray import Polarity, Radiograph, XrayImage, xray_image_steps
from .global_search import turned_poses
from .matching import matched_together, matcher_steps
from .search_range import SearchRange

_PIXELS, _REACH_MM = 32, 70.0  # of the matches, and how far across the rays
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
    view, span = problem.views[view_index], SearchRange()
    state = RegistrationState("prepare", view_index / len(problem.views), problem.start, float("nan"))
    depths_mm, center = [-span.depth_mm, 0.0, span.depth_mm], problem.center(problem.start)
    if problem.extent.bone_alone:  # which, unlike a body, is nothing like itself at another depth
        depths_mm = span.depths_mm
    images, levels, matchers = [], [], []
    for polarity in Polarity:
        images.append((yield from shown(xray_image_steps(radiograph, polarity, mask), state)))
        levels.append((yield from shown(_level(problem, view, images[-1]), state)))
        steps = matcher_steps(levels[-1], center, _REACH_MM, depths_mm)
        matchers.append((yield from shown(steps, state)))
    poses = [problem.start, *turned_poses(replace(problem, views=(view,)), span, 0, _POSES)]
    for matched in matched_together(matchers, poses):  # noqa: B007
        yield state
    found = []
    for polarity, image, level, matches in zip(Polarity, images, levels, matched):
        best = [one.pose for one in matches[:_BEST]]
        read = [(image, level)]
        for other in (yield from shown(image.others_steps(), state)):
            read.append((other, (yield from shown(_level(problem, view, other), state))))
        alike = []
        for _, one in read:
            alike.append(float((yield from shown(one.similarity_steps(best, SCALES[0]), state)).mean()))
        likelier = int(np.argmax(alike))
        found.append(Reading(polarity, read[likelier][0], alike[likelier]))
    found.sort(key=lambda reading: -reading.similarity)
    return found


def _level(problem: Problem, view: XrayView, image: XrayImage) -> LevelSteps:
    """The resolution at which one image alone is looked at."""
    alone = replace(problem, images=(image,), views=(view,))
    pixel_mm = alone.extent_mm(alone.start) / _PIXELS
    return alone.level(alone.start, pixel_mm, 1.6 * pixel_mm)


def read_at(problem: Problem, pose: Pose, pixel_mm: float) -> Generator[None, None, Problem]:
    """The problem with each X-ray, of which nobody told whether it went through a logarithm, read as it is more alike
    at a pose; the same object where that changes nothing."""
    images = []
    for image in problem.images:
        images.append((*(yield from image.others_steps()), image)[0])
    if all(image is one for image, one in zip(images, problem.images)):
        return problem
    both = replace(problem, images=(*problem.images, *images), views=problem.views * 2)
    level = yield from both.level(pose, pixel_mm, 1.5 * pixel_mm)
    similarity = [float(found.similarity) for found in (yield from level.compare_steps([pose]))]
    ahead = [there - here > _PLAINLY for here, there in zip(similarity, similarity[len(images) :])]
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
