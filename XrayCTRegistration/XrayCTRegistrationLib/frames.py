"""A run of X-ray frames, registered one after the other, each from the pose of the last."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .geometry import Pose, XrayView
from .registration import RegistrationResult, Settings, registration_steps
from .search.search_range import NEAR
from .state import RegistrationState
from .volume import Volume
from .xray import Meaning, Radiograph


@dataclass(frozen=True, eq=False)
class FrameState:
    """frame: which is being registered, from 0. state: of its registration. done: the results of those before it."""

    frame: int
    state: RegistrationState
    done: tuple[RegistrationResult, ...]


def frame_steps(
    ct: Volume,
    frames: Sequence[Sequence[Radiograph]],
    views: Sequence[XrayView],
    start: Pose,
    settings: Settings,
    masks: Sequence[np.ndarray | None] | None = None,
) -> Generator[FrameState, None, tuple[RegistrationResult, ...]]:
    """Register a CT to every frame; yields after every short step, returns a result per frame.

    frames: per frame, one radiograph for each of the views. start: ct_to_world for the first frame. masks: one for each
    of the views, the same in all frames. The first frame is registered as `settings` say, later ones are searched near
    the pose before.
    Raises InputError as `registration_steps` does.
    """
    done: tuple[RegistrationResult, ...] = ()
    meanings: Sequence[Meaning] = [Meaning()] * len(views)
    for number, radiographs in enumerate(frames):
        known = [one.read_as(as_before) for one, as_before in zip(radiographs, meanings)]
        steps = registration_steps(ct, known, views, start, settings, masks)
        while True:
            try:
                yield FrameState(number, next(steps), done)
            except StopIteration as end:
                result: RegistrationResult = end.value
                break
        done = (*done, result)
        start, settings = result.pose, replace(settings, search=NEAR)
        meanings = result.meanings
    return done
