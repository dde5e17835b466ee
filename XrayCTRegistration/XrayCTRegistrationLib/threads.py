"""How torch and the CPU projector share the cores, and what is loaded beside the window."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import warnings
from collections.abc import Generator, Iterator
from types import ModuleType

import torch

from .projector import warm_up

_PAUSE_S = 0.01


@contextlib.contextmanager
def torch_on_one_thread() -> Iterator[None]:
    """Torch's share of the work is small images; its threads and those of the CPU projector would wait for each
    other, which made a registration many times slower on two busy cores."""
    warm_up()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def imported_steps(name: str) -> Generator[None, None, ModuleType]:
    """A module that takes long to import, with pauses: a thread imports it, without its warnings.

    Raises what the import raises.
    """
    if name not in sys.modules:
        thread = threading.Thread(target=_imported, args=(name,))
        thread.start()
        while thread.is_alive():
            thread.join(_PAUSE_S)
            yield
    return importlib.import_module(name)


def _imported(name: str) -> None:
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # which is raised again where it is waited for
        warnings.simplefilter("ignore")
        importlib.import_module(name)
