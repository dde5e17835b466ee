"""What a registration computes with, loaded while a large CT is read: its reader leaves Python to other threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE_S = 0.25  # what cannot be read is told by then, and nothing was loaded for it


@contextmanager
def loading_meanwhile() -> Iterator[None]:
    """Load torch, the registration and the compiled projector in another thread, where the block takes its time."""
    timer = threading.Timer(_PATIENCE_S, _load)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _load() -> None:
    try:
        from .. import registration  # noqa: F401
        from ..projector import must_compile, warm_up
    except ImportError:  # which is told where they are needed
        return
    if not must_compile():  # that takes longer, and is announced
        warm_up()
