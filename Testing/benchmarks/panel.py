"""What the panel costs: registrations beside those of the library, and how long it holds up the window.

    .venv/bin/python Testing/benchmarks/panel.py

In the host that tests the panel, with real MRML and VTK; a drawing of a view takes at least as long as it is told to.
Writes Testing/benchmarks/panel.md. A block is the time between two turns of the window's event loop, without what the
views took to be drawn; the function that held it up is found by looking at the stack every few milliseconds. Beside
the time by the clock stands the main thread's processor time, which other programs lengthen less: where they differ
much, the machine was busy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from panel_host import running_host  # noqa: E402

MODULE = HERE.parents[1] / "XrayCTRegistration" / "XrayCTRegistration.py"
PROJECTOR = str(MODULE.parent / "XrayCTRegistrationLib" / "projector")
COSTS_MS = (0.0, 30.0, 150.0)
ALLOWED = (1.3, 1.5, 2.0)  # times the library's, at these costs
LONGEST_ALLOWED_MS = 60.0
LARGE = (512, 512, 500)  # columns, rows, slices
_LIMIT_S = 600.0
_SAMPLED_EVERY_S = 0.004


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3, help="of each registration; medians are shown")
    parser.add_argument("--slices", type=int, default=LARGE[2], help="of the large CT")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "panel.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        host = running_host(MODULE, Path(folder))
        with host.active():
            lines = [*heading(), *registrations(host, options.turns)]
        with host.active():
            lines += blocks(host, (*LARGE[:2], options.slices), Path(folder))
            lines += reading(host, Path(folder))
        if host.errors or host.messages.shown:
            sys.exit(f"The panel met an error: {host.errors} {host.messages.shown}")
    text = "\n".join(lines) + "\n"
    options.output.write_text(text, encoding="utf-8")
    print(text)
    sys.stdout.flush()
    os._exit(0)  # past the end of Qt and VTK, whose order of going is not ours


def heading() -> list[str]:
    machine = (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    return ["# What the panel costs", "", f"`.venv/bin/python Testing/benchmarks/panel.py`, {machine}.", ""]


# Registrations


def registrations(host: Any, turns: int) -> list[str]:
    """The sample's registration by the panel and by the library, in turn."""
    from XrayCTRegistrationLib.projector import warm_up

    warm_up()
    host.open_window().resize(1900, 1150)
    host.press(host.ui.loadSampleButton)
    host.wait(lambda: host.ui.registerButton.enabled and not host.ui.stageLabel.text, _LIMIT_S)
    host.idle(1.0)
    registered(host, by_library)  # the first one loads what is loaded once
    lines = [
        "Seconds from pressing *Register* to the result, of the sample: two views, window of 1900 x 1150 pixels.",
        "",
        "| drawing of a view takes | library | panel | times the library's | allowed | drawings |",
        "|---|---|---|---|---|---|",
    ]
    for cost_ms, allowed in zip(COSTS_MS, ALLOWED):
        library, panel, drawings = [], [], []
        for _ in range(turns):
            host.rendering.cost_ms = 0.0
            library.append(registered(host, by_library))
            host.rendering.cost_ms = cost_ms
            before = host.rendering.total
            panel.append(registered(host, by_panel))
            drawings.append(host.rendering.total - before)
        ours, theirs = np.median(panel), np.median(library)
        lines.append(
            f"| {cost_ms:.0f} ms or more | {theirs:.2f} | {ours:.2f} | {ours / theirs:.2f} | {allowed} | "
            f"{np.median(drawings):.0f} |"
        )
    host.rendering.cost_ms = 0.0
    return [*lines, ""]


def registered(host: Any, how: Callable[[Any], None]) -> float:
    """Seconds of one registration from the pose that the sample is loaded with."""
    selection = host.panel.panel.selection
    from XrayCTRegistrationLib.mrml.poses import centered_pose, set_pose

    set_pose(selection.pose_node, centered_pose(selection.inputs.ct.center, selection.inputs.isocenter))
    host.ui.scopeComboBox.currentText = "Far around the pose"
    host.idle(1.0)
    began = time.perf_counter()
    how(host)
    return time.perf_counter() - began


def by_panel(host: Any) -> None:
    host.press(host.ui.registerButton)
    while host.ui.registerButton.text != "Register":
        turn()


def by_library(host: Any) -> None:
    from XrayCTRegistrationLib.registration import Settings, register
    from XrayCTRegistrationLib.search.search_range import SearchRange

    selection = host.panel.panel.selection
    inputs = selection.inputs
    settings = Settings(search=SearchRange())
    register(inputs.ct, inputs.radiographs, inputs.views, selection.pose, settings, inputs.masks)


