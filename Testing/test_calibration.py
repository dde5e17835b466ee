"""The calibration of confidence: the fits find what their data was drawn from, and keep what the thresholds promise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from XrayCTRegistrationLib.calibrated import Calibration, feature_values, logistic, read_calibration
from XrayCTRegistrationLib.cli import app
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.evaluation.bones_protocol import BoneRow
from XrayCTRegistrationLib.evaluation.calibration import FEATURES, calibrate, fitted, logistic_fit, thresholds
from XrayCTRegistrationLib.evaluation.calibration_report import markdown, write_calibration
from XrayCTRegistrationLib.evaluation.case_files import case_columns, read_csv, write_csv, write_table
from XrayCTRegistrationLib.evaluation.runner import START, CaseResult

NAMES = ("alike", "uncertainty_mm")
MODEL = Calibration(NAMES, (0.5, 0.0), (0.25, 2.0), (2.0, -1.0), 0.5, (-1.0, 0.5), 0.25, high=0.9, low=0.2)


def made_up(ct: str, case: int, mtre_mm: float, evidence: dict[str, float], method: str = "auto") -> CaseResult:
    return CaseResult(
        ct, case, method, mtre_mm, mtre_mm, mtre_mm, 0.0, 0.0, 0.0, 0.9, "high", 1.0, "rods", 1.0, evidence
    )


def drawn(count: int, seed: int) -> list[CaseResult]:
    """Cases of four CTs whose errors follow evidence: alike ones are right, the more the surer, others 100 mm off."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        evidence = {name: float(rng.uniform()) for name in FEATURES}
        right = rng.random() < logistic(np.array(20 * (evidence["inlying"] - 0.4)))
        error = np.exp(rng.normal(0, 0.3) - 2 * evidence["agreement"]) * (1.0 if right else 100.0)
        rows.append(made_up(f"{'abcd'[number % 4]}.nii.gz", number, float(error), evidence))
    return rows


# --- the models


def test_probability_and_expected_error_are_the_formula_on_standardised_features() -> None:
    evidence = {"alike": 0.75, "uncertainty_mm": np.e**4, "unused": 9.0}  # one deviation up, and two
    assert MODEL.probability(evidence) == pytest.approx(1 / (1 + np.exp(-(2.0 - 2.0 + 0.5))))
    assert MODEL.expected_error_mm(evidence) == pytest.approx(np.exp(-1.0 + 1.0 + 0.25))


def test_what_is_not_known_counts_as_the_mean_and_nothing_for_more_than_four_deviations() -> None:
    mean = {"alike": 0.5, "uncertainty_mm": 1.0}
    assert MODEL.probability(mean | {"alike": np.nan}) == MODEL.probability(mean)
    assert MODEL.probability(mean | {"alike": 1e9}) == MODEL.probability(mean | {"alike": 0.5 + 4 * 0.25})
    assert MODEL.probability(mean | {"uncertainty_mm": 0.0}) == MODEL.probability(
        mean | {"uncertainty_mm": np.exp(-8.0)}
    )


def test_lengths_enter_as_logarithms_and_other_features_as_they_are() -> None:
    np.testing.assert_allclose(feature_values({"uncertainty_mm": 2.0, "alike": 2.0}, NAMES), [2.0, np.log(2.0)])


@pytest.mark.parametrize(
    ("probability", "level"), [(0.9, "high"), (0.89, "moderate"), (0.2, "moderate"), (0.19, "low")]
)
def test_levels_begin_at_their_thresholds(probability: float, level: str) -> None:
    assert MODEL.level(probability) == level


# --- the fits


def test_the_logistic_fit_finds_the_coefficients_its_outcomes_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    x, weights, bias = rng.standard_normal((20_000, 3)), np.array([1.5, -0.7, 0.0]), 0.4
    right = rng.random(len(x)) < logistic(x @ weights + bias)
    found, found_bias = logistic_fit(x, right, np.zeros(3))
    # The information matrix gives standard errors of 0.02 to 0.03 here; four of them.
    np.testing.assert_allclose([*found, found_bias], [*weights, bias], atol=0.12)


