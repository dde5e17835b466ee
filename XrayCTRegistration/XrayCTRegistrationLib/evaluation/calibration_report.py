"""What a calibration is worth, as a table and a figure, and its coefficients."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..io.figures import figure_file
from ..io.poses import replacing
from .calibration import Calibrated
from .tables import table_line

_BINS = 6  # of the reliability plot, with as many cases in each


def markdown(result: Calibrated) -> str:
    """What the calibration is worth, its thresholds, and the weights of its features, as Markdown tables."""
    head = ("cases of", "number", "failures", '"high"', '"high" that are wrong', 'failures not "high"',
            'successes "low"', "below twice expected", "Brier score")  # fmt: skip
    lines = [table_line(head), table_line(["---", *["---:"] * (len(head) - 1)])]
    for name, worth in (("the CTs fitted on", result.fitted), (", ".join(result.test_cts), result.tested)):
        shares = (
            worth.high_wrong_percent,
            worth.failures_not_high_percent,
            worth.successes_low_percent,
            worth.within_twice_expected_percent,
        )
        cells = [str(count) for count in (worth.cases, worth.failures, worth.high)]
        cells += ["" if share is None else f"{share:.1f} %" for share in shares]
        lines.append(table_line([name, *cells, f"{worth.brier:.3f}"]))
    model = result.calibration
    lines += ["", f"A success is an error below {model.right_mm:g} mm."]
    lines += ["", f'"high" from a probability of {model.high:.3f} on, "low" below {model.low:.3f}.', ""]
    lines += [table_line(("feature", "mean", "scale", "weight", "weight of the log error"))]
    lines += [table_line(["---", *["---:"] * 4])]
    for row in zip(model.features, model.mean, model.scale, model.weights, model.error_weights):
        lines.append(table_line([row[0], *(f"{value:.3g}" for value in row[1:])]))
    lines.append(table_line(["bias", "", "", f"{model.bias:.3g}", f"{model.error_bias:.3g}"]))
    return "\n".join([*lines, ""])


def write_calibration(folder: Path, result: Calibrated) -> None:
    """Write calibration.json, calibration.md and calibration.png. Raises InputError where that cannot be done."""
    with replacing(folder / "calibration.json") as unfinished:
        unfinished.write_text(json.dumps(asdict(result.calibration), indent=2) + "\n", encoding="utf-8")
    with replacing(folder / "calibration.md") as unfinished:
        unfinished.write_text(markdown(result), encoding="utf-8")
    _write_reliability(folder / "calibration.png", result)


def _write_reliability(path: Path, result: Calibrated) -> None:
    """Draw, in bins of equally many cases, the share of successes over the mean probability, and the probabilities of
    successes and failures."""
    with figure_file(path, (9, 4.2), "evaluation") as figure:
        shares, spread = figure.subplots(1, 2)
        shares.plot([0, 1], [0, 1], color="0.75", linewidth=1)
        for part in ("fitted", "tested"):
            order = np.argsort(result.probability[part], kind="stable")
            bins = [one for one in np.array_split(order, min(_BINS, len(order))) if len(one)]
            means = [result.probability[part][one].mean() for one in bins]
            observed = np.array([result.right[part][one].mean() for one in bins])
            errors = [np.sqrt((s * (1 - s) + 0.25 / len(one)) / len(one)) for s, one in zip(observed, bins)]
            shares.errorbar(means, observed, errors, fmt="o-", capsize=3, label=part)
        shares.set(
            xlabel=f"probability of an error below {result.calibration.right_mm:g} mm",
            ylabel="share of cases",
            xlim=(0, 1),
            ylim=(-0.05, 1.05),
        )
        shares.legend(loc="upper left")
        probability, right = result.probability["tested"], result.right["tested"]
        edges = np.linspace(0, 1, 21)
        spread.hist([probability[right], probability[~right]], edges, stacked=True, label=["successes", "failures"])
        for limit in (result.calibration.low, result.calibration.high):
            spread.axvline(limit, color="0.3", linewidth=1, linestyle="--")
        spread.set(xlabel="probability, cases tested", ylabel="cases")
        spread.legend(loc="upper center")
