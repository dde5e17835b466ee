"""How soon new edges stand over the X-ray after the CT was moved, and how long the ticks of a registration are.

    .venv/bin/python Testing/benchmarks/overlay.py

The nodes are those of slicer-core; drawing the views is not counted. One view of 256 x 256 pixels, the synthetic spine.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable

import numpy as np
import slicer
from XrayCTRegistrationLib.evaluation.protocol import protocol_view, random_motion
from XrayCTRegistrationLib.geometry import Pose
from XrayCTRegistrationLib.mrml.inputs import Inputs, inputs_of
from XrayCTRegistrationLib.mrml.overlay import Drawn, show_edges
from XrayCTRegistrationLib.mrml.poses import pose_node_for, pose_of, set_pose
from XrayCTRegistrationLib.mrml.session import Session
from XrayCTRegistrationLib.mrml.volumes import add_ct_node
from XrayCTRegistrationLib.mrml.xrays import add_xray_node
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.preview import Preview, PreviewCt
from XrayCTRegistrationLib.projector import warm_up
from XrayCTRegistrationLib.registration import Settings
from XrayCTRegistrationLib.simulation import detector_counts, line_integrals

_WIDTHS_PX = (128, 192, 256)  # of the DRR that edges are sought in: moving several views, moving one, the whole image
_TICK_S = 0.02


def main() -> None:
    """Print medians and the longest of many moves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spacing", type=float, default=1.5, help="voxels of the phantom, mm")
    parser.add_argument("--moves", type=int, default=40)
    options = parser.parse_args()
    warm_up()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    scene = slicer.vtkMRMLScene()
    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLScene(scene)
    view = protocol_view()
    ct = synthetic_spine(spacing_mm=options.spacing)
    counts = detector_counts(line_integrals(ct, view, Pose.identity()), 20_000.0, np.random.default_rng(0))
    xray = add_xray_node(scene, "X-ray", counts, view)
    ct_node = add_ct_node(scene, "CT", ct)
    node = pose_node_for(scene, ct_node, Pose.identity())
    inputs = inputs_of(ct_node, [xray])
    print(f"CT of {' x '.join(map(str, ct.size))} voxels of {options.spacing:g} mm, one view of 256 x 256 pixels")
    preview = Preview(PreviewCt.of(inputs.ct), inputs.radiographs, inputs.views)
    poses = [random_motion(view, "overlay", number, 0) for number in range(options.moves)]
    preview.similarity(Pose.identity())
    for width in _WIDTHS_PX:

        def moved(pose: Pose, width: int = width) -> None:
            set_pose(node, pose)
            lines, shown = preview.edges(0, pose_of(node), width)
            show_edges(xray, [Drawn(lines, shown)])

        _print(f"edges from a DRR of {width} x {width}", _milliseconds(moved, poses))
    _print("similarity", _milliseconds(preview.similarity, poses))
    for method in ("auto", "cmaes"):
        _print(f"ticks of a registration, {method}", _ticks(inputs, node, method))


def _milliseconds(move: Callable[[Pose], object], poses: list[Pose]) -> list[float]:
    times = []
    for pose in poses:
        begin = time.perf_counter()
        move(pose)
        times.append(1000 * (time.perf_counter() - begin))
    return times


def _ticks(inputs: Inputs, node: object, method: str) -> list[float]:
    session = Session(inputs, node, Pose.identity(), Settings(method=method))
    times, running = [], True
    while running:
        begin = time.perf_counter()
        running = session.advance(_TICK_S)
        times.append(1000 * (time.perf_counter() - begin))
    return times


def _print(what: str, times: list[float]) -> None:
    share = np.mean(np.array(times) > 50)
    print(
        f"{what:45} median {np.median(times):6.1f} ms, 95 % {np.percentile(times, 95):6.1f} ms, "
        f"longest {max(times):6.1f} ms, over 50 ms {share:5.1%} of {len(times)}"
    )


if __name__ == "__main__":
    main()
