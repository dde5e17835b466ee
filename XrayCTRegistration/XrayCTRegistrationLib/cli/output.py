"""Output folders, checked before the work."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..errors import InputError


def writable_folder(folder: Path) -> Path:
    """The folder, made where it is missing; InputError unless files can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise InputError(
            f"{folder}: results cannot be written there ({error.strerror}). Choose another folder with --output, or "
            "change its permissions."
        ) from None
    return folder
