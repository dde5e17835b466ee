"""What is printed while a command runs: notes of the library, progress, and tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

console = Console()


def say(message: str, title: str = "", style: str = "", to: Console | None = None) -> None:
    """One message, whole on one logical line, so that a file name in it can be copied and searched for."""
    (to or console).print(Text.assemble((title, style), message), soft_wrap=True)


def facts(rows: list[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    table = Table.grid(padding=(0, 3))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value))
    console.print()
    console.print(table)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows below the names of columns."""
    grid = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    for name in columns:
        grid.add_column(name, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(value) for value in row))
    console.print()
    console.print(grid)


def files_fact(folder: Path, names: Sequence[str]) -> tuple[str, str]:
    """The row of `facts` that says what was written."""
    return "Files", f"{', '.join(names)} in {folder}"


def progress_bars() -> Progress:
    """One line for each task: what, how far, how long."""
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[detail]}"),
        console=console,
    )


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say what is being waited for, while it lasts."""
    with console.status(f"{what} ..."):
        yield


class NoteHandler(logging.Handler):
    """Prints the library's log, each message once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in self._said:
            self._said.add(message)
            say(message, "Note: ", "cyan" if record.levelno < logging.WARNING else "yellow")
