"""How long `xrayct` takes from files to files, as a person waits for it: `make bench-run` writes run.md.

Whole processes, in turns: a small chest CT, the same resampled to 512 x 512 x 484 voxels, the wrist's two frames; help,
bad input, and the imports of torch and of all libraries alone for comparison. Every turn runs them on a quiet machine
and then beside busy loops. With --baseline, another checkout runs in the same turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pstats

# Nothing else at the head: a process is never counted with less memory than the one that started it.

FOLDER = Path(__file__).resolve().parent
LIBRARY = FOLDER.parents[1] / "XrayCTRegistration"
DATA = FOLDER.parents[2] / "shared" / "data"
OUTPUT = Path(__file__).with_suffix(".md")
LARGE_SIZE = (512, 512, 484)
REST_S = 0.5  # before every run: caches are written, threads have gone to sleep
COMMAND = ("-m", "XrayCTRegistrationLib.cli")
# What a registration from files to files cannot do without.
LIBRARIES = ("torch", "numba", "scipy.ndimage", "scipy.fft", "scipy.special", "SimpleITK", "PIL.Image")

PROFILED, PROFILE_SEED = 15, 40
# Parts of a registration, by the places of its code.
PARTS = {
    "DRRs with their Jacobian": ("cpu.py:_draw_with_jacobian",),
    "DRRs": ("cpu.py:_draw",),
    "matching in Fourier space": ("fft", "matching.py:"),
    "local normalisation, similarity, Gauss-Newton": ("windows.py:", "similarity.py:", "torch"),
    "volumes: coarsening, 16 bits": ("kernels.py:", "volume.py:", "block_means.py:"),
    "rays and their weights": ("rays.py:", "/weights.py:", "view.py:"),
    "poses, small matrices": ("pose.py:", "linalg"),
    "the X-ray: field, logarithm, scatter": ("/xray.py:", "field/", "foreign.py:", "scatter.py:", "ndimage"),
}
REST = "all else"
BOUNDS = """
What bounds a whole run: importing torch, Numba and the rest takes the time and the memory in the row of the libraries
alone, whatever is registered. What bounds a registration: its poses must be drawn, at about 2 ns a sample
([projector](projector.md)), the first two rows; all else is arithmetic on small images, spread over many functions."""


@dataclass(frozen=True)
class Run:
    """One process. stages: wall seconds of the registration's stages, empty where nothing is registered."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    stages: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--loops", type=int, default=2, help="how many busy loops (2)")
    parser.add_argument("--baseline", type=Path, help="another checkout, to be measured in the same turns")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)  # in a process of its own, for its memory
    parser.add_argument("--profile", type=Path, help=argparse.SUPPRESS)  # likewise
    given = parser.parse_args()
    if given.prepare:
        prepare(given.data, given.prepare)
        return
    if given.profile:
        given.profile.write_text(json.dumps(profile(given.data)))
        return
    if given.turns < 1 or not (given.data / "ct" / "lidc_0001.nii.gz").is_file():
        parser.error(f"give at least one turn, and the folder of the development data, which {given.data} is not")
    libraries = {"now": LIBRARY}
    if given.baseline:
        libraries = {"before": given.baseline.resolve() / "XrayCTRegistration", **libraries}
    with tempfile.TemporaryDirectory() as folder:
        own = ["--data", str(given.data), "--prepare", folder]
        subprocess.run([sys.executable, __file__, *own], check=True, env=environment(LIBRARY))
        cases = commands(given.data, Path(folder))
        runs = measured(cases, libraries, given.turns, given.loops, Path(folder))
        voxels_mb = json.loads((Path(folder) / "voxels_mb.json").read_text())
        own = ["--data", str(given.data), "--profile", str(Path(folder) / "profile.json")]
        subprocess.run([sys.executable, __file__, *own], check=True, env=environment(LIBRARY))
        parts = json.loads((Path(folder) / "profile.json").read_text())
    lines = [*report(runs, voxels_mb, given.turns, given.loops), *profile_table(parts)]
    OUTPUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(OUTPUT.read_text(encoding="utf-8"))


