"""Where Numba keeps what it has compiled: a folder of the user's, one for every version of the projector's sources."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
from numba.core import config
from numba.misc.appdirs import user_cache_dir

log = logging.getLogger(__name__)

_SOURCES = Path(__file__).parent


def cache_folder() -> Path:
    """The folder of this version's compiled code: NUMBA_CACHE_DIR where that is set, else the user's cache folder.

    Numba looks at the age of one source file only, and a kernel is made from several: so their digest names the folder.
    """
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.glob("*.py")):
        digest.update(source.read_bytes())
    root = config.CACHE_DIR or user_cache_dir("XrayCTRegistration", appauthor=False)
    return Path(root) / f"projector-{digest.hexdigest()[:16]}"


def kept_on_disk(**options: object) -> Callable[[Callable], Callable]:
    """numba.njit that compiles at the first call and keeps the code in `cache_folder`.

    Where nothing can be written there, the code is compiled again in every process, which the log says.
    """

    def decorate(function: Callable) -> Callable:
        with _numba_cache_in(cache_folder()):
            try:
                return numba.njit(cache=True, **options)(function)
            except RuntimeError as error:  # Numba's answer when it finds no folder that it may write to
                log.warning("Compiled code cannot be kept (%s): the projector compiles anew in every process.", error)
        return numba.njit(**options)(function)

    return decorate


def is_kept(*functions: Callable) -> bool:
    """Whether this process has compiled or loaded all functions, or the folder on disk holds them."""
    return all(function.signatures or _on_disk(function) for function in functions)


def _on_disk(function: Callable) -> bool:
    folder = function.stats.cache_path
    return folder is not None and any(Path(folder).glob(f"*.{function.__name__}-*.nbi"))


@contextlib.contextmanager
def _numba_cache_in(folder: Path) -> Iterator[None]:
    """Numba reads its setting when a function is decorated; other users of Numba in the process keep theirs."""
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before
