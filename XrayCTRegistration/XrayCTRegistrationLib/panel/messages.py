"""What goes wrong behind a button ends in a message, never in a traceback."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import InputError

log = logging.getLogger(__name__)


@contextmanager
def told_to_people() -> Iterator[None]:
    """Turn an InputError into a message that says what to do, and any other error into one that says where to look."""
    try:
        yield
    except InputError as error:
        slicer.util.warningDisplay(str(error), windowTitle=_("X-ray CT Registration"))
    except Exception as error:
        log.exception("Unexpected error")
        text = _("This should not have happened: {error}. The error log has the details.").format(error=error)
        slicer.util.errorDisplay(text, windowTitle=_("X-ray CT Registration"))


def show_message(label: Any, text: str) -> None:
    """Show a text below a section, or nothing at all where it is empty."""
    label.text = text
    label.setVisible(bool(text))
