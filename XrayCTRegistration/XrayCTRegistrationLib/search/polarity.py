"""Which polarity an X-ray has, asked of the CT: the right one matches its DRRs better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..levels import Problem
from ..state import RegistrationState, Steps
from ..xray import Polarity, Radiograph, XrayImage, xray_image
from .global_search import SearchRange, matched, sampled_poses

_PIXELS = 32
_NEAR, _WIDE = SearchRange(rotation_deg=5, depth_mm=15), SearchRange()


def matched_polarity(
    problem: Problem, view_index: int, radiograph: Radiograph, mask: np.ndarray | None
) -> Steps[tuple[Polarity, XrayImage]]:
    """The polarity under which DRRs at poses about the start match one radiograph best, and its line integrals.

    problem: its images are not looked at.
    """
    progress = view_index / len(problem.views)
    view = problem.views[view_index]
    best: tuple[float, Polarity, XrayImage] | None = None
    for polarity in Polarity:
        image = xray_image(radiograph, polarity, mask)
        alone = replace(problem, images=(image,), views=(view,))
        pixel_mm = alone.extent_mm(alone.start) / _PIXELS
        level = alone.level(alone.start, pixel_mm, 1.6 * pixel_mm, margin_mm=_WIDE.in_plane_mm)
        near, wide = sampled_poses(alone, _NEAR, 0, count=16), sampled_poses(alone, _WIDE, 0, count=32)
        for candidates in matched(level, alone, [alone.start, *near, *wide], _WIDE):  # noqa: B007
            yield RegistrationState("prepare", progress, problem.start, float("nan"))
        score = float(np.mean([value for _, value in candidates[:4]]))
        if best is None or score > best[0]:
            best = (score, polarity, image)
    assert best is not None
    return best[1], best[2]
