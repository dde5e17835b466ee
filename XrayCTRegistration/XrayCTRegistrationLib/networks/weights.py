"""Weights of networks as safetensors files: tensors and a few words of metadata, nothing that could run as code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..errors import InputError
from .dual_branch import DualBranch
from .interface import SimilarityNetwork
from .prost import Prost
from .sopi import Sopi

ARCHITECTURES: dict[str, type[SimilarityNetwork]] = {cls.name: cls for cls in (DualBranch, Prost, Sopi)}
_PACKAGE = Path(__file__).resolve().parents[1]
_IN_MODULE, _IN_WHEEL = _PACKAGE.parent / "Resources" / "Models", _PACKAGE / "models"


def network_named(name: str) -> SimilarityNetwork:
    """An untrained network. Raises InputError for a name that is not one of ARCHITECTURES."""
    if name not in ARCHITECTURES:
        raise InputError(f"There is no network {name!r}. Known are: {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]()


def shipped_weights(name: str = DualBranch.name) -> Path:
    """Where the weights of a network stand: in the module's Resources, or in a package that was installed as a wheel.

    The README.md beside them says what they are.
    """
    return (_IN_WHEEL if _IN_WHEEL.is_dir() else _IN_MODULE) / f"{name}.safetensors"


def save_weights(path: Path, network: SimilarityNetwork, facts: Mapping[str, str | int | float]) -> None:
    """Write a network's parameters, its name and version, and facts about their training; whole or not at all."""
    metadata = {"architecture": network.name, "version": str(network.version), "facts": json.dumps(dict(facts))}
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(save({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, metadata))
    os.replace(unfinished, path)


def load_network(path: Path, device: torch.device | str = "cpu") -> SimilarityNetwork:
    """The network that a weights file holds, ready to compare, its parameters fixed.

    Raises InputError, naming the file, when it is missing, cut off, no safetensors file, or not of this architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: there are no weights of a network here. Give the .safetensors file that `xrayct train` wrote, or "
            "choose a method without the learned similarity."
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    except SafetensorError as error:
        raise InputError(
            f"{path}: this is no complete safetensors file ({error}). It was cut off, or is of another kind: copy it "
            "again."
        ) from None
    name, version = metadata.get("architecture", "unknown"), metadata.get("version", "unknown")
    if name not in ARCHITECTURES or version != str(ARCHITECTURES[name].version):
        known = ", ".join(f"{cls.name} version {cls.version}" for cls in ARCHITECTURES.values())
        raise InputError(f"{path}: the weights are of a network {name!r}, version {version}. Known are: {known}.")
    network = ARCHITECTURES[name]()
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    if expected != {key: tuple(value.shape) for key, value in tensors.items()}:
        raise InputError(f"{path}: the tensors do not fit the network {name!r}. Train it again with this software.")
    if not all(torch.isfinite(value).all() for value in tensors.values()):
        raise InputError(f"{path}: the weights hold values that are not finite. Train the network again.")
    network.load_state_dict(tensors)
    return network.to(device).eval().requires_grad_(False)
