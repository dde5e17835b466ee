"""Dialogs that would wait for a person: written down, and answered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from PySide6 import QtWidgets

_Button = QtWidgets.QMessageBox.StandardButton
_AFFIRMATIVE = (_Button.Ok, _Button.Yes, _Button.Retry, _Button.Close)


@dataclass(frozen=True)
class Message:
    """A message box that was shown. icon: "Information", "Warning", "Critical" or "Question"."""

    icon: str
    title: str
    text: str


@dataclass
class Messages:
    """The message boxes shown so far, and the buttons to press at the next ones; by default the affirmative one.

    files: what to choose in the next file dialogs, a list of paths each; where there is none, the dialog is cancelled.
    """

    shown: list[Message] = field(default_factory=list)
    answers: deque[_Button] = field(default_factory=deque)
    files: deque[list[str]] = field(default_factory=deque)

    def forget(self) -> None:
        """Begin anew."""
        for kept in (self.shown, self.answers, self.files):
            kept.clear()

    def watch(self) -> None:
        """From now on, no dialog waits. One that is no message box raises RuntimeError."""
        for cls in (QtWidgets.QDialog, QtWidgets.QMessageBox):
            cls.exec = cls.exec_ = lambda dialog: self._answer(dialog).value
        # PythonQt gives the chosen paths alone, without the filter that PySide6 adds.
        dialogs = QtWidgets.QFileDialog
        dialogs.getOpenFileNames = staticmethod(lambda *_: tuple(self._chosen()))
        for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory"):
            setattr(dialogs, name, staticmethod(lambda *_: next(iter(self._chosen()), "")))

    def _chosen(self) -> list[str]:
        return self.files.popleft() if self.files else []

    def _answer(self, dialog: QtWidgets.QDialog) -> _Button:
        if not isinstance(dialog, QtWidgets.QMessageBox):
            raise RuntimeError(f"The dialog {dialog.windowTitle!r} would wait for a person.")
        self.shown.append(Message(dialog.icon.name, dialog.windowTitle, dialog.text))
        if self.answers:
            return self.answers.popleft()
        offered = QtWidgets.QMessageBox.standardButtons(dialog)
        return next((button for button in _AFFIRMATIVE if button in offered), _Button.Ok)
