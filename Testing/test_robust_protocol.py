"""The robust protocol as it runs: rows for each effect, refusals, runs that go on, and what its tables say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner
from XrayCTRegistrationLib.cli import app
from XrayCTRegistrationLib.confidence import Confidence, Evidence
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.evaluation import runner
from XrayCTRegistrationLib.evaluation.case_files import begin_record, read_csv, record, recorded, write_csv
from XrayCTRegistrationLib.evaluation.effects import EFFECTS
from XrayCTRegistrationLib.evaluation.robust_tables import (
    ALL_EFFECTS,
    effect_summary,
    effects_markdown,
    write_effects_report,
)
from XrayCTRegistrationLib.evaluation.runner import START, CaseResult, evaluate
from XrayCTRegistrationLib.evaluation.tables import summary
from XrayCTRegistrationLib.io.volumes import write_ct
from XrayCTRegistrationLib.registration import RegistrationResult
from XrayCTRegistrationLib.volume import Volume
from XrayCTRegistrationLib.xray import Meaning, Polarity

EFFECTS_RUN = ["cut", "none"]
SETTINGS = {"protocol": "robust", "seed": 3}


def made_up(case: int, mtre_mm: float, level: str = "high", effect: str = "rods", method: str = "auto") -> CaseResult:
    return CaseResult(
        "a.nii.gz", case, method, mtre_mm, 0.0, 0.0, 0.0, 0.0, 0.0, 0.9, level, 7.0, effect, 0.5, {"explained": 0.25}
    )


def refused(case: int, mtre_mm: float) -> CaseResult:
    return replace(made_up(case, mtre_mm, ""), similarity=None, expected_error_mm=None, evidence={}, error="Too dark.")


@pytest.fixture(scope="module")
def ct_path(tmp_path_factory) -> Path:
    """A body with a few dense balls, 40 x 40 x 60 voxels of 3 mm."""
    grid = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (60, 40, 40)), indexing="ij"), axis=-1)
    array = np.where(((grid / [40, 15, 18]) ** 2).sum(axis=-1) < 1, 20, -1000).astype(np.int16)
    for middle in np.random.default_rng(0).uniform(-12, 12, (9, 3)):
        array[((grid - middle) ** 2).sum(axis=-1) < 9] = 900
    path = tmp_path_factory.mktemp("cts") / "body.nii.gz"
    write_ct(path, Volume(array, np.diag([3.0, 3.0, 3.0, 1.0])))
    return path


def stays(ct, radiographs, views, start, settings, masks=None) -> RegistrationResult:
    """A registration that ends where it began, where only the rows matter."""
    evidence = Evidence(0.1, 0.5, 1.0, 0.0, 0.5, 3.0)
    confidence = Confidence("low", "nothing was tried", 0.1, 3.0)
    return RegistrationResult(
        pose=start,
        start=start,
        similarity_before=0.1,
        similarity=0.1,
        moved_deg=0.0,
        moved_mm=0.0,
        confidence=confidence,
        evidence=evidence,
        kept_start=True,
        meanings=(Meaning(Polarity.DARK, False),),
        seconds={},
    )


@pytest.fixture(scope="module")
def rows(ct_path) -> list[CaseResult]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "register", stays)
        return evaluate([ct_path], 2, ["gradient"], seed=3, effects=EFFECTS_RUN)


# --- running it


def test_rows_come_by_case_effect_and_method_as_given(rows) -> None:
    keys = [(row.case, row.effect, row.method) for row in rows]
    assert keys == [(n, effect, method) for n in range(2) for effect in EFFECTS_RUN for method in (START, "gradient")]


def test_every_effect_starts_alike_and_the_cut_ct_is_what_the_registration_gets(ct_path, rows, monkeypatch) -> None:
    starts = {(row.case, row.mtre_mm) for row in rows if row.method == START}
    assert len({case for case, _ in starts}) == 2
    assert all(abs(a - b) < 1e-9 for case_a, a in starts for case_b, b in starts if case_a == case_b)
    slices = []

    def seen(ct, radiographs, views, start, settings, masks):
        slices.append(ct.size[2])
        raise InputError("enough")

    monkeypatch.setattr(runner, "register", seen)
    evaluate([ct_path], 1, ["gradient"], effects=EFFECTS_RUN)
    assert slices == [52, 60]  # 160 of 180 mm: 53 slices, of which as many must go from both ends


def test_a_refusal_is_a_row_with_its_message_the_starts_errors_and_a_failure(ct_path, monkeypatch) -> None:
    def refuses(*arguments):
        raise InputError("Next to nothing can be compared.")

    monkeypatch.setattr(runner, "register", refuses)
    start, row = evaluate([ct_path], 1, ["auto"], effects=["rods"])
    assert row.error == "Next to nothing can be compared."
    assert (row.mtre_mm, row.confidence, row.similarity) == (start.mtre_mm, "", None)
    assert not replace(row, mtre_mm=0.1).below(10)
    assert replace(row, mtre_mm=0.1, error="").below(10)


def test_a_device_that_is_not_there_is_told_once_and_is_no_row(ct_path, monkeypatch) -> None:
    monkeypatch.setattr(runner, "_rows", lambda task: pytest.fail("work began"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA GPU"):
        evaluate([ct_path], 1, ["auto"], device="cuda", effects=["rods"])


def test_what_a_result_holds_as_evidence_comes_into_the_row() -> None:
    @dataclass(frozen=True)
    class Evidence:
        explained: float
        hessian_mm: float

    assert runner._evidence_columns(SimpleNamespace(evidence=Evidence(0.5, 2.0))) == {
        "explained": 0.5,
        "hessian_mm": 2.0,
    }
    assert runner._evidence_columns(SimpleNamespace()) == {}


@pytest.mark.parametrize(
    ("effects", "message"), [(["fog"], r"no effect 'fog'.*none, scatter"), (["cut", "cut"], "effect is named twice")]
)
def test_effects_that_cannot_be_run_are_told_before_any_work(ct_path, monkeypatch, effects, message) -> None:
    monkeypatch.setattr(runner, "_rows", lambda task: pytest.fail("work began"))
    with pytest.raises(InputError, match=message):
        evaluate([ct_path], 1, ["auto"], effects=effects)


def test_cases_that_are_known_are_not_run_again_but_stand_in_the_table(ct_path, rows, monkeypatch) -> None:
    run = []
    monkeypatch.setattr(runner, "_rows", lambda task: run.append(task.key) or [made_up(task.number, 1.0)])
    known = [row for row in rows if (row.case, row.effect) != (1, "cut")]
    found = evaluate([ct_path], 2, ["gradient"], seed=3, effects=EFFECTS_RUN, known=known)
    assert run == [("body.nii.gz", 1, "cut")]
    assert [row for row in found if row in known] == known
    run.clear()
    evaluate([ct_path], 2, ["gradient", "auto"], seed=3, effects=EFFECTS_RUN, known=rows)
    assert len(run) == 4  # another method is wanted, too


# --- files


def test_a_table_of_cases_is_read_as_it_was_written(tmp_path) -> None:
    written = [
        made_up(0, 1 / 3),
        refused(1, 50.0),
        replace(made_up(2, 800.0), evidence={"explained": 1.0, "other": 2.0}),
    ]
    write_csv(tmp_path / "cases.csv", written)
    assert read_csv(tmp_path / "cases.csv", CaseResult) == written


@pytest.mark.parametrize("text", ["ct,case\na,1\n", "ct,case,method\na,b,c\n", "\x00\n\x00"])
def test_a_file_that_is_no_table_of_cases_is_told_by_its_name(tmp_path, text) -> None:
    (tmp_path / "some.csv").write_text(text)
    with pytest.raises(InputError, match=r"some\.csv: this is not the cases\.csv"):
        read_csv(tmp_path / "some.csv", CaseResult)
    with pytest.raises(InputError, match=r"absent\.csv: cannot be read"):
        read_csv(tmp_path / "absent.csv", CaseResult)


def test_a_record_gives_back_whole_cases_and_leaves_out_one_that_was_cut_off(tmp_path) -> None:
    path = tmp_path / "cases.jsonl"
    assert recorded(path, SETTINGS, CaseResult) == []
    begin_record(path, SETTINGS)
    record(path, [made_up(0, 1.0, method=START), made_up(0, 0.1)])
    record(path, [refused(1, 50.0)])
    assert recorded(path, SETTINGS, CaseResult) == [made_up(0, 1.0, method=START), made_up(0, 0.1), refused(1, 50.0)]
    path.write_text(path.read_text()[:-30])
    known = recorded(path, SETTINGS, CaseResult)
    assert known == [made_up(0, 1.0, method=START), made_up(0, 0.1)]
    begin_record(path, SETTINGS, known)  # so that a next case does not continue the torn line
    record(path, [made_up(2, 2.0)])
    assert recorded(path, SETTINGS, CaseResult) == [*known, made_up(2, 2.0)]


def test_a_record_of_other_settings_or_none_is_refused(tmp_path) -> None:
    path = tmp_path / "cases.jsonl"
    begin_record(path, SETTINGS)
    with pytest.raises(InputError, match=r"cases\.jsonl: .*seed 3, not 4"):
        recorded(path, SETTINGS | {"seed": 4}, CaseResult)
    path.write_text("{}\nno json\n")
    with pytest.raises(InputError, match="damaged"):
        recorded(path, {}, CaseResult)


# --- tables


def test_the_summary_counts_levels_among_successes_and_failures_and_refusals_as_failures() -> None:
    results = [
        made_up(0, 0.9), made_up(1, 3.0, "moderate"), made_up(2, 9.9, "low"), made_up(3, 40.0, "high"),
        made_up(4, 50.0, "low"), refused(5, 0.5), made_up(6, 1.0, effect="cut"), made_up(0, 60.0, "", method=START),
    ]  # fmt: skip
    found = {(row.effect, row.method): row for row in effect_summary(results)}
    assert list(found) == [
        ("rods", "auto"),
        ("cut", "auto"),
        (ALL_EFFECTS, "auto"),
        ("rods", START),
        (ALL_EFFECTS, START),
    ]
    row = found["rods", "auto"]
    assert (row.cases, row.refused) == (6, 1)
    assert (row.successes_high, row.successes_moderate, row.successes_low) == (1, 1, 1)
    assert (row.failures_high, row.failures_moderate, row.failures_low) == (1, 0, 1)
    assert row.success_10mm_percent == 50
    assert row.success_2mm_percent == pytest.approx(100 / 6)
    assert row.median_mm == pytest.approx((3.0 + 9.9) / 2)
    assert row.within_twice_expected_percent == pytest.approx(20)  # 0.9 of five; twice the expected error is 1 mm
    assert found[ALL_EFFECTS, "auto"].cases == 7
    assert found["rods", START].failures_high == 0


def test_a_refused_case_is_no_success_in_the_seeds_table_either() -> None:
    row = summary([refused(0, 0.5), made_up(1, 0.5)])[0]
    assert (row.success_10mm_percent, row.success_2mm_percent) == (50, 50)


def test_markdown_names_what_differs_and_shows_the_start_once() -> None:
    methods = [(effect, method) for effect in ("rods", "cut") for method in (START, "auto")]
    rows = effect_summary([made_up(0, 3.0, "low", effect, method) for effect, method in methods])
    lines = [line for line in effects_markdown(rows).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "all", EFFECTS["rods"].title, EFFECTS["cut"].title, "all",
    ]  # fmt: skip
    assert "| 100.0 % | 0.0 % | 3.00 | 3.00 | 7.0 | 0 / 0 / 1 | 0 / 0 / 0 / 0 | 0 % |" in lines[3]


def test_the_report_holds_the_tables_and_a_figure(tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="the plot is of the evaluation extra")
    results = [made_up(0, 60.0, "", method=START), made_up(0, 0.1), refused(1, 30.0)]
    write_effects_report(tmp_path / "new", results)
    assert read_csv(tmp_path / "new" / "cases.csv", CaseResult) == results
    assert (tmp_path / "new" / "summary.md").read_text(encoding="utf-8") == effects_markdown(effect_summary(results))
    assert len((tmp_path / "new" / "summary.csv").read_text().splitlines()) == 1 + len(effect_summary(results))
    assert (tmp_path / "new" / "success.png").read_bytes().startswith(b"\x89PNG")


# --- the command


def test_the_command_runs_chosen_effects_and_goes_on_after_the_cases_it_has(ct_path, tmp_path, monkeypatch) -> None:
    pytest.importorskip("matplotlib", reason="the plot is of the evaluation extra")
    arguments = ["evaluate", "--protocol", "robust", "--ct", str(ct_path), "--cases", "1", "--method", "gradient"]
    arguments += ["-o", str(tmp_path / "out")]
    first = CliRunner().invoke(app, [*arguments, "--effect", "none"])
    assert first.exit_code == 0, first.output
    before = read_csv(tmp_path / "out" / "cases.csv", CaseResult)
    simulated = []
    case = runner.disagreeing_case
    monkeypatch.setattr(runner, "disagreeing_case", lambda *given: simulated.append(given[3]) or case(*given))
    second = CliRunner().invoke(app, [*arguments, "--effect", "none", "--effect", "cut", "--resume"])
    assert second.exit_code == 0, second.output
    assert simulated == ["cut"]
    after = read_csv(tmp_path / "out" / "cases.csv", CaseResult)
    assert repr(after[:2]) == repr(before)  # seconds and all; as text, since a NaN equals nothing
    assert [row.effect for row in after] == ["none", "none", "cut", "cut"]
    recorded_before = (tmp_path / "out" / "cases.jsonl").read_text()
    for wrong, message in ((["--resume", "--seed", "1"], "other settings"), (["--effect", "fog"], "no effect 'fog'")):
        other = CliRunner().invoke(app, [*arguments, *wrong])
        assert other.exit_code == 2
        assert message in other.output
        assert (tmp_path / "out" / "cases.jsonl").read_text() == recorded_before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--effect", "cut"], "--protocol robust"),
        (["--protocol", "robust", "--realistic"], "--effect hard"),
        (["--protocol", "robust", "--effect", "fog"], "no effect 'fog'"),
    ],
)
def test_options_that_do_not_go_together_are_told(ct_path, tmp_path, arguments, message) -> None:
    pytest.importorskip("matplotlib", reason="the plot is of the evaluation extra")
    result = CliRunner().invoke(app, ["evaluate", "--ct", str(ct_path), "-o", str(tmp_path), *arguments])
    assert result.exit_code == 2
    assert message in result.output
