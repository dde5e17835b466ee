"""Which march runs on which device."""

from __future__ import annotations

import logging
from functools import cache

import torch

from ..errors import InputError
from .kernels import Kernels

log = logging.getLogger(__name__)

_NEEDED = {"cpu": "Numba", "cuda": "numba-cuda"}


def device_for(name: str) -> torch.device:
    """The torch device of a name: "cpu", "cuda", another of torch's, or "auto": a GPU where one can be used at its full
    speed, else the CPU. Raises InputError where a GPU was asked for and there is none."""
    if name == "auto":
        gpu = torch.cuda.is_available() and kernels_for(torch.device("cuda")) is not None
        return torch.device("cuda" if gpu else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            f"The device {name} was asked for, but PyTorch finds no CUDA GPU here. Choose the device cpu or auto, or "
            "install the NVIDIA driver and a PyTorch with CUDA."
        )
    return torch.device(name)


@cache  # so that a warning comes once, not for every volume
def kernels_for(device: torch.device) -> Kernels | None:
    """The compiled marches of a device; None where there are none, and the torch reference draws."""
    if device.type not in ("cpu", "cuda"):
        log.warning("On %s, DRRs are made by the slower torch reference: no compiled projector runs there.", device)
        return None
    try:
        if device.type == "cpu":
            from .cpu import CpuKernels

            return CpuKernels()
        from .cuda import CudaKernels

        return CudaKernels(device)
    except ImportError as error:
        needed = _NEEDED[device.type]
        log.warning("Without %s, %s has the slower torch reference only (%s).", needed, device, error)
        return None


def must_compile() -> bool:
    """Whether the first projection on the CPU will have to be compiled first, for some seconds."""
    if kernels_for(torch.device("cpu")) is None:
        return False
    from .cpu import is_compiled

    return not is_compiled()
