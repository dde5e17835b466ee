"""Registration of a real wrist, biplane fluoroscopy of a radius, from starts at a fixed distance to its reference pose.

    python Testing/benchmarks/wrist.py --method auto

Prints a Markdown table for both views together and for each alone, and writes it to `wrist.md` in the output folder.
The reference is itself good to about 2.5 degrees and 1 mm, so differences below that say nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from XrayCTRegistrationLib.geometry import Pose, XrayView
from XrayCTRegistrationLib.io.carm_files import read_carm
from XrayCTRegistrationLib.io.poses import read_pose
from XrayCTRegistrationLib.io.radiographs import read_radiograph
from XrayCTRegistrationLib.io.volumes import read_ct
from XrayCTRegistrationLib.metrics import bone_points, mtre_mm
from XrayCTRegistrationLib.registration import METHODS, Settings, register
from XrayCTRegistrationLib.volume import Volume
from XrayCTRegistrationLib.xray import Radiograph

START_DEG, START_MM = 10.0, 10.0  # how far every start is from the reference
WITHIN_DEG, WITHIN_MM = 2.5, 1.5  # counts as registered
VIEWS = {"both": [0, 1], "first": [0], "second": [1]}

FOLDER = Path(__file__).resolve().parent
DATA = FOLDER.parents[2] / "shared" / "data" / "xray" / "wrist"


@dataclass(frozen=True, eq=False)
class Wrist:
    """The radius's CT, two X-rays with their views, and the reference pose."""

    ct: Volume
    radiographs: tuple[Radiograph, ...]
    views: tuple[XrayView, ...]
    reference: Pose


@dataclass(frozen=True)
class Difference:
    """Between a registered pose and the reference. shift_mm: of the CT's centre. mtre_mm: mean over bone points."""

    rotation_deg: float
    shift_mm: float
    mtre_mm: float
    seconds: float

    @property
    def registered(self) -> bool:
        return self.rotation_deg <= WITHIN_DEG and self.shift_mm <= WITHIN_MM


def read_wrist(folder: Path) -> Wrist:
    """The files of the wrist in a folder; raises InputError as their readers do."""
    return Wrist(
        read_ct(folder / "rad_ct.nrrd"),
        tuple(read_radiograph(folder / f"frame0099_cam{number}.png") for number in (1, 2)),
        tuple(read_carm(folder / f"cam{number}.json") for number in (1, 2)),
        read_pose(folder / "rad_reference_pose.tfm"),
    )


def start_away(wrist: Wrist, rng: np.random.Generator) -> Pose:
    """The reference turned by START_DEG about its centre and shifted by START_MM, each in a random direction."""
    axes = rng.standard_normal((2, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    twist = np.concatenate([np.radians(START_DEG) * axes[0], START_MM * axes[1]])
    return wrist.reference.moved(twist, wrist.reference.apply(wrist.ct.center))


def difference(wrist: Wrist, start: Pose, views: list[int], settings: Settings) -> Difference:
    """Register some of the views from a start and compare with the reference."""
    begin = time.perf_counter()
    radiographs, geometries = ([both[index] for index in views] for both in (wrist.radiographs, wrist.views))
    pose = register(wrist.ct, radiographs, geometries, start, settings).pose
    seconds = time.perf_counter() - begin
    center = wrist.ct.center
    return Difference(
        (pose @ wrist.reference.inverse()).rotation_angle_deg(),
        float(np.linalg.norm(pose.apply(center) - wrist.reference.apply(center))),
        mtre_mm(bone_points(wrist.ct), pose, wrist.reference),
        seconds,
    )


def row(name: str, found: list[Difference]) -> str:
    """A line of the table."""
    columns = ("rotation_deg", "shift_mm", "mtre_mm", "seconds")
    medians = [statistics.median(getattr(one, column) for one in found) for column in columns]
    count = sum(one.registered for one in found)
    return f"| {name} | {count} of {len(found)} | " + " | ".join(f"{value:.2f}" for value in medians) + " |"


def peak_memory_gb() -> float:
    """Most memory this process has held."""
    import resource  # not on Windows, where the rest of this file works

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the wrist's files")
    parser.add_argument("--starts", type=int, default=10, help="how many starts (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the starts and of the registration (0)")
    parser.add_argument("--method", choices=list(METHODS), default="auto", help="of registration (auto)")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="folder for wrist.md (beside this script)")
    given = parser.parse_args()
    if given.starts < 1 or not given.output.is_dir():
        parser.error("give at least one start, and an output folder that exists")

    wrist, settings = read_wrist(given.data), Settings(method=given.method, seed=given.seed)
    rng = np.random.default_rng(given.seed)
    starts = [start_away(wrist, rng) for _ in range(given.starts)]
    difference(wrist, starts[0], [0], Settings(method="gradient"))  # compiles the projector, which is not to be timed
    lines = [
        f"Method {given.method}, seed {given.seed}; {given.starts} starts, {START_DEG:g} deg and {START_MM:g} mm off.",
        "",
        f"| view | within {WITHIN_DEG:g} deg and {WITHIN_MM:g} mm | rotation, deg | shift of the centre, mm "
        "| mTRE, mm | seconds |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for name, views in VIEWS.items():
        found = []
        for number, start in enumerate(starts):
            found.append(difference(wrist, start, views, settings))
            print(f"{name} {number}: {found[-1]}", file=sys.stderr, flush=True)
        lines.append(row(name, found))
        print(lines[-1], flush=True)
    lines += ["", f"Medians. Peak memory {peak_memory_gb():.2f} GB; {os.cpu_count()} cores, {platform.machine()}."]
    print("\n".join(lines[-2:]))
    (given.output / "wrist.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
