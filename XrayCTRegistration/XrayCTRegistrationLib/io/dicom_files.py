"""DICOM files: what is one, its tags, and files without the preamble that readers of images ask for."""

from __future__ import annotations

import os
import struct
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    import pydicom  # at run time only where there is a DICOM file

_PREAMBLE, _MARK = bytes(128), b"DICM"
_META_GROUP = b"\x02\x00"
_FIRST_GROUPS = (_META_GROUP, b"\x08\x00")  # file meta information and identification: what data sets begin with
_FIRST_TYPES = (b"UL", b"OB", b"UI", b"CS", b"SH", b"DA", b"LO")
_LAST_FIRST_ELEMENT = 0x0020  # such sets begin with a length, the character set, the image's type, a UID or a date
_LONGEST_FIRST = 64
_FOLDERS = 1000
_EXPLICIT, _IMPLICIT = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0"  # transfer syntaxes, PS3.6 A


def is_dicom(path: Path) -> bool:
    """Whether a file is of DICOM's file format (PS3.10 7.1), or its data set alone, as old systems write it."""
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:] == _MARK or _begins_a_data_set(head)


def fullest_dicom_folder(folder: Path) -> str | None:
    """The folder below this one with the most files, the first of them DICOM, as a path from here; None where there is
    none. It does not look at more than a thousand folders."""
    fullest, most = None, 0
    for place, _, names in islice(os.walk(folder), 1, _FOLDERS):
        with suppress(OSError):  # a folder that must not be read is none
            if len(names) > most and is_dicom(Path(place) / min(names)):
                fullest, most = Path(place).relative_to(folder).as_posix(), len(names)
    return fullest


def read_tags(path: Path, specific_tags: list[str] | None = None) -> pydicom.Dataset:
    """The DICOM tags of a file without its pixels; InputError when it is damaged or ends before its last pixel."""
    import pydicom

    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # small offences against the standard are common and harmless here
            tags = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=specific_tags)
            pixel_bytes = path.stat().st_size - file.tell()
        syntax = tags.file_meta.get("TransferSyntaxUID")
        plain = syntax is not None and not syntax.is_compressed and tags.get("SamplesPerPixel") == 1
        needed = tags.Rows * tags.Columns * frame_count(tags) * tags.BitsAllocated // 8 if plain else 0
    except Exception as error:  # a damaged file makes pydicom raise errors of many kinds
        raise InputError(f"{path.name}: the DICOM file is damaged ({error}). Export it again.") from None
    if pixel_bytes < needed:  # GDCM reads such a file, in some versions without a word
        raise InputError(
            f"{path.name}: the file is incomplete: it ends before its last pixel. Copy or export it again."
        )
    return tags


def frame_count(tags: pydicom.Dataset) -> int:
    """How many frames an image has by its tags."""
    return int(tags.get("NumberOfFrames") or 1)


@contextmanager
def with_preambles(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """The paths, with copies in place of DICOM files that lack preamble and mark, which ITK does not read."""
    with tempfile.TemporaryDirectory() as folder:
        readable = []
        for number, path in enumerate(paths):
            with path.open("rb") as file:
                head = file.read(132)
            if head[128:] == _MARK or not _begins_a_data_set(head):
                readable.append(path)
                continue
            copy = Path(folder) / f"{number}.dcm"
            copy.write_bytes(_PREAMBLE + _MARK + _missing_meta(head) + path.read_bytes())
            readable.append(copy)
        yield readable


def _begins_a_data_set(head: bytes) -> bool:
    """Whether bytes are a first element of a data set: its type written out, or its length short, little endian."""
    if len(head) < 8 or head[:2] not in _FIRST_GROUPS:
        return False
    element, length = (int.from_bytes(part, "little") for part in (head[2:4], head[4:8]))
    return element <= _LAST_FIRST_ELEMENT and (head[4:6] in _FIRST_TYPES or length <= _LONGEST_FIRST)


def _missing_meta(head: bytes) -> bytes:
    """The file meta information of a data set that begins without it: its transfer syntax, and how long that is."""
    if head[:2] == _META_GROUP:
        return b""
    syntax = _EXPLICIT if head[4:6] in _FIRST_TYPES else _IMPLICIT
    element = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    return struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(element)) + element
