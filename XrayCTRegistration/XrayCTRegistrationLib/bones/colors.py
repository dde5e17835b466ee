"""A colour for every bone, that can be told from the others'."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .segments import Segment

Color = tuple[float, float, float]

_BRIGHT: tuple[Color, ...] = (  # none of them green, as the edges of the whole CT are
    (1.0, 0.35, 0.35),
    (0.35, 0.75, 1.0),
    (1.0, 0.85, 0.25),
    (1.0, 0.8, 0.85),
    (1.0, 0.5, 1.0),
    (1.0, 0.6, 0.2),
    (0.35, 0.95, 0.9),
    (0.7, 0.6, 1.0),
)
_APART = 0.2  # of two colours' red, green and blue together, from which on they are told apart
_GREEN = (0.25, 0.45)  # hues about that of the edges of the whole CT
_HUES, _SATURATIONS = 60, (0.6, 1.0, 0.4, 0.8)
_OTHERS: tuple[Color, ...] = tuple(
    colorsys.hsv_to_rgb(hue, saturation, 1.0)
    for saturation in _SATURATIONS
    for hue in np.arange(_HUES) / _HUES
    if not _GREEN[0] <= hue <= _GREEN[1]
)


def colored(segments: Sequence[Segment]) -> list[Segment]:
    """The segments, each in its own colour; one that has none, or that of an earlier one, is given another, none of
    them green."""
    taken: list[Color] = [segment.color for segment in segments if segment.color is not None]
    free = [color for color in _BRIGHT if all(_apart(color, other) for other in taken)]
    result: list[Segment] = []
    for segment in segments:
        color = segment.color
        if color is None or not all(_apart(color, one.color) for one in result if one.color):
            color = free.pop(0) if free else _farthest([*taken, *(one.color for one in result if one.color)])
        result.append(replace(segment, color=color))
    return result


def _farthest(taken: Sequence[Color]) -> Color:
    """The colour that differs most from all that are taken; of hundreds of bones, some are alike."""
    apart = np.abs(np.array(_OTHERS)[:, None] - np.array(taken)).sum(axis=2).min(axis=1)
    return _OTHERS[int(apart.argmax())]


def _apart(one: Color, other: Color) -> bool:
    return float(np.abs(np.subtract(one, other)).sum()) >= _APART
