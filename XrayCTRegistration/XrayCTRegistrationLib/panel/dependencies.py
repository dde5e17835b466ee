"""Packages that do not come with 3D Slicer, installed when a button needs them, after asking."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from ..errors import InputError

_REQUESTER = "X-ray CT Registration"
_IMPORTED = ("numba", "cma", "safetensors")  # of Resources/requirements.txt, as they are imported


def are_installed() -> bool:
    """Whether everything that drawing edges and registering takes can be imported."""
    return all(find_spec(name) is not None for name in ("torch", *_IMPORTED))


def device_name(device: str) -> str:
    """What is computed on, once torch is there and has been imported; empty before.

    device: "auto", "cpu" or "cuda".
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return ""
    if device != "cpu" and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    if device == "cuda":
        return _("no CUDA GPU found")
    return _("{count} processor cores").format(count=os.cpu_count())


def ensure(requirements: str | Path) -> None:
    """Install what is missing, on the main thread, after asking; InputError where that was declined or failed.

    requirements: the path of requirements.txt. PyTorch is left to the PyTorch extension, which finds the build that
    suits the machine.
    """
    if find_spec("torch") is None:
        _install_torch()
    if any(find_spec(name) is None for name in _IMPORTED):
        lines = [line.strip() for line in Path(requirements).read_text(encoding="utf-8").splitlines()]
        wanted = [line for line in lines if line and not line.startswith("#")]
        _install(wanted, _("The packages that registration needs were not installed."))
    importlib.invalidate_caches()
    missing = [name for name in ("torch", *_IMPORTED) if find_spec(name) is None]
    if missing:
        raise InputError(_("Still missing: {names}. Registration needs them.").format(names=", ".join(missing)))


def ensure_gpu() -> None:
    """Install what the projector needs on the GPU that was asked for; InputError where there is none, or no will."""
    import torch

    remedy = _("Choose to compute on the processor, or automatically.")
    if not torch.cuda.is_available() or torch.version.cuda is None:
        raise InputError(_("PyTorch finds no CUDA GPU here.") + " " + remedy)
    if find_spec("numba_cuda") is None:
        cuda = torch.version.cuda.partition(".")[0]
        declined = _("The GPU needs the package numba-cuda, which was not installed.") + " " + remedy
        _install([f"numba-cuda[cu{cuda}]>=0.30"], declined)
        importlib.invalidate_caches()
        if find_spec("numba_cuda") is None:
            raise InputError(declined)


def _install_torch() -> None:
    try:
        import PyTorchUtils
    except ModuleNotFoundError:
        raise InputError(
            _("PyTorch is needed. Install the extension PyTorch in the Extensions Manager, restart, and try again.")
        ) from None
    if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=">=2.2") is None:
        raise InputError(_("PyTorch is needed and was not installed."))


def _install(requirements: list[str], declined: str) -> None:
    """Ask, and install; InputError, with the text `declined` where the person did so."""
    try:
        import slicer.packaging as packaging
    except ModuleNotFoundError:  # Slicer 5.10
        packaging = None
    try:
        if packaging is not None:
            packaging.pip_ensure(requirements, requester=_REQUESTER)  # asks by itself
            return
        question = _("Python packages are needed that are not installed: {packages}. Install them now?")
        if not slicer.util.confirmOkCancelDisplay(question.format(packages=" ".join(requirements))):
            raise RuntimeError(declined)
        slicer.util.pip_install(" ".join(requirements))
    except RuntimeError:
        raise InputError(declined) from None
    except Exception as error:  # pip ended with an error
        raise InputError(_("The installation failed: {error}").format(error=error)) from None
