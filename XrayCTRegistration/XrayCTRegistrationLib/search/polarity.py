"""Which polarity an X-ray has, asked of the CT: the right one matches its DRRs better."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..levels import Problem
from ..state import RegistrationState, Steps
from ..xray import Polarity, Radiograph, XrayImage, xray_image
from .global_search import SearchRange, turned_poses
from .matching import matched

_PIXELS = 32
_POSES = 48
_BEST = 4  # of the matches, whose mean correlation speaks for a polarity
_THIN = 0.1  # difference of two correlations that decides nothing


@dataclass(frozen=True, eq=False)
class Reading:
    """An X-ray read in one polarity, and how well DRRs match it, -1 to 1 (1 where nobody asked)."""

    polarity: Polarity
    image: XrayImage
    correlation: float = 1.0


def readings(
    problem: Problem, view_index: int, radiograph: Radiograph, mask: np.ndarray | None
) -> Steps[list[Reading]]:
    """One radiograph read in both polarities, the one that DRRs at poses about the start match best first; the other
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
        found.append(Reading(polarity, image, float(np.mean([one.correlation for one in matches[:_BEST]]))))
    found.sort(key=lambda reading: -reading.correlation)
    return found if found[0].correlation - found[1].correlation < _THIN else found[:1]
