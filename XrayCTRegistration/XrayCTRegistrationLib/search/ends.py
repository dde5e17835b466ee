"""Whether a body ends with its CT, as a phantom may, or goes on beyond it; asked of the X-rays."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from ..beyond import continuing_faces
from ..geometry import Pose
from ..levels import Problem

_PLAINLY = 0.01  # in similarity, from which on the one is changed for the other


def otherwise_ending(problem: Problem) -> Problem | None:
    """The problem with nothing beyond the CT where the body went on, and the other way about; None where there is no
    face through which it could."""
    faces = continuing_faces(problem.extent, problem.views, problem.start)
    if not faces.any():
        return None
    return replace(problem, continuing=np.zeros_like(faces) if problem.continuing.any() else faces)


def ending_as_seen(problem: Problem, pose: Pose, pixel_mm: float) -> Generator[None, None, Problem]:
    """The problem with the body ending as the X-rays are more alike at a pose; the same object where that changes
    nothing. pixel_mm: of the resolution at which they are compared. With pauses."""
    other = otherwise_ending(problem)
    if other is None:
        return problem
    alike = []
    for one in (problem, other):
        level = yield from one.level(pose, pixel_mm, 1.5 * pixel_mm)
        alike.append(float((yield from level.similarity_steps([pose]))[0]))
    return other if alike[1] - alike[0] > _PLAINLY else problem
