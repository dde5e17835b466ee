"""`xrayct calibrate`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from ..io.folders import published
from .console import facts, files_fact, waiting
from .options import output_folder
from .output import writable_folder

_FILES = ("calibration.json", "calibration.md", "calibration.png")


def calibrate(
    tables: Annotated[
        list[Path],
        typer.Argument(
            metavar="CASES.CSV...", help="Tables of cases that xrayct evaluate --protocol robust wrote, or bones."
        ),
    ],
    test_cts: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="CTs whose cases test the calibration; it is fitted to the cases of the others. Names of files, their "
            "suffixes may be left out.",
        ),
    ],
    bones: Annotated[
        bool,
        typer.Option(
            "--bones",
            help="The tables are of bones, bones.csv of xrayct evaluate --protocol bones. A success is then an error "
            "below 3 mm.",
        ),
    ] = False,
    output: Annotated[
        Path,
        output_folder("Folder for the coefficients (JSON), the table and the plot."),
    ] = Path("xrayct-calibration"),
) -> None:
    """Fit how far results can be trusted to cases with a known answer, and test it on other CTs.

    Writes the coefficients of the probability that an error is small and of the error to expect, what they are
    worth on the CTs fitted on and on the others, and a plot.

    Example: xrayct calibrate evaluation/cases.csv --test-cts lidc_0350,cmb_crc_01068 -o calibration
    """
    folder = writable_folder(output)
    if find_spec("matplotlib") is None:
        raise InputError(
            "The package matplotlib is missing. Install it with: pip install 'XrayCTRegistration[evaluation]'"
        )
    with waiting("Fitting"):
        from ..evaluation.bones_protocol import BoneRow
        from ..evaluation.calibration import BONE_FEATURES, BONE_RIGHT_MM
        from ..evaluation.calibration import calibrate as calibrated
        from ..evaluation.calibration_report import write_calibration
        from ..evaluation.case_files import read_csv
        from ..evaluation.runner import CaseResult

        names = [name.strip() for name in test_cts.split(",") if name.strip()]
        if bones:
            of_bones = [row for table in tables for row in read_csv(table, BoneRow)]
            result = calibrated(of_bones, names, BONE_FEATURES, BONE_RIGHT_MM)
        else:
            result = calibrated([row for table in tables for row in read_csv(table, CaseResult)], names)
        with published(folder, _FILES) as hidden:
            write_calibration(hidden, result)
    tested = result.tested
    shares = (
        ('"high" that are wrong', tested.high_wrong_percent),
        ('Failures not "high"', tested.failures_not_high_percent),
        ('Successes "low"', tested.successes_low_percent),
        ("Below twice expected", tested.within_twice_expected_percent),
    )
    shown = [(name, "no such case" if share is None else f"{share:.1f} %") for name, share in shares]
    facts([("Cases tested", f"{tested.cases}, {tested.failures} failures"), *shown, files_fact(folder, _FILES)])
