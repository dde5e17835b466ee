"""What a running registration reports after every short step."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from .geometry import Pose

Result = TypeVar("Result")
Shown = TypeVar("Shown")


@dataclass(frozen=True, eq=False)
class RegistrationState:
    """stage: its name. progress: of that stage, 0 to 1. pose: the best so far, ct_to_world. similarity: its value,
    comparable within one resolution only, and -1 until it is known at a new one."""

    stage: str
    progress: float
    pose: Pose
    similarity: float


# A stage yields states and returns its result; short enough between two states to keep a window alive.
Steps = Generator[RegistrationState, None, Result]


class Scored(Protocol):
    """A pose with its similarity."""

    @property
    def pose(self) -> Pose: ...
    @property
    def similarity(self) -> float: ...


ScoredType = TypeVar("ScoredType", bound=Scored)


def reported(
    steps: Generator[ScoredType, None, ScoredType], stage: str, progress: float, pose: Pose, similarity: float = -1.0
) -> Steps[ScoredType]:
    """Steps that yield scored poses, as part of a stage: the states show `pose` until there is a more similar one."""
    while True:
        try:
            one = next(steps)
        except StopIteration as end:
            return end.value
        if one.similarity > similarity:
            pose, similarity = one.pose, one.similarity
        yield RegistrationState(stage, progress, pose, similarity)


def shown(steps: Generator[object, None, Result], state: Shown) -> Generator[Shown, None, Result]:
    """Steps that yield nothing of their own, as part of a stage that shows one state meanwhile."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        yield state


def finished(steps: Generator[object, None, Result]) -> Result:
    """Run a stage to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
