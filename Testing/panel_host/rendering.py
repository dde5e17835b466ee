"""When views are drawn, how often, and what a drawing costs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Rendering:
    """cost_ms: how long a drawing of one view takes at least; it holds up the main thread, but no processor. counts:
    drawings by the name of the view. milliseconds, processor_ms: spent in drawings, by the clock and by the main
    thread's processor time.
    """

    cost_ms: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    milliseconds: float = 0.0
    processor_ms: float = 0.0
    _paused: int = 0
    _waiting: list[Callable[[], None]] = field(default_factory=list)

    @contextmanager
    def drawing(self, view: str) -> Iterator[None]:
        """A drawing of a view; it ends when it has cost enough."""
        begin, processor = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.processor_ms += 1000 * (time.thread_time() - processor)
            time.sleep(max(0.0, self.cost_ms / 1000 - (time.perf_counter() - begin)))
            self.counts[view] += 1
            self.milliseconds += 1000 * (time.perf_counter() - begin)

    def reset(self) -> None:
        """Count anew, at no cost."""
        self.cost_ms, self.milliseconds, self.processor_ms, self._paused = 0.0, 0.0, 0.0, 0
        self.counts.clear()
        self._waiting.clear()

    @property
    def total(self) -> int:
        """Drawings of all views."""
        return sum(self.counts.values())

    def pause(self) -> None:
        self._paused += 1

    def resume(self) -> None:
        self._paused = max(self._paused - 1, 0)
        if not self._paused:
            waiting, self._waiting = self._waiting, []
            for schedule in waiting:
                schedule()

    def is_paused_for(self, schedule: Callable[[], None]) -> bool:
        """Whether drawing is paused; `schedule` is then called when it goes on."""
        if self._paused and schedule not in self._waiting:
            self._waiting.append(schedule)
        return bool(self._paused)


RENDERING = Rendering()  # of the one application of this process
