"""How torch and the CPU projector share the cores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from .projector import warm_up


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
