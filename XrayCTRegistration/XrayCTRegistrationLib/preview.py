"""Edges and similarity of a CT at any pose, fast enough to follow a hand."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .coarse import coarse_steps
from .edge_lines import EdgeLines, edge_lines
from .errors import InputError
from .geometry import Pose, XrayView
from .levels import Problem
from .overlay import edge_view, overlay_projector
from .projector import Projector
from .registration import Settings, problem_steps, similarity_at
from .state import Result, Steps, finished
from .threads import torch_on_one_thread
from .volume import Volume
from .xray import Polarity, Radiograph

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
        return cls(ct, overlay_projector(ct, device), device)


class Preview:
    """What a posed CT looks like in X-rays.

    radiographs, views: one each per X-ray. polarities: of the X-rays where they are known; else the CT decides, as in a
    registration, at the first pose that puts it into view. masks: as `registration_steps` takes them.

    Attributes: views, and polarities, which are None until they are known.
    """

    def __init__(
        self,
        ct: PreviewCt,
        radiographs: Sequence[Radiograph],
        views: Sequence[XrayView],
        polarities: Sequence[Polarity | None] | None = None,
        masks: Sequence[np.ndarray | None] | None = None,
    ) -> None:
        known = zip(polarities or [None] * len(radiographs), radiographs)
        self.polarities = tuple(said or one.polarity for said, one in known)
        self._ct = ct
        self._radiographs = [replace(one, polarity=polarity) for one, polarity in zip(radiographs, self.polarities)]
        self.views, self._masks = tuple(views), masks
        self._settings = Settings(device=ct.device)
        self._problem: Problem | None = None
        self._preparing: Steps[Problem] | None = None

    def edges(self, index: int, pose: Pose, longest_px: int) -> tuple[EdgeLines, XrayView]:
        """The edges of the DRR of view `index`, and the view whose pixels they are given in."""
        import torch

        view = edge_view(self.views[index], min(longest_px, max(self.views[index].size_px)))
        with torch_on_one_thread():
            image = self._ct.projector.images(torch.from_numpy(pose.matrix.copy())[None], view)[0]
        return edge_lines(image.cpu().numpy()), view

    def similarity(self, pose: Pose) -> float:
        """Mean similarity of DRRs and X-rays, at most 1, as registrations report it; NaN where no CT is in view."""
        return finished(self.similarity_steps(pose))

    def similarity_steps(self, pose: Pose) -> Generator[None, None, float]:
        """As `similarity`, with pauses. Those of another pose may be left half done: what they prepared is used."""
        try:
            yield from self._prepare(pose)
            pixel_mm = self._problem.extent_mm(pose) / _SIMILARITY_PIXELS
            level = yield from _on_one_thread(self._problem.level(pose, pixel_mm))
            similarities = []
            for fixed in level.fixed:
                yield
                with torch_on_one_thread():
                    similarities.append(similarity_at(replace(level, fixed=(fixed,)), pose))
        except InputError:
            return math.nan
        return float(np.mean(similarities))

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
            self.polarities = self._problem.polarities
        except InputError:
            self._preparing = None  # from another pose it may succeed
            raise


def _on_one_thread(steps: Generator[object, None, Result]) -> Generator[None, None, Result]:
    """Steps with torch on one thread in each, but not in the pauses; left half done, they may be gone on with."""
    while True:
        try:
            with torch_on_one_thread():
                next(steps)
        except StopIteration as end:
            return end.value
        yield
