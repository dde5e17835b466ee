"""`xrayct evaluate`."""

from __future__ import annotations

from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .console import console, facts, files_fact, progress_bars, say, waiting
from .evaluate_bones import evaluate_bones
from .evaluate_dataset import DatasetName, check_one_path, check_unfit, evaluate_dataset
from .exit_codes import INTERRUPTED
from .options import METHOD_HELP, RUN, SEARCH, Device, DeviceOption, Method, SeedOption, WeightsOption, output_folder
from .output import writable_folder

_FILES = ("cases.csv", "summary.csv", "summary.md", "success.png")
_RECORD = "cases.jsonl"
_INTERRUPTED_FILE = "cases-interrupted.csv"
_CASES = "Cases"
_PHOTONS = 20_000.0


class Protocol(str, Enum):
    SEED = "seed"
    ROBUST = "robust"
    BONES = "bones"


def evaluate(
    more_cts: Annotated[
        list[Path] | None, typer.Argument(metavar="[CT...|PATH]", help="Further CTs, or the path of a --dataset.")
    ] = None,
    ct: Annotated[
        list[Path] | None,
        typer.Option(
            "--ct", metavar="CT", help="A CT to simulate X-rays of. More may follow it.", rich_help_panel=_CASES
        ),
    ] = None,
    dataset: Annotated[
        DatasetName | None,
        typer.Option(
            help="A public data set at PATH instead of simulated X-rays, with the table that its papers print. "
            "deepfluoro: the HDF5 file of full resolution. autoscoper: the folder of a trial (.cfg) with its tracks. "
            "utrecht: the folder of the vertebrae, with a description of them.",
            rich_help_panel=_CASES,
        ),
    ] = None,
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="seed: 256 x 256 pixels of 0.798 mm, true poses turned by 20 degrees about each axis and moved by "
            "30 mm across and 60 mm in depth (standard deviations), starting with the CT centred. robust: the same "
            "poses, with X-rays and CTs that disagree, each way of it a row of the table. bones: the same, with every "
            "labelled vertebra moved on its own by 3 degrees and 2 mm, seen in one and in two X-rays; the labels lie "
            "beside the CT, as NAME_labels.",
            rich_help_panel=_CASES,
        ),
    ] = Protocol.SEED,
    effect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What differs between CT and X-ray in the robust protocol; several may be given, each with --effect. "
            "An unknown name lists them.",
            show_default="all",
            rich_help_panel=_CASES,
        ),
    ] = None,
    cases: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="X-rays per CT; of a data set, starts per image.",
            show_default="20; of a data set 1, of utrecht all 200",
            rich_help_panel=_CASES,
        ),
    ] = None,
    photons: Annotated[
        float, typer.Option(min=1.0, help="Photons of a pixel in the open beam.", rich_help_panel=_CASES)
    ] = _PHOTONS,
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
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run whose record is in the output folder: its cases are not run again.",
            rich_help_panel=RUN,
        ),
    ] = False,
    output: Annotated[
        Path,
        output_folder("Folder for the tables (CSV, Markdown) and the plot."),
    ] = Path("xrayct-evaluation"),
) -> None:
    """Measure how often and how exactly registration finds a known pose.

    Simulates noisy X-rays of each CT at random poses, registers them, and writes the errors of every case, a summary,
    and a plot. With --dataset, the same on a public data set of real X-rays.

    Example: xrayct evaluate --ct a.nii.gz b.nii.gz --cases 20 --method auto -o evaluation
    """
    folder = writable_folder(output)
    cts = [*(ct or []), *(more_cts or [])]
    methods = [one.value for one in method or [Method.AUTO]]
    if dataset is not None:
        unfit = {
            "--ct": bool(ct),
            f"--protocol {protocol.value}": protocol is not Protocol.SEED,
            "--effect": bool(effect),
            "--realistic": realistic,
            "--scheduler": bool(scheduler),
            "--weights": bool(weights),
            "--photons": photons != _PHOTONS,
        }
        check_unfit(unfit, "is for simulated X-rays. Leave it out with --dataset.")
        evaluate_dataset(dataset, check_one_path(cts), cases, methods, device.value, seed, resume, folder)
        return
    cases = cases or 20
    if not cts:
        raise InputError("There is no CT to evaluate on. Give --ct followed by one or more CTs.")
    if protocol is Protocol.BONES:
        check_unfit(
            {
                "--method": bool(method),
                "--effect": bool(effect),
                "--realistic": realistic,
                "--scheduler": bool(scheduler),
                "--weights": bool(weights),
            },
            "is not for the protocol of bones. Leave it out.",
        )
        evaluate_bones(cts, cases, photons, device.value, seed, resume, folder)
        return
    for package in ("matplotlib", *(["distributed"] if scheduler else [])):
        if find_spec(package) is None:
            raise InputError(
                f"The package {package} is missing. Install it with: pip install 'XrayCTRegistration[evaluation]'"
            )
    if protocol is Protocol.SEED and effect:
        raise InputError("--effect chooses rows of the robust protocol. Give --protocol robust with it.")
    if protocol is Protocol.ROBUST and realistic:
        raise InputError("--realistic is for the seed protocol. Give --effect hard instead of it.")
    with waiting("Starting"):
        from ..evaluation import case_files, robust_tables, runner, tables
        from ..evaluation.effects import EFFECTS
        from .stages import announce_compilation

    effects = (effect or list(EFFECTS)) if protocol is Protocol.ROBUST else []
    settings = _settings(protocol, photons, weights, realistic, seed)
    known = case_files.recorded(folder / _RECORD, settings, runner.CaseResult) if resume else []
    rows: list[runner.CaseResult] = []
    if scheduler is None:
        announce_compilation()
    with progress_bars() as bars:
        asked = {(path.resolve().name, n, one) for path in cts for n in range(cases) for one in effects or [""]}
        before = len(asked & {(row.ct, row.case, row.effect) for row in known})
        title = f"Registering ({protocol.value} protocol)"
        task = bars.add_task(title, total=len(asked), completed=before, detail="")

        def done(of_case: list[runner.CaseResult]) -> None:
            if not rows:  # not before: whoever mistypes an option keeps the record of the last run
                case_files.begin_record(folder / _RECORD, settings, known)
            case_files.record(folder / _RECORD, of_case)
            rows.extend(of_case)
            errors = " -> ".join(f"{row.mtre_mm:.1f}" for row in of_case)
            name = " ".join(filter(None, (of_case[0].ct, f"case {of_case[0].case}", of_case[0].effect)))
            bars.update(task, advance=1, detail=f"{name}: mTRE {errors} mm")

        try:
            results = runner.evaluate(
                cts, cases, methods, seed, photons, device.value, scheduler, weights, realistic, done, effects, known
            )
        except KeyboardInterrupt:
            if not rows:
                raise
            case_files.write_csv(folder / _INTERRUPTED_FILE, [*known, *rows])
            say(
                f"Interrupted. The cases so far are in {folder / _INTERRUPTED_FILE}; --resume goes on after them.",
                "Note: ",
                "yellow",
            )
            raise typer.Exit(INTERRUPTED) from None
    if protocol is Protocol.ROBUST:
        robust_tables.write_effects_report(folder, results)
        _print_effects(robust_tables.effect_summary(results))
    else:
        tables.write_report(folder, results)
        _print_summary(tables.summary(results))
    facts([files_fact(folder, (*_FILES, _RECORD))])


