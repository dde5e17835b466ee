"""The CUDA kernels against the CPU's: in numba-cuda's simulator everywhere, and on a GPU where there is one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from projector_cases import CASES
from XrayCTRegistrationLib.projector.cpu import CpuKernels

TESTING = Path(__file__).parent

needs_numba_cuda = pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="no numba-cuda here")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> dict[str, torch.Tensor]:
    file = tmp_path_factory.mktemp("cuda") / "simulated.pt"
    run = subprocess.run(
        [sys.executable, str(TESTING / "cuda_simulator.py"), str(file)], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return torch.load(file)


def check(made: torch.Tensor, case: str) -> None:
    expected = CASES[case](CpuKernels())
    assert made.dtype == expected.dtype
    assert expected.abs().max() > 0
    # The same operations in another order of summation, or fused differently: rounding of the type computed in.
    tolerance = 1e-12 if made.dtype == torch.float64 else 2e-6
    torch.testing.assert_close(made, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


@needs_numba_cuda
@pytest.mark.parametrize("case", CASES)
def test_the_cuda_kernels_in_the_simulator_make_what_the_cpu_makes(simulated, case):
    check(simulated[case], case)


@needs_numba_cuda
@needs_gpu
@pytest.mark.parametrize("case", CASES)
def test_the_cuda_kernels_on_a_gpu_make_what_the_cpu_makes(case):
    from XrayCTRegistrationLib.projector.cuda import CudaKernels

    check(CASES[case](CudaKernels(torch.device("cuda"))).cpu(), case)
