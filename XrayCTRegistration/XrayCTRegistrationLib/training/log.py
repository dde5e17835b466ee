"""The training log: a CSV row per step, and its plot."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..io.figures import figure_file

_SMOOTHED_STEPS = 50


@dataclass(frozen=True)
class StepRow:
    """One step. seconds: of training so far. rotation_cosine, translation_cosine: mean over the batch, between the
    network's pose gradient and the geodesic one. decomposition: that loss, NaN for networks without branches."""

    step: int
    seconds: float
    loss: float
    rotation_cosine: float
    translation_cosine: float
    decomposition: float
    learning_rate: float


class StepLog:
    """Appends rows to a CSV; rows from `step` on, left by a run that was interrupted after its checkpoint, go."""

    def __init__(self, path: Path, step: int) -> None:
        kept = [row for row in read_log(path) if row.step < step] if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, [field.name for field in fields(StepRow)])
        self._writer.writeheader()
        self._writer.writerows(asdict(row) for row in kept)

    def add(self, row: StepRow) -> None:
        self._writer.writerow(asdict(row))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_log(path: Path) -> list[StepRow]:
    """The rows of a log; a last line that was cut off is left out. Raises InputError when it is no training log."""
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != [field.name for field in fields(StepRow)]:
            raise InputError(f"{path}: this is no log of a training. Give the log.csv that `xrayct train` wrote.")
        for values in reader:
            try:
                rows.append(StepRow(int(values["step"]), *(float(values[f.name]) for f in fields(StepRow)[1:])))
            except (TypeError, ValueError):
                break
    return rows


def write_log_plot(path: Path, rows: list[StepRow]) -> None:
    """Draw the cosines over the steps as PNG, running means of 50 steps. Raises InputError without matplotlib."""
    with figure_file(path, (7, 4), "training") as figure:
        axes = figure.add_subplot()
        steps = np.array([row.step for row in rows])
        for name in ("rotation_cosine", "translation_cosine"):
            values = np.array([getattr(row, name) for row in rows])
            width = max(1, min(_SMOOTHED_STEPS, len(values)))
            smooth = np.convolve(values, np.ones(width) / width, mode="valid")
            axes.plot(steps[width - 1 :], smooth, label=name.replace("_", " "))
        axes.set(xlabel="step", ylabel="cosine to the geodesic direction", ylim=(-0.1, 1))
        axes.grid(True, color="0.93")
        axes.legend(loc="lower right")
