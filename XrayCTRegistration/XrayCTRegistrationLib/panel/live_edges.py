"""Green edges that follow the CT while its pose changes: coarse at once, fine when it rests."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from ..geometry import Pose
from ..mrml.overlay import clear_edges, show_edges
from ..mrml.results import kept_result
from ..mrml.views import show_overlays
from ..xray import Polarity
from . import dependencies
from .selection import Change, Selection
from .ticker import Preparation, Ticker

if TYPE_CHECKING:
    from ..preview import Preview, PreviewCt

_MOVING_MS, _RESTING_MS = 10, 250  # after a change of the pose
_MOVING_PX, _RESTING_PX = 192, 384  # longest side of the DRR that edges are sought in
_MOVING_PX_OF_SEVERAL = 128


class LiveEdges:
    """Draws the edges of the chosen CT over the chosen X-rays.

    say: called with what there is to say of the pose: how similar the images are, or why there are no edges.
    """

    def __init__(self, selection: Selection, ticker: Ticker, say: Callable[[str], None]) -> None:
        self._selection, self._ticker, self._say = selection, ticker, say
        self._preview: Preview | None = None
        self._preparation: Preparation | None = None
        self._xray_nodes: tuple[Any, ...] = ()
        self._ct: PreviewCt | None = None
        self._ct_key: Any = None
        self._left: list[int] = []  # views to draw finely, one between two events of the window
        self._moving, self._resting = _single_shot(_MOVING_MS), _single_shot(_RESTING_MS)
        self._moving.connect("timeout()", self._draw_coarsely)
        self._resting.connect("timeout()", self._draw_one_finely)
        selection.listen(Change.INPUTS, self._take_inputs)
        selection.listen(Change.POSE, self.follow)
        selection.listen(Change.RUNNING, self._on_running)

    def forget(self) -> None:
        """Stop, and let go of images and nodes."""
        self._stop()
        self._drop_preparation()
        self._preview, self._xray_nodes = None, ()
        self._ct, self._ct_key = None, None

    def follow(self) -> None:
        """Draw the pose soon, and finely once no other has come for a while."""
        selection = self._selection
        if selection.running:
            return
        if selection.pose is None or not selection.parameters.liveOverlay:
            self._clear()
            return
        if self._preview is None:
            self._take_inputs()
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
        """Draw what is chosen from now on; nothing while packages are missing."""
        selection = self._selection
        self._stop()
        self._preview = None
        if selection.inputs is None:
            self._clear()
            return
        if not dependencies.are_installed():
            self._say(_("Live edges need packages that are not installed: Register and Search ask to install them."))
            return
        if selection.ct_key != self._ct_key:
            self._prepare_ct()
        if self._ct is not None:
            self._make_preview()

    def _prepare_ct(self) -> None:
        from ..preview import preview_ct_steps

        self._drop_preparation()
        self._ct, self._ct_key = None, self._selection.ct_key
        steps = preview_ct_steps(self._selection.inputs.ct)
        self._preparation = Preparation(steps, self._on_prepared, self._on_refused, lambda progress: None)
        self._ticker.run(self._preparation)

    def _drop_preparation(self) -> None:
        if self._preparation is not None:
            self._ticker.drop(self._preparation)
            self._preparation = None

    def _on_prepared(self, ct: PreviewCt) -> None:
        self._ct, self._preparation = ct, None
        if self._selection.inputs is not None:
            self._make_preview()
            self.follow()

    def _on_refused(self, error: InputError) -> None:
        self._preparation = None
        self._say(str(error))

    def _make_preview(self) -> None:
        from ..preview import Preview

        inputs, before = self._selection.inputs, self._xray_nodes
        self._preview = Preview(self._ct, inputs.radiographs, inputs.views, self._polarities())
        self._xray_nodes = tuple(self._selection.xray_nodes)
        for node in before:
            if node not in self._xray_nodes and node.GetScene() is not None:
                clear_edges(node)

    def _polarities(self) -> list[Polarity] | None:
        """Of every X-ray, where a person or a registration has said it."""
        selection = self._selection
        count = len(selection.xray_nodes)
        if selection.parameters.polarity.value:
            return [Polarity(selection.parameters.polarity.value)] * count
        result = kept_result(selection.pose_node) if selection.pose_node is not None else None
        known = [Polarity(value) for value in result.polarities] if result else []
        return known if len(known) == count else None

    def _on_running(self) -> None:
        self._stop()
        if not self._selection.running and self._ct is not None and self._selection.inputs is not None:
            self._make_preview()  # the registration has found the polarity

    def _stop(self) -> None:
        self._moving.stop()
        self._resting.stop()

    def _clear(self) -> None:
        """Show no edges."""
        self._stop()
        for node in self._xray_nodes:
            if node.GetScene() is not None:
                clear_edges(node)
        self._say("")

    def _draw_coarsely(self) -> None:
        """Draw all views now, fast, and say how similar they are."""
        pose = self._selection.pose
        if self._preview is None or pose is None:
            return
        longest_px = _MOVING_PX if len(self._xray_nodes) == 1 else _MOVING_PX_OF_SEVERAL
        for index in range(len(self._xray_nodes)):
            self._draw(index, pose, longest_px)
        similarity = self._preview.similarity(pose)
        if math.isnan(similarity):
            self._say(_("The CT is outside the X-rays' view."))
        else:
            self._say(_("Similarity {similarity:.3f} (1 is alike)").format(similarity=similarity))

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
        mask, view = self._preview.edges(index, pose, longest_px)
        show_edges(node, mask, view)
        show_overlays(slicer.mrmlScene, self._xray_nodes)


def _single_shot(milliseconds: int) -> Any:
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    return timer
