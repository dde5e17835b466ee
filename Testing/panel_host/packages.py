"""`slicer.packaging` and `PyTorchUtils`, which never install: what would be installed is written down."""

from __future__ import annotations

import importlib.metadata
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
from packaging.requirements import Requirement


@dataclass
class Packages:
    """absent: names of packages that pass for not installed. installed: what would have been installed."""

    absent: set[str] = field(default_factory=set)
    installed: list[str] = field(default_factory=list)

    def check(self, requirements: Any) -> bool:
        return all(self._is_there(requirement) for requirement in _requirements(requirements))

    def _is_there(self, requirement: Requirement) -> bool:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        return requirement.name not in self.absent and requirement.specifier.contains(version, prereleases=True)

    def ensure(self, requirements: Any, requester: str | None = None, **_: Any) -> None:
        """Asks before it installs; RuntimeError where the person declines."""
        missing = [item for item in _requirements(requirements) if not self._is_there(item)]
        if not missing:
            return
        question = f"{len(missing)} Python packages need to be installed."
        if not slicer.util.confirmOkCancelDisplay(question, f"{requester} - Install Python Packages"):
            raise RuntimeError("User declined package installation")
        self.install([str(item) for item in missing])

    def install(self, requirements: str | list[str], **_: Any) -> None:
        for requirement in _requirements(requirements):
            self.installed.append(str(requirement))
            self.absent.discard(requirement.name)

    def packaging_module(self) -> types.ModuleType:
        module = types.ModuleType("slicer.packaging")
        module.load_requirements = _load_requirements
        module.pip_check, module.pip_ensure, module.pip_install = self.check, self.ensure, self.install
        return module

    def pytorch_module(self) -> types.ModuleType:
        packages = self

        class PyTorchUtilsLogic:
            @staticmethod
            def torchInstalled() -> bool:
                return packages.check("torch")

            def installTorch(self, askConfirmation: bool = False, **_: Any) -> Any:
                question = "PyTorch will be downloaded and installed. Do you want to continue?"
                if askConfirmation and not slicer.util.confirmOkCancelDisplay(question):
                    return None
                packages.install("torch")
                return self.torch

            @property
            def torch(self) -> Any:
                return importlib.import_module("torch")

            def getDevice(self) -> Any:
                return self.torch.device("cuda") if self.torch.cuda.is_available() else "cpu"

        module = types.ModuleType("PyTorchUtils")
        module.PyTorchUtilsLogic = PyTorchUtilsLogic
        return module


def _load_requirements(path: str | Path) -> list[Requirement]:
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def _requirements(given: Any) -> list[Requirement]:
    items = given if isinstance(given, list) else [given]
    return [Requirement(item) if isinstance(item, str) else item for item in items]
