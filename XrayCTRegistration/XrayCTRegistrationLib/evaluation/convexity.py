"""How convex a learned similarity is: whether it points to the truth, by the distance from it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from ..io.figures import figure_file
from ..io.poses import replacing
from ..losses import cosines, geodesic_gradient
from ..networks.interface import WINDOW_PX, SimilarityNetwork, carried, feature_differences, moving_volume
from ..projector import VolumeTensor
from ..realism import CLEAN, Realism
from ..search.feature_descent import System
from ..threads import torch_on_one_thread
from ..training.anatomy import unvaried_anatomy
from ..training.objective import pose_directions
from ..training.samples import Batch, sampled_batch, training_view

_EDGES = (0.0, 5.0, 10.0, 20.0, 40.0, 60.0, np.inf)  # degrees, and millimetres
_AT_ONCE = 16


@dataclass(frozen=True)
class ConvexityRow:
    """One bin. part: "rotation" (distances in degrees) or "translation" (mm of the isocentre). least, most: the
    distances it holds. cases: in it. mean, deviation, least_of_9_in_10: of the cosines between the network's descent
    direction and the way to the truth."""

    network: str
    ct: str
    part: str
    least: float
    most: float
    cases: int
    mean: float
    deviation: float
    least_of_9_in_10: float


# Of a network, a moving volume and a batch: ways (B, 6) that it shows, and the geodesic ways (B, 6) to the truth.
Ways = Callable[[SimilarityNetwork, VolumeTensor, Batch], tuple[torch.Tensor, torch.Tensor]]


def value_ways(network: SimilarityNetwork, moving: VolumeTensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Down the network's value, by the natural gradient."""
    return pose_directions(network, moving, batch)[1:]


