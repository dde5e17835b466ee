"""Which polarity an X-ray has, asked of the CT: read in the right one it is more like its DRRs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..levels import Problem
from ..similarity import SCALES
from ..state import RegistrationState, Steps
from ..xray import Polarity, Radiograph, XrayImage, xray_image
from .global_search import SearchRange, turned_poses
from .matching import matched

_PIXELS = 32
_POSES = 48
_BEST = 12  # of the matches, whose mean similarity speaks for a polarity
# Difference that decides nothing: of 36 X-rays of three CTs, clean, cut, occluded and hard, the wrong polarity was
# ahead in three, by 0.07 at most (seed 3).
_THIN = 0.15


@dataclass(frozen=True, eq=False)
class Reading:
    """An X-ray read in one polarity, and how alike to it DRRs are that match it, at most 1 (1 where nobody asked)."""

    polarity: Polarity
    image: XrayImage
    similarity: float = 1.0


def readings(
    problem: Problem, view_index: int, radiograph: Radiograph, mask: np.ndarray | None
) -> Steps[list[Reading]]:
    """One radiograph read in both polarities, the one that DRRs near the start are most alike to first; the other
    only where the evidence is thin. problem: its images are not looked at."""
    progress = view_index / len(problem.views)
    view, span = problem.views[view_index], SearchRange()
    found = []
    for polarity in Polarity:
        image = xray_image(radiograph, polarity, mask)
        alone = replace(problem, images=(image,), views=(view,))
        pixel_mm = alone.extent_mm(alone.start) / _PIXELS
        level = alone.level(alone.start, pixel_mm, 1.6 * pixel_mm)
        poses = [alone.start, *turned_poses(alone, span, 0, _POSES)]
        center = alone.center(alone.start)
        for matches in matched(level, center, poses, span.in_plane_mm, span.depths_mm):  # noqa: B007
            yield RegistrationState("prepare", progress, problem.start, float("nan"))
        similarity = level.similarity([one.pose for one in matches[:_BEST]], SCALES[0]).mean()
        found.append(Reading(polarity, image, float(similarity)))
    found.sort(key=lambda reading: -reading.similarity)
    return found if found[0].similarity - found[1].similarity < _THIN else found[:1]
