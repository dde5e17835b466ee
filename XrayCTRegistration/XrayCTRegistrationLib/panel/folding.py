"""Sections that fold when their step is done, and open when it needs attention; never under a person's hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from ..mrml.results import kept_result
from ..mrml.xrays import is_single_image
from .changes import Change
from .selection import Selection
from .xray_table import has_usable_geometry


class Folding:
    """Folds and opens the sections of a selection as their steps are done.

    A section that a person has folded or opened stays so until what it needs changes.
    """

    def __init__(self, selection: Selection, ui: Any) -> None:
        self._selection = selection
        self._sections = [
            _Section(ui.imagesCollapsibleButton, self._needs_images),
            _Section(ui.geometryCollapsibleButton, self._needs_geometry),
            _Section(ui.initialPoseCollapsibleButton, self._needs_pose),
            _Section(ui.resultCollapsibleButton, self._shows_result),
        ]
        slicer.app.connect("focusChanged(QWidget*,QWidget*)", self._on_focus)
        selection.listen(Change.LOOKS, self.update)

    def forget(self) -> None:
        """Begin anew: Images stands open."""
        for section in self._sections:
            section.forget()

    def update(self) -> None:
        """Fold what is done, open what needs attention."""
        if not self._selection.running and self._selection.parameters is not None:
            for section in self._sections:
                section.update()

    def stop(self) -> None:
        """Follow no more."""
        slicer.app.disconnect("focusChanged(QWidget*,QWidget*)", self._on_focus)

    def _on_focus(self, before: Any, now: Any) -> None:
        for section in self._sections:
            section.settle()

    def _needs_images(self) -> bool:
        selection = self._selection
        return (
            selection.ct_node is None or not selection.xray_nodes or not all(map(is_single_image, selection.xray_nodes))
        )

    def _needs_geometry(self) -> bool:
        nodes = self._selection.xray_nodes
        return any(is_single_image(node) and not has_usable_geometry(node) for node in nodes)

    def _needs_pose(self) -> bool:
        """Whether a better start would help, or one may be given before the first registration."""
        selection = self._selection
        if selection.pose is None:
            return False
        result = kept_result(selection.pose_node)
        return result is None or result.confidence == "low"

    def _shows_result(self) -> bool:
        node = self._selection.pose_node
        return node is not None and kept_result(node) is not None


class _Section:
    """A collapsible button, and whether its step needs attention."""

    def __init__(self, button: Any, needs_attention: Callable[[], bool]) -> None:
        self._button, self._needs_attention = button, needs_attention
        self._needed: bool | None = None
        self._to_fold = False

    def forget(self) -> None:
        self._needed, self._to_fold = None, False

    def update(self) -> None:
        needed = self._needs_attention()
        if needed == self._needed:
            return
        self._needed = needed
        self._to_fold = not needed
        if needed:
            self._button.collapsed = False
        self.settle()

    def settle(self) -> None:
        """Fold it, if that is due and nobody works in it."""
        if self._to_fold and not self._is_in_use():
            self._to_fold = False
            self._button.collapsed = True

    def _is_in_use(self) -> bool:
        focus = slicer.app.focusWidget()
        return self._button.underMouse() or (focus is not None and self._button.isAncestorOf(focus))
