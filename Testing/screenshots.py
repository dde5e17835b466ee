"""Pictures of the panel and its views, of the sample before and after registration: `make screenshots`.

Written into Resources/Screenshots/: panel.png, xray.png, scene3d.png, window.png.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from panel_host import running_host

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "Resources" / "Screenshots"
WINDOW_PX = (1480, 800)
XRAY_WINDOW_PX, SCENE_WINDOW_PX = (1800, 1440), (2300, 740)  # of windows that a view is taken from
PANEL_HEIGHT_PX = 1355


def main() -> None:
    module = REPOSITORY / "XrayCTRegistration" / "XrayCTRegistration.py"
    with tempfile.TemporaryDirectory() as folder:
        host = running_host(module, Path(folder))
        with host.active():
            take(host)
        if host.errors:
            sys.exit("The panel met an error: the pictures are not to be used.")


def take(host: Any) -> None:
    """Register the sample, and write every picture."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    window = host.open_window()
    window.resize(*WINDOW_PX)
    host.press(host.ui.loadSampleButton)
    host.wait(lambda: host.ui.registerButton.enabled, 120)
    host.press(host.ui.registerButton)
    host.wait(lambda: host.ui.registerButton.text == "Register", 120)
    host.idle(1.0)  # until the edges are fine
    fold(host, geometry=True, pose=True)
    show_views(host, WINDOW_PX, zoom=1.3)
    save(window.grab(), "window.png")
    show_views(host, XRAY_WINDOW_PX)
    save(window.layout_manager.sliceWidget("Xray1").grab(), "xray.png")
    show_views(host, SCENE_WINDOW_PX, zoom=1.95)
    save(window.layout_manager.threeDWidget(0).threeDView().grab(), "scene3d.png")
    fold(host, geometry=False, pose=False)
    window.resize(window.width, PANEL_HEIGHT_PX)
    host.idle(0.3)
    save(host.module.widgetRepresentation().grab(), "panel.png")


def fold(host: Any, geometry: bool, pose: bool) -> None:
    """Fold sections of the panel, so that the others fit into the window."""
    host.ui.geometryCollapsibleButton.collapsed = geometry
    host.ui.initialPoseCollapsibleButton.collapsed = pose


def show_views(host: Any, window_px: tuple[int, int], zoom: float = 1.0) -> None:
    """Give the window a size, fit the X-rays into their views, and aim the camera."""
    host.open_window().resize(*window_px)
    host.idle(0.2)
    host.press(host.ui.showViewsButton)
    host.idle(0.4)
    aim_camera(host, zoom)


def aim_camera(host: Any, zoom: float) -> None:
    """Look at the C-arm from the patient's left, front and above."""
    host.idle(0.2)
    view = host.open_window().layout_manager.threeDWidget(0)
    view.mrmlViewNode().SetBoxVisible(False)
    view.mrmlViewNode().SetAxisLabelsVisible(False)
    camera = view.threeDView().renderer().GetActiveCamera()
    camera.SetFocalPoint(0, 0, 0)
    camera.SetPosition(-1300, 2000, 700)
    camera.SetViewUp(0, 0, 1)
    view.threeDView().renderer().ResetCamera()
    camera.SetWindowCenter(-0.03, -0.22)  # the C-arm into the middle of the picture
    camera.Zoom(zoom)


def save(pixmap: Any, name: str) -> None:
    path = FOLDER / name
    if not pixmap.save(str(path)):
        sys.exit(f"{path} cannot be written.")
    print(f"{path.relative_to(REPOSITORY)}: {pixmap.width()} x {pixmap.height()}")


if __name__ == "__main__":
    main()
