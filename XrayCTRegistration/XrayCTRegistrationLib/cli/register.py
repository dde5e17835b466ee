"""`xrayct register`."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .console import facts, files_fact, table, waiting
from .loading import load
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
from .registering import registered

if TYPE_CHECKING:
    from .bones import AskedBones

_WIDE_ROTATION_DEG = 60.0  # standard deviation: reaches a full turn
_INPUT, _START, _BONES = "Input", "Start", "Bone by bone"


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
    bones: Annotated[
        Path | None,
        typer.Option(
            metavar="LABELS",
            help="A segmentation of the CT, whose bones get a pose each after the CT in one piece: a label map (NIfTI, "
            "NRRD), of any grid, or a .seg.nrrd of 3D Slicer.",
            rich_help_panel=_BONES,
        ),
    ] = None,
    bone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A bone of --bones by name or number; several with commas between them, or the option again. With "
            "--trial: which bone of the trial, by its volume's file.",
            show_default="all that are bone; of a trial, the only one",
            rich_help_panel=_BONES,
        ),
    ] = None,
    bone_names: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON",
            help='Names of the numbers in --bones, {"27": "L5"}. Unless given those of the segmentation itself, of a '
            "JSON file of its name beside it, or TotalSegmentator's where its numbers fit the CT.",
            show_default=False,
            rich_help_panel=_BONES,
        ),
    ] = None,
    joint: Annotated[
        str | None,
        typer.Option(
            metavar="DEGREES,MM|free",
            help="How far neighbouring bones turn and shift against each other (standard deviations), or free. Unless "
            "given 3,2, as in a spine; a wrist is free, and needs two X-rays.",
            show_default=False,
            rich_help_panel=_BONES,
        ),
    ] = None,
    method: Annotated[Method, typer.Option(help=METHOD_HELP, rich_help_panel=SEARCH)] = Method.AUTO,
    weights: WeightsOption = None,
    device: DeviceOption = Device.AUTO,
    seed: SeedOption = 0,
    output: Annotated[
        Path,
        output_folder(
            "Folder for pose.tfm, report.json, overlay.png and scene.mrb; of bones pose-NAME.tfm, bones.png."
        ),
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
    or: xrayct register ct.nii.gz ap.png -g ap.json --bones labels.nii.gz --bone L5,L4 -o result
    """
    folder = writable_folder(output)
    if init == "search" and method not in (Method.AUTO, Method.SEARCH):
        raise InputError(f"--init search: the method {method.value} does not search. Use --method auto or search.")
    _check_bone_options(bones, bone, bone_names, joint, trial)
    from ..io.poses import read_pose
    from ..xray import Polarity
    from .inputs import read_inputs, read_trial_inputs

    given = None if init in ("center", "search") else read_pose(init)
    if trial is not None:
        if ct or xrays or geometry:
            raise InputError("--trial names CT, X-rays and geometry itself. Leave the others out.")
        asked, inputs = None, read_trial_inputs(trial, bone[0] if bone else None, frame, mask or [])
    elif ct is None or not xrays:
        raise InputError("CT or X-rays are missing. Give the CT, then the X-rays, and -g for each; or --trial.")
    else:
        asked = None if bones is None else _asked(bones, bone_names, bone or [], joint)
        inputs = read_inputs(ct, xrays, geometry or [], mask or [])
    if scene is SceneChoice.LIGHT and inputs.ct_voxels is None:
        raise InputError(
            f"{Path(inputs.ct_name).name}: --scene light needs a CT in one NIfTI or NRRD file that holds Hounsfield "
            "units as they are, which this is not. Leave the option out."
        )
    with waiting("Starting"):  # which takes two seconds: what is wrong with a file has been said before
        load()
        from ..registration import Settings, centered
        from ..search.search_range import NEAR, SearchRange

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
    chosen_bones = None if asked is None else asked.within(inputs.ct)
    found = registered(inputs, start, settings, init, folder, scene is SceneChoice.LIGHT, chosen_bones)
    from .bone_results import TABLE, table_rows
    from .report import files_of, hint_facts, result_facts

    if found.bones is not None:
        table(TABLE, table_rows(found.bones, inputs.xray_names))
    rows = [*result_facts(found.result), *hint_facts(inputs, found.result)]
    facts([*rows, files_fact(folder, files_of(found.bones))])


def _asked(bones: Path, names: Path | None, wanted: list[str], joint: str | None) -> AskedBones:
    from .bones import joint_of, read_asked

    motion = joint_of(joint)
    return read_asked(bones, names, wanted, motion)


def _check_bone_options(
    bones: Path | None, bone: list[str] | None, bone_names: Path | None, joint: str | None, trial: Path | None
) -> None:
    """Raise InputError where the options of bones do not go together."""
    if bones is not None and trial is not None:
        raise InputError("--bones: a trial has a volume for each bone, and takes no segmentation. Leave --bones out.")
    if trial is not None and len(bone or ()) > 1:
        raise InputError("--bone: of a trial, one bone is registered at a time. Give the option once.")
    without = {"--bone": bone and trial is None, "--bone-names": bone_names, "--joint": joint}
    lonely = [name for name, value in without.items() if value]
    if bones is None and lonely:
        raise InputError(
            f"{lonely[0]}: the segmentation is missing that the bones are in. Give it with --bones labels.nii.gz."
        )
