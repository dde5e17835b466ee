"""The evaluation: its random cases, the same table from a Dask cluster, and what the tables and the figure say."""

from __future__ import annotations

import csv
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.evaluation import runner
from XrayCTRegistrationLib.evaluation.protocol import (
    PHOTONS,
    protocol_view,
    random_motion,
    simulated_case,
)
from XrayCTRegistrationLib.evaluation.runner import START, CaseResult, evaluate
from XrayCTRegistrationLib.evaluation.subject import Subject
from XrayCTRegistrationLib.evaluation.tables import ALL_CTS, markdown, summary, top, write_report
from XrayCTRegistrationLib.io.volumes import read_ct, write_ct
from XrayCTRegistrationLib.metrics import bone_points, pose_error
from XrayCTRegistrationLib.realism import HARD
from XrayCTRegistrationLib.registration import centered
from XrayCTRegistrationLib.volume import Volume
from XrayCTRegistrationLib.xray import Polarity

CASES, SEED = 2, 261  # of few hundred seeds, the one that starts nearest to the truth: a descent there is short


def blob_ct(seed: int) -> Volume:
    """A body with a few dense balls, 45 x 40 x 42 voxels of 2.5 mm: small, and like itself from one side only."""
    shape = np.array([42, 40, 45])
    grid = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"), axis=-1)
    array = np.full(shape, -1000, np.int16)
    array[((grid / [20, 15, 18]) ** 2).sum(axis=-1) < 1] = 20
    rng = np.random.default_rng(seed)
    for middle in rng.uniform(-10, 10, (9, 3)):
        array[((grid - middle) ** 2).sum(axis=-1) < rng.uniform(2, 4) ** 2] = 900
    matrix = np.diag([2.5, 2.5, 2.5, 1])
    matrix[:3, 3] = 30, -200, 500
    return Volume(array, matrix)


@pytest.fixture(scope="module")
def ct_paths(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("cts")
    paths = [folder / "second.nii.gz", folder / "first.nii.gz"]  # given out of alphabetical order
    for seed, path in enumerate(paths):
        write_ct(path, blob_ct(seed))
    return paths


@pytest.fixture(scope="module")
def sequential(ct_paths) -> list[CaseResult]:
    return evaluate(ct_paths, CASES, ["gradient"], SEED)


# --- the protocol


def test_the_view_is_the_protocols() -> None:
    view = protocol_view()
    assert view.size_px == (256, 256)
    np.testing.assert_allclose(view.pixel_spacing_mm, 0.798)
    assert view.source_to_detector_mm == pytest.approx(1011.9)
    np.testing.assert_allclose(view.source, [0, 700, 0], atol=1e-9)  # LPS: posterior of the isocentre
    np.testing.assert_allclose(view.axes, np.transpose([[1, 0, 0], [0, 0, -1], [0, -1, 0]]), atol=1e-12)


def test_the_poses_of_2000_cases_spread_as_the_protocol_says() -> None:
    view = protocol_view()
    motions = [random_motion(view, "ct.nii.gz", number, 0) for number in range(2000)]
    shifts = np.array([motion.translation_mm for motion in motions]) @ view.axes  # the isocentre is the origin
    # The standard error of a deviation from 2000 draws is 1.6 %, of a mean 2.2 % of the deviation; five of them.
    np.testing.assert_allclose(shifts.std(axis=0), [30, 30, 60], rtol=0.08)
    assert (np.abs(shifts.mean(axis=0)) < 0.11 * np.array([30, 30, 60])).all()
    # Turned about x, then y, then z: the angles can be read off the matrix in the C-arm frame.
    rotations = np.array([view.axes.T @ motion.rotation @ view.axes for motion in motions])
    x = np.arctan2(rotations[:, 2, 1], rotations[:, 2, 2])
    y = -np.arcsin(rotations[:, 2, 0])
    z = np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0])
    angles = np.degrees([x, y, z])
    np.testing.assert_allclose(angles.std(axis=1), 20, rtol=0.08)
    assert (np.abs(angles.mean(axis=1)) < 0.11 * 20).all()
    assert (np.abs(np.corrcoef(np.vstack([angles, shifts.T])) - np.eye(6)) < 0.11).all()


def test_a_case_is_the_same_whatever_was_drawn_before_it() -> None:
    ct = Subject("ct.nii.gz", blob_ct(0))
    later, first = (simulated_case(ct, number, 5) for number in (1, 0))
    again = simulated_case(ct, 1, 5)
    np.testing.assert_array_equal(again.true.matrix, later.true.matrix)
    np.testing.assert_array_equal(again.radiograph.pixels, later.radiograph.pixels)
    assert not np.allclose(first.true.matrix, later.true.matrix)


