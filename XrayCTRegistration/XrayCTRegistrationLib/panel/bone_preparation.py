"""The chosen bones made ready to be registered and shown, a little at a time, once per change of their segmentation."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from ..bones.shown import shown_parts_steps
from ..errors import InputError
from ..mrml.models import bone_surface_steps, mask_surface_steps
from ..mrml.segments import chosen_steps, listing_steps, naming_steps
from ..state import finished, shown
from ..volume import Volume
from . import dependencies
from .bone_choice import BoneChoice, PreparedBones
from .changes import Change
from .ct_preparation import CtPreparation
from .selection import Selection
from .ticker import Preparation, Ticker

if TYPE_CHECKING:
    from ..preview import PreviewBones
    from ..projector import Projector


class BonePreparation:
    """Reads the segmentation whenever another one is chosen or it is edited, and prepares its chosen segments.

    text, progress: what there is to say meanwhile, and 0 to 1.
    """

    def __init__(self, selection: Selection, ct: CtPreparation, ticker: Ticker) -> None:
        self._selection, self._ct, self._ticker = selection, ct, ticker
        self.text, self.progress = "", 0.0
        self._job: Preparation | None = None
        self._preview: PreviewBones | None = None
        selection.listen(Change.BONES, self._begin)
        selection.listen(Change.CT_PREPARED, self._begin)

    def preview(self) -> PreviewBones | None:
        """Projectors of the edges of all parts; None while they are not ready, no bone is chosen, or packages are
        missing."""
        prepared = self._selection.bones.prepared
        if prepared is None:
            return None
        if self._preview is None and dependencies.are_installed():
            from ..preview import preview_bones_steps

            self._preview = prepared.preview or finished(preview_bones_steps(prepared.parts))
        return self._preview

    def projectors_of(self, segmentation: str) -> dict[str, Projector]:
        """Of the chosen bones by name, as they are segmented now; none while they are not ready, or where the
        segmentation of this name is not chosen."""
        bones, preview = self._selection.bones, self.preview()
        if preview is None or bones.node.GetName() != segmentation:
            return {}
        return {one.name: projector for one, (_, projector) in zip(bones.prepared.chosen.segments, preview.bones)}

    def forget(self) -> None:
        """Stop, and let go of everything."""
        if self._job is not None:
            self._ticker.drop(self._job)
        self._job = self._preview = None
        self.text, self.progress = "", 0.0

    def _begin(self) -> None:
        """Do what comes next: read the segmentation, then prepare what is chosen of it."""
        bones = self._selection.bones
        self.forget()
        if bones.node is None or bones.message or self._selection.running:
            return
        if bones.listed is None:
            self._run(_("Reading the segmentation"), listing_steps(bones.node), self._on_listed)
        elif bones.must_be_named and self._ct.volume is not None:
            steps = naming_steps(bones.listed, bones.own_to_ct, self._ct.volume, bones.node.GetName())
            self._run(_("Reading the segmentation"), steps, self._on_named)
        elif bones.ids and bones.prepared is None and self._ct.volume is not None:
            self._run(_("Preparing the bones"), _prepared_steps(bones, self._ct.volume), self._on_prepared)

    def _run(self, text: str, steps: Generator[float, None, Any], done: Callable[[Any], None]) -> None:
        self.text = text
        self._job = Preparation(steps, done, self._on_refused, self._on_progress)
        self._ticker.run(self._job)
        self._selection.tell(Change.PROGRESS)

    def _on_progress(self, progress: float) -> None:
        self.progress = progress
        self._selection.tell(Change.PROGRESS)

    def _on_listed(self, listed: Any) -> None:
        self._job, self.text = None, ""
        self._selection.bones.take_listed(listed)
        self._begin()
        self._selection.tell(Change.LOOKS)

    def _on_named(self, listed: Any) -> None:
        self._selection.bones.take_named(listed)
        self._on_listed(listed)

    def _on_prepared(self, prepared: PreparedBones) -> None:
        self._job, self.text = None, ""
        self._selection.bones.prepared = prepared
        self._selection.update()
        self._selection.tell(Change.BONES_PREPARED)

    def _on_refused(self, error: InputError) -> None:
        self._job, self.text = None, ""
        self._selection.bones.refuse(str(error))
        self._selection.tell(Change.LOOKS)


def _prepared_steps(bones: BoneChoice, ct: Volume) -> Generator[float, None, PreparedBones]:
    """The chosen bones, with pauses; yields the progress, 0 to 1. ct: coarse, Hounsfield units."""
    copying, chosen = chosen_steps(bones.listed or (), bones.ids, bones.own_to_ct, ct), None
    while chosen is None:
        try:
            yield 0.3 * next(copying)
        except StopIteration as end:
            chosen = end.value
    parts = yield from shown(shown_parts_steps(ct, chosen.segments), 0.3)
    surfaces = []
    for segment in chosen.segments:
        progress = 0.5 + 0.1 * len(surfaces) / len(chosen.segments)
        surfaces.append((yield from shown(mask_surface_steps(segment.mask), progress)))
        yield progress
    rest_surface = yield from shown(bone_surface_steps(parts.rest), 0.6)
    preview = None
    if dependencies.are_installed():
        from ..preview import preview_bones_steps

        preview = yield from shown(preview_bones_steps(parts), 0.7)
    return PreparedBones(chosen, parts, tuple(surfaces), rest_surface, preview)
