"""`xrayct register`."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .console import facts, files_fact, say, waiting
from .options import (
    CT_HELP,
    METHOD_HELP,
    OUTPUT,
    SEARCH,
    Device,
    DeviceOption,
    Method,
    SeedOption,
    WeightsOption,
    output_folder,
)
from .output import writable_folder

if TYPE_CHECKING:
    from ..geometry import Pose
    from ..registration import RegistrationResult, Settings
    from .inputs import Inputs

INTERRUPTED = 130
_WIDE_ROTATION_DEG = 60.0  # standard deviation: reaches a full turn
_INPUT, _START = "Input", "Start"


class PolarityChoice(str, Enum):
    AUTO = "auto"
    DARK = "dark"
    BRIGHT = "bright"


class SceneChoice(str, Enum):
    FULL = "full"
    LIGHT = "light"


def register(
    ct: Annotated[Path | None, typer.Argument(metavar="CT", help=CT_HELP)] = None,
    xrays: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="XRAY...",
            help="One or more X-ray images of the same moment: PNG, TIFF, DICOM, NRRD. Frame 12 of a run: cine.dcm:12",
        ),
    ] = None,
    geometry: Annotated[
        list[Path] | None,
        typer.Option(
            "--geometry",
            "-g",
            metavar="FILE",
            help="C-arm geometry of an X-ray: JSON, or MayaCam. Give it once per X-ray, in the same order.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    trial: Annotated[
        Path | None,
        typer.Option(
            metavar="CFG",
            help="A trial of Autoscoper, instead of CT, X-rays and geometry.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    bone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which bone of the trial, by its volume's file.",
            show_default="the only one",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    frame: Annotated[
        int, typer.Option(min=1, help="Which frame of the trial, counted from 1.", rich_help_panel=_INPUT)
    ] = 1,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGE",
            help="Image that is not zero where an X-ray may be used, to leave out instruments or a hand. Once per "
            "X-ray, in the same order; 'none' for an X-ray without.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    polarity: Annotated[
        PolarityChoice,
        typer.Option(
            help="How bone looks in the X-rays as stored: dark, as a detector counts, or bright, as radiographs are "
            "shown. auto asks the DICOM tags, then what fits the CT better.",
            rich_help_panel=_INPUT,
        ),
    ] = PolarityChoice.AUTO,
    init: Annotated[
        str,
        typer.Option(
            metavar="POSE|center|search",
            help="Where to begin. A pose file (a transform saved by 3D Slicer); center: the CT's centre at the C-arm's "
            "isocentre, turned as the CT was scanned; search: the same, with the patient lying in any direction.",
            rich_help_panel=_START,
        ),
    ] = "center",
    search_rotation: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="DEGREES",
            help="How far the patient may be turned from the start (standard deviation). Unless given 8 about a pose "
            "file, 25 about the centre, 60 with --init search.",
            show_default=False,
            rich_help_panel=_START,
        ),
    ] = None,
    search_depth: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="MM",
            help="How far the patient may be from the start, towards or away from the source (standard deviation). "
            "Unless given 15 about a pose file, else 70.",
            show_default=False,
            rich_help_panel=_START,
        ),
    ] = None,
    method: Annotated[Method, typer.Option(help=METHOD_HELP, rich_help_panel=SEARCH)] = Method.AUTO,
    weights: WeightsOption = None,
    device: DeviceOption = Device.AUTO,
    seed: SeedOption = 0,
    output: Annotated[
        Path,
        output_folder("Folder for pose.tfm, report.json, overlay.png and scene.mrb."),
    ] = Path("xrayct-output"),
    scene: Annotated[
        SceneChoice,
        typer.Option(
            help="full: scene.mrb holds the CT. light: it names the CT's file (NIfTI or NRRD) and opens only where "
            "that is.",
            rich_help_panel=OUTPUT,
        ),
    ] = SceneChoice.FULL,
) -> None:
    """Find the pose of a CT that matches one or more X-rays.

    Writes the pose as a transform that 3D Slicer opens, a report, a picture of the overlay to judge it by, and a
    scene for 3D Slicer. Ctrl-C keeps the best pose found so far.

    Example: xrayct register ct.nii.gz ap.png lateral.png -g ap.json -g lateral.json -o result
    or: xrayct register --trial wrist.cfg --bone radius --frame 2 -o result
    """
    folder = writable_folder(output)
    if init == "search" and method not in (Method.AUTO, Method.SEARCH):
        raise InputError(f"--init search: the method {method.value} does not search. Use --method auto or search.")
    from ..io.poses import read_pose
    from ..xray import Polarity
    from .inputs import read_inputs, read_trial_inputs

    given = None if init in ("center", "search") else read_pose(init)
    if trial is not None:
        if ct or xrays or geometry:
            raise InputError("--trial names CT, X-rays and geometry itself. Leave the others out.")
        inputs = read_trial_inputs(trial, bone, frame, mask or [])
    elif ct is None or not xrays:
        raise InputError("CT or X-rays are missing. Give the CT, then the X-rays, and -g for each; or --trial.")
    else:
        inputs = read_inputs(ct, xrays, geometry or [], mask or [])
    if scene is SceneChoice.LIGHT and inputs.ct_voxels is None:
        raise InputError(
            f"{Path(inputs.ct_name).name}: --scene light needs a CT in one NIfTI or NRRD file that holds Hounsfield "
            "units as they are, which this is not. Leave the option out."
        )
    with waiting("Starting"):  # torch takes a second to load: what is wrong with a file has been said before
        from ..registration import Settings, centered
        from ..search.global_search import NEAR, SearchRange

    span = NEAR if given else SearchRange(rotation_deg=_WIDE_ROTATION_DEG) if init == "search" else SearchRange()
    if search_rotation is not None:
        span = replace(span, rotation_deg=search_rotation)
    if search_depth is not None:
        span = replace(span, depth_mm=search_depth)
    chosen = None if polarity is PolarityChoice.AUTO else Polarity(polarity.value)
    settings = Settings(
        method=method.value, search=span, polarity=chosen, weights=weights, device=device.value, seed=seed
    )
    start = given or centered(inputs.ct, inputs.views)
    result = registered(inputs, start, settings, init, folder, linked=scene is SceneChoice.LIGHT)
    from .report import FILES, hint_facts, result_facts

    facts([*result_facts(result), *hint_facts(inputs, result), files_fact(folder, FILES)])


def registered(
    inputs: Inputs, start: Pose, settings: Settings, init: str, folder: Path, linked: bool = False
) -> RegistrationResult:
    """Register under progress bars and write the results, the scene last; on Ctrl-C, write the best pose so far and end
    the program. linked: see `write_scene`."""
    from ..registration import registration_steps
    from .report import write_interrupted, write_result, write_result_scene
    from .stages import Interrupted, watched

    try:
        result = watched(registration_steps(inputs.ct, inputs.radiographs, inputs.views, start, settings, inputs.masks))
        try:
            with waiting("Drawing the overlay"):
                views = write_result(folder, inputs, settings, init, result)
        except KeyboardInterrupt:
            raise Interrupted("writing", result.pose) from None
    except Interrupted as stop:
        write_interrupted(folder, inputs, settings, init, start, stop.pose, stop.stage)
        say(f"Interrupted. The best pose so far is in {folder / 'pose.tfm'}.", "Note: ", "yellow")
        raise typer.Exit(INTERRUPTED) from None
    try:
        with waiting("Writing the scene"):
            write_result_scene(folder, inputs, result.pose, views, linked)
    except KeyboardInterrupt:
        say(f"Interrupted while writing the scene. The result is in {folder}, without scene.mrb.", "Note: ", "yellow")
        raise typer.Exit(INTERRUPTED) from None
    return result
