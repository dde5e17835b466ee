"""A registration that runs a little at a time, and what comes of it.

Slicer's event loop holds the interpreter lock, so a Python thread would stand still: a timer on the main thread calls
`Session.advance` instead. Only `show` writes to the scene.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import Any

from ..bones.registration import BonesResult, bones_steps
from ..frames import FrameState, frame_steps
from ..geometry import Pose
from ..registration import METHODS, RegistrationResult, Settings, registration_steps
from ..state import RegistrationState, Result, Steps
from ..xray import Radiograph
from .bone_transforms import keep_bone
from .inputs import Inputs
from .poses import set_pose
from .report import BonesToReport
from .segments import SegmentsToRegister

_Results = tuple[RegistrationResult, ...]


class Session:
    """One registration, or one of every frame of a run, into a transform node.

    pose: the best so far. state: the last one, None before the first step. frame, frame_count: which of a run is
    registered. results: of the frames that are done; of a single registration one, at the end. bones_result: where
    bones were chosen, None until the end.
    """

    def __init__(
        self,
        inputs: Inputs,
        pose_node: Any,
        start: Pose,
        settings: Settings,
        frames: Sequence[Sequence[Radiograph]] | None = None,
        bones: SegmentsToRegister | None = None,
        bone_nodes: Sequence[Any] = (),
    ) -> None:
        """bones: what is registered beside the CT, in single images. bone_nodes: the transforms that carry them."""
        self.pose_node = pose_node
        self.start = self.pose = self._shown = start
        self.settings = settings
        self.is_run = frames is not None
        self.frame, self.frame_count = 0, len(frames) if frames is not None else 1
        self.state: RegistrationState | None = None
        self.results: tuple[RegistrationResult, ...] = ()
        self.bones_result: BonesResult | None = None
        self._bones, self._bone_nodes = bones, tuple(bone_nodes)
        if bones is None:
            self._steps = _steps(inputs, frames or [inputs.radiographs], start, settings)
        else:
            self._steps = self._with_bones(inputs, bones)
        self._running = True

    @property
    def running(self) -> bool:
        return self._running

    @property
    def progress(self) -> float:
        """Of all stages of all frames, 0 to 1; the stages count alike, however long they take."""
        if self.state is None:
            return 0.0
        stages = ["prepare", *METHODS[self.settings.method], "report", *(["bones"] if self._bones else [])]
        place = stages.index(self.state.stage) if self.state.stage in stages else 1  # of a method with other names
        return (self.frame + (place + self.state.progress) / len(stages)) / self.frame_count

    def advance(self, budget_s: float) -> bool:
        """Run steps for about budget_s, at least one; False when it has ended.

        Raises what the registration raises; it has then ended, too.
        """
        end = time.perf_counter() + budget_s
        try:
            while True:
                step = next(self._steps)
                self.frame, self.state, self.results = step.frame, step.state, step.done
                self.pose = step.state.pose
                if time.perf_counter() >= end:
                    return True
        except StopIteration as stop:
            self._running, self.results = False, stop.value
            self.pose = self.results[-1].pose
            return False
        except BaseException:
            self._running = False
            raise

    def cancel(self) -> Pose:
        """End it now; returns the best pose so far."""
        self._running = False
        self._steps.close()
        return self.pose

    def show(self) -> bool:
        """Let the transform node carry the CT to the best pose so far; False where it stands there already."""
        if self._shown is self.pose:
            return False
        set_pose(self.pose_node, self.pose)
        self._shown = self.pose
        return True

    def show_bones(self) -> None:
        """Let the bones stand where they were found, once they are, each with its result: in the CT where that is."""
        self.show()
        for node, result in zip(self._bone_nodes, self.bones_result.bones if self.bones_result else ()):
            if node.GetScene() is not None:  # it may have been removed meanwhile
                keep_bone(node, result)

    def registered_bones(self, segmentation: str) -> BonesToReport:
        """What there is to report of the bones, once they are found. segmentation: the name of its node."""
        return BonesToReport(self.bones_result, self._bones.segments, segmentation)

    def _with_bones(self, inputs: Inputs, bones: SegmentsToRegister) -> Generator[FrameState, None, _Results]:
        """The CT in one piece, then its bones."""
        steps = bones_steps(
            inputs.ct,
            inputs.radiographs,
            inputs.views,
            bones.segments,
            self.start,
            self.settings,
            inputs.masks,
            bones.others,
        )
        self.bones_result = yield from _as_frame(steps)
        return (self.bones_result.whole,)


def _steps(
    inputs: Inputs, frames: Sequence[Sequence[Radiograph]], start: Pose, settings: Settings
) -> Generator[FrameState, None, _Results]:
    if len(frames) > 1:
        results = yield from frame_steps(inputs.ct, frames, inputs.views, start, settings, inputs.masks)
        return tuple(results)
    steps = registration_steps(inputs.ct, frames[0], inputs.views, start, settings, inputs.masks)
    return ((yield from _as_frame(steps)),)


def _as_frame(steps: Steps[Result]) -> Generator[FrameState, None, Result]:
    """The steps of a single image as those of a run of one."""
    while True:
        try:
            yield FrameState(0, next(steps), ())
        except StopIteration as end:
            return end.value
