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
_GOLDEN = 0.618034  # of a turn of hue: no two of the first many are near each other


def colored(segments: Sequence[Segment]) -> list[Segment]:
    """The segments, each in its own colour; one that has none, or that of an earlier one, is given another."""
    taken: list[Color] = [segment.color for segment in segments if segment.color is not None]
    free = [color for color in _BRIGHT if all(_apart(color, other) for other in taken)]
    result: list[Segment] = []
    for segment in segments:
        color = segment.color
        if color is None or not all(_apart(color, one.color) for one in result if one.color):
            color = free.pop(0) if free else colorsys.hsv_to_rgb(_GOLDEN * len(result) % 1, 0.6, 1.0)
        result.append(replace(segment, color=color))
    return result


def _apart(one: Color, other: Color) -> bool:
    return float(np.abs(np.subtract(one, other)).sum()) >= _APART
