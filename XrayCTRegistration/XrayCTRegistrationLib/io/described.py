"""Raw images, files of nothing but values, and JSON that describes them and says of every number where it is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
_ORDERS = {"little": "<", "big": ">"}
RAW_ENTRIES = ("file", "type", "byte_order", "size", "header_bytes")


@dataclass(frozen=True)
class Described:
    """A JSON object of a description.

    entries: by name. file: that they stand in, to which paths are relative. place: in it, as in "segments[0].volumes".
    """

    entries: Mapping[str, Any]
    file: Path
    place: str = ""

    @property
    def where(self) -> str:
        """File and place, with which messages begin."""
        return f"{self.file.name}: {self.place}" if self.place else self.file.name

    def place_of(self, name: str) -> str:
        """As `where`, of an entry."""
        return f"{self.file.name}: {self._below(name)}"

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def only(self, *known: str) -> Described:
        """Itself, where it has no other entries than these. Raises InputError for another, likely mistyped."""
        unknown = sorted(set(self.entries) - set(known))
        if unknown:
            raise InputError(f"{self.where}: unknown entry {unknown[0]!r}. Known are: {', '.join(known)}.")
        return self

    def text(self, name: str) -> str:
        value = self._entry(name)
        if not isinstance(value, str):
            raise InputError(f"{self.place_of(name)} must be a text in quotes.")
        return value

    def choice(self, name: str, choices: Mapping[str, Any] | tuple[str, ...]) -> str:
        value = self.text(name)
        if value not in choices:
            raise InputError(f"{self.place_of(name)} is {value!r}. Possible are: {', '.join(choices)}.")
        return value

    def flag(self, name: str) -> bool:
        """Whether it is said; not where it is left out."""
        value = self.entries.get(name, False)
        if not isinstance(value, bool):
            raise InputError(f"{self.place_of(name)} must be true or false.")
        return value

    def numbers(self, name: str, *shape: int) -> np.ndarray:
        """A float64 array of this shape; -1 stands for any length but zero."""
        value = self._entry(name)
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.full(0, np.nan)
        fits = array.ndim == len(shape) and all(is_n == n or (n < 0 < is_n) for is_n, n in zip(array.shape, shape))
        if not fits or not np.isfinite(array).all():
            asked = " x ".join("any number of" if n < 0 else str(n) for n in shape)
            raise InputError(f"{self.place_of(name)} must be {asked} finite numbers, rows in brackets of their own.")
        return array

    def part(self, name: str) -> Described:
        value = self._entry(name)
        if not isinstance(value, dict):
            raise InputError(f"{self.place_of(name)} must be an object: entries in braces.")
        return Described(value, self.file, self._below(name))

    def parts(self, name: str) -> list[Described]:
        value = self._entry(name)
        if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
            raise InputError(f"{self.place_of(name)} must be a list of objects, at least one.")
        return [Described(one, self.file, f"{self._below(name)}[{number}]") for number, one in enumerate(value)]

    def path(self, name: str) -> Path:
        """A file that is there."""
        path = self.file.parent / self.text(name)
        if not path.is_file():
            raise InputError(
                f"{self.place_of(name)}: there is no file {self.text(name)}. Paths are relative to {self.file.parent}."
            )
        return path

    def _below(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name

    def _entry(self, name: str) -> Any:
        if name not in self.entries:
            raise InputError(f"{self.place_of(name)} is missing. Add it.")
        return self.entries[name]


def read_described(path: Path) -> Described:
    """The description in a JSON file. Raises InputError, beginning with the file's name."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path.name}: line {error.lineno}, column {error.colno} is not valid JSON ({error.msg}). Correct it there."
        ) from None
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path.name}: cannot be read as text ({error}). Give a JSON file.") from None
    if not isinstance(entries, dict):
        raise InputError(f"{path.name}: expected an object: entries in braces.")
    return Described(entries, path)


def read_raw(image: Described, dimensions: int) -> np.ndarray:
    """The values of a raw file, first index slowest: (rows, columns), or (slices, rows, columns).

    image: `file`; `type` of a value; `byte_order` of values of several bytes, "little" or "big"; `size`, columns first;
    `header_bytes` to leave out at the beginning, none unless given. Raises InputError, beginning with the place in the
    description, also when the file is not of just that length.
    """
    path, kind = image.path("file"), image.choice("type", _TYPES)
    dtype = np.dtype(kind)
    if dtype.itemsize > 1:
        dtype = np.dtype(_ORDERS[image.choice("byte_order", _ORDERS)] + dtype.str[1:])
    size = image.numbers("size", dimensions)
    skipped = float(image.numbers("header_bytes")) if "header_bytes" in image else 0.0
    if (size < 1).any() or (size != np.rint(size)).any() or skipped < 0 or skipped != round(skipped):
        raise InputError(f"{image.where}: size must be positive whole numbers, header_bytes a whole number from 0.")
    expected = int(size.prod()) * dtype.itemsize + int(skipped)
    if path.stat().st_size != expected:
        shape = " x ".join(f"{n:g}" for n in size)
        raise InputError(
            f"{image.where}: {path.name} has {path.stat().st_size} bytes, but {shape} values of {kind} and "
            f"{int(skipped)} bytes before them are {expected}. Correct size, type or header_bytes."
        )
    values = np.fromfile(path, dtype, offset=int(skipped))
    return values.astype(dtype.newbyteorder("="), copy=False).reshape(size.astype(int)[::-1])
