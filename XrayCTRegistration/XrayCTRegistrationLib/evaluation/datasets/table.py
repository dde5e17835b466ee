"""The table of a data set: a row per group and method, with the columns of the set's papers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ...io.poses import replacing
from ..case_files import write_csv, write_table
from ..runner import START, CaseResult
from ..tables import report_folder, table_line
from . import Criterion, Dataset, Measure, group_of

ALL_GROUPS = "all"
FILES = ("cases.csv", "summary.csv", "summary.md")


class Columns(Protocol):
    """What a data set's table counts and measures; a `Dataset` has it."""

    @property
    def criteria(self) -> Sequence[Criterion]: ...
    @property
    def measures(self) -> Sequence[Measure]: ...


@dataclass(frozen=True)
class GroupRow:
    """One method in one group of cases, or in all. shares_percent: of the cases, in the order of the criteria.
    measured: by the measures, in theirs. The rest are means or medians; of a case that the registration refused, the
    errors are those of the start."""

    group: str
    method: str
    cases: int
    shares_percent: tuple[float, ...]
    measured: tuple[str, ...]
    mean_mm: float
    median_mm: float
    rotation_deg: float
    shift_mm: float
    seconds: float


def group_rows(results: Sequence[CaseResult], data: Columns) -> list[GroupRow]:
    """Every method over all groups, then in each, in the order in which they first appear."""
    groups, methods = (list(dict.fromkeys(names)) for names in zip(*((group_of(r.ct), r.method) for r in results)))
    starts_mm = {(r.ct, r.case): r.mtre_mm for r in results if r.method == START}
    rows = []
    for group in (ALL_GROUPS, *groups) if len(groups) > 1 else groups:
        for method in methods:
            of_both = [r for r in results if r.method == method and group in (ALL_GROUPS, group_of(r.ct))]
            if of_both:
                measured = [one.of(of_both, [starts_mm[r.ct, r.case] for r in of_both]) for one in data.measures]
                rows.append(_row(group, method, of_both, data.criteria, measured))
    return rows


def cells(row: GroupRow) -> list[str]:
    """A row as it is printed, under `head`."""
    shares = [f"{share:.1f} %" for share in row.shares_percent]
    lengths = (row.mean_mm, row.median_mm, row.rotation_deg, row.shift_mm)
    return [
        row.group,
        row.method,
        str(row.cases),
        *shares,
        *row.measured,
        *(f"{value:.2f}" for value in lengths),
        f"{row.seconds:.1f}",
    ]


def head(data: Columns) -> list[str]:
    """The titles of the columns."""
    titles = [*(one.title for one in data.criteria), *(one.title for one in data.measures)]
    return ["group", "method", "cases", *titles, "mean mTRE", "median mTRE", "rotation", "shift", "s"]


def write_dataset_report(folder: str | Path, data: Dataset, results: Sequence[CaseResult]) -> None:
    """Write cases.csv, summary.csv and summary.md, each whole or not at all; InputError when one cannot be."""
    folder = report_folder(folder, results)
    rows = group_rows(results, data)
    write_csv(folder / "cases.csv", results)
    titles = head(data)
    write_table(folder / "summary.csv", [dict(zip(titles, cells(row))) for row in rows])
    with replacing(folder / "summary.md") as unfinished:
        unfinished.write_text(_markdown(data, rows), encoding="utf-8")


def _markdown(data: Dataset, rows: Sequence[GroupRow]) -> str:
    titles = head(data)
    skipped = [f"- {one.what}: {one.why}" for one in data.skipped] or ["- nothing"]
    about = data.about
    return "\n".join(
        [
            f"# {about.name}",
            "",
            f"Licence of the data: {about.licence}. Cite: {about.citation}. Starts: {about.starts}.",
            "",
            table_line(titles),
            table_line(["---", "---", *["---:"] * (len(titles) - 2)]),
            *(table_line(cells(row)) for row in rows),
            "",
            "Lengths in mm, rotation in degrees; rotation, shift and seconds are medians.",
            "",
            "Left out:",
            "",
            *skipped,
            "",
        ]
    )


def _row(
    group: str, method: str, results: Sequence[CaseResult], criteria: Sequence[Criterion], measured: Sequence[str]
) -> GroupRow:
    mtre_mm = [r.mtre_mm for r in results]
    return GroupRow(
        group=group,
        method=method,
        cases=len(results),
        shares_percent=tuple(100 * float(np.mean([one.met(r) for r in results])) for one in criteria),
        measured=tuple(measured),
        mean_mm=float(np.mean(mtre_mm)),
        median_mm=float(np.median(mtre_mm)),
        rotation_deg=float(np.median([r.rotation_deg for r in results])),
        shift_mm=float(np.median([np.hypot(r.in_plane_mm, r.depth_mm) for r in results])),
        seconds=float(np.median([r.seconds for r in results])),
    )
