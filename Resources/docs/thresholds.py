"""Write the values of the page of thresholds, thresholds.md, as they stand in the code: part of `make api`."""

from __future__ import annotations

import re
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).with_name("thresholds.md")
_ROW = re.compile(r"^\| `([\w.]+)` \| ([^|]*) \|", re.MULTILINE)


def names(page: str) -> list[str]:
    """The names of all rows, below the library's package."""
    return [name for name, _ in _ROW.findall(page)]


def constant(name: str) -> Any:
    """What the code has under a name: a module's, or an entry of a class or an instance in it.

    Raises AttributeError when there is no such thing.
    """
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            module = import_module(".".join(["XrayCTRegistrationLib", *parts[:count]]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[count:], module)
    raise AttributeError(f"there is no {name}")


def written(value: Any) -> str:
    """A value as the page shows it, six digits at most."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {written(entry)}" for key, entry in value.items())
    if isinstance(value, (tuple, list, np.ndarray)):
        return f"({', '.join(written(entry) for entry in value)})"
    if isinstance(value, int):
        return str(value)
    return f"{value:.6g}"


def with_values(page: str) -> str:
    """The page with the values that the code has."""
    return _ROW.sub(lambda row: f"| `{row[1]}` | {written(constant(row[1]))} |", page)


if __name__ == "__main__":
    PAGE.write_text(with_values(PAGE.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
