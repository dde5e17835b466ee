"""The tables of the robust protocol: a summary per effect, which says how far the confidence can be believed, too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..io.poses import replacing
from .case_files import write_csv, write_table
from .effects import EFFECTS
from .plot import write_errors_by_effect
from .runner import START, CaseResult
from .tables import report_folder, table_line

LEVELS = ("high", "moderate", "low")
ALL_EFFECTS = "all"


@dataclass(frozen=True)
class EffectRow:
    """One method under one effect, over all CTs, or under all effects.

    success_: cases below 10 and 2 mm true mTRE. median_mm, p95_mm: of the true mTRE, the start's where the registration
    refused. seconds: median. successes_, failures_: cases below 10 mm and the others, by the confidence they got;
    refused: cases without a pose, which are failures. within_twice_expected_percent: share of cases, of those with an
    expected error, whose true mTRE is below twice of it; None where no case has one.
    """

    effect: str
    method: str
    cases: int
    success_10mm_percent: float
    success_2mm_percent: float
    median_mm: float
    p95_mm: float
    seconds: float
    successes_high: int
    successes_moderate: int
    successes_low: int
    failures_high: int
    failures_moderate: int
    failures_low: int
    refused: int
    within_twice_expected_percent: float | None


def effect_summary(results: Sequence[CaseResult]) -> list[EffectRow]:
    """Every method under every effect, in the order in which they first appear, then under all of them."""
    effects, methods = (list(dict.fromkeys(names)) for names in zip(*((r.effect, r.method) for r in results)))
    rows = []
    for method in methods:
        for effect in (*effects, ALL_EFFECTS):
            of_both = [r for r in results if r.method == method and effect in (ALL_EFFECTS, r.effect)]
            if of_both:
                rows.append(_row(effect, method, of_both))
    return rows


def effects_markdown(rows: Sequence[EffectRow]) -> str:
    """The summary as a Markdown table, with a line on what it says. The start, everywhere the same, has one line."""
    head = ("what differs", "method", "cases", "below 10 mm", "below 2 mm", "median", "95th percentile", "seconds",
            "successes high/moderate/low", "failures high/moderate/low/refused", "below twice expected")  # fmt: skip
    lines = [table_line(head), table_line(["---", "---", *["---:"] * (len(head) - 2)])]
    for row in rows:
        if row.method == START and row.effect != ALL_EFFECTS:
            continue
        title = EFFECTS[row.effect].title if row.effect in EFFECTS else row.effect
        percents = [f"{value:.1f} %" for value in (row.success_10mm_percent, row.success_2mm_percent)]
        errors = [f"{row.median_mm:.2f}", f"{row.p95_mm:.2f}"]
        cells = [title, row.method, str(row.cases), *percents, *errors]
        lines.append(table_line([*cells, *([""] * 4 if row.method == START else _judged(row))]))
    legend = (
        "True mTRE in mm: at the bones, of a body that bent at the vertebrae. A success is below 10 mm. Seconds are "
        "medians. High, moderate, low is the confidence that was given; refused is an error message instead of a pose. "
        "The last column is the share of cases whose true mTRE is below twice the expected error."
    )
    return "\n".join([*lines, "", legend, ""])


def write_effects_report(folder: str | Path, results: Sequence[CaseResult]) -> None:
    """Write cases.csv, summary.csv, summary.md and success.png into a folder, as `tables.write_report` does."""
    folder = report_folder(folder, results)
    rows = effect_summary(results)
    write_csv(folder / "cases.csv", results)
    write_table(folder / "summary.csv", [asdict(row) for row in rows])
    with replacing(folder / "summary.md") as unfinished:
        unfinished.write_text(effects_markdown(rows), encoding="utf-8")
    write_errors_by_effect(folder / "success.png", results)


def _judged(row: EffectRow) -> list[str]:
    successes = (row.successes_high, row.successes_moderate, row.successes_low)
    failures = (row.failures_high, row.failures_moderate, row.failures_low, row.refused)
    share = row.within_twice_expected_percent
    return [f"{row.seconds:.1f}", _counts(successes), _counts(failures), "" if share is None else f"{share:.0f} %"]


def _counts(counts: Iterable[int]) -> str:
    return " / ".join(str(count) for count in counts)


def _row(effect: str, method: str, results: Sequence[CaseResult]) -> EffectRow:
    mtre = np.array([r.mtre_mm for r in results])
    levels = {
        f"{group}_{level}": sum(r.confidence == level and r.below(10) == succeeded for r in results)
        for group, succeeded in (("successes", True), ("failures", False))
        for level in LEVELS
    }
    expected = [r.mtre_mm < 2 * r.expected_error_mm for r in results if r.expected_error_mm is not None]
    return EffectRow(
        effect=effect,
        method=method,
        cases=len(results),
        success_10mm_percent=100 * float(np.mean([r.below(10) for r in results])),
        success_2mm_percent=100 * float(np.mean([r.below(2) for r in results])),
        median_mm=float(np.median(mtre)),
        p95_mm=float(np.percentile(mtre, 95)),
        seconds=float(np.median([r.seconds for r in results])),
        **levels,
        refused=sum(bool(r.error) for r in results),
        within_twice_expected_percent=100 * float(np.mean(expected)) if expected else None,
    )
