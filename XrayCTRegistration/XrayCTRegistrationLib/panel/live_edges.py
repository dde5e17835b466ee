"""Green edges that follow the CT while its pose changes: coarse at once, fine when it rests."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from ..geometry import Pose
from ..mrml.overlay import clear_edges, show_edges
from .ct_preparation import CtPreparation
from .selection import Change, Selection
from .ticker import Preparation, Ticker

if TYPE_CHECKING:
    from ..preview import Preview

_MOVING_MS, _RESTING_MS = 10, 250  # after a change of the pose
_MOVING_PX, _RESTING_PX = 192, 384  # longest side of the DRR that edges are sought in
_MOVING_PX_OF_SEVERAL = 128


class LiveEdges:
    """Draws the edges of the chosen CT over the chosen X-rays.

    say: called with what there is to say of the pose: how similar the images are, or why there are no edges.
    """

    def __init__(
        self, selection: Selection, preparation: CtPreparation, ticker: Ticker, say: Callable[[str], None]
    ) -> None:
        self._selection, self._preparation, self._ticker, self._say = selection, preparation, ticker, say
        self._judging: Preparation | None = None  # the similarity of the pose, on its way
        self._preview: Preview | None = None
        self._xray_nodes: tuple[Any, ...] = ()
        self._left: list[int] = []  # views to draw finely, one between two events of the window
        self._moving, self._resting = _single_shot(_MOVING_MS), _single_shot(_RESTING_MS)
        self._moving.connect("timeout()", self._draw_coarsely)
        self._resting.connect("timeout()", self._draw_one_finely)
        selection.listen(Change.INPUTS, self._take_inputs)
        selection.listen(Change.CT_PREPARED, self.follow)
        selection.listen(Change.POSE, self.follow)
        selection.listen(Change.RUNNING, self._on_running)

    def forget(self) -> None:
        """Stop, and let go of images and nodes."""
        self._stop()
        self._preview, self._xray_nodes = None, ()

    def follow(self) -> None:
        """Draw the pose soon, and finely once no other has come for a while."""
        selection = self._selection
        if selection.running:
            return
        if selection.pose is None or not selection.parameters.liveOverlay:
            self._clear()
            return
        if self._preview is None:
            self._make_preview()
        if self._preview is not None:
            self._left = list(range(len(self._xray_nodes)))
            if not self._moving.isActive():
                self._moving.start()
            self._resting.start()

    def draw_running(self, pose: Pose) -> None:
        """Draw all views of a pose now, fast, without a similarity: for a running registration, which has its own."""
        if self._preview is not None and self._selection.parameters.liveOverlay:
            for index in range(len(self._xray_nodes)):
                self._draw(index, pose, _MOVING_PX_OF_SEVERAL)

    def _take_inputs(self) -> None:
        """Draw what is chosen from now on."""
        self._stop()
        self._preview = None
        if self._selection.inputs is None:
            self._clear()
        for node in self._xray_nodes:
            if node not in self._selection.xray_nodes and node.GetScene() is not None:
                clear_edges(node)

    def _make_preview(self) -> None:
        """Make what draws, once the CT is ready and the packages are there."""
        selection = self._selection
        if selection.inputs is None or self._preparation.volume is None:
            return
        ct = self._preparation.preview_ct()
        if ct is None:
            self._say(_("Live edges need packages that are not installed: Register and Search ask to install them."))
            return
        from ..preview import Preview

        inputs = selection.inputs
        self._preview = Preview(ct, inputs.radiographs, inputs.views, self._selection.polarities(), inputs.masks)
        self._xray_nodes = tuple(selection.xray_nodes)

    def _on_running(self) -> None:
        self._stop()
        if not self._selection.running:
            self._preview = None  # the registration has found the polarity

    def _stop(self) -> None:
        self._moving.stop()
        self._resting.stop()
        self._drop_judging()

    def _drop_judging(self) -> None:
        if self._judging is not None:
            self._ticker.drop(self._judging)
            self._judging = None

    def _clear(self) -> None:
        """Show no edges."""
        self._stop()
        for node in self._xray_nodes:
            if node.GetScene() is not None:
                clear_edges(node)
        self._say("")

    def _draw_coarsely(self) -> None:
        """Draw all views now, fast, and say soon how similar they are."""
        pose = self._selection.pose
        if self._preview is None or pose is None:
            return
        longest_px = _MOVING_PX if len(self._xray_nodes) == 1 else _MOVING_PX_OF_SEVERAL
        for index in range(len(self._xray_nodes)):
            self._draw(index, pose, longest_px)
        self._drop_judging()
        self._judging = Preparation(self._preview.similarity_steps(pose), self._say_similarity)
        self._ticker.run(self._judging)

    def _say_similarity(self, similarity: float) -> None:
        self._judging = None
        if math.isnan(similarity):
            self._say(_("The CT is outside the X-rays' view."))
        else:
            self._say(_("Similarity {similarity:.3f}").format(similarity=similarity))

    def _draw_one_finely(self) -> None:
        pose = self._selection.pose
        if self._left and self._preview is not None and pose is not None:
            self._draw(self._left.pop(0), pose, _RESTING_PX)
            if self._left:
                self._resting.start()

    def _draw(self, index: int, pose: Pose, longest_px: int) -> None:
        node = self._xray_nodes[index]
        if node.GetScene() is None:
            return
        lines, view = self._preview.edges(index, pose, longest_px)
        show_edges(node, lines, view)


def _single_shot(milliseconds: int) -> Any:
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    return timer