def _settings(protocol: Protocol, photons: float, weights: Path | None, realistic: bool, seed: int) -> dict:
    """What the rows of two runs must share to stand in one table; CTs, cases, methods and effects are in the rows."""
    name = str(weights.resolve()) if weights else None
    return {"protocol": protocol.value, "seed": seed, "photons": photons, "weights": name, "realistic": realistic}


def _print_effects(rows: list) -> None:
    """The columns of the effects' summary that fit a terminal; all are in summary.md."""
    from rich.table import Table

    from ..evaluation.robust_tables import ALL_EFFECTS
    from ..evaluation.runner import START

    table = Table(title="Cases below 10 and 2 mm; their high / moderate / low confidence, and that of the others")
    for name in ("effect", "method"):
        table.add_column(name, overflow="fold")
    for name in ("n", "< 10", "< 2", "median", "< 10 mm", "others", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if row.method == START and row.effect != ALL_EFFECTS:
            continue  # the same under every effect
        success = [f"{value:.0f} %" for value in (row.success_10mm_percent, row.success_2mm_percent)]
        judged = [
            f"{row.successes_high}/{row.successes_moderate}/{row.successes_low}",
            f"{row.failures_high}/{row.failures_moderate}/{row.failures_low}",
        ]
        cells = (str(row.cases), *success, f"{row.median_mm:.2f}", *judged, f"{row.seconds:.1f}")
        table.add_row(row.effect, row.method, *cells)
    console.print(table)


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