@pytest.mark.parametrize(("name", "number", "seed"), [("b.nii", 0, 0), ("a.nii", 1, 0), ("a.nii", 0, 1)])
def test_another_ct_name_number_or_seed_is_another_case(name, number, seed) -> None:
    view = protocol_view()
    one, other = random_motion(view, "a.nii", 0, 0), random_motion(view, name, number, seed)
    assert not np.allclose(one.matrix, other.matrix)


def test_a_case_starts_centred_and_shows_the_ct_at_its_true_pose_in_photon_counts() -> None:
    ct = blob_ct(0)
    case = simulated_case(Subject("ct.nii.gz", ct), 0, 0)
    np.testing.assert_array_equal(case.start.matrix, centered(ct, [case.view]).matrix)
    expected = random_motion(case.view, "ct.nii.gz", 0, 0) @ case.start
    np.testing.assert_array_equal(case.true.matrix, expected.matrix)
    counts = case.radiograph.pixels
    assert case.radiograph.polarity is Polarity.DARK
    assert counts.shape == (256, 256)
    assert (counts == np.rint(counts)).all()
    beside = counts[:5, :5]  # 25 pixels that the body does not shadow, each 20000 +- 141
    assert beside.mean() == pytest.approx(PHOTONS, abs=5 * np.sqrt(PHOTONS / beside.size))
    # The body is an ellipsoid, so its outline is centred where its middle is projected, but for the perspective.
    rows, columns = np.nonzero(counts < 0.9 * PHOTONS)
    middle = np.array([columns.mean(), rows.mean()])
    pixel, _ = case.view.project_points(case.true.apply(ct.center))
    assert np.linalg.norm(middle - pixel) < 2
    start_pixel, _ = case.view.project_points(case.start.apply(ct.center))
    assert np.linalg.norm(middle - start_pixel) > 10  # so that the check above can tell the two poses apart


def test_more_photons_keep_the_pose_and_lessen_the_noise() -> None:
    ct = Subject("ct.nii.gz", blob_ct(0))
    few, many = (simulated_case(ct, 0, 0, photons) for photons in (200.0, 20_000.0))
    np.testing.assert_array_equal(few.true.matrix, many.true.matrix)
    noise = [
        float(case.radiograph.pixels[:9, :9].std() / case.radiograph.pixels[:9, :9].mean()) for case in (few, many)
    ]
    assert noise[0] == pytest.approx(10 * noise[1], rel=0.4)  # deviations from 81 pixels are good to 8 %; five of them


def test_a_realistic_xray_is_of_the_same_pose_bone_bright_and_never_in_photons() -> None:
    ct = Subject("ct.nii.gz", blob_ct(0))
    clean, real = (simulated_case(ct, 0, 0, realism=realism) for realism in (None, HARD))
    np.testing.assert_array_equal(clean.true.matrix, real.true.matrix)
    assert real.radiograph.polarity is Polarity.BRIGHT
    pixels = real.radiograph.pixels
    assert pixels.max() < 2
    again = simulated_case(ct, 0, 0, realism=HARD)
    np.testing.assert_array_equal(again.radiograph.pixels, pixels)
    seen = -np.log(clean.radiograph.pixels[100:156, 100:156] / PHOTONS)
    assert 0.05 < np.corrcoef(pixels[100:156, 100:156].ravel(), seen.ravel())[0, 1] < 0.98


# --- running it


def test_rows_come_by_ct_case_and_method_as_given_and_measure_the_start_and_the_result(ct_paths, sequential) -> None:
    keys = [(row.ct, row.case, row.method) for row in sequential]
    expected = [(p.name, number, method) for p in ct_paths for number in range(CASES) for method in (START, "gradient")]
    assert keys == expected
    ct = read_ct(ct_paths[0])
    case = simulated_case(Subject(ct_paths[0].name, ct), 0, SEED)
    error = pose_error(case.start, case.true, bone_points(ct), case.view, ct.center)
    assert sequential[0].mtre_mm == error.mtre_mm
    assert sequential[0].seed_mtre_mm == error.seed_mtre_mm
    assert sequential[0].confidence == ""
    assert sequential[0].seconds == 0
    assert sequential[1].seconds > 0
    assert sequential[1].confidence in ("high", "moderate", "low")


