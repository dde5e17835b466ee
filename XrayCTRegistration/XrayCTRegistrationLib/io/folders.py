"""Folders of results, filled all at once or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def published(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give a hidden folder to write files in; those that are `names` move to `folder` when the block has ended well.

    After an error the folder is as it was. Files of these names from an earlier run that were not written again are
    removed, since they would not belong to the others. The last name comes last: where it stands, all stand.
    """
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as hidden:
        yield Path(hidden)
        (folder / names[-1]).unlink(missing_ok=True)
        for name in names:
            if (Path(hidden) / name).exists():
                os.replace(Path(hidden) / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
