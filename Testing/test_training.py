"""The trainer: it learns, resumes as if nothing had happened, and does the same on several processes."""

from __future__ import annotations

import math
import os
import pickle
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.losses import geodesic_gradient
from XrayCTRegistrationLib.networks.interface import carried, twist_gradient
from XrayCTRegistrationLib.networks.pose_coordinates import pose_coordinates
from XrayCTRegistrationLib.networks.weights import load_network, network_named
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.realism import CLEAN
from XrayCTRegistrationLib.threads import torch_on_one_thread
from XrayCTRegistrationLib.training import trainer
from XrayCTRegistrationLib.training.anatomy import AnatomyPool, Source, anatomy_of, deformed, varied, with_metal
from XrayCTRegistrationLib.training.log import StepLog, StepRow, read_log, write_log_plot
from XrayCTRegistrationLib.training.objective import batch_losses
from XrayCTRegistrationLib.training.samples import Batch, pose_pair, sampled_batch, training_view
from XrayCTRegistrationLib.training.trainer import Recipe, train

_INVENTED = Source((), 1.0, xray_voxel_mm=6.0, voxel_mm=12.0, varied=False)
_TINY = Recipe(_INVENTED, image_px=32, batch=4, steps=4, residual_from=0.5, realism=CLEAN, seed=3)


def _parameters(weights: Path) -> torch.Tensor:
    return torch.cat([value.flatten() for value in load_network(weights).state_dict().values()])


def test_a_resumed_training_equals_one_that_was_never_interrupted(tmp_path):
    whole = train(_TINY, tmp_path / "whole")

    class Pulled(Exception):
        """The plug."""

    def pull(row: StepRow) -> None:
        if row.step == 2:  # one step after the checkpoint of step 1 was written
            raise Pulled

    with pytest.raises(Pulled):
        train(_TINY, tmp_path / "parts", on_step=pull, checkpoint_minutes=0.0)
    assert len(read_log(tmp_path / "parts" / "log.csv")) == 3
    parts = train(_TINY, tmp_path / "parts")
    assert torch.equal(_parameters(whole), _parameters(parts))
    logs = [read_log(tmp_path / name / "log.csv") for name in ("whole", "parts")]
    assert [replace(row, seconds=0) for row in logs[0]] == [replace(row, seconds=0) for row in logs[1]]


def test_training_starts_with_no_time_and_changes_nothing(tmp_path):
    weights = train(_TINY, tmp_path, max_minutes=0)
    with torch.random.fork_rng(), torch_on_one_thread():  # threads decide how an orthogonal matrix is rounded
        torch.manual_seed(_TINY.seed)
        untrained = network_named("dual-branch")
    assert torch.equal(_parameters(weights), torch.cat([v.flatten() for v in untrained.state_dict().values()]))
    assert read_log(tmp_path / "log.csv") == []


def test_a_batch_in_which_nothing_can_be_compared_leaves_the_weights_finite(tmp_path, monkeypatch):
    """Occluded and cut X-rays can leave a pair without any ray that counts: one such pair must not end a training."""

    def covered(*arguments) -> Batch:
        batch = sampled_batch(*arguments)
        nothing = torch.zeros_like(batch.fixed.weights)
        return replace(batch, fixed=replace(batch.fixed, weights=nothing, images=nothing))

    monkeypatch.setattr(trainer, "sampled_batch", covered)
    assert torch.isfinite(_parameters(train(replace(_TINY, steps=2), tmp_path))).all()


def test_the_residual_cnn_learns_only_after_its_share_of_the_steps(tmp_path):
    late = load_network(train(replace(_TINY, residual_from=1.0, steps=2), tmp_path / "late"))
    early = load_network(train(replace(_TINY, residual_from=0.0, steps=2), tmp_path / "early"))
    assert late.residual.layers[-1].weight.abs().max() == 0
    assert early.residual.layers[-1].weight.abs().max() > 0


