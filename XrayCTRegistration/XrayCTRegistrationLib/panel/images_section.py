"""1 Images: the sample, and the views that the chosen X-rays are shown in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from ..mrml.display import show_as_registered
from ..mrml.views import layout_for, look_over_sources, show_xrays
from . import dependencies
from .messages import show_message, told_to_people

if TYPE_CHECKING:
    from .panel import Panel

_UNTIL_LAID_OUT_MS = 100


class ImagesSection:
    """Loads the sample and shows the X-rays."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        ui = self._ui = panel.ui
        self._laid_out = qt.QTimer()  # views get their size only when the layout has changed
        self._laid_out.setSingleShot(True)
        self._laid_out.setInterval(_UNTIL_LAID_OUT_MS)
        self._laid_out.connect("timeout()", self._stand_views)
        ui.loadSampleButton.connect("clicked()", self._on_load_sample)
        ui.showViewsButton.connect("clicked()", self.show_views)

    def update(self) -> None:
        """Enable what can be done."""
        running = self._panel.registering
        for name in ("ctSelector", "xray1Selector", "xray2Selector", "xray3Selector", "loadSampleButton"):
            getattr(self._ui, name).enabled = not running
        self._ui.showViewsButton.enabled = self._panel.inputs is not None

    def show_views(self) -> None:
        """Change to the layout for so many X-rays, and show them; nothing happens without a main window."""
        xrays, manager = self._panel.xrays(), slicer.app.layoutManager()
        if not xrays or manager is None:
            return
        for node in xrays:
            show_as_registered(node)
        manager.setLayout(layout_for(manager.layoutLogic().GetLayoutNode(), len(xrays)))
        self._stand_views()
        self._laid_out.start()

    def stop(self) -> None:
        """Show nothing more."""
        self._laid_out.stop()

    def _stand_views(self) -> None:
        if self._panel.inputs is None:
            return
        show_xrays(slicer.mrmlScene, self._panel.xrays())
        manager = slicer.app.layoutManager()
        if manager is not None and manager.threeDViewCount:
            view_node = manager.threeDWidget(0).mrmlViewNode()
            camera = slicer.modules.cameras.logic().GetViewActiveCameraNode(view_node)
            look_over_sources(camera, self._panel.inputs.views)

    def _on_load_sample(self) -> None:
        with told_to_people():
            self._load_sample()

    def _load_sample(self) -> None:
        """Make the sample's nodes and choose them, with the progress shown between its parts."""
        panel, ui = self._panel, self._ui
        dependencies.ensure(panel.requirements)
        from ..mrml.sample import sample_steps

        ui.loadSampleButton.enabled = False
        show_message(ui.imagesMessageLabel, _("Making the sample ..."))
        steps = sample_steps(slicer.mrmlScene)
        try:
            while True:
                try:
                    progress = next(steps)
                except StopIteration as end:
                    sample = end.value
                    break
                text = _("Making the sample: {percent:.0f} %").format(percent=100 * progress)
                show_message(ui.imagesMessageLabel, text)
                slicer.app.processEvents()
        finally:
            show_message(ui.imagesMessageLabel, "")
            ui.loadSampleButton.enabled = True
        if panel.parameters is None:  # the scene was closed meanwhile
            raise InputError(_("The scene was closed while the sample was made. Load it again."))
        panel.choose(sample.ct_node, sample.xray_nodes)
