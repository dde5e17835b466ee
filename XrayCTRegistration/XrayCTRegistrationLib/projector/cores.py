"""Work dealt out to the CPU's cores: plain threads that run compiled code, which has let go of the interpreter lock.

The threads sleep between two pieces of work and take the rows of a drawing one at a time, so other programs on the same
cores slow a drawing down by their share of the cores, no more: nobody spins, and nobody waits for a thread that has not
begun.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache

_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """What this thread draws within the block, it draws alone: for one of several workers that share the cores."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def on_cores(count: int, kernel: Callable[..., None], *arguments: object) -> None:
    """Call kernel(*arguments) in this thread and in up to count - 1 others, and return when all have.

    kernel: takes pieces of work until none is left, each only once, whoever asks: so one call does everything, and
    others make it faster. It must not raise.
    """
    helpers = [] if _alone.get() else [_threads().submit(kernel, *arguments) for _ in range(count - 1)]
    kernel(*arguments)
    for helper in helpers:
        if not helper.cancel():  # it has begun, so a piece of work may still be in its hands
            helper.result()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="projector")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not follow into a forked process
