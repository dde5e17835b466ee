"""`xrayct simulate`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from ..io.folders import published
from .console import facts, files_fact, waiting
from .options import CtArgument, SeedOption, output_folder
from .output import writable_folder

_FILES = ("geometry.json", "pose.tfm", "xray.png")
_POSE, _DETECTOR = "Where the CT stands", "Detector"
_MOST_COUNTS = 60_000.0  # a 16-bit image ends at 65535, and counts scatter about their mean


def simulate(
    ct: CtArgument,
    geometry: Annotated[
        Path, typer.Option("--geometry", "-g", metavar="JSON", help="C-arm geometry of the X-ray to make.")
    ],
    pose: Annotated[
        Path | None,
        typer.Option(
            metavar="POSE",
            help="Pose of the CT: a transform saved by 3D Slicer. Without it, the CT's centre is at the isocentre.",
            rich_help_panel=_POSE,
        ),
    ] = None,
    random_pose: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="SEED",
            help="A random pose about the isocentre: 20 degrees about each axis, 30 mm across and 60 mm in depth "
            "(standard deviations).",
            rich_help_panel=_POSE,
        ),
    ] = None,
    photons: Annotated[
        float,
        typer.Option(
            min=1.0,
            max=_MOST_COUNTS,
            help="Photons that a pixel counts where nothing is in the beam. Fewer is noisier.",
            rich_help_panel=_DETECTOR,
        ),
    ] = 20_000.0,
    scatter: Annotated[
        float,
        typer.Option(min=0.0, max=20.0, help="Scattered photons for every primary one.", rich_help_panel=_DETECTOR),
    ] = 0.0,
    scatter_width: Annotated[
        float,
        typer.Option(
            min=0.1, metavar="PIXELS", help="How far scatter spreads (standard deviation).", rich_help_panel=_DETECTOR
        ),
    ] = 20.0,
    step: Annotated[
        float,
        typer.Option(
            min=0.05, max=10.0, metavar="MM", help="Distance between samples along a ray.", rich_help_panel=_DETECTOR
        ),
    ] = 0.5,
    seed: SeedOption = 0,
    output: Annotated[
        Path,
        output_folder("Folder for xray.png, geometry.json and pose.tfm."),
    ] = Path("xrayct-simulated"),
) -> None:
    """Make the X-ray that a C-arm would take of a CT.

    Writes the image as photon counts (16-bit PNG, bone dark), its geometry, and the true pose of the CT, to try out
    a registration whose answer is known.

    Example: xrayct simulate ct.nii.gz -g carm.json --random-pose 1 -o simulated
    """
    folder = writable_folder(output)
    if pose is not None and random_pose is not None:
        raise InputError(f"--pose {pose} and --random-pose exclude each other. Give one of them.")
    if photons * (1 + scatter) > _MOST_COUNTS:
        raise InputError(
            f"--photons {photons:g} with --scatter {scatter:g} counts more than a 16-bit image holds. Give at most "
            f"--photons {_MOST_COUNTS / (1 + scatter):.0f}."
        )
    with waiting("Starting"):
        import numpy as np

        from ..evaluation.protocol import random_motion
        from ..fixed_images import footprint
        from ..io.carm_files import read_carm
        from ..io.poses import read_pose, write_pose
        from ..io.radiographs import write_radiograph
        from ..io.volumes import read_ct
        from ..registration import centered
        from ..simulation import detector_counts, line_integrals
        from .stages import announce_compilation

    view = read_carm(geometry)
    given = None if pose is None else read_pose(pose)
    with waiting(f"Reading {ct.name}"):
        volume = read_ct(ct)
    true = given or centered(volume, [view])
    if random_pose is not None:
        true = random_motion(view, ct.name, 0, random_pose) @ true
    try:
        footprint(volume, true, view)
    except InputError as error:
        raise InputError(f"{ct.name}, {geometry.name}: {error}") from None
    announce_compilation()
    with waiting("Making the X-ray"):
        integrals = line_integrals(volume, view, true, step)
        counts = detector_counts(integrals, photons, np.random.default_rng(seed), scatter, scatter_width)
    with published(folder, _FILES) as hidden:
        shutil.copyfile(geometry, hidden / "geometry.json")
        write_pose(hidden / "pose.tfm", true)
        write_radiograph(hidden / "xray.png", np.minimum(counts, 65535))
    facts(
        [
            (
                "X-ray",
                f"{view.size_px[0]} x {view.size_px[1]} pixels, {counts.min():.0f} to {counts.max():.0f} photons",
            ),
            files_fact(folder, _FILES),
        ]
    )
