"""What one rigid pose in one view can reach where the body bent since the CT: the floor under the rows `warp` and
`together` of the robust protocol.

    .venv/bin/python Testing/benchmarks/bent_bodies.py --ct a.nii.gz b.nii.gz

Bodies bend as `evaluation.bodies.smooth_field` has it. No image is compared: the pose is the one whose projections of
all vertebra points in the field are nearest, by least squares, to where those points truly project. A registration that
read every point's place off the X-ray without an error would end there. Errors are at the vertebrae, as the protocol's.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares
from XrayCTRegistrationLib.evaluation.bodies import smooth_field, warped_points
from XrayCTRegistrationLib.evaluation.protocol import nearest_motion, protocol_view, random_motion
from XrayCTRegistrationLib.evaluation.subject import Subject
from XrayCTRegistrationLib.geometry import Pose, XrayView, rotation_from_euler
from XrayCTRegistrationLib.io.volumes import read_ct
from XrayCTRegistrationLib.registration import centered

_LARGEST_MM = {"warp": 4.0, "together": 2.0}  # displacements, as in the effects of these names
_TABLE = Path(__file__).with_suffix(".md")


@dataclass(frozen=True)
class Reached:
    """Errors at the vertebrae, mm: of the nearest rigid pose in space, and of the one that projects nearest."""

    in_space_mm: float
    in_view_mm: float


def main() -> None:
    """Print the table and write it beside this file."""
    parser = argparse.ArgumentParser(description="What one rigid pose in one view can reach where the body bent.")
    parser.add_argument("--ct", type=Path, nargs="+", required=True)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    lines = [
        f"{options.cases} bodies a CT, seed {options.seed}. Errors at the vertebrae, mm.",
        "",
        "| CT | bent by up to, mm | nearest rigid pose, median | nearest in the view, median | below 10 mm | 2 mm |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    of_all: dict[float, list[Reached]] = {largest_mm: [] for largest_mm in _LARGEST_MM.values()}
    for path in options.ct:
        subject = Subject(path.name, read_ct(path))
        for largest_mm, of_bend in of_all.items():
            found = [reached(subject, largest_mm, number, options.seed) for number in range(options.cases)]
            of_bend += found
            lines.append(row(path.name.split(".")[0], largest_mm, found))
            print(lines[-1], flush=True)
    lines += [row("all", *entry) for entry in of_all.items()]
    _TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def row(name: str, largest_mm: float, found: list[Reached]) -> str:
    """A row of the table."""
    in_space, in_view = (np.array(errors) for errors in zip(*((one.in_space_mm, one.in_view_mm) for one in found)))
    medians = f"{np.median(in_space):.2f} | {np.median(in_view):.1f}"
    return f"| {name} | {largest_mm:g} | {medians} | {np.mean(in_view < 10):.0%} | {np.mean(in_view < 2):.0%} |"


def reached(subject: Subject, largest_mm: float, number: int, seed: int) -> Reached:
    """Of case `number`: the protocol's pose, and a body bent at random by up to largest_mm."""
    view, points = protocol_view(), subject.vertebra_points
    posed = random_motion(view, subject.name, number, seed) @ centered(subject.ct, [view])
    moved = warped_points(points, smooth_field(subject.ct, largest_mm, np.random.default_rng([seed, number])))
    stand, nearest = posed.apply(moved), posed @ nearest_motion(points, moved)
    seen = nearest_in_view(view, points, stand, nearest)
    return Reached(*(float(np.linalg.norm(pose.apply(points) - stand, axis=1).mean()) for pose in (nearest, seen)))


def nearest_in_view(view: XrayView, points: np.ndarray, stand: np.ndarray, start: Pose) -> Pose:
    """The pose whose points (N, 3) of the CT project nearest to points (N, 3) of the world, where those are seen."""
    pixels, _ = view.project_points(stand)
    seen = ((pixels >= 0) & (pixels < view.size_px)).all(axis=1)
    middle = start.apply(points[seen]).mean(axis=0)

    def posed(twist: np.ndarray) -> Pose:
        return Pose.about(middle, rotation_from_euler(twist[:3]), twist[3:]) @ start

    def apart_px(twist: np.ndarray) -> np.ndarray:
        return (view.project_points(posed(twist).apply(points[seen]))[0] - pixels[seen]).ravel()

    return posed(least_squares(apart_px, np.zeros(6), x_scale=[0.01] * 3 + [1.0] * 3).x)


if __name__ == "__main__":
    main()
