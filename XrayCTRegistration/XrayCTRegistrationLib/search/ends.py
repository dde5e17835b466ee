"""Whether the body goes on beyond the ends of its CT, asked of the X-rays at a pose."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from ..geometry import Pose
from ..levels import Problem

_PLAINLY = 0.01  # in similarity; a body goes on unless there is something to say that it does not


def as_it_ends(problem: Problem, pose: Pose, pixel_mm: float) -> Generator[None, None, Problem]:
    """The problem with nothing beyond the CT, where X-rays are more like that at a pose, as those of a phantom are; the
    same object where the body goes on. pixel_mm: of the resolution at which they are compared. With pauses."""
    if not problem.continuing.any():
        return problem
    ending = replace(problem, continuing=np.zeros_like(problem.continuing))
    alike = []
    for one in (problem, ending):
        level = yield from one.level(pose, pixel_mm, 1.5 * pixel_mm)
        alike.append(float((yield from level.similarity_steps([pose]))[0]))
    goes_on, ends = alike
    return ending if ends - goes_on > _PLAINLY else problem
