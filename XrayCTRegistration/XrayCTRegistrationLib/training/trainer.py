"""The trainer: a network learns to point from any pose to the true one.

What a step sees depends on the seed and the step's number alone, so that a resumed training equals one that was never
interrupted, and training on several processes equals training on one with the same samples in all.
"""

from __future__ import annotations

import math
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import InputError
from ..losses import UncertaintyWeights
from ..networks.dual_branch import DualBranch
from ..networks.interface import WINDOW_PX, SimilarityNetwork, moving_volume
from ..networks.prost import Prost
from ..networks.sopi import Sopi
from ..networks.weights import load_network, network_named, save_weights
from ..realism import Realism
from ..threads import torch_on_one_thread
from .anatomy import Anatomy, AnatomyPool, Source
from .log import StepLog, StepRow
from .objective import batch_losses
from .processes import Processes
from .samples import Batch, sampled_batch, training_view

_CHECKPOINT, _LOG = "checkpoint.pt", "log.csv"
_WARM_UP_STEPS, _LARGEST_GRADIENT = 100, 1.0
# Of the losses of `batch_losses`. The decomposition is the easier one and would lead the first thousand steps away from
# where the images point: it keeps to a fiftieth of the weight.
_POSE_LOG_VARIANCES = (0.0, 1.0, 0.0)
_FIRST_LOG_VARIANCES = {
    DualBranch.name: (*_POSE_LOG_VARIANCES, 4.0),
    Prost.name: _POSE_LOG_VARIANCES,
    Sopi.name: (*_POSE_LOG_VARIANCES, 0.0),
}


@dataclass(frozen=True)
class Recipe:
    """All that decides what a training ends in.

    network: its name. image_px: of the square X-rays. batch: samples of a step, over all processes. residual_from:
    share of the steps after which the residual 3D CNN learns too; it starts at zero, and its volume costs most of a
    step.
    """

    source: Source
    network: str = "dual-branch"
    image_px: int = WINDOW_PX
    batch: int = 16
    steps: int = 2000
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    residual_from: float = 0.98
    seed: int = 0
    realism: Realism = field(default_factory=Realism)


@dataclass
class _Learner:
    """What training changes."""

    network: SimilarityNetwork
    weights: UncertaintyWeights
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0


def train(
    recipe: Recipe,
    folder: Path,
    max_minutes: float | None = None,
    initial: Path | None = None,
    device: torch.device | str = "cpu",
    checkpoint_minutes: float = 3.0,
    on_step: Callable[[StepRow], None] | None = None,
) -> Path:
    """Train until the recipe's last step or for max_minutes in all; returns the weights file in `folder`.

    Torch runs on one thread: to use more cores, start more processes with `torchrun`, which share each batch.
    A folder that holds a checkpoint of the same recipe is resumed. initial: weights to begin with. The folder gets
    checkpoint.pt, log.csv with a row per step, and NAME.safetensors. Raises InputError when the folder's checkpoint is
    of another recipe or cannot be read, or when `initial` is of another network.
    """
    with torch_on_one_thread():
        return _trained(recipe, folder, max_minutes, initial, torch.device(device), checkpoint_minutes, on_step)


def _trained(
    recipe: Recipe,
    folder: Path,
    max_minutes: float | None,
    initial: Path | None,
    device: torch.device,
    checkpoint_minutes: float,
    on_step: Callable[[StepRow], None] | None,
) -> Path:
    processes = Processes.joined()
    learner = _fresh(recipe, initial, device)
    if (folder / _CHECKPOINT).exists():
        _resume(learner, recipe, folder / _CHECKPOINT)
    processes.wait()  # before the first one writes
    log = StepLog(folder / _LOG, learner.step) if processes.rank == 0 else None
    pool, view = AnatomyPool(recipe.source, recipe.seed, device), training_view(recipe.image_px)
    saved = time.monotonic()
    begun = saved - learner.seconds
    while learner.step < recipe.steps:
        if processes.any(max_minutes is not None and time.monotonic() - begun >= 60 * max_minutes):
            break
        anatomy = pool.at(learner.step)
        numbers = processes.share(recipe.batch)
        generators = [np.random.default_rng([recipe.seed, learner.step, number]) for number in numbers]
        batch = sampled_batch(anatomy, view, generators, recipe.realism)
        row = _stepped(learner, recipe, anatomy, batch, processes, begun)
        if log is None:
            continue
        log.add(row)
        if on_step is not None:
            on_step(row)
        if time.monotonic() - saved > 60 * checkpoint_minutes:
            saved = time.monotonic()
            _save(learner, recipe, folder)
    if log is not None:
        log.close()
        _save(learner, recipe, folder)
    processes.wait()
    return folder / f"{recipe.network}.safetensors"