def feature_ways(network: SimilarityNetwork, moving: VolumeTensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The first step of a `feature_descent`."""
    systems = _systems(network, moving, batch, batch.poses)
    ways = torch.from_numpy(np.stack([system.step() for system in systems]))
    return ways, -geodesic_gradient(batch.poses, batch.true, batch.isocenters)


def best_ways(network: SimilarityNetwork, moving: VolumeTensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """What features can tell at best: the true way, and the Gauss-Newton step that noise, and all else that the DRR of
    the true pose lacks of the X-ray, still asks for there. Of a network whose features are the images themselves it is
    what the images can tell."""
    geodesic = -geodesic_gradient(batch.poses, batch.true, batch.isocenters)
    systems = _systems(network, moving, batch, batch.true)
    return geodesic + torch.from_numpy(np.stack([system.step(0.0) for system in systems])), geodesic


def _systems(network: SimilarityNetwork, moving: VolumeTensor, batch: Batch, poses: torch.Tensor) -> list[System]:
    centers = carried(batch.isocenters, poses)
    found = feature_differences(network, moving, batch.fixed, poses, centers, batch.extent)
    return [System.of(*one) for one in zip(found.residuals, found.jacobian, (v.axes for v in batch.fixed.views))]


def convexity(
    network: SimilarityNetwork,
    ct_paths: Sequence[Path],
    cases: int,
    seed: int = 0,
    realism: Realism = CLEAN,
    ways: Ways = value_ways,
    name: str | None = None,
) -> list[ConvexityRow]:
    """Rows for each CT and for all together, over `cases` X-rays per CT of the training's distribution of poses.

    ways: what of the network is measured. name: in the rows, the network's own unless given. A tenth of the cosines of
    a bin lie below least_of_9_in_10. Bins that no case fell into are left out.
    """
    found: dict[str, tuple[np.ndarray, ...]] = {}
    view = training_view(WINDOW_PX)
    with torch_on_one_thread():
        for path in ct_paths:
            anatomy = unvaried_anatomy(Path(path), torch.device("cpu"))
            with torch.no_grad():
                moving = moving_volume(network, anatomy.moving)
            parts = []
            for first in range(0, cases, _AT_ONCE):
                numbers = range(first, min(first + _AT_ONCE, cases))
                generators = [np.random.default_rng([seed, number, *anatomy.name.encode()]) for number in numbers]
                batch = sampled_batch(anatomy, view, generators, realism)
                shown, geodesic = ways(network, moving, batch)
                parts.append((cosines(shown, geodesic).cpu().numpy(), _distances(geodesic)))
            found[anatomy.name] = tuple(np.concatenate(arrays) for arrays in zip(*parts))
    everything = tuple(np.concatenate(arrays) for arrays in zip(*found.values()))
    together = {"all": everything, **found} if len(found) > 1 else found
    return [row for ct, arrays in together.items() for row in _rows(name or network.name, ct, *arrays)]


def _distances(geodesic: torch.Tensor) -> np.ndarray:
    """(B, 2) degrees and millimetres."""
    turn, shift = (part.norm(dim=1).cpu().numpy() for part in geodesic.split(3, dim=1))
    return np.stack([np.degrees(turn), shift], axis=1)


def _rows(network: str, ct: str, found: np.ndarray, distances: np.ndarray) -> list[ConvexityRow]:
    rows = []
    for index, part in enumerate(("rotation", "translation")):
        for least, most in pairwise(_EDGES):
            inside = found[(distances[:, index] >= least) & (distances[:, index] < most), index]
            if len(inside):
                figures = (float(inside.mean()), float(inside.std()), float(np.quantile(inside, 0.1)))
                rows.append(ConvexityRow(network, ct, part, least, most, len(inside), *figures))
    return rows


def convexity_markdown(rows: Sequence[ConvexityRow]) -> str:
    """The rows as a Markdown table: a line per network, CT and part, a column per bin."""
    bins = [_bin(least, most) for least, most in pairwise(_EDGES)]
    lines = ["| network | CT | cosine of | " + " | ".join(bins) + " |", "| --- | --- | --- |" + " ---: |" * len(bins)]
    for key in dict.fromkeys((row.network, row.ct, row.part) for row in rows):
        of_key = {row.least: row for row in rows if (row.network, row.ct, row.part) == key}
        cells = [_cell(of_key[least]) if least in of_key else "" for least in _EDGES[:-1]]
        unit = "rotation, by degrees" if key[2] == "rotation" else "translation, by mm"
        lines.append("| " + " | ".join([key[0], key[1], unit, *cells]) + " |")
    return "\n".join([*lines, "", "Mean ± standard deviation (cases) of the cosine to the way to the truth.", ""])


def _bin(least: float, most: float) -> str:
    return f"{least:g}-{most:g}" if np.isfinite(most) else f"{least:g}+"


def _cell(row: ConvexityRow) -> str:
    return f"{row.mean:.2f} ± {row.deviation:.2f} ({row.cases})"


def write_convexity(folder: Path, rows: Sequence[ConvexityRow]) -> None:
    """Write convexity.csv, convexity.md and convexity.png into a folder. Raises InputError without matplotlib."""
    with replacing(folder / "convexity.csv") as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(ConvexityRow)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    with replacing(folder / "convexity.md") as unfinished:
        unfinished.write_text(convexity_markdown(rows), encoding="utf-8")
    _write_plot(folder / "convexity.png", rows)


def _write_plot(path: Path, rows: Sequence[ConvexityRow]) -> None:
    with figure_file(path, (9, 4.5), "evaluation", dpi=120) as figure:
        ct = rows[0].ct  # all of them together, where there are several
        panels = figure.subplots(1, 2, sharey=True)
        for panel, part, unit in zip(panels, ("rotation", "translation"), ("degrees", "mm")):
            for network in dict.fromkeys(row.network for row in rows):
                chosen = [row for row in rows if (row.network, row.ct, row.part) == (network, ct, part)]
                names = [_bin(row.least, row.most) for row in chosen]
                means, low = (np.array([getattr(row, name) for row in chosen]) for name in ("mean", "least_of_9_in_10"))
                (line,) = panel.plot(names, means, "o-", label=network)
                panel.plot(names, low, ":", color=line.get_color())
            panel.axhline(0.8, color="0.7", linewidth=1)
            panel.set(xlabel=f"{part} from the truth ({unit})", ylim=(-1, 1))
            panel.grid(True, color="0.93")
        figure.axes[0].set_ylabel("cosine (dotted: tenth percentile)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
