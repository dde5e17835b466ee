"""Pictures of the panel and its views, of the sample before and after registration: `make screenshots`.

Written into Resources/Screenshots/: window.png and small-window.png, panel.png, xray.png, scene3d.png, bones-panel.png.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from panel_host import running_host
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "Resources" / "Screenshots"
WINDOWS_PX = {"small-window.png": (1280, 800), "window.png": (1900, 1150)}
XRAY_WINDOW_PX, SCENE_WINDOW_PX = (1480, 1184), (1900, 620)  # of windows that a view is taken from
BONES_WINDOW_PX = (1400, 950)
SETTLED_S = 4.0  # until edges are fine and bones stand in 3D
PANEL_HEIGHT_PX = 1800  # all sections, from top to bottom


def main() -> None:
    module = REPOSITORY / "XrayCTRegistration" / "XrayCTRegistration.py"
    with tempfile.TemporaryDirectory() as folder:
        host = running_host(module, Path(folder))
        with host.active():
            take(host)
        with host.active():
            take_bones(host)
        if host.errors:
            sys.exit("The panel met an error: the pictures are not to be used.")


def take(host: Any) -> None:
    """Register the sample, and write every picture."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    window = host.open_window()
    window.resize(*WINDOWS_PX["window.png"])
    host.press(host.ui.loadSampleButton)
    host.wait(lambda: host.ui.registerButton.enabled, 120)
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", 120)
    host.idle(SETTLED_S)
    fold(host, geometry=True, pose=True)
    for name, window_px in WINDOWS_PX.items():
        show_views(host, window_px, zoom=1.0)
        host.ui.imagesCollapsibleButton.collapsed = name == "small-window.png"
        host.idle(0.3)
        save(window.grab(), name)
    show_views(host, XRAY_WINDOW_PX)
    save(window.layout_manager.sliceWidget("Xray1").grab(), "xray.png")
    show_views(host, SCENE_WINDOW_PX, zoom=1.2)
    save(window.layout_manager.threeDWidget(0).threeDView().grab(), "scene3d.png")
    fold(host, geometry=False, pose=False)
    window.resize(window.width, PANEL_HEIGHT_PX)
    host.idle(0.3)
    save(host.module.widgetRepresentation().grab(), "panel.png")


def take_bones(host: Any) -> None:
    """Register five vertebrae of the sample whose bones moved, and write the picture of the window."""
    from XrayCTRegistrationLib.mrml.sample import bones_steps
    from XrayCTRegistrationLib.state import finished

    sample = finished(bones_steps(host.scene))
    selection = host.panel.panel.selection
    selection.choose(sample.ct_node, sample.xray_nodes)
    host.ui.segmentationSelector.setCurrentNode(sample.segmentation_node)
    host.wait(lambda: host.ui.segmentsListWidget.count, 60)
    selection.choose_segments(sample.segmentation_node, [one.id for one in selection.bones.listed[1:6]])
    host.wait(lambda: host.ui.registerButton.enabled, 120)
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", 240)
    host.idle(SETTLED_S)
    fold(host, geometry=True, pose=True)
    show_views(host, BONES_WINDOW_PX, zoom=1.3)
    host.ui.imagesCollapsibleButton.collapsed = True
    host.idle(0.3)
    save(host.open_window().grab(), "bones-panel.png")


def fold(host: Any, geometry: bool, pose: bool) -> None:
    """Fold sections of the panel, so that the others fit into the window."""
    host.ui.geometryCollapsibleButton.collapsed = geometry
    host.ui.initialPoseCollapsibleButton.collapsed = pose


def show_views(host: Any, window_px: tuple[int, int], zoom: float = 1.0) -> None:
    """Give the window a size, and fit X-rays and C-arm into their views."""
    host.open_window().resize(*window_px)
    host.idle(0.2)
    host.press(host.ui.showViewsButton)
    host.idle(0.4)
    bring_nearer(host, zoom)


def bring_nearer(host: Any, zoom: float) -> None:
    """Bring what the module shows in the 3D view nearer, without the marks of directions."""
    view = host.open_window().layout_manager.threeDWidget(0)
    view.mrmlViewNode().SetBoxVisible(False)
    view.mrmlViewNode().SetAxisLabelsVisible(False)
    view.threeDView().renderer().GetActiveCamera().Zoom(zoom)
    host.idle(0.3)


def in_colours(path: Path, count: int = 96) -> None:
    """Write a PNG anew with a palette of its own."""
    picture = Image.open(path).convert("RGB")
    picture.quantize(count, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


def save(pixmap: Any, name: str) -> None:
    """Write a picture in 96 colours, which nobody sees and takes a quarter of the space."""
    path = FOLDER / name
    if not pixmap.save(str(path)):
        sys.exit(f"{path} cannot be written.")
    in_colours(path)
    print(f"{path.relative_to(REPOSITORY)}: {pixmap.width()} x {pixmap.height()}")


if __name__ == "__main__":
    main()
