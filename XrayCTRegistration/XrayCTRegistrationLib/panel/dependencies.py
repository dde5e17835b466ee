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
_IMPORTED = ("numba", "cma")  # of Resources/requirements.txt, as they are imported


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
        _install(Path(requirements))
    importlib.invalidate_caches()
    missing = [name for name in ("torch", *_IMPORTED) if find_spec(name) is None]
    if missing:
        raise InputError(_("Still missing: {names}. Registration needs them.").format(names=", ".join(missing)))


def _install_torch() -> None:
    try:
        import PyTorchUtils
    except ModuleNotFoundError:
        raise InputError(
            _("PyTorch is needed. Install the extension PyTorch in the Extensions Manager, restart, and try again.")
        ) from None
    if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=">=2.2") is None:
        raise InputError(_("PyTorch is needed and was not installed."))


def _install(requirements: Path) -> None:
    try:
        import slicer.packaging as packaging
    except ModuleNotFoundError:  # Slicer 5.10
        _install_in_slicer_5_10(requirements)
        return
    try:
        packaging.pip_ensure(packaging.load_requirements(requirements), requester=_REQUESTER)
    except RuntimeError:
        raise InputError(_("The packages that registration needs were not installed.")) from None
    except Exception as error:  # pip ended with an error
        raise InputError(_("The installation failed: {error}").format(error=error)) from None


def _install_in_slicer_5_10(requirements: Path) -> None:
    lines = [line.strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    packages = " ".join(line for line in lines if line and not line.startswith("#"))
    question = _("Registration needs Python packages that are not installed: {packages}. Install them now?")
    if not slicer.util.confirmOkCancelDisplay(question.format(packages=packages)):
        raise InputError(_("The packages that registration needs were not installed."))
    try:
        slicer.util.pip_install(packages)
    except Exception as error:  # pip ended with an error
        raise InputError(_("The installation failed: {error}").format(error=error)) from None
