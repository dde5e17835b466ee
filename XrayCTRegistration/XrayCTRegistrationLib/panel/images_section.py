"""1 Images: a CT with its bones and any number of X-rays, loaded from files, from the scene, or made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from ..io.carm_files import CARM_SUFFIXES
from ..mrml.chosen import choose_mask, mask_node
from ..mrml.geometry import read_geometry
from ..mrml.loading import LoadedXrays, is_xray_file, load_xrays, split_stack, stack_as_run
from ..mrml.masks import Drawn, meaning_of, set_meaning
from ..mrml.xrays import is_single_image
from . import dependencies
from .changes import Change
from .drops import Drops
from .messages import show_message, told_to_people
from .scene_display import SceneDisplay
from .segment_list import SegmentList
from .selection import Selection
from .widgets import set_node_quietly, set_quietly
from .xray_table import XrayTable

_FILES = "*.png *.tif *.tiff *.jpg *.jpeg *.bmp *.dcm *.nrrd *.nhdr *.mha *.mhd *.nii *.nii.gz"

_MEANINGS = (Drawn.LEFT_OUT, Drawn.KEPT)


class ImagesSection:
    """Chooses images."""

    def __init__(self, selection: Selection, display: SceneDisplay, ui: Any, requirements: str | Path) -> None:
        self._selection, self._ui, self._requirements = selection, ui, requirements
        self._table = XrayTable(selection, ui.xrayTable)
        self._segments = SegmentList(selection, ui)
        self._drops = Drops(ui.XrayCTRegistration, self._wants, self.take_files)
        ui.addXraySelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_add)
        ui.maskSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_mask)
        ui.maskMeaningComboBox.connect("currentIndexChanged(int)", self._on_meaning)
        ui.loadXrayButton.connect("clicked()", self._on_load)
        ui.loadSampleButton.connect("clicked()", self._on_load_sample)
        ui.showViewsButton.connect("clicked()", display.show_views)
        ui.fitViewsButton.connect("clicked()", display.fit_views)
        ui.splitStackButton.connect("clicked()", lambda: self._replace_stack(self._split))
        ui.stackAsRunButton.connect("clicked()", lambda: self._replace_stack(self._as_run))
        selection.listen(Change.LOOKS, self.update)

    def update(self) -> None:
        """Show what is chosen, and enable what can be done."""
        ui, selection = self._ui, self._selection
        idle, xray = not selection.running, selection.current_xray
        for name in ("ctSelector", "addXraySelector", "loadXrayButton", "loadSampleButton"):
            getattr(ui, name).enabled = idle
        for button in (ui.showViewsButton, ui.fitViewsButton):
            button.enabled = selection.inputs is not None
        ui.maskSelector.enabled = idle and xray is not None
        mask = mask_node(xray) if xray is not None else None
        set_node_quietly(ui.maskSelector, mask)
        ui.maskMeaningComboBox.enabled = idle and mask is not None
        set_quietly(ui.maskMeaningComboBox, "currentIndex", _MEANINGS.index(meaning_of(mask)) if mask else 0)
        is_stack = xray is not None and xray.GetImageData() is not None and not is_single_image(xray)
        for button in (ui.splitStackButton, ui.stackAsRunButton):
            button.setVisible(idle and is_stack)

    def take_files(self, paths: Sequence[str | Path]) -> None:
        """Load X-ray files and choose them, and read C-arm files for the current X-ray; what is wrong is told below."""
        images = [path for path in map(Path, paths) if path.suffix.lower() not in CARM_SUFFIXES]
        carms = [path for path in map(Path, paths) if path.suffix.lower() in CARM_SUFFIXES]
        with told_to_people():
            if images:
                self._choose_loaded(load_xrays(slicer.mrmlScene, images))
            for carm in carms:
                self._read_carm(carm)

    def _wants(self, path: Path) -> bool:
        if self._selection.parameters is None or self._selection.running:
            return False
        return is_xray_file(path) or (path.suffix.lower() in CARM_SUFFIXES and self._selection.current_xray is not None)

    def _read_carm(self, path: Path) -> None:
        if self._selection.current_xray is None:
            raise InputError(_("{name}: choose the X-ray that this geometry is of first.").format(name=path.name))
        with slicer.util.NodeModify(self._selection.current_xray):
            read_geometry(self._selection.current_xray, path)
        self._selection.update()

    def _choose_loaded(self, loaded: LoadedXrays, instead_of: Any | None = None) -> None:
        """Choose X-rays that were loaded, and say what was wrong with others."""
        kept = [node for node in self._selection.xray_nodes if node is not instead_of]
        if loaded.nodes:
            self._selection.choose_xrays([*kept, *loaded.nodes])
            self._selection.make_current(len(kept))
        show_message(self._ui.imagesMessageLabel, "\n".join(loaded.problems))

    def _replace_stack(self, replaced: Any) -> None:
        with told_to_people():
            stack = self._selection.current_xray
            self._choose_loaded(replaced(stack), instead_of=stack)

    def _split(self, stack: Any) -> LoadedXrays:
        return split_stack(stack)

    def _as_run(self, stack: Any) -> LoadedXrays:
        return LoadedXrays((stack_as_run(stack),), ())

    def _on_add(self, node: Any) -> None:
        if node is None or self._selection.parameters is None:
            return
        nodes = self._selection.xray_nodes
        self._selection.choose_xrays([*nodes, node])
        self._selection.make_current(self._selection.xray_nodes.index(node))
        set_node_quietly(self._ui.addXraySelector, None)  # ready for the next one

    def _on_mask(self, node: Any) -> None:
        if self._selection.current_xray is not None:
            choose_mask(self._selection.current_xray, node)
            self._selection.update()

    def _on_meaning(self, index: int) -> None:
        mask = mask_node(self._selection.current_xray) if self._selection.current_xray is not None else None
        if mask is not None:
            set_meaning(mask, _MEANINGS[index])
            self._selection.update()

    def _on_load(self) -> None:
        title = _("Load X-ray images")
        filters = _("X-ray images ({patterns})").format(patterns=_FILES) + ";;" + _("All files (*)")
        paths = qt.QFileDialog.getOpenFileNames(self._ui.loadXrayButton.window(), title, "", filters)
        if paths:
            self.take_files(paths)

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
