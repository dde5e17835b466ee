"""The table of the bones' protocol: where bones were found, beside where one pose for the whole CT has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..io.poses import replacing
from .bones_protocol import BoneRow
from .case_files import case_columns, write_table
from .tables import report_folder, table_line

FILES = ("bones.csv", "summary.csv", "summary.md")


@dataclass(frozen=True)
class BonesSummary:
    """The bones that the X-rays show of all cases of one CT, seen in one or two X-rays.

    cases, bones: how many, and elsewhere how many more bones there are that some X-ray does not show. Each error is its
    median and 90th percentile, mm: of the pose of the CT in one piece (whole_), and of the bones' own. factor: by which
    the bones' own median is smaller. seconds: medians, of the whole, and of all bones of a case beyond it.
    """

    ct: str
    views: int
    cases: int
    bones: int
    elsewhere: int
    whole_mm: tuple[float, float]
    error_mm: tuple[float, float]
    whole_in_plane_mm: tuple[float, float]
    in_plane_mm: tuple[float, float]
    factor: float
    in_plane_factor: float
    whole_seconds: float
    seconds: float


def bones_summary(rows: Sequence[BoneRow]) -> list[BonesSummary]:
    """Every CT seen in every number of X-rays, in the order in which they first appear."""
    return [
        _summary([row for row in rows if (row.ct, row.views) == key])
        for key in dict.fromkeys((row.ct, row.views) for row in rows)
    ]


def _summary(rows: Sequence[BoneRow]) -> BonesSummary:
    shown = [row for row in rows if row.in_field]
    whole, error, whole_in_plane, in_plane = (
        _median_and_p90([getattr(row, name) for row in shown])
        for name in ("whole_mm", "error_mm", "whole_in_plane_mm", "in_plane_mm")
    )
    by_case = {row.case: row for row in rows}.values()
    return BonesSummary(
        ct=rows[0].ct,
        views=rows[0].views,
        cases=len(by_case),
        bones=len(shown),
        elsewhere=len(rows) - len(shown),
        whole_mm=whole,
        error_mm=error,
        whole_in_plane_mm=whole_in_plane,
        in_plane_mm=in_plane,
        factor=_factor(whole[0], error[0]),
        in_plane_factor=_factor(whole_in_plane[0], in_plane[0]),
        whole_seconds=float(np.median([row.whole_seconds for row in by_case])),
        seconds=float(np.median([row.seconds for row in by_case])),
    )


def _median_and_p90(values_mm: Sequence[float]) -> tuple[float, float]:
    """NaN where there are none."""
    if not values_mm:
        return math.nan, math.nan
    median, p90 = np.percentile(values_mm, (50, 90))
    return float(median), float(p90)


def _factor(whole_mm: float, own_mm: float) -> float:
    return whole_mm / own_mm if own_mm else math.inf


def head() -> tuple[str, ...]:
    """The columns of `cells`."""
    return ("CT", "X-rays", "cases", "bones", "whole CT", "each bone", "factor", "whole CT, in plane",
            "each bone, in plane", "factor", "seconds, whole", "seconds, bones")  # fmt: skip


def cells(row: BonesSummary) -> list[str]:
    """A row of the summary as text."""
    return [
        row.ct,
        str(row.views),
        str(row.cases),
        str(row.bones),
        _spread(row.whole_mm),
        _spread(row.error_mm),
        f"{row.factor:.1f}",
        _spread(row.whole_in_plane_mm),
        _spread(row.in_plane_mm),
        f"{row.in_plane_factor:.1f}",
        f"{row.whole_seconds:.1f}",
        f"{row.seconds:.1f}",
    ]


def bones_markdown(rows: Sequence[BonesSummary]) -> str:
    """The summary as a Markdown table, with a line on what it says."""
    titles = head()
    lines = [table_line(titles), table_line(["---", *["---:"] * (len(titles) - 1)])]
    lines += [table_line(cells(row)) for row in rows]
    legend = (
        "Mean distance of a bone's points from where they truly stand, mm: median and 90th percentile over the bones "
        "of which every X-ray shows at least half. In plane: across the first X-ray's rays. Whole CT: where one pose "
        "for the CT in one piece has the same bones. Seconds are medians of a case; those of the bones are of all of "
        "them, those outside the field included, and come on top of the whole's."
    )
    return "\n".join([*lines, "", legend, ""])


def write_bones_report(folder: str | Path, rows: Sequence[BoneRow]) -> None:
    """Write bones.csv, a row per bone, summary.csv and summary.md into a folder, made where it is missing.

    Each file appears whole or not at all. Raises InputError when a file cannot be written.
    """
    folder = report_folder(folder, rows)
    summary = bones_summary(rows)
    write_table(folder / "bones.csv", [case_columns(row) for row in rows])
    write_table(folder / "summary.csv", [_flat(row) for row in summary])
    with replacing(folder / "summary.md") as unfinished:
        unfinished.write_text(bones_markdown(summary), encoding="utf-8")


def _flat(row: BonesSummary) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in asdict(row).items():
        if isinstance(value, tuple):
            stem = name.removesuffix("_mm")
            flat[f"{stem}_median_mm"], flat[f"{stem}_p90_mm"] = value
        else:
            flat[name] = value
    return flat


def _spread(median_and_p90: tuple[float, float]) -> str:
    median, p90 = median_and_p90
    return f"{median:.2f} / {p90:.2f}"
