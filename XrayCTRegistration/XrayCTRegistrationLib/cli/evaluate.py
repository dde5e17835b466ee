"""`xrayct evaluate`."""

from __future__ import annotations

from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .console import console, facts, files_fact, progress_bars, say, waiting
from .options import METHOD_HELP, RUN, SEARCH, Device, DeviceOption, Method, SeedOption, WeightsOption, output_folder
from .output import writable_folder

_FILES = ("cases.csv", "summary.csv", "summary.md", "success.png")
_INTERRUPTED_FILE, _INTERRUPTED = "cases-interrupted.csv", 130
_CASES = "Cases"


class Protocol(str, Enum):
    SEED = "seed"


def evaluate(
    more_cts: Annotated[list[Path] | None, typer.Argument(metavar="[CT...]", help="Further CTs.")] = None,
    ct: Annotated[
        list[Path] | None,
        typer.Option(
            "--ct", metavar="CT", help="A CT to simulate X-rays of. More may follow it.", rich_help_panel=_CASES
        ),
    ] = None,
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="seed: 256 x 256 pixels of 0.798 mm, true poses turned by 20 degrees about each axis and moved by "
            "30 mm across and 60 mm in depth (standard deviations), starting with the CT centred.",
            rich_help_panel=_CASES,
        ),
    ] = Protocol.SEED,
    cases: Annotated[int, typer.Option(min=1, help="X-rays per CT.", rich_help_panel=_CASES)] = 20,
    photons: Annotated[
        float, typer.Option(min=1.0, help="Photons of a pixel in the open beam.", rich_help_panel=_CASES)
    ] = 20_000.0,
    method: Annotated[
        list[Method] | None,
        typer.Option(
            help=f"Method to evaluate; several may be given, each with --method. {METHOD_HELP}",
            show_default="auto",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    weights: WeightsOption = None,
    realistic: Annotated[
        bool,
        typer.Option(
            "--realistic",
            help="Degrade the X-rays: scatter, noise, beam hardening, blur, contrast, tools, collimation, and a fifth "
            "of the image hidden. --photons does not count then.",
            rich_help_panel=_CASES,
        ),
    ] = False,
    device: DeviceOption = Device.AUTO,
    seed: SeedOption = 0,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address of a Dask scheduler (tcp://host:port) to spread the cases over its workers. The table is the "
            "same, but for the seconds.",
            rich_help_panel=RUN,
        ),
    ] = None,
    output: Annotated[
        Path,
        output_folder("Folder for the tables (CSV, Markdown) and the plot."),
    ] = Path("xrayct-evaluation"),
) -> None:
    """Measure how often and how exactly registration finds a known pose.

    Simulates noisy X-rays of each CT at random poses, registers them, and writes the errors of every case, a summary,
    and a plot.

    Example: xrayct evaluate --ct a.nii.gz b.nii.gz --cases 20 --method auto -o evaluation
    """
    folder = writable_folder(output)
    cts = [*(ct or []), *(more_cts or [])]
    if not cts:
        raise InputError("There is no CT to evaluate on. Give --ct followed by one or more CTs.")
    for package in ("matplotlib", *(["distributed"] if scheduler else [])):
        if find_spec(package) is None:
            raise InputError(
                f"The package {package} is missing. Install it with: pip install 'XrayCTRegistration[evaluation]'"
            )
    with waiting("Starting"):
        from ..evaluation import runner, tables
        from .stages import announce_compilation

    methods = [one.value for one in method or [Method.AUTO]]
    rows: list[runner.CaseResult] = []
    if scheduler is None:
        announce_compilation()
    with progress_bars() as bars:
        task = bars.add_task(f"Registering ({protocol.value} protocol)", total=len(cts) * cases, detail="")

        def done(of_case: list[runner.CaseResult]) -> None:
            rows.extend(of_case)
            errors = " -> ".join(f"{row.mtre_mm:.1f}" for row in of_case)
            bars.update(task, advance=1, detail=f"{of_case[0].ct} case {of_case[0].case}: mTRE {errors} mm")

        try:
            results = runner.evaluate(
                cts, cases, methods, seed, photons, device.value, scheduler, weights, realistic, on_case=done
            )
        except KeyboardInterrupt:
            if not rows:
                raise
            tables.write_csv(folder / _INTERRUPTED_FILE, rows)
            say(f"Interrupted. The cases so far are in {folder / _INTERRUPTED_FILE}.", "Note: ", "yellow")
            raise typer.Exit(_INTERRUPTED) from None
    tables.write_report(folder, results)
    _print_summary(tables.summary(results))
    facts([files_fact(folder, _FILES)])


def _print_summary(rows: list) -> None:
    """The columns of the summary that fit a terminal; all are in summary.md."""
    from rich.table import Table

    table = Table(title="True mTRE in mm, mean of the best 95, 75 and 50 %; cases below 10 and 2 mm")
    for name in ("CT", "method"):
        table.add_column(name, overflow="fold")
    for name in ("cases", "95 %", "75 %", "50 %", "< 10 mm", "< 2 mm", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        tops = [f"{mean:.2f}" for mean, _ in (row.top95_mm, row.top75_mm, row.top50_mm)]
        success = [f"{value:.1f} %" for value in (row.success_10mm_percent, row.success_2mm_percent)]
        table.add_row(row.ct, row.method, str(row.cases), *tops, *success, f"{row.seconds:.1f}")
    console.print(table)