def _stepped(
    learner: _Learner, recipe: Recipe, anatomy: Anatomy, batch: Batch, processes: Processes, begun: float
) -> StepRow:
    """Take one step of the optimiser."""
    rate = _learning_rate(recipe, learner.step)
    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    moving = anatomy.moving
    if learner.step >= recipe.residual_from * recipe.steps:
        moving = moving_volume(learner.network, moving)
    losses, found = batch_losses(learner.network, moving, batch)
    total = learner.weights(torch.stack([loss.float() for loss in losses]))
    trained = [*learner.network.parameters(), *learner.weights.parameters()]
    learner.optimizer.zero_grad(set_to_none=True)
    total.backward(inputs=[parameter for parameter in trained if parameter.requires_grad])
    processes.average_gradients(trained)
    norm = nn.utils.clip_grad_norm_(trained, _LARGEST_GRADIENT)
    if torch.isfinite(norm):  # else a pair in the batch had nothing to compare; its row in the log is nan
        learner.optimizer.step()
    decomposition = float(losses[-1].detach()) if isinstance(learner.network, DualBranch) else math.nan
    shown = torch.tensor([float(losses[0].detach()), *found.mean(dim=0).tolist(), decomposition], dtype=torch.float64)
    shown = processes.mean(shown).tolist()
    row = StepRow(learner.step, time.monotonic() - begun, *shown, rate)
    learner.step += 1
    learner.seconds = row.seconds
    return row


def _learning_rate(recipe: Recipe, step: int) -> float:
    """Linear over the first hundred steps, then half a cosine down to zero."""
    rise = min(1.0, (step + 1) / _WARM_UP_STEPS)
    return recipe.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))


def _fresh(recipe: Recipe, initial: Path | None, device: torch.device) -> _Learner:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = network_named(recipe.network)
    if initial is not None:
        given = load_network(initial)
        if given.name != network.name:
            raise InputError(f"{initial}: these are weights of the network {given.name!r}, not of {network.name!r}.")
        network.load_state_dict(given.state_dict())
    network = network.to(device).train()
    weights = UncertaintyWeights(_FIRST_LOG_VARIANCES[recipe.network]).to(device)
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": [*others, *weights.parameters()], "weight_decay": 0.0},
    ]
    return _Learner(network, weights, torch.optim.AdamW(groups, lr=recipe.learning_rate))


def _resume(learner: _Learner, recipe: Recipe, path: Path) -> None:
    try:
        state = torch.load(path, weights_only=True)
        kept = state["recipe"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError):
        raise InputError(f"{path}: this is no complete checkpoint of a training. Remove it to begin again.") from None
    if kept != _plain(recipe):
        changed = sorted(name for name in _plain(recipe) if kept.get(name) != _plain(recipe)[name])
        raise InputError(
            f"{path}: the training in this folder differs in {', '.join(changed)}. Give the same options to resume it, "
            "or another folder to begin a new one."
        )
    learner.network.load_state_dict(state["network"])
    learner.weights.load_state_dict(state["weights"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.step, learner.seconds = state["step"], state["seconds"]


def _save(learner: _Learner, recipe: Recipe, folder: Path) -> None:
    state = {
        "recipe": _plain(recipe),
        "network": learner.network.state_dict(),
        "weights": learner.weights.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "step": learner.step,
        "seconds": learner.seconds,
    }
    unfinished = folder / f".{_CHECKPOINT}.unfinished"
    torch.save(state, unfinished)
    os.replace(unfinished, folder / _CHECKPOINT)
    facts = {"steps": learner.step, "seconds": round(learner.seconds), "batch": recipe.batch, "seed": recipe.seed}
    facts |= {"image_px": recipe.image_px, "voxel_mm": recipe.source.voxel_mm, "bone_only": recipe.source.bone_only}
    save_weights(folder / f"{recipe.network}.safetensors", learner.network, facts)


def _plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe in words and numbers; CTs by their names, so that a folder may move."""
    plain = asdict(recipe)
    plain["source"]["ct_paths"] = [Path(path).name for path in recipe.source.ct_paths]
    return plain
