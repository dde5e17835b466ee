"""1 Images: CT and X-rays, and the sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from . import dependencies
from .messages import show_message, told_to_people
from .scene_display import SceneDisplay
from .selection import Change, Selection


class ImagesSection:
    """Loads the sample and shows the X-rays."""

    def __init__(self, selection: Selection, display: SceneDisplay, ui: Any, requirements: str | Path) -> None:
        self._selection, self._ui, self._requirements = selection, ui, requirements
        ui.loadSampleButton.connect("clicked()", self._on_load_sample)
        ui.showViewsButton.connect("clicked()", display.show_views)
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Enable what can be done."""
        running = self._selection.running
        for name in ("ctSelector", "xray1Selector", "xray2Selector", "xray3Selector", "loadSampleButton"):
            getattr(self._ui, name).enabled = not running
        self._ui.showViewsButton.enabled = self._selection.inputs is not None

    def _on_load_sample(self) -> None:
        with told_to_people():
            self._load_sample()

    def _load_sample(self) -> None:
        """Make the sample's nodes and choose them, with the progress shown between its parts."""
        ui = self._ui
        dependencies.ensure(self._requirements)
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
        if self._selection.parameters is None:  # the scene was closed meanwhile
            raise InputError(_("The scene was closed while the sample was made. Load it again."))
        self._selection.choose(sample.ct_node, sample.xray_nodes)
