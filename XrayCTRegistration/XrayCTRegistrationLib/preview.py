"""Edges and similarity of a CT at any pose, fast enough to follow a hand."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from .bones.shown import ShownParts
from .coarse import coarse_steps
from .edge_lines import NO_EDGES, EdgeLines, edge_lines
from .errors import InputError
from .geometry import Pose, XrayView
from .levels import Problem
from .overlay import edge_view, overlay_projector, overlay_projector_steps
from .projector import Projector
from .registration import Settings, problem_steps
from .state import Result, Steps, finished
from .threads import torch_on_one_thread
from .volume import Volume
from .xray import Radiograph

_MARGIN_PX = 4  # about a bone's shadow
_PIXELS_AT_ONCE = 20_000  # of a DRR, between two pauses
_SIMILARITY_PIXELS = 160  # along the longest side of what the views see of the CT: as a registration is judged at


@dataclass(frozen=True, eq=False)
class PreviewCt:
    """A CT ready to be previewed: in Hounsfield units, cropped to the body and no finer than is seen, and the projector
    of its edges. Making it takes longer than a preview."""

    volume: Volume
    projector: Projector
    device: str

    @classmethod
    def of(cls, ct: Volume, device: str = "auto") -> PreviewCt:
        """Of a CT as it was loaded."""
        return cls.of_coarse(finished(coarse_steps(ct)), device)

    @classmethod
    def of_coarse(cls, ct: Volume, device: str = "auto") -> PreviewCt:
        """Of a CT that was made coarse already."""
        return finished(cls.steps_of_coarse(ct, device))

    @classmethod
    def steps_of_coarse(cls, ct: Volume, device: str = "auto") -> Generator[object, None, PreviewCt]:
        """As `of_coarse`, with pauses."""
        return cls(ct, (yield from overlay_projector_steps(ct, device)), device)


@dataclass(frozen=True, eq=False)
class PreviewBones:
    """Projectors of edges: of the CT without its bones, and of each bone, with the volume (Hounsfield units) of it."""

    rest: Projector
    bones: tuple[tuple[Volume, Projector], ...]


def preview_bones_steps(parts: ShownParts, device: str = "auto") -> Generator[object, None, PreviewBones]:
    """A CT and its bones made ready to be previewed, with pauses."""
    rest = yield from overlay_projector_steps(parts.rest, device)
    bones = []
    for bone in parts.bones:
        bones.append((bone, overlay_projector(bone, device)))
        yield
    return PreviewBones(rest, tuple(bones))


class Preview:
    """What a posed CT looks like in X-rays.

    radiographs, views: one each per X-ray. How pixels are read that nobody told of, the CT decides, as in a
    registration, at the first pose that puts it into view. masks: as `registration_steps` takes them.

    Attributes: views.
    """

    def __init__(
        self,
        ct: PreviewCt,
        radiographs: Sequence[Radiograph],
        views: Sequence[XrayView],
        masks: Sequence[np.ndarray | None] | None = None,
    ) -> None:
        self._ct = ct
        self._radiographs, self.views, self._masks = tuple(radiographs), tuple(views), masks
        self._settings = Settings(device=ct.device)
        self._problem: Problem | None = None
        self._preparing: Steps[Problem] | None = None

    def edges(self, index: int, pose: Pose, longest_px: int) -> tuple[EdgeLines, XrayView]:
        """The edges of the DRR of view `index`, and the view whose pixels they are given in."""
        return finished(edges_steps(self._ct.projector, self.views[index], pose, longest_px))

    def similarity(self, pose: Pose) -> float:
        """Mean similarity of DRRs and X-rays, at most 1, as registrations report it; NaN where no CT is in view."""
        return finished(self.similarity_steps(pose))

    def similarity_steps(self, pose: Pose) -> Generator[None, None, float]:
        """As `similarity`, with pauses. Those of another pose may be left half done: what they prepared is used."""
        try:
            yield from self._prepare(pose)
            pixel_mm = self._problem.extent_mm(pose) / _SIMILARITY_PIXELS
            level = yield from _on_one_thread(self._problem.level(pose, pixel_mm))
            return float((yield from _on_one_thread(level.similarity_steps([pose])))[0])
        except InputError:
            return math.nan

    def _prepare(self, pose: Pose) -> Generator[None, None, None]:
        """Make the problem that says how alike a pose is, once, beginning from the first pose that is asked for."""
        if self._problem is not None:
            return
        if self._preparing is None:
            self._preparing = problem_steps(
                self._ct.volume, self._radiographs, self.views, pose, self._settings, self._masks
            )
        try:
            self._problem = yield from _on_one_thread(self._preparing)
        except InputError:
            self._preparing = None  # from another pose it may succeed
            raise


EdgeSteps = Generator[None, None, tuple[EdgeLines, XrayView]]


def edges_steps(projector: Projector, view: XrayView, pose: Pose, longest_px: int) -> EdgeSteps:
    """The edges of a DRR, and the view, the longest side longest_px, whose pixels they are given in; with pauses.

    projector: of `overlay.overlay_projector`.
    """
    coarse = edge_view(view, min(longest_px, max(view.size_px)))
    return (yield from _drr_edges(projector, coarse, pose)), coarse


def edges_of_bone_steps(projector: Projector, bone: Volume, view: XrayView, pose: Pose, longest_px: int) -> EdgeSteps:
    """The edges of a bone's DRR, and the part of the view about its shadow whose pixels they are given in; with pauses.

    projector: of `overlay.overlay_projector`, of the bone alone. longest_px: of the whole view.
    """
    whole = edge_view(view, min(longest_px, max(view.size_px)))
    pixels, depths = whole.project_points(pose.apply(bone.corners()))
    if (depths <= 0).any():
        return NO_EDGES, whole
    first = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - _MARGIN_PX, 0)
    last = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + _MARGIN_PX, np.array(whole.size_px) - 1)
    if (last < first + _MARGIN_PX).any():
        return NO_EDGES, whole
    columns, rows = (int(size) for size in last - first + 1)
    about = whole.cropped((int(first[0]), int(first[1])), (columns, rows))
    return (yield from _drr_edges(projector, about, pose)), about


def _drr_edges(projector: Projector, view: XrayView, pose: Pose) -> Generator[None, None, EdgeLines]:
    import torch

    matrix, parts = torch.from_numpy(pose.matrix.copy())[None], []
    for part in view.bands(_PIXELS_AT_ONCE):
        with torch_on_one_thread():
            parts.append(projector.images(matrix, part)[0].cpu().numpy())
        yield
    return edge_lines(np.concatenate(parts))


def _on_one_thread(steps: Generator[object, None, Result]) -> Generator[None, None, Result]:
    """Steps with torch on one thread in each, but not in the pauses; left half done, they may be gone on with."""
    while True:
        try:
            with torch_on_one_thread():
                next(steps)
        except StopIteration as end:
            return end.value
        yield