# Blocks


def blocks(host: Any, size: tuple[int, int, int], folder: Path) -> list[str]:
    """The longest block of every step from choosing images to the result, of a large CT."""
    ct_node, xray_nodes, carm = large_case(host, size, folder)
    host.open_window().resize(1900, 1150)
    host.idle(0.5)
    ui = host.ui
    steps: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        ("choose the CT", lambda: ui.ctSelector.setCurrentNode(ct_node), lambda: True),
        ("choose the first X-ray", lambda: ui.addXraySelector.setCurrentNode(xray_nodes[0]), lambda: True),
        ("choose its C-arm file, and prepare the CT", lambda: choose_carm(host, carm[0]), lambda: prepared(host)),
        ("choose the second X-ray", lambda: ui.addXraySelector.setCurrentNode(xray_nodes[1]), lambda: True),
        ("choose its C-arm file", lambda: choose_carm(host, carm[1]), lambda: prepared(host)),
        ("move the CT", lambda: setattr(ui.shiftLeftSlider, "value", 12.0), lambda: True),
        ("turn the CT", lambda: setattr(ui.turnLeftSlider, "value", 4.0), lambda: True),
        ("register", ui.registerButton.click, lambda: ui.registerButton.text == "Register"),
        ("undo", ui.undoButton.click, lambda: True),
    ]
    lines = [
        f"Longest block of the window, of a CT of {' x '.join(map(str, size))} voxels and two X-rays of 1024 x 1024 "
        f"pixels; {LONGEST_ALLOWED_MS:.0f} ms are allowed.",
        "",
        "| step | longest block, ms | of processor time, ms | blocks over 60 ms | seconds | what held it up |",
        "|---|---|---|---|---|---|",
    ]
    for name, act, done in steps:
        found = longest_block(host, act, done)
        cells = (
            *(name, f"{found.longest_ms:.0f}", f"{found.longest_processor_ms:.0f}", str(found.over)),
            *(f"{found.seconds:.1f}", found.culprits),
        )
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr)
    return lines


def reading(host: Any, folder: Path) -> list[str]:
    """The scene of the large CT saved and read again: how much of that is the panel's."""
    import slicer

    path = str(folder / "scene.mrb")
    slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    host.idle(1.0)
    samples: list[tuple[float, str]] = []
    with watched(samples):
        began = time.perf_counter()
        slicer.util.loadScene(path)
        seconds = time.perf_counter() - began
    ours_ms = 1000 * _SAMPLED_EVERY_S * len(samples)
    after = longest_block(host, lambda: None, lambda: prepared(host))
    return [
        "",
        f"The scene saved and read again: 3D Slicer's reader held the window for {seconds:.1f} s, of which the panel's "
        f"own code for about {ours_ms:.0f} ms. Until *Register* can be pressed, {after.seconds - 1:.1f} s more, in "
        f"blocks of at most {after.longest_ms:.0f} ms.",
    ]


@dataclass(frozen=True)
class Turn:
    """One turn of the window's event loop: when it began and ended, s, and the milliseconds it took without what the
    views took to be drawn, by the clock and of the main thread's processor time."""

    began_s: float
    ended_s: float
    clock_ms: float
    processor_ms: float


class Blocks:
    """longest_ms, longest_processor_ms: the longest of the turns, by either; over: how many exceed what is allowed, by
    both; seconds: of the whole step; culprits: functions, worst first."""

    def __init__(self, turns: list[Turn], samples: list[tuple[float, str]]) -> None:
        self.longest_ms = max(one.clock_ms for one in turns)
        self.longest_processor_ms = max(one.processor_ms for one in turns)
        over = [one for one in turns if min(one.clock_ms, one.processor_ms) > LONGEST_ALLOWED_MS]
        self.over = len(over)
        self.seconds = turns[-1].ended_s - turns[0].began_s
        named: Counter[str] = Counter()
        for one in over:
            within = Counter(name for at, name in samples if one.began_s <= at <= one.ended_s)
            if within:
                name = within.most_common(1)[0][0]
                named[name] = max(named[name], round(one.processor_ms))
        self.culprits = ", ".join(f"`{name}` {length} ms" for name, length in named.most_common(4))


