"""Figures as PNG files, drawn by matplotlib without a window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .poses import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def figure_file(path: Path, inches: tuple[float, float], extra: str, dpi: int = 150) -> Iterator[Figure]:
    """Give a figure to draw in; it is written as `path` once the block has ended well.

    extra: of this package's, which installs matplotlib. Raises InputError that names the file when matplotlib is
    missing or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure  # draws by Agg, without a window and without pyplot's global state
    except ImportError:
        raise InputError(
            f"{path}: the figure needs matplotlib, which is not installed. Install XrayCTRegistration[{extra}]."
        ) from None
    figure = Figure(figsize=inches, dpi=dpi, layout="constrained")
    yield figure
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png")
