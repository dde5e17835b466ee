"""The threads of the CPU projector: every piece of work once, the same bits however many draw, and no waiting for those
that have not begun."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="without Numba there are no threads: torch draws")

from projector_cases import STEP_MM, amounts, rays, twists, values
from XrayCTRegistrationLib.geometry import XrayView
from XrayCTRegistrationLib.projector import cores, cpu, projector_for
from XrayCTRegistrationLib.projector.cores import on_cores, on_one_core
from XrayCTRegistrationLib.projector.rays import motion_fields
from XrayCTRegistrationLib.volume import Volume

LARGE_VIEW = XrayView(np.array([0.0, 0.0, -400.0]), np.diag([0.5, 0.5, 1.0, 1.0]), (160, 120))


def large_enough_for_all_cores() -> Volume:
    return Volume(np.random.default_rng(0).uniform(0, 0.05, (40, 50, 60)).astype(np.float32), np.eye(4))


def drawn() -> list[torch.Tensor]:
    projector = projector_for(large_enough_for_all_cores(), "cpu")
    poses = torch.eye(4, dtype=torch.float64)[None]
    return [projector.images(poses, LARGE_VIEW), *projector.images_with_jacobian(poses, LARGE_VIEW, torch.zeros(3))]


def spread() -> list[torch.Tensor]:
    kernels, size = cpu.CpuKernels(), tuple(values().shape[1:])
    fields = motion_fields(rays(), twists())
    return [
        kernels.spread(amounts(), rays(), STEP_MM, size),
        kernels.spread_slopes(amounts(), rays(), fields, STEP_MM, size),
    ]


@pytest.mark.parametrize("work", [drawn, spread])
def test_any_number_of_threads_makes_the_same_bits(monkeypatch, work):
    monkeypatch.setattr(cpu, "_SAMPLES_A_CORE", 1)
    with on_one_core():
        expected = work()
    for count in (2, 5):
        monkeypatch.setattr(cpu.config, "NUMBA_NUM_THREADS", count)
        for _ in range(3):  # the rows fall to other threads every time
            assert all(torch.equal(one, other) for one, other in zip(work(), expected))


def test_large_drawings_run_in_several_threads_small_ones_in_the_callers_alone(monkeypatch):
    monkeypatch.setattr(cpu.config, "NUMBA_NUM_THREADS", 3)
    asked = []
    monkeypatch.setattr(cpu, "on_cores", lambda count, kernel, *arguments: asked.append(count))
    projector = projector_for(large_enough_for_all_cores(), "cpu")
    poses = torch.eye(4, dtype=torch.float64)[None]
    for view in (LARGE_VIEW, LARGE_VIEW.cropped((0, 0), (8, 8))):
        projector.images(poses, view)
    assert asked == [3, 1]


class Pieces:
    """Work that a thread begins and does not end until it is told to."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.threads = threading.Semaphore(0), threading.Event(), []

    def take(self) -> None:
        self.threads.append(threading.current_thread())
        self.begun.release()
        assert self.may_end.wait(60)


def test_a_thread_that_has_begun_is_waited_for():
    pieces, ended = Pieces(), threading.Event()

    def work() -> None:
        on_cores(2, pieces.take)
        ended.set()

    caller = threading.Thread(target=work)
    caller.start()
    for _ in range(2):
        assert pieces.begun.acquire(timeout=60)  # the caller and one helper
    assert not ended.is_set()
    pieces.may_end.set()
    caller.join(60)
    assert ended.is_set()
    assert len(set(pieces.threads)) == 2


def test_threads_that_have_not_begun_are_not_waited_for():
    busy = Pieces()
    everyone = [cores._threads().submit(busy.take) for _ in range(os.cpu_count())]
    for _ in everyone:
        assert busy.begun.acquire(timeout=60)  # now no thread is free
    done = []
    on_cores(3, lambda: done.append(threading.current_thread()))  # returns, or the test hangs
    assert done == [threading.current_thread()]
    busy.may_end.set()
    for one in everyone:
        one.result(60)
    assert done == [threading.current_thread()]  # nor does it begin afterwards, when its arguments belong to others


def test_a_worker_that_shares_the_cores_takes_no_other_thread():
    seen = set()
    with on_one_core():
        on_cores(4, lambda: seen.add(threading.current_thread()))
    assert seen == {threading.current_thread()}


DRAW = """
import hashlib, os, sys, warnings
sys.path.insert(0, sys.argv[1])
from test_cores import drawn, spread
def digest():
    return hashlib.sha256(b"".join(one.numpy().tobytes() for one in (*drawn(), *spread()))).hexdigest()
print(digest(), flush=True)
"""
DRAW_IN_A_FORK = """
warnings.simplefilter("ignore")  # newer Pythons warn of forking where there are threads
child = os.fork()
if not child:
    print(digest(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def digests(script: str, **environment: str) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", script, os.path.dirname(__file__)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_what_was_just_compiled_draws_the_same_bits_as_what_comes_from_disk(tmp_path):
    """Else the first registration on a machine would end elsewhere than all later ones."""
    compiled = digests(DRAW, NUMBA_CACHE_DIR=str(tmp_path))
    assert list(tmp_path.rglob("*.nbc"))
    assert digests(DRAW, NUMBA_CACHE_DIR=str(tmp_path)) == compiled


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_draws_with_threads_of_its_own():
    parent, child = digests(DRAW + DRAW_IN_A_FORK)
    assert parent == child
