"""PNG images of grey with opacity, which SimpleITK does not read."""

from __future__ import annotations

import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH, _KIND = 24, 25  # where the header's chunk says how many bits a channel has, and which channels there are
_CHUNK, _CHECKSUM = slice(12, 29), slice(29, 33)  # the header's name and content, and their CRC
_GREY_WITH_OPACITY = 4
_SAME_PIXEL = {8: (16, 0), 16: (8, 6)}  # (bits, channels) that lie in the file alike: grey of 16 bits, RGBA of 8


def has_grey_with_opacity(path: Path) -> bool:
    """Whether a file is a PNG image whose pixels are a grey value and an opacity."""
    with path.open("rb") as file:
        header = file.read(33)
    return header[:8] == _SIGNATURE and len(header) == 33 and header[_KIND] == _GREY_WITH_OPACITY


def read_grey(path: Path) -> sitk.Image:
    """The grey values of a PNG image of grey with opacity; RuntimeError of ITK where the file is damaged.

    ITK reads a copy whose header calls the two values of a pixel something else of the same length: how PNG packs rows
    depends on that length alone (PNG specification, 9.2).
    """
    content = bytearray(path.read_bytes())
    bits = content[_DEPTH]
    content[_DEPTH], content[_KIND] = _SAME_PIXEL[bits]
    content[_CHECKSUM] = struct.pack(">I", zlib.crc32(content[_CHUNK]))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.png"
        copy.write_bytes(content)
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(copy)))
    if bits == 8:
        return sitk.GetImageFromArray((pixels >> 8).astype(np.uint8))
    return sitk.GetImageFromArray((pixels[..., 0].astype(np.uint16) << 8) | pixels[..., 1])