def test_a_start_that_the_method_can_follow_ends_at_the_true_pose(sequential) -> None:
    """The descent need not follow every start, but a table whose poses were mixed up would have no success."""
    ends = [row.mtre_mm for row in sequential if row.method == "gradient"]
    assert np.median(ends) < 2.0


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("dask.distributed", reason="the evaluation extra is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=None
    ) as cluster:
        yield cluster


def timeless(rows: list[CaseResult]) -> list[str]:
    """Rows but for their seconds, as text: without a search the gap to the runner-up is NaN, which equals nothing."""
    return [repr(replace(row, seconds=0.0)) for row in rows]


def test_a_dask_cluster_gives_the_same_table(ct_paths, sequential, cluster, monkeypatch) -> None:
    monkeypatch.chdir(ct_paths[0].parent)  # workers stand elsewhere, and must find relative paths all the same
    relative = [path.name for path in ct_paths]
    heard: list[CaseResult] = []
    rows = evaluate(relative, 1, ["gradient"], SEED, scheduler=cluster.scheduler_address, on_case=heard.extend)
    assert timeless(rows) == timeless([row for row in sequential if row.case == 0])
    assert sorted(heard, key=rows.index) == rows


def test_an_error_on_a_worker_is_told_like_one_at_home(ct_paths, cluster, tmp_path) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(ct_paths[0].read_bytes()[:200])
    with pytest.raises(InputError, match=r"broken\.nii\.gz"):
        evaluate([broken], 1, ["gradient"], scheduler=cluster.scheduler_address)


def test_a_scheduler_that_does_not_answer_is_told_soon(ct_paths, monkeypatch) -> None:
    pytest.importorskip("dask.distributed", reason="the evaluation extra is not installed")
    monkeypatch.setattr(runner, "_CONNECT_SECONDS", 1.0)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can answer there
        address = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        clock = time.perf_counter()
        with pytest.raises(InputError, match=rf"{address}.*Check the address"):
            evaluate(ct_paths, 1, ["gradient"], scheduler=address)
    assert time.perf_counter() - clock < 10


def test_a_scheduler_without_workers_is_told_with_how_to_start_one(ct_paths, monkeypatch) -> None:
    distributed = pytest.importorskip("dask.distributed", reason="the evaluation extra is not installed")
    monkeypatch.setattr(runner, "_CONNECT_SECONDS", 1.0)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0", protocol="tcp://") as idle,
        pytest.raises(InputError, match=f"no workers.*dask worker {idle.scheduler_address}"),
    ):
        evaluate(ct_paths, 1, ["gradient"], scheduler=idle.scheduler_address)


def test_an_address_that_is_none_is_told(ct_paths) -> None:
    pytest.importorskip("dask.distributed", reason="the evaluation extra is not installed")
    with pytest.raises(InputError, match="Check the address"):
        evaluate(ct_paths, 1, ["gradient"], scheduler="nonsense://here")


def test_a_scheduler_without_dask_is_told_with_what_to_install(ct_paths, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(InputError, match=r"XrayCTRegistration\[evaluation\]"):
        evaluate(ct_paths, 1, ["gradient"], scheduler="tcp://127.0.0.1:8786")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ct_paths": ["absent.nii.gz"]}, r"absent\.nii\.gz: there is no such CT"),
        ({"ct_paths": []}, "nothing to evaluate"),
        ({"cases": 0}, "nothing to evaluate"),
        ({"methods": []}, "nothing to evaluate"),
        ({"methods": ["magic"]}, "no method 'magic'"),
        ({"methods": ["gradient", "gradient"]}, "named twice"),
        ({"seed": -1}, "seed"),
        ({"photons": 0.0}, "photons"),
        ({"methods": ["learned"], "weights": "absent.safetensors"}, r"absent\.safetensors: there are no weights"),
    ],
)
def test_bad_arguments_are_told_before_any_work(ct_paths, monkeypatch, changes, message) -> None:
    monkeypatch.setattr(runner, "_rows", lambda task: pytest.fail("work began"))
    arguments = {"ct_paths": ct_paths, "cases": 1, "methods": ["gradient"], **changes}
    with pytest.raises(InputError, match=message):
        evaluate(**arguments)


def test_two_cts_of_one_name_are_refused_since_the_table_could_not_tell_them_apart(ct_paths, tmp_path) -> None:
    twin = tmp_path / ct_paths[0].name
    twin.write_bytes(b"")
    with pytest.raises(InputError, match="Several CTs are named"):
        evaluate([ct_paths[0], twin], 1, ["gradient"])


# --- tables


def made_up(ct: str, case: int, mtre_mm: float, method: str = "auto") -> CaseResult:
    return CaseResult(ct, case, method, mtre_mm, 5 * mtre_mm, mtre_mm / 10, mtre_mm / 4, 0.5, 3.0, 0.9, "high", 7.0)


