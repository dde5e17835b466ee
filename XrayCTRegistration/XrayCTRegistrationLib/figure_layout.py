"""Pictures in rows and columns, with titles, names, and a legend of colours."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Rgb = tuple[int, int, int]  # 0 to 255

_GAP_PX, _TITLE_PX, _NAME_PX, _FONT_PX, _MARK_PX = 8, 26, 26, 15, 11
_BACKGROUND, _TITLE_GREY, _NAME_GREY = (18, 18, 18), (235, 235, 235), (165, 165, 165)
_COMPRESSION = 3  # of 9: takes half the time of what Pillow chooses, for a few percent more bytes
_FONTS = ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf")  # of the system, with letters that Pillow's own font lacks


@dataclass(frozen=True, eq=False)
class Lettering:
    """A text as it can be drawn, and the font for it."""

    text: str
    font: Any

    @classmethod
    def of(cls, text: str) -> Lettering:
        """In Pillow's own font, which has the letters of English. Where there are others, in a font of the system; on a
        machine without one, letters lose their accents, and a question mark stands for what is left."""
        from PIL import ImageFont

        if not text.isascii():
            for name in _FONTS:
                try:
                    return cls(text, ImageFont.truetype(name, _FONT_PX))
                except OSError:  # this machine has no such font
                    continue
            plain = unicodedata.normalize("NFKD", text)
            text = "".join(one if one.isascii() else "?" for one in plain if not unicodedata.combining(one))
        return cls(text, ImageFont.load_default(_FONT_PX))

    @property
    def length_px(self) -> float:
        return float(self.font.getlength(self.text))


def laid_out(
    rows: Sequence[Sequence[np.ndarray]],
    names: Sequence[str],
    titles: Sequence[str],
    legend: Sequence[tuple[str, Rgb]] = (),
) -> np.ndarray:
    """A figure of rows of pictures, uint8 (rows, columns, 3), those of a row of one size, with names and titles.

    legend: names with the colours they are drawn in, below. Returns uint8 (rows, columns, 3).
    """
    from PIL import Image, ImageDraw  # not needed by a live overlay

    width = max(row[0].shape[1] for row in rows) + _GAP_PX
    whole = width * len(titles) + _GAP_PX
    places, low = _legend_places([Lettering.of(name).length_px for name, _ in legend], whole)
    height = sum(_NAME_PX + row[0].shape[0] for row in rows) + _TITLE_PX + _GAP_PX
    figure = Image.new("RGB", (whole, height + low), _BACKGROUND)
    draw = ImageDraw.Draw(figure)

    def write(left: int, top: int, text: str, color: Rgb) -> None:
        lettering = Lettering.of(text)
        draw.text((left, top), lettering.text, color, lettering.font)

    for column, title in enumerate(titles):
        write(_GAP_PX + column * width, _GAP_PX, title, _TITLE_GREY)
    top = _TITLE_PX
    for name, row in zip(names, rows):
        write(_GAP_PX, top + 5, name, _NAME_GREY)
        top += _NAME_PX
        for column, panel in enumerate(row):
            figure.paste(Image.fromarray(panel), (_GAP_PX + column * width, top))
        top += row[0].shape[0]
    for (name, color), (left, down) in zip(legend, places):
        mark = left, height + down + 5, left + _MARK_PX, height + down + 5 + _MARK_PX
        draw.rectangle(mark, fill=color)
        write(left + _MARK_PX + _GAP_PX, height + down, name, _TITLE_GREY)
    return np.asarray(figure)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture, uint8 (rows, columns, 3), as a PNG file."""
    from PIL import Image

    Image.fromarray(picture).save(path, compress_level=_COMPRESSION)


def _legend_places(lengths_px: Sequence[float], width_px: int) -> tuple[list[tuple[int, int]], int]:
    """Left and top of entries of a legend, as many in a line as there is room for, and the height of all lines."""
    places: list[tuple[int, int]] = []
    left, top = _GAP_PX, 0
    for length in lengths_px:
        entry = _MARK_PX + 3 * _GAP_PX + int(length)
        if left > _GAP_PX and left + entry > width_px:
            left, top = _GAP_PX, top + _NAME_PX
        places.append((left, top))
        left += entry
    return places, top + _NAME_PX if places else 0