@pytest.mark.parametrize("name", ["dual-branch", "prost", "sopi"])
def test_a_network_learns_the_way_to_the_truth_on_a_batch_that_it_sees_again_and_again(name):
    """Twenty steps on six samples: the cosine must rise well above that of a random network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = network_named(name)
    anatomy = anatomy_of("spine", synthetic_spine(1, 4.0), 8.0, False, torch.device("cpu"))
    generators = [np.random.default_rng([0, n]) for n in range(6)]
    batch = sampled_batch(anatomy, training_view(32), generators, CLEAN)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    found = []
    parameters = list(network.parameters())
    with torch_on_one_thread():
        for _ in range(20):
            losses, cosines = batch_losses(network, anatomy.moving, batch)
            optimizer.zero_grad()
            losses[0].backward(inputs=parameters)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            found.append(cosines.mean().item())
    assert np.mean(found[-3:]) > np.mean(found[:2]) + 0.25


def test_the_squared_distance_of_pose_coordinates_slopes_along_the_geodesic_way():
    view, rng = training_view(32), np.random.default_rng(4)
    isocenter = np.array([9.0, -30.0, 12.0])
    for _ in range(5):
        pose, true = pose_pair(view, isocenter, rng, np.ones(3))
        matrices = torch.from_numpy(np.stack([pose.matrix, true.matrix])).requires_grad_()
        isocenters = torch.from_numpy(isocenter)[None]
        ends = [pose_coordinates(matrices[k : k + 1], isocenters, [view]).double() for k in (0, 1)]
        (slope,) = torch.autograd.grad((ends[0] - ends[1]).square().sum(), matrices)
        matrices = matrices.detach()
        centers = carried(isocenters, matrices[:1])
        way = twist_gradient(slope[:1], matrices[:1], centers)
        geodesic = geodesic_gradient(matrices[:1], matrices[1:], isocenters)
        across = torch.from_numpy(view.axes[:, :2])
        assert torch.nn.functional.cosine_similarity(way[:, :3], geodesic[:, :3]).item() == pytest.approx(1.0)
        found, expected = way[:, 3:] @ across, geodesic[:, 3:] @ across
        assert torch.nn.functional.cosine_similarity(found, expected).item() == pytest.approx(1.0)


def test_a_checkpoint_of_another_recipe_is_an_input_error_that_names_the_difference(tmp_path):
    train(_TINY, tmp_path, max_minutes=0)
    with pytest.raises(InputError, match="differs in batch, learning_rate"):
        train(replace(_TINY, batch=2, learning_rate=1.0), tmp_path)


def test_a_checkpoint_that_was_cut_off_is_an_input_error(tmp_path):
    train(_TINY, tmp_path, max_minutes=0)
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"checkpoint\.pt.*no complete checkpoint"):
        train(_TINY, tmp_path)


def test_weights_of_another_network_cannot_begin_a_training(tmp_path):
    weights = train(replace(_TINY, network="sopi"), tmp_path / "sopi", max_minutes=0)
    with pytest.raises(InputError, match="of the network 'sopi', not of 'dual-branch'"):
        train(_TINY, tmp_path / "other", initial=weights)


def test_two_processes_train_as_one_does(tmp_path):
    """Two gloo processes, as torchrun starts them, on half of each batch."""
    recipe = replace(_TINY, steps=2, residual_from=0.5)
    alone = train(recipe, tmp_path / "alone")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "recipe").write_bytes(pickle.dumps(recipe))
    code = (
        "import pickle, sys; from pathlib import Path; from XrayCTRegistrationLib.training.trainer import train; "
        "folder = Path(sys.argv[1]); train(pickle.loads((folder / 'recipe').read_bytes()), folder / 'together')"
    )
    library = Path(__file__).resolve().parents[1] / "XrayCTRegistration"
    started = []
    for rank in range(2):
        environment = os.environ | {
            "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "NUMBA_NUM_THREADS": "1", "PYTHONPATH": str(library),
        }  # fmt: skip
        command = [sys.executable, "-c", code, str(tmp_path)]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    # Adam divides by the root of the squared gradient: where that is next to nothing, rounding decides the step.
    difference = (_parameters(alone) - _parameters(tmp_path / "together" / "dual-branch.safetensors")).abs()
    assert difference.mean() < 1e-6
    assert [row.step for row in read_log(tmp_path / "together" / "log.csv")] == [0, 1]


def test_a_batch_that_cannot_be_shared_is_an_input_error():
    from XrayCTRegistrationLib.training.processes import Processes

    assert list(Processes(1, 2).share(6)) == [3, 4, 5]
    with pytest.raises(InputError, match="batch of 5 cannot be shared by 2"):
        Processes(0, 2).share(5)


def test_what_is_in_the_pool_depends_on_seed_and_step_alone():
    pool = AnatomyPool(_INVENTED, 7, torch.device("cpu"), slots=2, lifetime=4)
    names = [pool.at(step).name for step in range(10)]
    assert names[0] != names[1]
    assert names[0] == names[2]
    assert names[0] != names[4]
    later = AnatomyPool(_INVENTED, 7, torch.device("cpu"), slots=2, lifetime=4)
    assert [later.at(step).name for step in (9, 4)] == [names[9], names[4]]


def test_an_anatomy_of_bone_alone_still_has_xrays_of_the_whole_ct():
    ct = synthetic_spine(2, 4.0)
    whole, bone = (anatomy_of("spine", ct, 8.0, only, torch.device("cpu")) for only in (False, True))
    assert bone.moving.values.sum() < 0.4 * whole.moving.values.sum()
    pose = torch.eye(4, dtype=torch.float64)[None]
    assert torch.equal(*(anatomy.fixed.images(pose, training_view(32)) for anatomy in (whole, bone)))


def test_a_deformation_bends_and_keeps_the_bone_in_the_ct():
    ct = synthetic_spine(2, 4.0)
    bent = deformed(ct.array.astype(np.float32), ct.spacing_mm, np.random.default_rng(0))
    assert bent.shape == ct.array.shape
    assert 0.05 < np.mean(np.abs(bent - ct.array) > 100) < 0.6
    assert np.sum(bent > 300) == pytest.approx(np.sum(ct.array > 300), rel=0.4)


def test_metal_is_in_the_middle_of_the_ct_and_nothing_else_changes():
    ct = synthetic_spine(2, 4.0)
    implanted = with_metal(ct, np.random.default_rng(1))
    changed = implanted.array != ct.array
    assert 3 < changed.sum() < 2000
    assert (implanted.array[changed] == 4000).all()
    assert varied(ct, np.random.default_rng(0)).size == ct.size


def test_a_pair_of_poses_stands_as_far_apart_as_was_asked():
    view, isocenter = training_view(64), np.array([10.0, 20.0, 30.0])
    apart = []
    for seed in range(300):
        pose, true = pose_pair(view, isocenter, np.random.default_rng(seed), np.array([0.5, 0.25, 0.5]))
        shift = view.axes.T @ (pose.apply(isocenter) - true.apply(isocenter))
        apart.append([(pose @ true.inverse()).rotation_angle_deg() ** 2 / 3, *shift**2])
    rms = np.sqrt(np.mean(apart, axis=0))
    np.testing.assert_allclose(rms, [10.0, 7.5, 7.5, 30.0], rtol=0.15)  # 300 draws: 4 % of standard error


def test_a_log_survives_a_last_line_that_was_cut_off(tmp_path):
    path = tmp_path / "log.csv"
    log = StepLog(path, 0)
    for step in range(3):
        log.add(StepRow(step, step, 4.0, 0.1, 0.2, math.nan, 1e-3))
    log.close()
    path.write_text(path.read_text()[:-20])
    assert [row.step for row in read_log(path)] == [0, 1]
    StepLog(path, 1).close()
    assert [row.step for row in read_log(path)] == [0]
    pytest.importorskip("matplotlib")
    write_log_plot(tmp_path / "log.png", [StepRow(s, s, 4.0, 0.1, 0.2, math.nan, 1e-3) for s in range(80)])
    assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")


def test_another_table_is_no_log(tmp_path):
    (tmp_path / "log.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no log of a training"):
        read_log(tmp_path / "log.csv")
