"""The chosen CT made ready to be shown, a little at a time, while a person goes on."""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from ..coarse import coarse_steps
from ..errors import InputError
from ..state import shown
from ..volume import Volume
from . import dependencies
from .changes import Change
from .selection import Selection
from .ticker import Preparation, Ticker

if TYPE_CHECKING:
    from ..preview import PreviewCt

_DRAW_WITH = ("projector", "similarity", "levels", "search.global_search", "registration", "preview")


class CtPreparation:
    """Prepares the CT whenever another one is chosen, and tells `Change.CT_PREPARED`.

    volume: the CT, coarse, None until it is ready. text, progress: what there is to say meanwhile, and 0 to 1.
    """

    def __init__(self, selection: Selection, ticker: Ticker) -> None:
        self._selection, self._ticker = selection, ticker
        self.volume: Volume | None = None
        self.text, self.progress = "", 0.0
        self._preview_ct: PreviewCt | None = None
        self._key: Any = None
        self._job: Preparation | None = None
        selection.listen(Change.INPUTS, self._on_inputs)

    def preview_ct(self) -> PreviewCt | None:
        """The CT with the projector of its edges; None while it is not ready, or packages are missing."""
        if self._preview_ct is None and self.volume is not None and dependencies.are_installed():
            from ..preview import PreviewCt

            self._preview_ct = PreviewCt.of_coarse(self.volume)
        return self._preview_ct

    def forget(self) -> None:
        """Stop, and let go of the CT."""
        if self._job is not None:
            self._ticker.drop(self._job)
        self._job = self._key = self.volume = self._preview_ct = None
        self.text, self.progress = "", 0.0

    def _on_inputs(self) -> None:
        selection = self._selection
        if selection.inputs is None or selection.ct_key == self._key:
            return
        self.forget()
        self._key, self.text = selection.ct_key, _("Preparing the CT for the views")
        steps = _steps(selection.inputs.ct, selection.ct_node.GetName())
        self._job = Preparation(steps, self._on_done, self._on_refused, self._on_progress)
        self._ticker.run(self._job)

    def _on_progress(self, progress: float) -> None:
        self.progress = progress
        self._selection.tell(Change.PROGRESS)

    def _on_done(self, made: tuple[Volume, PreviewCt | None]) -> None:
        self._job, self.text = None, ""
        self.volume, self._preview_ct = made
        self._selection.tell(Change.CT_PREPARED, Change.LOOKS)

    def _on_refused(self, error: InputError) -> None:
        self._job, self.text = None, ""
        self._selection.refuse_ct(str(error))


def _steps(ct: Volume, where: str) -> Generator[float, None, tuple[Volume, PreviewCt | None]]:
    """The CT made coarse, and the projector of its edges where the packages are there; yields the progress, 0 to 1."""
    volume = yield from coarse_steps(ct, where)
    if not dependencies.are_installed():
        return volume, None
    for name in _DRAW_WITH:  # one by one: to load them all takes longer than a window may stand still
        import_module(f"..{name}", __package__)
        yield 1.0
    from ..preview import PreviewCt
    from ..projector import warm_up

    warm_up()
    yield 1.0
    return volume, (yield from shown(PreviewCt.steps_of_coarse(volume), 1.0))
