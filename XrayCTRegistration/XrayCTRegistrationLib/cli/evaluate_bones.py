"""`xrayct evaluate --protocol bones`."""

from __future__ import annotations

from pathlib import Path

import typer

from .console import console, facts, files_fact, progress_bars, say, waiting
from .exit_codes import INTERRUPTED

_RECORD = "bones.jsonl"
_VIEWS = (1, 2)


def evaluate_bones(
    paths: list[Path], cases: int, photons: float, device: str, seed: int, resume: bool, folder: Path
) -> None:
    """Register every labelled vertebra of every CT in one and in two X-rays, and write and print the table."""
    with waiting("Starting"):
        from ..evaluation import case_files
        from ..evaluation.bones_protocol import BoneRow, LabelledSubject, bones_case, rows_of_bones
        from ..evaluation.bones_tables import FILES, write_bones_report
        from ..projector import device_for
        from .stages import announce_compilation

        device_for(device)
        subjects = [LabelledSubject.read(path) for path in paths]
    settings = {"protocol": "bones", "seed": seed, "photons": photons}
    known = case_files.recorded(folder / _RECORD, settings, BoneRow) if resume else []
    case_files.begin_record(folder / _RECORD, settings, known)
    announce_compilation()
    rows: list[BoneRow] = []
    try:
        with progress_bars() as bars:
            total = len(subjects) * cases * len(_VIEWS)
            task = bars.add_task("Registering (bones protocol)", total=total, detail="")
            for subject in subjects:
                for number in range(cases):
                    case = None
                    for views in _VIEWS:
                        key = (subject.name, number, views)
                        of_case = [row for row in known if (row.ct, row.case, row.views) == key]
                        if not of_case:
                            case = case or bones_case(subject, number, seed, photons)
                            of_case = rows_of_bones(case.seen_in(views), device, seed)
                            case_files.record(folder / _RECORD, of_case)
                        rows += of_case
                        bars.update(task, advance=1, detail=f"{subject.name} case {number}, {_seen_in(views)}")
    except KeyboardInterrupt:
        say(
            f"Interrupted. The cases so far are in {folder / _RECORD}; --resume goes on after them.", "Note: ", "yellow"
        )
        raise typer.Exit(INTERRUPTED) from None
    write_bones_report(folder, rows)
    _print(rows)
    facts([files_fact(folder, (*FILES, _RECORD))])


def _seen_in(views: int) -> str:
    return "one X-ray" if views == 1 else f"{views} X-rays"


def _print(rows: list) -> None:
    from rich.table import Table

    from ..evaluation.bones_tables import bones_summary, cells, head

    table = Table(title="Errors of bones in the field, mm: median / 90th percentile")
    for number, title in enumerate(head()):
        table.add_column(title, justify="left" if number == 0 else "right", overflow="fold")
    for row in bones_summary(rows):
        table.add_row(*cells(row))
    console.print(table)
