"""Runs a registration step by step under progress bars, and keeps the best pose when it is interrupted."""

from __future__ import annotations

from typing import TypeVar

from ..geometry import Pose
from ..state import RegistrationState, Steps
from .console import progress_bars, say

Result = TypeVar("Result")

_NAMES = {
    "prepare": "Preparing CT and X-rays",
    "search": "Searching for the pose",
    "learned": "Descending on the learned similarity",
    "CMA-ES": "Searching nearby (CMA-ES)",
    "gradient": "Refining",
    "bones": "Registering the bones",
    "report": "Judging the result",
}


_POSE_FOUND = ("report", "bones")  # stages in which the CT in one piece has its pose


class Interrupted(Exception):
    """Ctrl-C was pressed, or something failed once there was a pose. stage: in which; pose: the best until then,
    ct_to_world; error: what failed, None after Ctrl-C."""

    def __init__(self, stage: str, pose: Pose, error: Exception | None = None) -> None:
        super().__init__(stage)
        self.stage = stage
        self.pose = pose
        self.error = error


def watched(steps: Steps[Result]) -> Result:
    """Run steps to their end with a progress bar for each stage; raises Interrupted where there is a pose to keep."""
    announce_compilation()
    state: RegistrationState | None = None
    task = None
    with progress_bars() as bars:
        try:
            while True:
                stage = state.stage if state else None
                state = next(steps)
                if state.stage != stage:
                    if task is not None:
                        bars.update(task, completed=1, detail="")
                    task = bars.add_task(_NAMES.get(state.stage, state.stage), total=1, detail="")
                detail = f"similarity {state.similarity:.3f}" if state.similarity > -1 else ""
                bars.update(task, completed=min(state.progress, 0.99), detail=detail)
        except StopIteration as end:
            if task is not None:
                bars.update(task, completed=1, detail="")
            return end.value
        except KeyboardInterrupt:
            if state is None:
                raise
            raise Interrupted(state.stage, state.pose) from None
        except Exception as error:
            if state is None or state.stage not in _POSE_FOUND:
                raise
            raise Interrupted(state.stage, state.pose, error) from error


def announce_compilation() -> None:
    """Say that the first projection will take longer, where Numba finds no compiled projector on disk."""
    from ..projector import must_compile

    if must_compile():
        say("Compiling the projector for this machine, once: some seconds.", "Note: ", "cyan")