def test_a_fit_to_outcomes_that_can_be_told_exactly_stays_finite_and_tells_them() -> None:
    x = np.linspace(-1, 1, 40)[:, None]
    weights, bias = logistic_fit(x, x[:, 0] > 0, np.zeros(1))
    assert 1 < weights[0] < 100
    assert ((x[:, 0] * weights[0] + bias > 0) == (x[:, 0] > 0)).all()


def test_where_cases_say_nothing_a_feature_keeps_what_is_known_before() -> None:
    x = np.zeros((30, 2))
    weights, _ = logistic_fit(x, np.arange(30) < 15, np.array([1.0, -1.0]))
    np.testing.assert_allclose(weights, [1.0, -1.0])


def test_the_expected_error_follows_the_evidence_and_most_errors_lie_below_twice_of_it() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((4000, 2))
    errors = np.exp(1.0 + 2.0 * values[:, 0] + rng.normal(0, 0.5, len(values)))
    model = fitted(values, errors, ("a", "b"))
    assert model.error_weights[0] / model.scale[0] == pytest.approx(2.0, abs=0.05)  # 4000 errors: good to 0.008
    assert model.error_weights[1] / model.scale[1] == pytest.approx(0.0, abs=0.05)
    expected = np.array([model.expected_error_mm({"a": a, "b": b}) for a, b in values])
    assert (errors < 2 * expected).mean() == pytest.approx(0.88, abs=0.01)
    # log(2 expected) lies the quantile 0.88 of the noise, 1.175 of its deviation 0.5, above its mean.
    middle = model.expected_error_mm({"a": 0.0, "b": 0.0})
    assert middle == pytest.approx(np.exp(1.0 + 0.588) / 2, rel=0.05)


def test_thresholds_keep_their_shares_on_the_cases_they_were_chosen_on() -> None:
    rng = np.random.default_rng(2)
    probability = rng.uniform(size=2000)
    right = rng.random(2000) < probability
    high, low = thresholds(probability, right)
    called = probability >= high
    assert called.sum() > 20
    assert (~right[called]).mean() <= 0.02
    assert called[~right].mean() <= 0.05
    assert 0 < (probability[right] < low).mean() <= 0.05
    assert low <= high


def test_nothing_is_high_where_the_surest_pose_is_wrong() -> None:
    probability = np.linspace(0.1, 1.0, 30)
    right = np.arange(30) < 20
    high, low = thresholds(probability, right)
    assert high > 1.0
    assert low <= probability[0]


def test_too_few_failures_are_refused_with_how_many_are_needed() -> None:
    errors = np.where(np.arange(100) < 9, 50.0, 1.0)
    with pytest.raises(InputError, match=r"91 cases below 10 mm and 9 others.*at least 10 of each"):
        fitted(np.zeros((100, 2)), errors, NAMES)


# --- a calibration of tables


def test_a_calibration_is_fitted_to_some_cts_and_keeps_its_promises_on_others() -> None:
    result = calibrate(drawn(1600, 0), ["c", "d.nii.gz"])
    assert result.test_cts == ("c.nii.gz", "d.nii.gz")
    assert (result.fitted.cases, result.tested.cases) == (800, 800)
    assert result.tested.high > 200
    assert result.tested.high_wrong_percent <= 2
    assert result.tested.failures_not_high_percent >= 95
    assert result.tested.successes_low_percent <= 5
    assert result.tested.within_twice_expected_percent >= 80
    assert np.argmax(np.abs(result.calibration.weights)) == FEATURES.index("inlying")
    assert np.argmin(result.calibration.error_weights) in (FEATURES.index("inlying"), FEATURES.index("agreement"))


def test_the_tested_cases_take_no_part_in_the_fit() -> None:
    rows = drawn(400, 1)
    other = [replace(row, mtre_mm=300.0 - row.mtre_mm) if row.ct == "d.nii.gz" else row for row in rows]
    one, two = calibrate(rows, ["d"]), calibrate(other, ["d"])
    assert one.calibration == two.calibration
    assert one.tested != two.tested


