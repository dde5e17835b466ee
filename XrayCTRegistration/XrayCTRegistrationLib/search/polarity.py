"""Which polarity an X-ray has, asked of the CT: read in the right one it is more like its DRRs.

Where no pose is known yet, that is a hint at best: of 36 X-rays of three CTs, clean, cut, occluded and hard, the wrong
polarity was ahead in three (seed 3), of a bone alone in half. A search tries all readings, the likelier first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..levels import Problem
from ..similarity import SCALES
from ..state import RegistrationState, Steps, shown
from ..xray import Polarity, Radiograph, XrayImage, xray_image_steps
from .global_search import SearchRange, turned_poses
from .matching import matched_together, matcher_steps

_PIXELS = 32
_POSES = 48
_BEST = 12  # of the matches, whose mean similarity speaks for a polarity


@dataclass(frozen=True, eq=False)
class Reading:
    """An X-ray read in one polarity, and how alike to it DRRs are that match it, at most 1 (1 where nobody asked)."""

    polarity: Polarity
    image: XrayImage
    similarity: float = 1.0


def readings(
    problem: Problem, view_index: int, radiograph: Radiograph, mask: np.ndarray | None
) -> Steps[list[Reading]]:
    """One radiograph read in both polarities, the one that DRRs near the start are more alike to first.

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
        found.append(Reading(polarity, image, float(similarity.mean())))
    found.sort(key=lambda reading: -reading.similarity)
    return found


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
