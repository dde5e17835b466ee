"""Edges that follow the CT and its bones while their poses change: coarse at once, fine when they rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import qt
from slicer.i18n import tr as _

from ..geometry import Pose, XrayView
from ..mrml.overlay import GREEN, Drawn, add_edges, clear_edges, show_edges
from ..state import finished
from ..volume import Volume
from .bone_preparation import BonePreparation
from .changes import Change
from .ct_preparation import CtPreparation
from .selection import Selection
from .ticker import Preparation, Ticker

if TYPE_CHECKING:
    from ..preview import EdgeSteps, Preview

_MOVING_MS, _RESTING_MS = 10, 250  # after a change of the pose
_MOVING_PX, _RESTING_PX = 192, 384  # longest side of the DRR that edges are sought in
_MOVING_PX_OF_SEVERAL = 128


class LiveEdges:
    """Draws the edges of the chosen CT over the chosen X-rays, and those of its chosen bones each in its own colour.

    say: called with what there is to say of the pose: how similar the images are, or why there are no edges.
    """

    def __init__(
        self,
        selection: Selection,
        preparation: CtPreparation,
        bones: BonePreparation,
        ticker: Ticker,
        say: Callable[[str], None],
    ) -> None:
        self._selection, self._preparation, self._bones = selection, preparation, bones
        self._ticker, self._say = ticker, say
        self._judging: Preparation | None = None  # the similarity of the pose, on its way
        self._preview: Preview | None = None
        self._xray_nodes: tuple[Any, ...] = ()
        self._coarse: list[int] = []  # views to draw coarsely, one between two events of the window
        self._drawn: dict[tuple[int, int], _DrawnPart] = {}  # by view and part
        self._fine: Preparation | None = None  # fine edges, on their way
        self._moving, self._resting = _single_shot(_MOVING_MS), _single_shot(_RESTING_MS)
        self._moving.connect("timeout()", self._draw_coarsely)
        self._resting.connect("timeout()", self._draw_finely)
        selection.listen(Change.INPUTS, self._take_inputs)
        selection.listen(Change.CT_PREPARED, self.follow)
        selection.listen(Change.BONES, self._forget_parts)
        selection.listen(Change.BONES_PREPARED, self.follow)
        selection.listen(Change.POSE, self.follow)
        selection.listen(Change.RUNNING, self._on_running)

    def forget(self) -> None:
        """Stop, and let go of images and nodes."""
        self._stop()
        self._preview, self._xray_nodes, self._drawn = None, (), {}

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
            views = range(len(self._xray_nodes))
            self._coarse += [index for index in views if index not in self._coarse]  # those that wait come first
            self._drop_fine()
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
        self._preview, self._drawn = None, {}
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
        known = [one.read_as(means) for one, means in zip(inputs.radiographs, selection.meanings())]
        self._preview = Preview(ct, known, inputs.views, masks=inputs.masks)
        self._xray_nodes = tuple(selection.xray_nodes)

    def _on_running(self) -> None:
        self._stop()
        if not self._selection.running:
            self._preview = None  # the registration has found out how the X-rays are read

    def _forget_parts(self) -> None:
        self._drop_fine()
        self._drawn = {}

    def _stop(self) -> None:
        self._moving.stop()
        self._resting.stop()
        self._coarse = []
        self._drop_judging()
        self._drop_fine()

    def _drop_fine(self) -> None:
        if self._fine is not None:
            self._ticker.drop(self._fine)
            self._fine = None

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
        """Draw a view now, fast, the others next, and then say soon how similar they are."""
        pose = self._selection.pose
        if self._preview is None or pose is None or not self._coarse:
            return
        node = self._xray_nodes[self._coarse[0]]
        if node.GetScene() is not None and add_edges(node):  # which is enough between two events of the window
            self._moving.start()
            return
        longest_px = _MOVING_PX if len(self._xray_nodes) == 1 else _MOVING_PX_OF_SEVERAL
        self._draw(self._coarse.pop(0), pose, longest_px)
        if self._coarse:
            self._moving.start()
        self._drop_judging()
        self._judging = Preparation(self._preview.similarity_steps(pose), self._say_similarity)
        self._ticker.run(self._judging)

    def _say_similarity(self, similarity: float) -> None:
        self._judging = None
        if math.isnan(similarity):
            self._say(_("The CT is outside the X-rays' view."))
        else:
            in_one_piece = _("Similarity of the CT in one piece {similarity:.3f}")
            text = in_one_piece if self._selection.bones.standing else _("Similarity {similarity:.3f}")
            self._say(text.format(similarity=similarity))

    def _draw_finely(self) -> None:
        """Draw all views a little at a time, as long as everything rests."""
        pose = self._selection.pose
        if self._preview is not None and pose is not None:
            self._drop_fine()
            self._fine = Preparation(self._fine_steps(pose), self._on_fine)
            self._ticker.run_first(self._fine)

    def _fine_steps(self, pose: Pose) -> Generator[None, None, None]:
        for index in range(len(self._xray_nodes)):
            for part in range(len(self._parts(pose))):
                yield from self._draw_steps(index, pose, _RESTING_PX, part)

    def _on_fine(self, _nothing: None) -> None:
        self._fine = None

    def _draw(self, index: int, pose: Pose, longest_px: int) -> None:
        """Draw all parts of a view now."""
        finished(self._draw_steps(index, pose, longest_px))

    def _draw_steps(
        self, index: int, pose: Pose, longest_px: int, only: int | None = None
    ) -> Generator[None, None, None]:
        """Draw a view, with pauses: all parts, or one of them beside the others as they were drawn."""
        parts, new = self._parts(pose), False
        for number, part in enumerate(parts):
            if only in (None, number) and not part.is_drawn(self._drawn.get((index, number)), longest_px):
                lines, view = yield from part.edges_steps(self._preview.views[index], longest_px)
                self._drawn[index, number] = _DrawnPart(part, longest_px, Drawn(lines, view, part.color))
                new = True
        node = self._xray_nodes[index]
        if new and node.GetScene() is not None:
            drawn = [self._drawn.get((index, number)) for number in range(len(parts))]
            show_edges(node, [one.drawn for one in drawn if one is not None])
            yield

    def _parts(self, pose: Pose) -> list[_Part]:
        """What is drawn when the CT is at a pose: the CT in one piece, or what is left of it and its bones."""
        preview, selection = self._bones.preview(), self._selection
        if preview is None or selection.pose is None:
            return [_Part(self._preparation.preview_ct().projector, None, pose, GREEN)]
        moved, chosen = pose @ selection.pose.inverse(), selection.bones.prepared.chosen
        standing = {bone.segment_id: bone for bone in selection.bones.standing}
        parts = [_Part(preview.rest, None, pose, GREEN)]
        for segment_id, (volume, projector) in zip(chosen.ids, preview.bones):
            if segment_id in standing:
                bone = standing[segment_id]
                parts.append(_Part(projector, volume, moved @ bone.pose, bone.color))
        return parts


@dataclass(frozen=True, eq=False)
class _Part:
    """Something that is drawn at a pose. volume: of a bone, whose edges are sought about its shadow alone."""

    projector: Any
    volume: Volume | None
    pose: Pose
    color: tuple[float, float, float]

    def is_drawn(self, before: _DrawnPart | None, longest_px: int) -> bool:
        """Whether it was drawn as it stands, finely enough."""
        if before is None or before.longest_px < longest_px or before.part.projector is not self.projector:
            return False
        return before.part.color == self.color and np.array_equal(before.part.pose.matrix, self.pose.matrix)

    def edges_steps(self, view: XrayView, longest_px: int) -> EdgeSteps:
        """Its edges, and the view whose pixels they are given in; with pauses."""
        from ..preview import edges_of_bone_steps, edges_steps

        if self.volume is None:
            return edges_steps(self.projector, view, self.pose, longest_px)
        return edges_of_bone_steps(self.projector, self.volume, view, self.pose, longest_px)


@dataclass(frozen=True, eq=False)
class _DrawnPart:
    """A part as it was drawn in a view."""

    part: _Part
    longest_px: int
    drawn: Drawn


def _single_shot(milliseconds: int) -> Any:
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    return timer
