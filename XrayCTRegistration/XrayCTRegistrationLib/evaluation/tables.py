"""The tables of the seed's protocol: a summary per CT and method, as CSV and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..io.poses import replacing
from .case_files import write_csv, write_table
from .plot import write_success_curves
from .runner import CaseResult

ALL_CTS = "all"


@dataclass(frozen=True)
class Row:
    """One method on one CT, or on all of them.

    top95_mm, top75_mm, top50_mm: mean and standard deviation of the best 95, 75, 50 % of the true mTRE; seed_ likewise
    of the seed's mTRE. p95_mm: 95th percentile. success_: cases below 10 and 2 mm true mTRE. Medians of all else.
    """

    ct: str
    method: str
    cases: int
    top95_mm: tuple[float, float]
    top75_mm: tuple[float, float]
    top50_mm: tuple[float, float]
    median_mm: float
    p95_mm: float
    success_10mm_percent: float
    success_2mm_percent: float
    seed_top95_mm: tuple[float, float]
    seed_top75_mm: tuple[float, float]
    seed_top50_mm: tuple[float, float]
    mrpd_mm: float
    rotation_deg: float
    in_plane_mm: float
    depth_mm: float
    seconds: float


def summary(results: Sequence[CaseResult]) -> list[Row]:
    """Every method over all CTs, then every method on each CT, in the order in which they first appear."""
    cts, methods = (list(dict.fromkeys(names)) for names in zip(*((r.ct, r.method) for r in results)))
    rows = []
    for ct in (ALL_CTS, *cts):
        for method in methods:
            of_both = [r for r in results if r.method == method and ct in (ALL_CTS, r.ct)]
            if of_both:
                rows.append(_row(ct, method, of_both))
    return rows


def top(values_mm: np.ndarray, percent: int) -> tuple[float, float]:
    """Mean and standard deviation of the lowest `percent` of the values (N,), rounded down to whole cases, at least
    one."""
    best = np.sort(values_mm)[: max(1, len(values_mm) * percent // 100)]
    return float(best.mean()), float(best.std())


def markdown(rows: Sequence[Row]) -> str:
    """The summary as a Markdown table, with a line on what it says."""
    head = (
        "CT", "method", "cases", "mTRE top 95 %", "top 75 %", "top 50 %", "median", "95th percentile", "below 10 mm",
        "below 2 mm", "seed mTRE top 95 %", "seed top 75 %", "seed top 50 %", "mRPD", "rotation", "in-plane", "depth",
        "seconds",
    )  # fmt: skip
    lines = [table_line(head), table_line(["---", "---", *["---:"] * (len(head) - 2)])]
    for row in rows:
        tops = [f"{mean:.2f} ± {deviation:.2f}" for mean, deviation in (row.top95_mm, row.top75_mm, row.top50_mm)]
        seed = [
            f"{mean:.1f} ± {deviation:.1f}"
            for mean, deviation in (row.seed_top95_mm, row.seed_top75_mm, row.seed_top50_mm)
        ]
        percents = [f"{value:.1f} %" for value in (row.success_10mm_percent, row.success_2mm_percent)]
        medians = [f"{value:.2f}" for value in (row.mrpd_mm, row.rotation_deg, row.in_plane_mm, row.depth_mm)]
        names = [row.ct.replace("|", r"\|"), row.method, str(row.cases)]
        spread = [f"{row.median_mm:.2f}", f"{row.p95_mm:.2f}"]
        lines.append(table_line([*names, *tops, *spread, *percents, *seed, *medians, f"{row.seconds:.1f}"]))
    legend = (
        "Lengths in mm, rotation in degrees. Top X % is mean ± standard deviation of the best X % of the cases. mRPD, "
        "rotation, in-plane, depth and seconds are medians. Success counts true mTRE; the seed's mTRE holds the same "
        "points at the lever arm of the X-ray source."
    )
    return "\n".join([*lines, "", legend, ""])


def write_summary_csv(path: Path, rows: Sequence[Row]) -> None:
    """A row per CT and method. Raises InputError when the file cannot be written."""
    write_table(path, [_flat(row) for row in rows])


def write_markdown(path: Path, rows: Sequence[Row]) -> None:
    """The table of `markdown`. Raises InputError when the file cannot be written."""
    with replacing(path) as unfinished:
        unfinished.write_text(markdown(rows), encoding="utf-8")


def write_report(folder: str | Path, results: Sequence[CaseResult]) -> None:
    """Write cases.csv, summary.csv, summary.md and success.png into a folder, made where it is missing.

    Each file appears whole or not at all. Raises InputError when there are no results, when a file cannot be written,
    and, after the tables, when matplotlib is missing.
    """
    folder = report_folder(folder, results)
    rows = summary(results)
    write_csv(folder / "cases.csv", results)
    write_summary_csv(folder / "summary.csv", rows)
    write_markdown(folder / "summary.md", rows)
    write_success_curves(folder / "success.png", results)


def report_folder(folder: str | Path, results: Sequence[object]) -> Path:
    """The folder, made where it is missing. Raises InputError when it cannot be made, or when there are no results."""
    if not results:
        raise InputError("There are no results to report. Run at least one case.")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be made ({error.strerror}). Choose another.") from None
    return Path(folder)


def _row(ct: str, method: str, results: Sequence[CaseResult]) -> Row:
    mtre, seed = (np.array([getattr(r, name) for r in results]) for name in ("mtre_mm", "seed_mtre_mm"))
    medians = {
        name: float(np.median([getattr(r, name) for r in results]))
        for name in ("mrpd_mm", "rotation_deg", "in_plane_mm", "depth_mm", "seconds")
    }
    return Row(
        ct=ct,
        method=method,
        cases=len(results),
        top95_mm=top(mtre, 95),
        top75_mm=top(mtre, 75),
        top50_mm=top(mtre, 50),
        median_mm=float(np.median(mtre)),
        p95_mm=float(np.percentile(mtre, 95)),
        success_10mm_percent=100 * float(np.mean([r.below(10) for r in results])),
        success_2mm_percent=100 * float(np.mean([r.below(2) for r in results])),
        seed_top95_mm=top(seed, 95),
        seed_top75_mm=top(seed, 75),
        seed_top50_mm=top(seed, 50),
        **medians,
    )


def _flat(row: Row) -> dict[str, object]:
    """A summary row by column names, every mean and standard deviation a column of its own."""
    flat: dict[str, object] = {}
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, tuple):
            stem = field.name.removesuffix("_mm")
            flat[f"{stem}_mean_mm"], flat[f"{stem}_std_mm"] = value
        else:
            flat[field.name] = value
    return flat


def table_line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"