def test_starts_and_refused_cases_take_no_part() -> None:
    rows = drawn(400, 2)
    more = [made_up("a.nii.gz", 0, 500.0, {}, START), replace(rows[0], error="refused", evidence={})]
    assert calibrate([*rows, *more], ["d"]).calibration == calibrate(rows, ["d"]).calibration


@pytest.mark.parametrize(
    ("test_cts", "message"),
    [
        (["e"], r"no case of the CT e.*a\.nii\.gz, b\.nii\.gz"),
        ([], "no CT to test"),
        (["a", "b", "c", "d"], "to fit to"),
    ],
)
def test_cts_that_leave_nothing_to_fit_or_to_test_are_told(test_cts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibrate(drawn(80, 3), test_cts)


def test_a_table_without_the_evidence_is_told_with_the_case_and_the_names() -> None:
    rows = drawn(80, 4)
    rows[7] = replace(rows[7], evidence={name: 0.0 for name in FEATURES if name != "agreement"})
    with pytest.raises(InputError, match=r"d\.nii\.gz, case 7 rods.*named agreement"):
        calibrate(rows, ["d"])


# --- its files


def test_the_written_coefficients_are_read_back_and_the_table_says_what_they_are_worth(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot is of the evaluation extra")
    result = calibrate(drawn(400, 5), ["d"])
    write_calibration(tmp_path, result)
    assert read_calibration(tmp_path / "calibration.json") == result.calibration
    text = (tmp_path / "calibration.md").read_text(encoding="utf-8")
    assert text == markdown(result)
    tested = next(line for line in text.splitlines() if line.startswith("| d.nii.gz"))
    assert f"| {result.tested.cases} | {result.tested.failures} | {result.tested.high} |" in tested
    assert all(f"| {name} |" in text for name in FEATURES)
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no calibration"),
        ("[]", "no calibration"),
        ('{"bias": 1}', "no calibration"),
        ("lists", "differ in length"),
    ],
)
def test_a_file_that_is_no_calibration_is_told_by_its_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(json.dumps(vars(MODEL) | {"mean": [0.5]}) if text == "lists" else text)
    with pytest.raises(InputError, match=rf"some\.json: .*{message}"):
        read_calibration(path)


def test_the_command_reads_several_tables_and_writes_the_calibration(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot is of the evaluation extra")
    rows = drawn(400, 6)
    for name, part in (("one.csv", rows[:200]), ("two.csv", rows[200:])):
        write_csv(tmp_path / name, part)
    paths = [str(tmp_path / name) for name in ("one.csv", "two.csv")]
    result = CliRunner().invoke(app, ["calibrate", *paths, "--test-cts", "c, d", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert read_calibration(tmp_path / "out" / "calibration.json") == calibrate(rows, ["c", "d"]).calibration
    assert "200, " in result.output
    absent = CliRunner().invoke(app, ["calibrate", "no.csv", "--test-cts", "c", "-o", str(tmp_path / "out")])
    assert absent.exit_code == 2


def test_tables_of_the_other_kind_are_told_with_the_option(tmp_path: Path) -> None:
    of_bones = BoneRow("a.nii.gz", 0, 1, "L4", True, 3.0, 2.0, 1.0, 0.5, 0.9, 2.0, 1.0)
    write_table(tmp_path / "bones.csv", [case_columns(of_bones)])
    write_csv(tmp_path / "cases.csv", [made_up("a.nii.gz", 0, 1.0, {})])
    with pytest.raises(InputError, match=r"bones\.csv: this is a table of bones\. Say so with --bones"):
        read_csv(tmp_path / "bones.csv", CaseResult)
    with pytest.raises(InputError, match=r"cases\.csv: this is a table of CTs in one piece\. Leave out --bones"):
        read_csv(tmp_path / "cases.csv", BoneRow)
    assert read_csv(tmp_path / "bones.csv", BoneRow) == [of_bones]
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"other\.csv: this is not the bones\.csv of an evaluation of bones"):
        read_csv(tmp_path / "other.csv", BoneRow)
