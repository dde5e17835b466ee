"""What a registration computes with, loaded before it begins: while a large CT is read, whose reader leaves Python to
other threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PATIENCE_S = 0.25  # what cannot be read is told by then, and nothing was loaded for it


def load() -> None:
    """Load torch, the registration, and the projector where it was compiled before; the second time, nothing happens.

    To compile it takes longer, and is announced when it is needed.
    """
    from .. import registration  # noqa: F401
    from ..projector import must_compile, warm_up

    if not must_compile():
        warm_up()


@contextmanager
def loading_meanwhile() -> Iterator[None]:
    """`load` in another thread, where the block takes its time."""
    timer = threading.Timer(_PATIENCE_S, _load_quietly)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _load_quietly() -> None:
    with suppress(ImportError):  # which is told where it is needed
        load()