def longest_block(host: Any, act: Callable[[], Any], done: Callable[[], Any]) -> Blocks:
    """Act, let the window turn until it is done and at rest, and look at how long each turn took."""
    samples: list[tuple[float, str]] = []
    with watched(samples):
        turns = [timed(host, act)]
        while not done():
            turns.append(timed(host, turn))
        rest_until = time.perf_counter() + 1.0  # edges become fine
        while time.perf_counter() < rest_until:
            turns.append(timed(host, turn))
    return Blocks(turns, samples)


@contextmanager
def watched(samples: list[tuple[float, str]]) -> Iterator[None]:
    """Note what this thread does meanwhile, see `watch`."""
    ended = threading.Event()
    thread = threading.Thread(target=watch, args=(threading.get_ident(), samples, ended), daemon=True)
    thread.start()
    yield
    ended.set()
    thread.join()


def timed(host: Any, act: Callable[[], Any]) -> Turn:
    """Do something, and say how long it took."""
    drawing = host.rendering
    drawn_ms, drawn_processor_ms = drawing.milliseconds, drawing.processor_ms
    began, processor = time.perf_counter(), time.thread_time()
    act()
    ended, processor = time.perf_counter(), time.thread_time() - processor
    return Turn(
        began,
        ended,
        1000 * (ended - began) - (drawing.milliseconds - drawn_ms),
        1000 * processor - (drawing.processor_ms - drawn_processor_ms),
    )


def turn() -> None:
    """One turn of the window's event loop."""
    import slicer

    slicer.app.processEvents()
    time.sleep(0.0005)


def watch(thread: int, samples: list[tuple[float, str]], ended: threading.Event) -> None:
    """Note, every few milliseconds, the innermost function of the product that a thread is in, and of a drawing who has
    asked for it."""
    while not ended.wait(_SAMPLED_EVERY_S):
        frame = sys._current_frames().get(thread)
        while frame is not None and (
            "XrayCTRegistrationLib" not in frame.f_code.co_filename or frame.f_code.co_filename.startswith(PROJECTOR)
        ):
            frame = frame.f_back
        if frame is not None:
            samples.append((time.perf_counter(), f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_qualname}"))


def large_case(host: Any, size: tuple[int, int, int], folder: Path) -> tuple[Any, list[Any], list[Path]]:
    """A CT node, two X-ray nodes without geometry, and the C-arm file of each."""
    import slicer
    from XrayCTRegistrationLib.geometry import Pose, rotation_from_euler, view_from_carm
    from XrayCTRegistrationLib.mrml.volumes import add_ct_node
    from XrayCTRegistrationLib.phantom import synthetic_spine
    from XrayCTRegistrationLib.simulation import detector_counts, line_integrals
    from XrayCTRegistrationLib.volume import Volume

    small = synthetic_spine(spacing_mm=2.0)
    indices = [np.arange(count) * length // count for count, length in zip(size, small.size)]
    array = small.array[np.ix_(*indices[::-1])].astype(np.int16)
    scale = np.array(small.size) / np.array(size)
    to_small = np.diag([*scale, 1.0])
    to_small[:3, 3] = (scale - 1) / 2
    ct_node = add_ct_node(host.scene, "Large CT", Volume(array, small.ijk_to_world @ to_small))
    turned = rotation_from_euler(np.radians((3.0, -4.0, 5.0)))
    pose = Pose.about(np.zeros(3), turned, np.array([6.0, -5.0, -8.0])) @ Pose.from_parts(np.eye(3), -small.center)
    nodes, files = [], []
    for number, angle in enumerate((0.0, 90.0)):
        entries = {
            "source_to_detector_mm": 1020.0,
            "source_to_isocenter_mm": 700.0,
            "pixel_spacing_mm": [0.3, 0.3],
            "image_size_px": [1024, 1024],
            "primary_angle_deg": angle,
        }
        counts = detector_counts(
            line_integrals(small, view_from_carm(entries), pose, 2.0), 20_000.0, np.random.default_rng(number)
        )
        pixels = np.minimum(counts, 65535).astype(np.uint16)
        nodes.append(slicer.util.addVolumeFromArray(pixels[None], name=f"view {number + 1}"))
        files.append(folder / f"view-{number + 1}.json")
        files[-1].write_text(json.dumps(entries), encoding="utf-8")
    return ct_node, nodes, files


def choose_carm(host: Any, path: Path) -> None:
    host.ui.carmPathLineEdit.currentPath = str(path)


def prepared(host: Any) -> bool:
    return host.ui.registerButton.enabled and not host.ui.stageLabel.text


if __name__ == "__main__":
    main()