def prepare(data: Path, folder: Path) -> None:
    """The large CT, an X-ray of the small one, and a start of the wrist, written to the folder."""
    import numpy as np
    import SimpleITK as sitk
    from wrist import read_wrist, start_away
    from XrayCTRegistrationLib.evaluation.protocol import protocol_view
    from XrayCTRegistrationLib.io.carm_files import write_carm
    from XrayCTRegistrationLib.io.poses import write_pose

    small = sitk.ReadImage(str(data / "ct" / "lidc_0001.nii.gz"))
    spacing = [size * count / new for size, count, new in zip(small.GetSpacing(), small.GetSize(), LARGE_SIZE)]
    corner = [(new / old - 1) / 2 for new, old in zip(spacing, small.GetSpacing())]  # the outer borders coincide
    origin = small.TransformContinuousIndexToPhysicalPoint(corner)
    how = (sitk.Transform(), sitk.sitkLinear, origin, spacing, small.GetDirection(), -1024.0, sitk.sitkInt16)
    large = sitk.Resample(small, LARGE_SIZE, *how)
    sitk.WriteImage(large, str(folder / "large.nii.gz"), useCompression=True)
    write_carm(folder / "carm.json", protocol_view())
    simulate = ["simulate", str(data / "ct" / "lidc_0001.nii.gz"), "-g", str(folder / "carm.json")]
    simulate += ["--random-pose", "1", "-o", str(folder / "simulated")]
    subprocess.run([sys.executable, *COMMAND, *simulate], check=True, stdout=subprocess.DEVNULL)
    wrist = read_wrist(data / "xray" / "wrist")
    write_pose(folder / "start.tfm", start_away(wrist, np.random.default_rng(0)))
    voxels_mb = {
        "small CT": 2e-6 * small.GetNumberOfPixels(),
        "large CT": 2e-6 * large.GetNumberOfPixels(),
        "wrist, two frames": wrist.ct.array.nbytes / 1e6,
    }
    (folder / "voxels_mb.json").write_text(json.dumps(voxels_mb))


def profile(data: Path) -> dict[str, float]:
    """Seconds of one core that a registration spends on each of PARTS, medians over clean X-rays of the small CT."""
    import cProfile
    import logging
    import pstats

    from XrayCTRegistrationLib.evaluation.protocol import simulated_case
    from XrayCTRegistrationLib.evaluation.subject import Subject
    from XrayCTRegistrationLib.io.volumes import read_ct
    from XrayCTRegistrationLib.projector.cores import on_one_core
    from XrayCTRegistrationLib.registration import Settings, register
    from XrayCTRegistrationLib.search.search_range import SearchRange

    logging.disable()
    subject, found = Subject("lidc_0001.nii.gz", read_ct(data / "ct" / "lidc_0001.nii.gz")), []
    with on_one_core():
        for number in range(PROFILED + 1):
            case, profiler = simulated_case(subject, number, PROFILE_SEED), cProfile.Profile(time.process_time)
            what = (case.given, case.radiographs, case.views, case.start, Settings(search=SearchRange()))
            profiler.runcall(register, *what)
            if number:  # the first one waits for compiled code
                found.append(_seconds_of_parts(pstats.Stats(profiler)))
    return {part: median(one[part] for one in found) for part in found[0]}


def _seconds_of_parts(stats: pstats.Stats) -> dict[str, float]:
    seconds = {**dict.fromkeys(PARTS, 0.0), REST: 0.0}
    for (file, _, function), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        place = f"{file}:{function}"
        seconds[next((part for part, names in PARTS.items() if any(name in place for name in names)), REST)] += own
    return seconds


def profile_table(parts: dict[str, float]) -> list[str]:
    """The lines of run.md on what a registration consists of."""
    total = sum(parts.values())
    rows = [f"| {part} | {seconds:.2f} | {seconds / total:.0%} |" for part, seconds in parts.items()]
    return [
        f"\nWhat a registration consists of: clean X-rays of the small CT (medians of {PROFILED}), on one core under "
        f"Python's profiler, which adds a tenth; {total:.2f} s in all.\n",
        *("| | CPU s | share |", "|---|---|---|", *rows),
        BOUNDS,
    ]


