"""Floating-point voxels as a file stores them, NaN and all, where a reader of images would change them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_PART_BYTES = 1 << 24


def float_parts(
    file: Path, kind: np.dtype, count: int, compressed: bool, line_skip: int = 0, byte_skip: int = 0
) -> Iterator[np.ndarray]:
    """`count` voxels of a kind, in the order of the file, some millions at a time; fewer where it ends early.

    compressed: by gzip, from after the lines that are skipped. byte_skip: bytes before the voxels, uncompressed.
    """
    with file.open("rb") as plain:
        for _ in range(line_skip):
            plain.readline()
        stream = gzip.GzipFile(fileobj=plain) if compressed else plain
        stream.read(byte_skip)
        left = count * kind.itemsize
        while part := stream.read(min(_PART_BYTES, left)):
            left -= len(part)
            yield np.frombuffer(part, dtype=kind, count=len(part) // kind.itemsize)
