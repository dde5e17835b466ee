"""Files that cannot be used, and what readers must say of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

NOISE = np.random.default_rng(1).integers(-1000, 1500, (20, 30, 40)).astype(np.int16)  # does not compress


def truncated(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


def text_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def empty_folder(path: Path) -> Path:
    path.mkdir()
    return path


def assert_names_fault_and_remedy(error: pytest.ExceptionInfo, path: Path, fault: str, remedy: str) -> None:
    assert error.match(f"(?s)^{path.name}: .*({fault}).*({remedy})")
