"""`xrayct evaluate --dataset`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import InputError
from .console import console, facts, files_fact, progress_bars, say, waiting
from .exit_codes import INTERRUPTED

if TYPE_CHECKING:
    from ..evaluation.datasets import Dataset
    from ..evaluation.runner import CaseResult

_RECORD = "cases.jsonl"
_ON_FILE_ALONE = ("mean mTRE", "rotation", "shift")
_NAMED = 3  # of what is left out; the rest is counted


class DatasetName(str, Enum):
    DEEPFLUORO = "deepfluoro"
    AUTOSCOPER = "autoscoper"
    UTRECHT = "utrecht"


def evaluate_dataset(
    kind: DatasetName,
    path: Path,
    starts: int | None,
    methods: list[str],
    device: str,
    seed: int,
    resume: bool,
    folder: Path,
) -> None:
    """Register every image of a data set, and write and print the table of its papers.

    starts: how many of each image; as many as the papers take without a number.
    """
    with waiting("Starting"):
        from ..evaluation import case_files
        from ..evaluation.datasets import open_dataset
        from ..evaluation.datasets.table import FILES, write_dataset_report
        from ..evaluation.runner import START, CaseResult, rows_of_case
        from ..projector import device_for
        from ..registration import Settings
        from .stages import announce_compilation

        data = open_dataset(kind.value, path)
        device_for(device)
    numbers = data.starts(starts)
    _tell(data)
    settings = {"dataset": kind.value, "path": str(path.resolve()), "seed": seed}
    before = case_files.recorded(folder / _RECORD, settings, CaseResult) if resume else []
    case_files.begin_record(folder / _RECORD, settings, before)
    known = {(row.ct, row.case, row.method): row for row in before}
    announce_compilation()
    rows: list[CaseResult] = []
    try:
        with progress_bars() as bars:
            task = bars.add_task(f"Registering ({kind.value})", total=len(data.names) * len(numbers), detail="")
            for name in data.names:
                for start in numbers:
                    wanted = [(name, start, method) for method in (START, *methods)]
                    if all(key in known for key in wanted):
                        of_case = [known[key] for key in wanted]
                    else:
                        case = data.case(name, start, seed)
                        of_case = rows_of_case(case, methods, Settings(search=data.search, device=device, seed=seed))
                        case_files.record(folder / _RECORD, of_case)
                    rows += of_case
                    errors = " -> ".join(f"{row.mtre_mm:.1f}" for row in of_case)
                    bars.update(task, advance=1, detail=f"{name}: mTRE {errors} mm")
    except KeyboardInterrupt:
        say(
            f"Interrupted. The cases so far are in {folder / _RECORD}; --resume goes on after them.", "Note: ", "yellow"
        )
        raise typer.Exit(INTERRUPTED) from None
    write_dataset_report(folder, data, rows)
    _print(data, rows)
    facts([files_fact(folder, (*FILES, _RECORD))])


def check_unfit(given: dict[str, bool], remedy: str) -> None:
    """Raise InputError for an option that does not go with others. given: by their names."""
    unfit = [name for name, is_given in given.items() if is_given]
    if unfit:
        raise InputError(f"{unfit[0]} {remedy}")


def check_one_path(paths: list[Path]) -> Path:
    """The one path of a data set. Raises InputError when there are more, or none."""
    if len(paths) != 1:
        raise InputError(f"--dataset takes one path, the file or folder of the data set; there are {len(paths)}.")
    return paths[0]


def _tell(data: Dataset) -> None:
    about, skipped = data.about, data.skipped
    left_out = [f"{one.what} ({one.why})" for one in skipped[:_NAMED]]
    if len(skipped) > _NAMED:
        left_out.append(f"and {len(skipped) - _NAMED} more, in summary.md")
    rows = [
        ("Data set", f"{about.name}: {len(data.names)} images"),
        ("Licence", about.licence),
        ("Cite", about.citation),
    ]
    facts([*rows, ("Starts", about.starts), ("Left out", "; ".join(left_out) or "nothing")])


def _print(data: Dataset, results: list[CaseResult]) -> None:
    """The columns that fit a terminal; all are in summary.md."""
    from rich import box
    from rich.table import Table

    from ..evaluation.datasets.table import cells, group_rows, head

    columns = zip(head(data), *(cells(row) for row in group_rows(results, data)))
    shown = [column for column in columns if column[0] not in _ON_FILE_ALONE]
    table = Table(title=f"{data.about.name}: mTRE in mm", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for number, (title, *values) in enumerate(shown):
        width = max(map(len, [*title.split(), *values]))
        words = number < 2  # group and method
        table.add_column(title, justify="left" if words else "right", overflow="fold", min_width=number and width)
    for of_row in zip(*(values for _, *values in shown)):
        table.add_row(*of_row)
    console.print(table)
