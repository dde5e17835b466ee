"""Runs the CUDA kernels in numba-cuda's simulator, in Python, and writes what they make; see test_cuda.py.

The simulator must be chosen before Numba is imported, so it has a process of its own.
"""

from __future__ import annotations

import os
import sys

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

import torch
from projector_cases import CASES
from XrayCTRegistrationLib.projector.cuda import SIMULATED, CudaKernels

assert SIMULATED
torch.save({name: case(CudaKernels(torch.device("cpu"))) for name, case in CASES.items()}, sys.argv[1])
