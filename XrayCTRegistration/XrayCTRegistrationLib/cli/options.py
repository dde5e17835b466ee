"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

OUTPUT, SEARCH, RUN = "Output", "How to register", "Run"


class Method(str, Enum):
    """The names of `registration.METHODS`, known here without importing it."""

    AUTO = "auto"
    SEARCH = "search"
    CMAES = "cmaes"
    GRADIENT = "gradient"
    LEARNED = "learned"
    LEARNED_CMAES = "learned+cmaes"


class Device(str, Enum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


METHOD_HELP = (
    "auto: search for the pose from afar, then refine. search: the search alone. cmaes: a search nearby (some 20 mm), "
    "then refine. gradient: refine a start that is already close. learned: guess the pose and descend on the learned "
    "similarity alone. learned+cmaes: that, then as cmaes."
)

CT_HELP = "The CT: a NIfTI, NRRD or MetaImage file, or the folder with the DICOM slices of one series."
CtArgument = Annotated[Path, typer.Argument(metavar="CT", help=CT_HELP)]


def output_folder(help: str) -> Any:
    """The option --output of a command."""
    return typer.Option("--output", "-o", metavar="FOLDER", help=help, rich_help_panel=OUTPUT)


DeviceOption = Annotated[
    Device, typer.Option(help="Where to compute. auto takes a CUDA GPU if there is one.", rich_help_panel=RUN)
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="SAFETENSORS",
        help="Weights for the learned methods, as xrayct train and adapt write them.",
        show_default="the shipped dual-branch weights",
        rich_help_panel=SEARCH,
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        min=0, help="Random seed: the same seed on the same machine gives the same result.", rich_help_panel=RUN
    ),
]
