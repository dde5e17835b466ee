"""Green edges that follow the CT while its pose changes: coarse at once, fine when it rests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import qt

from ..geometry import Pose
from ..mrml.inputs import Inputs
from ..mrml.overlay import clear_edges, show_edges
from ..xray import Polarity
from . import dependencies

if TYPE_CHECKING:
    from ..preview import Preview, PreviewCt

_MOVING_MS, _RESTING_MS = 10, 250  # after a change of the pose
_MOVING_PX, _RESTING_PX = 192, 384  # longest side of the DRR that edges are sought in
_MOVING_PX_OF_SEVERAL = 128


class LiveEdges:
    """Draws the edges of a CT over its X-rays.

    show_similarity: called with the similarity at the pose, NaN where the CT is out of view, and with None
        where nothing is drawn.
    """

    def __init__(self, show_similarity: Callable[[float | None], None]) -> None:
        self._show_similarity = show_similarity
        self._preview: Preview | None = None
        self._xray_nodes: tuple[Any, ...] = ()
        self._pose: Pose | None = None
        self._ct: PreviewCt | None = None
        self._ct_key: Any = None
        self._left: list[int] = []  # views to draw finely, one between two events of the window
        self._moving, self._resting = _single_shot(_MOVING_MS), _single_shot(_RESTING_MS)
        self._moving.connect("timeout()", self.draw_coarsely)
        self._resting.connect("timeout()", self._draw_one_finely)

    def stop(self) -> None:
        """Draw no more."""
        self._moving.stop()
        self._resting.stop()

    def forget(self) -> None:
        """Stop, and let go of images and nodes."""
        self.stop()
        self._preview, self._xray_nodes, self._pose = None, (), None
        self._ct, self._ct_key = None, None

    def set_inputs(
        self, inputs: Inputs, ct_key: Any, xray_nodes: Sequence[Any], polarities: Sequence[Polarity | None] | None
    ) -> None:
        """What is to be drawn from now on. Does nothing while packages are missing.

        ct_key: what the CT's voxels and place depend on; while it stays, the CT is not prepared again.
        """
        before = self._xray_nodes
        self.stop()
        if not dependencies.are_installed():
            return
        from ..preview import Preview, PreviewCt

        if ct_key != self._ct_key:
            self._ct, self._ct_key = PreviewCt.of(inputs.ct), ct_key
        self._preview = Preview(self._ct, inputs.radiographs, inputs.views, polarities)
        self._xray_nodes = tuple(xray_nodes)
        for node in before:
            if node not in self._xray_nodes and node.GetScene() is not None:
                clear_edges(node)

    @property
    def ready(self) -> bool:
        return self._preview is not None

    def follow(self, pose: Pose) -> None:
        """Draw a pose soon, and finely once no other has come for a while."""
        if self._preview is None:
            return
        self._pose, self._left = pose, list(range(len(self._xray_nodes)))
        if not self._moving.isActive():
            self._moving.start()
        self._resting.start()

    def draw_coarsely(self) -> None:
        """Draw all views now, fast, and show the similarity."""
        if self._preview is None or self._pose is None:
            return
        longest_px = _MOVING_PX if len(self._xray_nodes) == 1 else _MOVING_PX_OF_SEVERAL
        for index in range(len(self._xray_nodes)):
            self._draw(index, longest_px)
        self._show_similarity(self._preview.similarity(self._pose))

    def draw_edges_only(self, pose: Pose) -> None:
        """Draw all views of a pose now, fast, without a similarity: for a running registration, which has its own."""
        self._pose = pose
        if self._preview is not None:
            for index in range(len(self._xray_nodes)):
                self._draw(index, _MOVING_PX_OF_SEVERAL)

    def clear(self) -> None:
        """Show no edges."""
        self.stop()
        for node in self._xray_nodes:
            if node.GetScene() is not None:
                clear_edges(node)
        self._show_similarity(None)

    def _draw_one_finely(self) -> None:
        if self._left:
            self._draw(self._left.pop(0), _RESTING_PX)
        if self._left:
            self._resting.start()

    def _draw(self, index: int, longest_px: int) -> None:
        node = self._xray_nodes[index]
        if node.GetScene() is None:
            return
        lines, view = self._preview.edges(index, self._pose, longest_px)
        show_edges(node, lines, view)


def _single_shot(milliseconds: int) -> Any:
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    return timer
