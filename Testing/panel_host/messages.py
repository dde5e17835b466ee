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
    """The message boxes shown so far, and the buttons to press at the next ones; by default the affirmative one."""

    shown: list[Message] = field(default_factory=list)
    answers: deque[_Button] = field(default_factory=deque)

    def watch(self) -> None:
        """From now on, no dialog waits. One that is no message box raises RuntimeError."""
        for cls in (QtWidgets.QDialog, QtWidgets.QMessageBox):
            cls.exec = cls.exec_ = lambda dialog: self._answer(dialog).value

    def _answer(self, dialog: QtWidgets.QDialog) -> _Button:
        if not isinstance(dialog, QtWidgets.QMessageBox):
            raise RuntimeError(f"The dialog {dialog.windowTitle!r} would wait for a person.")
        self.shown.append(Message(dialog.icon.name, dialog.windowTitle, dialog.text))
        if self.answers:
            return self.answers.popleft()
        offered = QtWidgets.QMessageBox.standardButtons(dialog)
        return next((button for button in _AFFIRMATIVE if button in offered), _Button.Ok)
