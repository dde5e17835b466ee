"""Registration of a real wrist, biplane fluoroscopy of a radius, from starts at a fixed distance to its pose.

    python Testing/benchmarks/wrist.py --method auto

Two frames. The pose of frame 0099 is known to about 2.5 degrees and 1 mm, so differences below that say nothing; frame
0002 has no reference, and only shows whether all starts come to the same pose. Prints Markdown tables, both views
together and each alone, and writes them to `wrist.md` in the output folder, with a row for every start.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass, replace
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
ALONE_DEG, ALONE_MM = 5.0, 3.0  # in a single view: turn, and shift across its rays
AGREEING_MM = 1.5  # of the bone's points from where the median pose has them
FRAMES = ("0099", "0002")
VIEWS = {"both": [0, 1], "first": [0], "second": [1]}

FOLDER = Path(__file__).resolve().parent
DATA = FOLDER.parents[2] / "shared" / "data" / "xray" / "wrist"


@dataclass(frozen=True, eq=False)
class Wrist:
    """The radius's CT, two X-rays with their views, and the reference pose (that of frame 0099)."""

    ct: Volume
    radiographs: tuple[Radiograph, ...]
    views: tuple[XrayView, ...]
    reference: Pose


@dataclass(frozen=True, eq=False)
class Difference:
    """Between a registered pose and the reference. shift_mm: of the CT's centre, across_mm: of it across the rays of
    the first view used. mtre_mm: mean over bone points."""

    pose: Pose
    rotation_deg: float
    shift_mm: float
    across_mm: float
    mtre_mm: float
    similarity: float
    confidence: str
    seconds: float

    @property
    def registered(self) -> bool:
        return self.rotation_deg <= WITHIN_DEG and self.shift_mm <= WITHIN_MM

    @property
    def registered_alone(self) -> bool:
        return self.rotation_deg <= ALONE_DEG and self.across_mm <= ALONE_MM


def read_wrist(folder: Path, frame: str = FRAMES[0]) -> Wrist:
    """The files of a frame of the wrist in a folder; raises InputError as their readers do."""
    return Wrist(
        read_ct(folder / "rad_ct.nrrd"),
        tuple(read_radiograph(folder / f"frame{frame}_cam{number}.png") for number in (1, 2)),
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
    result = register(wrist.ct, radiographs, geometries, start, settings)
    seconds = time.perf_counter() - begin
    center, pose = wrist.ct.center, result.pose
    ray = wrist.reference.apply(center) - geometries[0].source
    ray /= np.linalg.norm(ray)
    shift = pose.apply(center) - wrist.reference.apply(center)
    return Difference(
        pose,
        (pose @ wrist.reference.inverse()).rotation_angle_deg(),
        float(np.linalg.norm(shift)),
        float(np.linalg.norm(shift - ray * (shift @ ray))),
        mtre_mm(bone_points(wrist.ct), pose, wrist.reference),
        result.similarity,
        result.confidence.level,
        seconds,
    )


def from_median_mm(points: np.ndarray, poses: list[Pose]) -> list[float]:
    """How far each pose holds points (N, 3) from where the median pose does: mean over the points, which stand at the
    medians of their coordinates."""
    placed = np.stack([pose.apply(points) for pose in poses])
    return [float(one) for one in np.linalg.norm(placed - np.median(placed, axis=0), axis=2).mean(axis=1)]


def row(frame: str, view: str, found: list[Difference], points: np.ndarray) -> str:
    """A line of the table."""
    agreeing = sum(one <= AGREEING_MM for one in from_median_mm(points, [one.pose for one in found]))
    cells = [frame, view, f"{agreeing} of {len(found)}"]
    if frame == FRAMES[0]:
        count = sum(one.registered if view == "both" else one.registered_alone for one in found)
        columns = ("rotation_deg", "shift_mm", "across_mm", "mtre_mm")
        medians = [statistics.median(getattr(one, column) for one in found) for column in columns]
        cells += [f"{count} of {len(found)}", *(f"{value:.2f}" for value in medians)]
    else:
        cells += [""] * 5
    return f"| {' | '.join(cells)} | {statistics.median(one.seconds for one in found):.1f} |"


def start_row(frame: str, view: str, number: int, one: Difference, off_mm: float) -> str:
    """A line of the table of all starts."""
    known = [one.rotation_deg, one.shift_mm, one.across_mm] if frame == FRAMES[0] else []
    cells = [*(f"{value:.2f}" for value in known), *[""] * (3 - len(known)), f"{off_mm:.2f}", f"{one.similarity:.3f}"]
    return f"| {frame} | {view} | {number} | {' | '.join(cells)} | {one.confidence} |"


def peak_memory_gb() -> float:
    """Most memory this process has held."""
    import resource  # not on Windows, where the rest of this file works

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the wrist's files")
    parser.add_argument("--starts", type=int, default=5, help="how many starts a seed (5)")
    parser.add_argument("--seeds", type=int, default=4, help="of starts, from 0 on (4)")
    parser.add_argument("--views", nargs="+", choices=list(VIEWS), default=list(VIEWS), help="which views (all)")
    parser.add_argument("--method", choices=list(METHODS), default="auto", help="of registration (auto)")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="folder for wrist.md (beside this script)")
    given = parser.parse_args()
    if min(given.starts, given.seeds) < 1 or not given.output.is_dir():
        parser.error("give at least one start, and an output folder that exists")

    settings = Settings(method=given.method)
    known = read_wrist(given.data)
    points = bone_points(known.ct)
    difference(known, known.reference, [0], Settings(method="gradient"))  # compiles the projector, not to be timed
    lines = [
        f"Method {given.method}; {given.seeds} x {given.starts} starts, {START_DEG:g} deg and {START_MM:g} mm off.",
        f"Right: within {WITHIN_DEG:g} deg and {WITHIN_MM:g} mm of the reference, in a single view within "
        f"{ALONE_DEG:g} deg and, across its rays, {ALONE_MM:g} mm.",
        f"Agreeing: within {AGREEING_MM:g} mm of the median pose.",
        "",
        "| frame | view | agreeing | right | rotation, deg | shift, mm | across the rays, mm | mTRE, mm | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    every = [
        "| frame | view | start | rotation, deg | shift, mm | across | from the median, mm | similarity | confidence |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for frame in FRAMES:
        wrist = known if frame == FRAMES[0] else _at_its_pose(read_wrist(given.data, frame))
        starts = []
        for seed in range(given.seeds):
            rng = np.random.default_rng(seed)
            starts += [start_away(wrist, rng) for _ in range(given.starts)]
        for name in given.views:
            found = []
            for number, start in enumerate(starts):
                found.append(difference(wrist, start, VIEWS[name], settings))
                print(f"{frame} {name} {number}: {found[-1]}", file=sys.stderr, flush=True)
            off_mm = from_median_mm(points, [one.pose for one in found])
            every += [start_row(frame, name, n, one, off) for n, (one, off) in enumerate(zip(found, off_mm))]
            lines.append(row(frame, name, found, points))
            print(lines[-1], flush=True)
    lines += ["", f"Medians. Peak memory {peak_memory_gb():.2f} GB; {os.cpu_count()} cores, {platform.machine()}."]
    print("\n".join(lines[-2:]))
    (given.output / "wrist.md").write_text("\n".join([*lines, "", *every]) + "\n", encoding="utf-8")


def _at_its_pose(wrist: Wrist) -> Wrist:
    """The wrist with, as reference, the pose that both views lead to from it: what the starts are off."""
    return replace(wrist, reference=difference(wrist, wrist.reference, VIEWS["both"], Settings()).pose)


if __name__ == "__main__":
    main()