def commands(data: Path, folder: Path) -> dict[str, list[str]]:
    """What Python is started with, by the name of the case."""
    ct, wrist = str(data / "ct" / "lidc_0001.nii.gz"), data / "xray" / "wrist"
    xray = [str(folder / "simulated" / "xray.png"), "-g", str(folder / "carm.json")]
    frames = [str(wrist / f"frame0099_cam{number}.png") for number in (1, 2)]
    frames += [part for number in (1, 2) for part in ("-g", str(wrist / f"cam{number}.json"))]
    register, out = [*COMMAND, "register"], ["-o", str(folder / "out")]
    return {
        "small CT": [*register, ct, *xray, *out],
        "large CT": [*register, str(folder / "large.nii.gz"), *xray, *out],
        "wrist, two frames": [
            *register,
            str(wrist / "rad_ct.nrrd"),
            *frames,
            "--init",
            str(folder / "start.tfm"),
            *out,
        ],
        "--help": [*COMMAND, "--help"],
        "no such X-ray": [*register, ct, str(folder / "no.png"), "-g", str(folder / "carm.json"), *out],
        "import torch": ["-c", "import torch"],
        "its libraries alone": ["-c", f"import {', '.join(LIBRARIES)}"],
    }


def measured(
    cases: dict[str, list[str]], libraries: dict[str, Path], turns: int, loops: int, folder: Path
) -> dict[tuple[str, str, bool], list[Run]]:
    """The runs of every case, library, and whether busy; a first turn, in which code is compiled, is not counted."""
    runs: dict[tuple[str, str, bool], list[Run]] = {}
    for turn in range(turns + 1):
        for busy in (False, True) if turn else (False,):
            for case, arguments in cases.items():
                for name, library in libraries.items():
                    with busy_loops(loops if busy else 0):
                        one = run(arguments, library, folder / "out" / "report.json")
                    if turn:
                        runs.setdefault((case, name, busy), []).append(one)
                        state = "busy" if busy else "quiet"
                        print(f"{turn} {case}, {name}, {state}: {one}", file=sys.stderr, flush=True)
    return runs


def run(arguments: list[str], library: Path, result: Path) -> Run:
    """One process from its start to its end, as the operating system counts it."""
    result.unlink(missing_ok=True)
    time.sleep(REST_S)
    begin = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *arguments], env=environment(library), **quiet)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)  # else Popen would wait for it again
    unit = 1 if sys.platform == "darwin" else 1024
    stages = json.loads(result.read_text())["seconds"] if result.exists() else {}
    return Run(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * unit / 1e6, stages)


def environment(library: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(library)}


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Other programs that want the processor, as long as the block lasts."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def report(
    runs: dict[tuple[str, str, bool], list[Run]], voxels_mb: dict[str, float], turns: int, loops: int
) -> list[str]:
    """The lines of run.md."""
    lines = [
        f"# From files to files\n\n{machine()} Medians of {turns}; busy: beside {loops} busy loops. "
        "The registration is that of report.json, wall time.\n",
        "| | | CPU s | wall s | of it registration s | peak MB | the CT's own MB | busy, wall s "
        "| busy, registration s | slower, busy |",
        "|---|---|" + "---|" * 8,
    ]
    for case, name in dict.fromkeys((case, name) for case, name, _ in runs):
        quiet, busy = (runs[case, name, state] for state in (False, True))
        wall = [median(one.wall_s for one in several) for several in (quiet, busy)]
        inner = [median(sum(one.stages.values()) for one in several) for several in (quiet, busy)]
        ratio = f"{inner[1] / inner[0]:.2f} x" if inner[0] else f"{wall[1] / wall[0]:.2f} x"
        cells = [
            *(case, name, f"{median(one.cpu_s for one in quiet):.2f}", f"{wall[0]:.2f}"),
            *(f"{inner[0]:.2f}" if inner[0] else "", f"{median(one.peak_mb for one in quiet):.0f}"),
            *(f"{voxels_mb[case]:.0f}" if case in voxels_mb else "", f"{wall[1]:.2f}"),
            *(f"{inner[1]:.2f}" if inner[0] else "", ratio),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["\nWall seconds of the registration's stages, on the quiet machine.\n", "| | | stages |", "|---|---|---|"]
    for (case, name, busy), several in runs.items():
        if several[0].stages and not busy:
            stages = [f"{stage} {median(one.stages[stage] for one in several):.2f}" for stage in several[0].stages]
            lines.append(f"| {case} | {name} | {', '.join(stages)} |")
    return lines


def machine() -> str:
    name, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.exists():
        name = next((line.split(":")[1].strip() for line in cpuinfo.open() if line.startswith("model name")), name)
    return f"{os.cpu_count()} cores of {name}; Python {platform.python_version()}."


if __name__ == "__main__":
    main()