def test_top_x_percent_is_of_the_best_after_sorting() -> None:
    values = np.array([1000.0, *range(19, 0, -1)])  # 20 values: 1 to 19, and one that failed
    assert top(values, 95) == pytest.approx((10.0, np.sqrt((19**2 - 1) / 12)))
    assert top(values, 75) == pytest.approx((8.0, np.sqrt((15**2 - 1) / 12)))
    assert top(values, 50) == pytest.approx((5.5, np.sqrt((10**2 - 1) / 12)))
    assert top(np.array([3.0]), 95) == (3.0, 0.0)  # rounded down, but never to no case


def test_summary_counts_successes_strictly_below_10_and_2_mm_over_all_cts_and_on_each() -> None:
    results = [made_up("a", k, mtre) for k, mtre in enumerate([0.5, 1.999, 2.0, 9.999])]
    results += [made_up("b", k, mtre) for k, mtre in enumerate([10.0, 30.0])]
    rows = {row.ct: row for row in summary(results)}
    assert list(rows) == [ALL_CTS, "a", "b"]
    assert [rows[ct].cases for ct in rows] == [6, 4, 2]
    assert rows["a"].success_10mm_percent == 100
    assert rows["a"].success_2mm_percent == 50
    assert rows["b"].success_10mm_percent == 0
    assert rows[ALL_CTS].success_10mm_percent == pytest.approx(100 * 4 / 6)
    assert rows[ALL_CTS].success_2mm_percent == pytest.approx(100 * 2 / 6)


def test_summary_keeps_methods_apart_and_takes_each_column_from_its_own_error() -> None:
    results = [made_up("a", k, mtre, method) for method, scale in ((START, 100.0), ("auto", 1.0))
               for k, mtre in enumerate(scale * np.array([4.0, 1.0, 2.0, 3.0]))]  # fmt: skip
    start, auto = summary(results)[:2]
    assert (start.method, auto.method) == (START, "auto")
    assert start.median_mm == 250
    assert auto.median_mm == 2.5
    assert auto.p95_mm == pytest.approx(3.85)
    assert auto.seed_top50_mm == pytest.approx((7.5, 2.5))
    assert (auto.mrpd_mm, auto.rotation_deg) == pytest.approx((0.25, 0.625))
    assert (auto.in_plane_mm, auto.depth_mm, auto.seconds) == (0.5, 3.0, 7.0)


def test_markdown_has_a_full_row_for_every_summary_row_whatever_the_cts_name() -> None:
    rows = summary([made_up("pipe|name", 0, 1.0), made_up("b", 0, 3.0)])
    lines = [line for line in markdown(rows).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(rows)
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1
    assert "2.00" in lines[2]  # median of both
    assert lines[3].startswith(r"| pipe\|name | auto | 1 | 1.00 ± 0.00 |")


def test_report_holds_every_number_of_the_results_and_a_figure(tmp_path) -> None:
    results = [made_up(ct, k, mtre) for ct in "ab" for k, mtre in enumerate([0.001, 1 / 3, 800.0])]
    folder = tmp_path / "new" / "folder"
    write_report(folder, results)
    assert sorted(path.name for path in folder.iterdir()) == ["cases.csv", "success.png", "summary.csv", "summary.md"]
    with (folder / "cases.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [float(row["mtre_mm"]) for row in read] == [row.mtre_mm for row in results]
    assert [row["ct"] for row in read] == [row.ct for row in results]
    with (folder / "summary.csv").open(newline="") as file:
        totals = list(csv.DictReader(file))
    mean, deviation = summary(results)[0].top95_mm
    assert (float(totals[0]["top95_mean_mm"]), float(totals[0]["top95_std_mm"])) == (mean, deviation)
    assert (folder / "summary.md").read_text(encoding="utf-8") == markdown(summary(results))
    assert (folder / "success.png").read_bytes().startswith(b"\x89PNG")


def test_tables_are_written_although_the_figure_lacks_matplotlib(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match="matplotlib"):
        write_report(tmp_path, [made_up("a", 0, 1.0)])
    assert {path.name for path in tmp_path.iterdir()} == {"cases.csv", "summary.csv", "summary.md"}


def test_report_refuses_no_results_and_a_folder_that_is_a_file(tmp_path) -> None:
    with pytest.raises(InputError, match="no results"):
        write_report(tmp_path, [])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.*Choose another"):
        write_report(tmp_path / "file", [made_up("a", 0, 1.0)])
