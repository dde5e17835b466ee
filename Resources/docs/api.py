"""Write the reference of the library's public names, api.md, from their docstrings and the examples: `make api`."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from pathlib import Path
from typing import Any

import XrayCTRegistrationLib as library

FOLDER = Path(__file__).resolve().parent
_EXAMPLE = re.compile(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def reference() -> str:
    """The whole page."""
    examples = dict(_EXAMPLE.findall((FOLDER / "examples.md").read_text(encoding="utf-8")))
    sections = [_section(name, getattr(library, name), examples[name]) for name in library.__all__]
    head = (
        "# The Python library\n\n"
        f"`import XrayCTRegistrationLib`, version {library.__version__}. Made by `make api` from the docstrings and "
        "[examples](examples.md); edit those.\n"
    )
    return "\n".join([head, *sections])


def _section(name: str, thing: Any, example: str) -> str:
    parts = [f"## {name}\n", f"`{name}{_signature(thing)}`\n", _text(thing)]
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            function = getattr(value, "__func__", getattr(value, "fget", value))
            if not member.startswith("_") and inspect.isfunction(function) and function.__doc__:
                call = "" if isinstance(value, property) else _signature(function)
                parts.append(f"**`{member}{call}`**\n\n{_text(function)}")
    return "\n".join([*parts, f"Example:\n\n{example.rstrip()}\n"])


def _signature(thing: Any) -> str:
    if inspect.isclass(thing) and issubclass(thing, (Enum, Exception)):
        return ""  # Python's own, which differs between its versions
    return re.sub(r"'([^']*)'", r"\1", str(inspect.signature(thing)))


def _text(thing: Any) -> str:
    return f"{inspect.cleandoc(thing.__doc__ or '')}\n"


if __name__ == "__main__":
    (FOLDER / "api.md").write_text(reference(), encoding="utf-8", newline="\n")
