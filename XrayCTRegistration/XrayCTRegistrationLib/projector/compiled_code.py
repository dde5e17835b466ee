"""Where Numba keeps what it has compiled: a folder of the user's, one for every version of the projector's sources."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from numba.misc.appdirs import user_cache_dir

log = logging.getLogger(__name__)

_SOURCES = Path(__file__).parent


def cache_folder(settings: ModuleType) -> Path:
    """The folder of this version's compiled code: NUMBA_CACHE_DIR where that is set, else the user's cache folder.

    Numba looks at the age of one source file only, and a kernel is made from several: so their digest names the folder.
    """
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.glob("*.py")):
        digest.update(source.read_bytes())
    root = settings.CACHE_DIR or user_cache_dir("XrayCTRegistration", appauthor=False)
    return Path(root) / f"projector-{digest.hexdigest()[:16]}"


def kept_on_disk(jit: Callable[..., Callable], settings: ModuleType, **options: object) -> Callable:
    """A decorator: `jit` with options, which compiles at the first call and keeps the code in `cache_folder`.

    settings: the `config` of the Numba that `jit` belongs to. Where nothing can be written, the code is compiled again
    in every process, which the log says.
    """

    def decorate(function: Callable) -> Callable:
        with _cached_in(cache_folder(settings), settings):
            try:
                return jit(cache=True, **options)(function)
            except RuntimeError as error:  # Numba's answer when it finds no folder that it may write to
                log.warning("Compiled code cannot be kept (%s): the projector compiles anew in every process.", error)
        return jit(**options)(function)

    return decorate


def is_kept(*functions: Callable) -> bool:
    """Whether this process has compiled or loaded all functions, or the folder on disk holds them."""
    return all(function.signatures or _on_disk(function) for function in functions)


def _on_disk(function: Callable) -> bool:
    folder, python = function.stats.cache_path, f"py{sys.version_info.major}{sys.version_info.minor}"
    return folder is not None and any(Path(folder).glob(f"*.{function.__name__}-*.{python}.nbi"))


@contextlib.contextmanager
def _cached_in(folder: Path, settings: ModuleType) -> Iterator[None]:
    """Numba reads its setting when a function is decorated; other users of Numba in the process keep theirs."""
    before, settings.CACHE_DIR = settings.CACHE_DIR, str(folder)
    try:
        yield
    finally:
        settings.CACHE_DIR = before
