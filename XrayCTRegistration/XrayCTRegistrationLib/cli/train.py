"""`xrayct train` and `xrayct adapt`."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .console import facts, files_fact, progress_bars, say, waiting
from .exit_codes import INTERRUPTED
from .options import RUN, CtArgument, Device, DeviceOption, SeedOption, output_folder
from .output import writable_folder

if TYPE_CHECKING:
    from ..training.log import StepRow
    from ..training.trainer import Recipe

_DATA, _RECIPE = "What to learn from", "How to learn"
_SHOWN_STEPS = 50  # that the shown cosines are means of


class Network(str, Enum):
    """The names of `networks.weights.ARCHITECTURES`, known here without importing it."""

    DUAL_BRANCH = "dual-branch"
    PROST = "prost"
    SOPI = "sopi"


MinutesOption = Annotated[
    float | None,
    typer.Option(
        "--max-minutes", min=0.0, help="Stop after so many minutes of training in all; the same command goes on.",
        rich_help_panel=RUN,
    ),
]  # fmt: skip
BatchOption = Annotated[int, typer.Option(min=1, help="X-rays in a step.", rich_help_panel=_RECIPE)]
RateOption = Annotated[float, typer.Option(min=0.0, help="Highest learning rate.", rich_help_panel=_RECIPE)]


def train(
    more_cts: Annotated[list[Path] | None, typer.Argument(metavar="[CT...]", help="Further CTs.")] = None,
    ct: Annotated[
        list[Path] | None,
        typer.Option("--ct", metavar="CT", help="A CT to learn from. More may follow it.", rich_help_panel=_DATA),
    ] = None,
    synthetic: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Share of invented spines among the CTs; all without a CT.", rich_help_panel=_DATA
        ),
    ] = 0.2,
    bone_only: Annotated[
        bool, typer.Option("--bone-only", help="Compare with DRRs of bone alone.", rich_help_panel=_DATA)
    ] = False,
    as_they_are: Annotated[
        bool,
        typer.Option("--as-they-are", help="Do not deform, mirror or implant the CTs.", rich_help_panel=_DATA),
    ] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Do not degrade the simulated X-rays.", rich_help_panel=_DATA)
    ] = False,
    same_body: Annotated[
        bool,
        typer.Option(
            "--same-body",
            help="X-rays show the body as the CT does: whole, unmoved, nothing opaque before it.",
            rich_help_panel=_DATA,
        ),
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="SAFETENSORS", help="Weights to begin with.", rich_help_panel=_RECIPE),
    ] = None,
    network: Annotated[Network, typer.Option(help="The network to train.", rich_help_panel=_RECIPE)] = (
        Network.DUAL_BRANCH
    ),
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.", rich_help_panel=_RECIPE)] = 2000,
    batch: BatchOption = 16,
    learning_rate: RateOption = 2e-3,
    residual_from: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the steps after which the residual 3D CNN learns too; its steps take several times as long.",
            rich_help_panel=_RECIPE,
        ),
    ] = 0.98,
    max_minutes: MinutesOption = None,
    device: DeviceOption = Device.AUTO,
    seed: SeedOption = 0,
    output: Annotated[
        Path,
        output_folder("Folder for checkpoint, weights, log and plot."),
    ] = Path("xrayct-training"),
) -> None:
    """Train the learned similarity on simulated X-rays of CTs.

    An interrupted training goes on where it stopped when the same command is given again. Several processes:
    torchrun --nproc-per-node 4 -m XrayCTRegistrationLib.cli train ...

    Example: xrayct train --ct a.nii.gz b.nii.gz --max-minutes 40 -o training
    """
    folder = writable_folder(output)
    with waiting("Starting"):
        from ..realism import CLEAN, ROBUST, Realism
        from ..training.anatomy import Source
        from ..training.differing import AS_SCANNED
        from ..training.differing import ROBUST as ROBUST_BODIES
        from ..training.trainer import Recipe

    cts = _existing([*(ct or []), *(more_cts or [])])
    realism = CLEAN if clean else Realism() if same_body else ROBUST
    differing = AS_SCANNED if same_body else ROBUST_BODIES
    recipe = Recipe(
        Source(cts, synthetic, bone_only=bone_only, varied=not as_they_are, differing=differing), network.value,
        batch=batch, steps=steps, learning_rate=learning_rate, residual_from=residual_from, seed=seed, realism=realism,
    )  # fmt: skip
    _run(recipe, folder, max_minutes, weights, device)


def adapt(
    ct: CtArgument,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="SAFETENSORS",
            help="Weights to begin with.",
            show_default="the shipped dual-branch weights",
            rich_help_panel=_DATA,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.", rich_help_panel=_RECIPE)] = 900,
    batch: BatchOption = 16,
    learning_rate: RateOption = 1.5e-3,
    max_minutes: MinutesOption = 10.0,
    device: DeviceOption = Device.AUTO,
    seed: SeedOption = 0,
    output: Annotated[
        Path,
        output_folder("Folder for checkpoint, weights, log and plot."),
    ] = Path("xrayct-adapted"),
) -> None:
    """Adapt trained weights to one patient before surgery, with simulated X-rays of that CT alone.

    Example: xrayct adapt ct.nii.gz -o adapted, then: xrayct register ... --method learned --weights
    adapted/dual-branch.safetensors
    """
    folder = writable_folder(output)
    with waiting("Starting"):
        from ..networks.weights import load_network, shipped_weights
        from ..training.anatomy import Source
        from ..training.trainer import Recipe

    initial = weights or shipped_weights()
    source = Source(_existing([ct]), 0.0, varied=False)
    recipe = Recipe(
        source, load_network(initial).name, batch=batch, steps=steps, learning_rate=learning_rate, residual_from=1.0,
        seed=seed,
    )  # fmt: skip
    _run(recipe, folder, max_minutes, initial, device)


def _existing(cts: list[Path]) -> tuple[str, ...]:
    for ct in cts:
        if not ct.exists():
            raise InputError(f"{ct}: there is no such CT. Check the path.")
    return tuple(str(ct.resolve()) for ct in cts)


def _run(recipe: Recipe, folder: Path, max_minutes: float | None, initial: Path | None, device: Device) -> None:
    """Train under a progress bar, then draw the log; Ctrl-C leaves the last checkpoint, and says so."""
    import torch

    from ..training.log import read_log, write_log_plot
    from ..training.trainer import train as run
    from .stages import announce_compilation

    chosen = device.value if device is not Device.AUTO else "cuda" if torch.cuda.is_available() else "cpu"
    announce_compilation()
    recent: list[StepRow] = []
    try:
        with progress_bars() as bars:
            task = bars.add_task(f"Training {recipe.network}", total=recipe.steps, detail="")

            def shown(row: StepRow) -> None:
                recent[:] = [*recent[1 - _SHOWN_STEPS :], row]
                turn, shift = (sum(getattr(r, n) for r in recent) / len(recent) for n in _COSINES)
                detail = f"cosines {turn:.2f} rotation, {shift:.2f} translation, {row.seconds / 60:.1f} min"
                bars.update(task, completed=row.step + 1, detail=detail)

            weights = run(recipe, folder, max_minutes, initial, chosen, on_step=shown)
    except KeyboardInterrupt:
        say(f"Interrupted. The same command goes on from the last checkpoint in {folder}.", "Note: ", "yellow")
        raise typer.Exit(INTERRUPTED) from None
    if int(os.environ.get("RANK", "0")) > 0:
        return
    rows = read_log(folder / "log.csv")
    names = [weights.name, "checkpoint.pt", "log.csv"]
    if rows:
        write_log_plot(folder / "log.png", rows)
        names.append("log.png")
    facts([("Steps", f"{len(rows)} of {recipe.steps}"), files_fact(folder, names)])


_COSINES = ("rotation_cosine", "translation_cosine")
