"""Files of the rows of an evaluation: the table of all of them, and the record of a run that is going on."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InputError
from ..io.poses import replacing
from .runner import CaseResult

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")
EVIDENCE = "evidence_"  # what the columns of CaseResult.evidence begin with
_BONE, _OF_CASES = "bone", "mtre_mm"  # columns that only a table of bones has, and only one of cases


def write_csv(path: Path, results: Sequence[CaseResult]) -> None:
    """A row per case and method, with a column for each name of their evidence.

    Raises InputError when the file cannot be written.
    """
    write_table(path, [case_columns(result) for result in results])


def read_csv(path: Path, kind: type[Row]) -> list[Row]:
    """The rows, of a kind, of a file of `case_columns`.

    Raises InputError, naming the file, when it is missing or of another kind.
    """
    of_bones = any(field.name == _BONE for field in fields(kind))
    asked = "bones.csv of an evaluation of bones" if of_bones else "cases.csv of an evaluation"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            _check_kind(path, table.fieldnames or (), of_bones)
            return [_result(cells, kind) for cells in table]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Give the {asked}.") from None
    except InputError:
        raise
    except (TypeError, ValueError, csv.Error):  # text that cannot be decoded is a ValueError
        raise InputError(f"{path}: this is not the {asked}, or it is damaged. Give one.") from None


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """A CSV of rows by column names; what a row does not hold stays empty.

    Raises InputError when the file cannot be written.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def begin_record(path: Path, settings: Mapping[str, object], known: Sequence[DataclassInstance] = ()) -> None:
    """Begin the record of a run, lines of JSON: its settings, then rows already known. An older record is replaced."""
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write(json.dumps(dict(settings)) + "\n")
        file.writelines(_line([result]) for result in known)


def record(path: Path, results: Sequence[DataclassInstance]) -> None:
    """Add the rows of a case to a record. Whatever ends the program later, they are in it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(results))


def recorded(path: Path, settings: Mapping[str, object], kind: type[Row]) -> list[Row]:
    """The rows of a record, of a kind, none where there is no file. A last line that was not finished is left out.

    Raises InputError when the record is of a run with other settings, or is none.
    """
    if not path.exists():
        return []
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        of_run = json.loads(first)
        rows = [kind(**row) for line in lines if line.endswith("\n") for row in json.loads(line)]
    except (TypeError, ValueError):
        raise InputError(f"{path}: the record of the run is damaged. Run without --resume.") from None
    other = [f"{name} {of_run.get(name)}, not {value}" for name, value in settings.items() if of_run.get(name) != value]
    if other:
        raise InputError(
            f"{path}: the earlier run had other settings ({'; '.join(other)}). Repeat them, choose another folder with "
            "--output, or run without --resume."
        )
    return rows


def _check_kind(path: Path, columns: Sequence[str], of_bones: bool) -> None:
    """Raise InputError where a table of bones is read as one of cases, or the reverse."""
    if _BONE in columns and not of_bones:
        raise InputError(f"{path}: this is a table of bones. Say so with --bones, or give the cases.csv of CTs.")
    if _OF_CASES in columns and of_bones:
        raise InputError(f"{path}: this is a table of CTs in one piece. Leave out --bones, or give the bones.csv.")


def _line(results: Sequence[DataclassInstance]) -> str:
    return json.dumps([asdict(result) for result in results]) + "\n"


def case_columns(result: DataclassInstance) -> dict[str, object]:
    """A row by the names of its columns, each piece of its evidence a column of its own."""
    columns = asdict(result)
    evidence = columns.pop("evidence")
    return columns | {EVIDENCE + name: value for name, value in evidence.items()}


def _result(cells: Mapping[str, str], kind: type[Row]) -> Row:
    """A row of the table; columns that this version does not know are left out."""
    types = {field.name: str(field.type) for field in fields(kind) if field.name != "evidence"}
    values: dict[str, Any] = {name: _value(cell, types[name]) for name, cell in cells.items() if name in types}
    named = {name.removeprefix(EVIDENCE): cell for name, cell in cells.items() if name.startswith(EVIDENCE)}
    values["evidence"] = {name: float(cell) for name, cell in named.items() if cell}
    return kind(**values)


def _value(cell: str, kind: str) -> str | int | bool | float | None:
    """What a cell holds by the annotation of its field: text, a whole number, a truth, or a number or nothing."""
    if kind == "str":
        return cell
    if kind == "int":
        return int(cell)
    if kind == "bool":
        return cell == "True"
    return float(cell) if cell else None
