"""Work on the main thread, a little at a time, so that the window stays alive.

3D Slicer's event loop holds the interpreter lock: a Python thread would stand still while it idles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, Protocol

import qt

from ..errors import InputError
from .messages import told_to_people

_TICK_S, _BUDGET_S = 0.001, 0.02


class Job(Protocol):
    """Work that can be done in parts."""

    def advance(self, budget_s: float) -> bool:
        """Work for about budget_s, at least one step; False when it has ended."""


class Ticker:
    """Advances one job at a time, by a timer.

    lag_s: how long in all the window's event loop has kept ticks waiting. What it did then was to draw, mostly.
    """

    def __init__(self) -> None:
        self.lag_s = 0.0
        self._jobs: list[Job] = []
        self._ended_at = 0.0
        self._timer = qt.QTimer()
        self._timer.setInterval(round(1000 * _TICK_S))
        self._timer.connect("timeout()", self.tick)

    def run(self, job: Job) -> None:
        """Do this after everything that is to be done."""
        self._jobs.append(job)
        self._start()

    def run_first(self, job: Job) -> None:
        """Do this before everything that is to be done."""
        self._jobs.insert(0, job)
        self._start()

    def drop(self, job: Job) -> None:
        """Do no more of this."""
        self._jobs = [one for one in self._jobs if one is not job]
        if not self._jobs:
            self._timer.stop()

    def stop(self) -> None:
        """Do no more of anything."""
        self._jobs = []
        self._timer.stop()

    def tick(self) -> None:
        """Advance the first job."""
        self.lag_s += max(0.0, time.perf_counter() - self._ended_at - _TICK_S)
        if self._jobs:
            job = self._jobs[0]
            going_on = False
            with told_to_people():
                going_on = job.advance(_BUDGET_S)
            if not going_on:
                self.drop(job)
        self._ended_at = time.perf_counter()

    def _start(self) -> None:
        if not self._timer.isActive():
            self._ended_at = time.perf_counter()
            self._timer.start()


class Preparation:
    """Steps as a job.

    done: called with what the steps return. refused: called with the InputError that ends them, which is told in a
    window unless given. progressed: called with what they yield, once a tick.
    """

    def __init__(
        self,
        steps: Generator[Any, None, Any],
        done: Callable[[Any], None],
        refused: Callable[[InputError], None] | None = None,
        progressed: Callable[[Any], None] | None = None,
    ) -> None:
        self._steps, self._done, self._refused, self._progressed = steps, done, refused, progressed

    def advance(self, budget_s: float) -> bool:
        end = time.perf_counter() + budget_s
        try:
            while True:
                progress = next(self._steps)
                if time.perf_counter() >= end:
                    if self._progressed is not None:
                        self._progressed(progress)
                    return True
        except StopIteration as stop:
            self._done(stop.value)
        except InputError as error:
            if self._refused is None:
                raise
            self._refused(error)
        return False
