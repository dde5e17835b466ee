"""The panel: puts together what is chosen, what runs, and the sections that show both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt

from .bone_preparation import BonePreparation
from .ct_preparation import CtPreparation
from .folding import Folding
from .geometry_section import GeometrySection
from .images_section import ImagesSection
from .landmarks_section import LandmarksSection
from .live_edges import LiveEdges
from .pose_section import PoseSection
from .result_section import ResultSection
from .runner import Runner
from .scene_display import SceneDisplay
from .selection import Selection
from .strip import Strip
from .ticker import Ticker
from .widgets import RoomForLines


class Panel:
    """The sections and the strip below them, over one parameter node at a time.

    ui: the widgets of the .ui file by name. requirements: path of requirements.txt. images: takes files that are given
    to the panel. runner: what is registered now.
    """

    def __init__(self, ui: Any, requirements: str | Path) -> None:
        self.selection = Selection()
        self._ticker = Ticker()
        self._preparation = CtPreparation(self.selection, self._ticker)
        self._bones = BonePreparation(self.selection, self._preparation, self._ticker)
        self._display = SceneDisplay(self.selection, self._preparation, self._ticker)
        self.images = ImagesSection(self.selection, self._display, ui, requirements)
        self._geometry = GeometrySection(self.selection, ui)
        self._pose = PoseSection(self.selection, self._display, ui)
        self._landmarks = LandmarksSection(self.selection, ui)
        self._edges = LiveEdges(self.selection, self._preparation, self._bones, self._ticker, self._pose.say)
        self.runner = Runner(self.selection, self._ticker, self._edges, requirements)
        self._strip = Strip(self.selection, self.runner, (self._preparation, self._bones), ui)
        self._result = ResultSection(self.selection, self._preparation, self._bones, ui, requirements)
        self._folding = Folding(self.selection, ui)
        wrapped = [label for label in vars(ui).values() if isinstance(label, qt.QLabel) and label.wordWrap]
        self._room = RoomForLines(wrapped, ui.XrayCTRegistration)

    def attach(self, parameters: Any) -> None:
        """Show a parameter node, and follow it."""
        self.detach()
        self.selection.attach(parameters)

    def detach(self) -> None:
        """Let go of the parameter node and everything in its scene; a registration ends without a word."""
        self.runner.abandon()
        self._pose.stop()
        self._preparation.forget()
        self._bones.forget()
        self._landmarks.forget()
        self._edges.forget()
        self._display.forget()
        self._folding.forget()
        self.selection.detach()

    def stop(self) -> None:
        """The panel is about to go."""
        self._folding.stop()
