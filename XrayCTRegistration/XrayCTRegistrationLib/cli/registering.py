"""A registration under progress bars, from its input to its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .console import say, waiting
from .exit_codes import INTERRUPTED

if TYPE_CHECKING:
    from ..geometry import Pose
    from ..registration import Settings
    from ..state import Steps
    from .bones import ChosenBones
    from .inputs import Inputs
    from .report import Registered


def registered(
    inputs: Inputs,
    start: Pose,
    settings: Settings,
    init: str,
    folder: Path,
    linked: bool = False,
    bones: ChosenBones | None = None,
) -> Registered:
    """Register under progress bars and write the results, the scene last; on Ctrl-C, write the best pose so far and end
    the program, as after an error once there is a pose. linked: see `write_scene`."""
    from .report import write_interrupted, write_result, write_result_scene
    from .stages import Interrupted, watched

    try:
        found = watched(_steps(inputs, start, settings, bones))
        try:
            with waiting("Drawing the overlay"):
                views = write_result(folder, inputs, settings, init, found)
        except KeyboardInterrupt:
            raise Interrupted("writing", found.result.pose) from None
    except Interrupted as stop:
        write_interrupted(folder, inputs, settings, init, start, stop.pose, stop.stage)
        kept = f"The best pose so far is in {folder / 'pose.tfm'}."
        if stop.error is not None:
            say(f"The registration failed after the CT's pose was found. {kept}", "Note: ", "yellow")
            raise stop.error from None
        say(f"Interrupted. {kept}", "Note: ", "yellow")
        raise typer.Exit(INTERRUPTED) from None
    try:
        with waiting("Writing the scene"):
            write_result_scene(folder, inputs, found.result.pose, views, linked, found.bones)
    except KeyboardInterrupt:
        say(f"Interrupted while writing the scene. The result is in {folder}, without scene.mrb.", "Note: ", "yellow")
        raise typer.Exit(INTERRUPTED) from None
    return found


def _steps(inputs: Inputs, start: Pose, settings: Settings, bones: ChosenBones | None) -> Steps[Registered]:
    """The registration of the CT, and of its bones where some were chosen."""
    from .report import Registered

    what = inputs.ct, inputs.radiographs, inputs.views
    if bones is None:
        from ..registration import prepared_steps, registered_problem_steps

        prepared = yield from prepared_steps(*what, start, settings, inputs.masks)
        problem, result = yield from registered_problem_steps(prepared)
        return Registered(problem.attenuation, problem.images, result)
    from ..bones.registration import bones_problem_steps
    from .bone_results import RegisteredBones

    steps = bones_problem_steps(*what, bones.segments, start, settings, inputs.masks, bones.others, bones.joint)
    problem, found = yield from steps
    whole = replace(found.whole, seconds={**found.whole.seconds, "bones": found.seconds})
    return Registered(problem.attenuation, problem.images, whole, RegisteredBones(bones, found))
