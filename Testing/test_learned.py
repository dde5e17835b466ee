"""The registration's stage `learned`: descents, guesses and hypotheses, and how convexity is measured."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.evaluation import convexity as measuring
from XrayCTRegistrationLib.evaluation.protocol import protocol_view
from XrayCTRegistrationLib.geometry import Pose, XrayView
from XrayCTRegistrationLib.metrics import bone_points, mtre_mm
from XrayCTRegistrationLib.networks.dual_branch import DualBranch
from XrayCTRegistrationLib.networks.interface import EMBEDDED, Compared, SimilarityNetwork
from XrayCTRegistrationLib.networks.pose_coordinates import pose_coordinates
from XrayCTRegistrationLib.networks.weights import network_named, save_weights
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.registration import Settings, centered, problem_of, register, registration_steps
from XrayCTRegistrationLib.search import hypotheses, learned, learned_scene, value_descent
from XrayCTRegistrationLib.search.feature_descent import System, feature_descent
from XrayCTRegistrationLib.search.search_range import NEAR, SearchRange
from XrayCTRegistrationLib.simulation import line_integrals
from XrayCTRegistrationLib.state import finished
from XrayCTRegistrationLib.training.anatomy import anatomy_of
from XrayCTRegistrationLib.training.samples import training_view
from XrayCTRegistrationLib.xray import Polarity, Radiograph

_TWIST = np.array([0.06, -0.05, 0.08, 6.0, -8.0, 5.0])


class Correlation(SimilarityNetwork):
    """A network that needs no training: minus the correlation of X-ray and DRR."""

    name, version = "correlation", 1

    def of_xrays(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (images,)

    of_drrs = of_xrays

    def compared(self, fixed: torch.Tensor, moving: torch.Tensor) -> Compared:
        return Compared(1 - (fixed * moving).mean(dim=(1, 2, 3)), ((fixed, moving),))


class Seeing(DualBranch):
    """The same with the face of the network that guesses; its guess is that nothing is missing."""

    def moving_values(self, attenuation: torch.Tensor) -> torch.Tensor:
        return attenuation

    def of_xrays(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (images,)

    of_drrs = of_xrays

    def compared(self, fixed: torch.Tensor, moving: torch.Tensor) -> Compared:
        still = torch.zeros(len(fixed), EMBEDDED, 1, 1)
        return Compared(1 - (fixed * moving).mean(dim=(1, 2, 3)), ((still, still),))


@pytest.fixture(scope="module")
def case():
    """A spine, its X-ray at the pose where it is centred, and a start that stands off by 8 degrees and 11 mm."""
    ct, view = synthetic_spine(4, 3.0), protocol_view()
    true = centered(ct, [view])
    radiograph = Radiograph(np.exp(-line_integrals(ct, view, true, 3.0)), "x.png", Polarity.DARK)
    return ct, view, radiograph, true, true.moved(_TWIST, true.apply(ct.center))


def _problem(case, start: Pose):
    ct, view, radiograph, _, _ = case
    return problem_of(ct, [radiograph], [view], start, Settings(device="cpu"))


def _looked(case, start: Pose, network: SimilarityNetwork) -> learned_scene.Look:
    return learned_scene.Look(_problem(case, start), network)


def test_a_descent_on_a_value_that_knows_the_way_ends_at_the_truth(case):
    ct, _, _, true, start = case
    states = []
    steps = value_descent.value_descent(_looked(case, start, Correlation()), start)
    while True:
        try:
            states.append(next(steps))
        except StopIteration as end:
            pose = end.value
            break
    points = bone_points(ct)
    assert mtre_mm(points, start, true) > 8
    assert mtre_mm(points, pose, true) < 3  # correlation on pixels of 2.2 mm hardly sees the depth
    assert {state.stage for state in states} == {"learned"}
    assert [state.progress for state in states] == sorted(state.progress for state in states)
    assert all(math.isclose(state.similarity, -1) for state in states)  # its value is no correlation to be shown


def test_a_descent_on_features_that_know_the_way_ends_at_the_truth_in_a_few_steps(case):
    ct, _, _, true, start = case
    pose = finished(feature_descent(_looked(case, start, Correlation()), start, 10))
    assert mtre_mm(bone_points(ct), pose, true) < 1.5


def test_two_views_are_descended_on_together(case):
    ct, view, radiograph, true, start = case
    turn = Pose.about(view.isocenter, np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]]), np.zeros(3)).matrix
    other = XrayView((turn @ [*view.source, 1])[:3], turn @ view.pixel_to_world, view.size_px, view.isocenter)
    second = Radiograph(np.exp(-line_integrals(ct, other, true, 3.0)), "y.png", Polarity.DARK)
    problem = problem_of(ct, [radiograph, second], [view, other], start, Settings(device="cpu"))
    look = learned_scene.Look(problem, Seeing())
    pose = finished(feature_descent(look, start, 10))
    assert mtre_mm(bone_points(ct), pose, true) < 0.7  # the depth of each is across the rays of the other
    assert len(hypotheses.likely(look)) == 3  # what each view guesses, and the start


def test_a_guess_moves_a_pose_by_what_its_embedding_lacks(case):
    ct, view, _, true, start = case

    class Knowing(Seeing):
        """Embeddings that are the coordinates of the poses, where the CT has no say in them."""

        def compared(self, fixed: torch.Tensor, moving: torch.Tensor) -> Compared:
            pair = (
                torch.from_numpy(_coordinates(pose, ct.center, view))[None, :, None, None] for pose in (true, start)
            )
            return Compared(super().compared(fixed, moving).value, (tuple(pair),))

    look = _looked(case, start, Knowing())
    _, (found,) = look.attempt(hypotheses._guessed, look, [start], 0)
    np.testing.assert_allclose(found.matrix, true.matrix, atol=1e-3)  # coordinates are float32


def _coordinates(pose: Pose, isocenter: np.ndarray, view: XrayView) -> np.ndarray:
    stacked = (torch.from_numpy(np.array(one)[None]) for one in (pose.matrix, isocenter))
    return pose_coordinates(*stacked, [view])[0].numpy()


def test_drawn_hypotheses_are_the_same_for_the_same_seed_and_the_likeliest_come_first(case):
    start = case[-1]
    look = _looked(case, start, Seeing())
    one, again, other = (finished(hypotheses.drawn_steps(look, NEAR, seed)) for seed in (1, 1, 2))
    assert len(one) == hypotheses.DESCENDED
    assert all(np.array_equal(a.matrix, b.matrix) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0].matrix, other[0].matrix)
    values, _ = look.attempt(hypotheses._guessed, look, one, 0)
    assert (np.diff(values) > -1e-5).all()


def test_a_search_stops_at_a_pose_that_is_alike_beyond_doubt(case, monkeypatch):
    ct, _, _, true, start = case
    begun, original = [], learned.feature_descent
    monkeypatch.setattr(learned, "feature_descent", lambda *given: begun.append(given) or original(*given))
    pose = finished(learned.learned_search(_problem(case, start), Seeing(), SearchRange(), 0))
    assert mtre_mm(bone_points(ct), pose, true) < 1.5
    assert len(begun) == 2  # from the start, and on to the end


def test_a_search_that_nothing_convinces_tries_what_it_drew_and_its_progress_only_grows(case, monkeypatch):
    start = case[-1]
    begun, original = [], learned.feature_descent
    monkeypatch.setattr(learned, "_CONVINCING", 1.0)
    monkeypatch.setattr(learned, "feature_descent", lambda *given: begun.append(given) or original(*given[:2], 1))
    states = list(learned.learned_search(_problem(case, start), Seeing(), NEAR, 0))
    assert len(begun) == 2 + hypotheses.DESCENDED + 1  # guess and start, those that were drawn, and on to the end
    assert {state.stage for state in states} == {"learned"}
    assert [state.progress for state in states] == sorted(state.progress for state in states)


def test_a_search_that_only_finds_worse_poses_or_leaves_its_range_keeps_the_start(case, monkeypatch):
    true = case[3]
    away = Pose.from_parts(np.eye(3), np.array([40.0, 0, 0]))

    def astray(look, begin, iterations):
        yield
        return away @ true

    monkeypatch.setattr(learned, "feature_descent", astray)
    for span in (SearchRange(), SearchRange(rotation_deg=1, depth_mm=1, in_plane_mm=10)):
        assert finished(learned.learned_search(_problem(case, true), Seeing(), span, 0)) is true


def test_the_protocols_xray_is_seen_as_in_training(case):
    _, view, _, _, start = case
    window = learned_scene.learned_view(view)
    expected = training_view(learned_scene.WINDOW_PX)
    np.testing.assert_allclose(window.pixel_to_world, expected.pixel_to_world, atol=0.05)  # 141.3 is rounded
    image = _problem(case, start).images[0]
    seen, share = learned_scene._resampled(image, view, expected)
    np.testing.assert_allclose(seen, image.line_integrals.reshape(64, 4, 64, 4).mean(axis=(1, 3)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(share, 1, atol=1e-6)


def test_a_mirrored_fine_and_off_centre_detector_gives_the_same_window(case):
    """The same X-ray on a detector of half the pixel size, mirrored, and with its isocentre off the middle."""
    ct, view, _, true, _ = case
    flip = np.diag([-0.5, 0.5, 1.0, 1.0])
    flip[:2, 3] = 275.25, -0.25 - 20
    other = XrayView(view.source, view.pixel_to_world @ flip, (552, 552), view.isocenter)
    images = []
    for one in (view, other):
        integrals = line_integrals(ct, one, true, 3.0)
        radiograph = Radiograph(integrals, "x", Polarity.BRIGHT)
        image = problem_of(ct, [radiograph], [one], true, Settings(device="cpu")).images
        window = learned_scene.learned_view(one)
        seen, share = learned_scene._resampled(image[0], one, window)
        assert share[8:-8, 8:-8].min() > 0.99
        seen = seen * (integrals.max() - integrals.min()) + integrals.min()
        images.append(seen if one is view else seen[:, ::-1])
    np.testing.assert_allclose(images[0][8:-8, 8:-8], images[1][8:-8, 8:-8], atol=0.05 * images[0].max())


def test_out_of_gpu_memory_the_descent_goes_on_with_the_cpu_from_where_it_is(case, monkeypatch, caplog):
    _, _, _, true, start = case
    original, calls = value_descent._value_and_way, []

    def scarce(scene, network, pose, isocenter):
        calls.append(pose)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(scene, network, pose, isocenter)

    monkeypatch.setattr(value_descent, "_value_and_way", scarce)
    with caplog.at_level(logging.WARNING):
        pose = finished(value_descent.value_descent(_looked(case, start, Correlation()), start))
    assert "goes on with the CPU" in caplog.text
    assert calls[2] is not start
    assert len(calls) > 8
    assert mtre_mm(bone_points(case[0]), pose, true) < 3


def test_the_method_learned_runs_from_weights_and_keeps_a_rigid_pose(case, tmp_path):
    ct, view, radiograph, _, start = case
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_weights(tmp_path / "w.safetensors", network_named("sopi"), {})
    settings = Settings(method="learned", weights=tmp_path / "w.safetensors", device="cpu")
    result = register(ct, [radiograph], [view], start, settings)
    assert set(result.seconds) == {"prepare", "learned", "report"}
    assert np.isfinite(result.pose.matrix).all()


def test_missing_weights_end_the_registration_with_an_input_error(case, tmp_path):
    ct, view, radiograph, _, start = case
    settings = Settings(method="learned+cmaes", weights=tmp_path / "none.safetensors", device="cpu")
    steps = registration_steps(ct, [radiograph], [view], start, settings)
    with pytest.raises(InputError, match=r"none\.safetensors"):
        finished(steps)


def test_an_xray_that_does_not_reach_the_isocentre_is_an_input_error(case):
    ct, view, _, true, start = case
    corner = view.cropped((0, 0), (100, 30))
    radiograph = Radiograph(line_integrals(ct, corner, true, 3.0), "corner.png", Polarity.BRIGHT)
    problem = problem_of(ct, [radiograph], [corner], start, Settings(device="cpu"))
    with pytest.raises(InputError, match="next to nothing about their isocentre"):
        finished(learned.learned_search(problem, Correlation(), SearchRange(), 0))


def test_convexity_is_one_for_a_similarity_that_points_to_the_truth(monkeypatch, tmp_path):
    def oracle(network, moving, batch):
        _, _, geodesic = original(network, moving, batch)
        return None, geodesic * torch.tensor([2.0, 2, 2, -1, -1, -1], dtype=geodesic.dtype), geodesic

    original = measuring.pose_directions
    monkeypatch.setattr(measuring, "pose_directions", oracle)
    spine = synthetic_spine(1, 4.0)
    monkeypatch.setattr(
        measuring, "unvaried_anatomy", lambda path, device: anatomy_of(path.name, spine, 4.0, False, device)
    )
    rows = measuring.convexity(Correlation(), [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"], cases=20)
    assert {row.ct for row in rows} == {"all", "a.nii.gz", "b.nii.gz"}
    for ct, cases in (("all", 40), ("a.nii.gz", 20)):
        for part, cosine in (("rotation", 1.0), ("translation", -1.0)):
            chosen = [row for row in rows if (row.ct, row.part) == (ct, part)]
            assert sum(row.cases for row in chosen) == cases
            assert all(row.mean == pytest.approx(cosine) for row in chosen)
    pytest.importorskip("matplotlib")
    measuring.write_convexity(tmp_path, rows)
    assert (tmp_path / "convexity.png").read_bytes().startswith(b"\x89PNG")
    assert "| correlation | all | rotation, by degrees | 1.00 ± 0.00" in (tmp_path / "convexity.md").read_text()


def test_where_no_feature_changes_with_the_pose_nothing_moves():
    at = System.of(torch.ones(4), torch.zeros(4, 6), np.eye(3))
    np.testing.assert_array_equal(at.step(), np.zeros(6))
