"""Sacrum, iliac wings and lower ribs, standing on the frames of the spine (mm)."""

from __future__ import annotations

import numpy as np

from .shapes import Canvas, block, capsule, column, in_frame, smooth_curve, union
from .spine import CORTICAL_HU, Spine

_MARROW_HU = 170.0
_WING_CORTICAL_HU = 1100.0

# Left iliac wing: x, y, z from the middle of the sacral endplate, and the half thickness.
# The crest from the posterior to the anterior superior spine, and a line below it, point by point.
_CREST = [
    (41, 52, -34, 6.5),
    (52, 47, -6, 6.0),
    (78, 32, 24, 4.5),
    (106, 6, 33, 4.2),
    (125, -22, 22, 5.5),
    (128, -44, -4, 4.5),
    (120, -58, -38, 5.0),
]
_BRIM = [
    (46, 40, -62, 6.0),
    (54, 28, -52, 6.0),
    (63, 16, -52, 5.5),
    (74, 2, -60, 5.5),
    (88, -16, -72, 7.0),
    (100, -34, -80, 8.0),
    (108, -48, -82, 7.0),
]
_FOSSA_HALF_THICKNESS = 2.2  # the wing is thin halfway between crest and brim

# Half of the left rib pair: from the vertebra's body, x, y, z, in the scale of the body; shared by T10 to T12.
_RIB = [
    (16, 12, 4),
    (30, 30, 3),
    (52, 42, -6),
    (82, 38, -22),
    (108, 18, -38),
    (126, -12, -54),
    (131, -40, -66),
    (120, -72, -70),
]
_RIB_LENGTH = {"T11": 0.78, "T12": 0.46}  # share of the curve above


def paint_pelvis(canvas: Canvas, spine: Spine, rng: np.random.Generator) -> None:
    """The sacrum and, parted from it by the sacroiliac joints, the iliac wings; slightly different left and right."""
    for side in (1, -1):
        grow = spine.scale * rng.normal(1, 0.02, 3)
        crest, brim = (smooth_curve(np.array(knots) * [*grow, 1], 90) for knots in (_CREST, _BRIM))
        t = np.linspace(0, 1, 60)[:, None, None]
        sheet = crest * (1 - t) + brim * t
        thin = np.clip(np.minimum(t, 1 - t) / 0.22, 0, 1)
        sheet[..., 3:] += thin * (_FOSSA_HALF_THICKNESS - sheet[..., 3:])
        sheet[..., :2] *= 1 - 0.05 * np.sin(np.pi * t)  # the fossa is hollow
        sheet = sheet.reshape(-1, 4)
        points = sheet[:, :3] * (side, 1, 1) + spine.sacrum_center
        canvas.paint_tube(points, sheet[:, 3], 1.4, (_WING_CORTICAL_HU, _MARROW_HU))
    _paint_sacrum(canvas, spine)


def paint_ribs(canvas: Canvas, spine: Spine, rng: np.random.Generator) -> None:
    """The lower ribs; each has its own length and slope."""
    for vertebra in spine.vertebrae:
        if vertebra.name not in _RIB_LENGTH:
            continue
        for side in (1, -1):
            share = _RIB_LENGTH[vertebra.name] * rng.uniform(0.8, 1.1)
            curve = smooth_curve(_RIB, 300)[: int(300 * share)] * spine.scale
            curve[:, 2] *= rng.uniform(0.8, 1.25)
            radius = np.interp(np.linspace(0, 1, len(curve)), (0, 0.1, 0.3, 0.95, 1), (4.2, 3.4, 4.0, 3.6, 2.0))
            points = curve * (side, 1, 1) + vertebra.center
            tall = np.concatenate([points + np.array((0, 0, rise)) for rise in (-1.5, 0, 1.5)])  # taller than thick
            canvas.paint_tube(tall, np.tile(radius, 3), 1.5, (CORTICAL_HU, _MARROW_HU))


def _paint_sacrum(canvas: Canvas, spine: Spine) -> None:
    s = spine.scale
    where, p = canvas.around(spine.sacrum_center + spine.sacrum_rotation @ (0, 10, -35), (70, 75, 70))
    p = in_frame(p, spine.sacrum_center, spine.sacrum_rotation)
    x, _, z = p
    body = column(
        p, np.array([(-95, 0, 24, 11, 6), (-62, 0, 14, 16, 9), (-30, 0, 4, 21, 13), (0, 0, 0, 26, 17)]) * s, 2.4
    )
    body = -union(-body, -np.maximum(z, -z - 95), 2.5)
    segment = np.abs(z + 30 * s)
    remnant = np.maximum(segment - 0.9, np.abs(x) - 13 * s)  # what is left of the disc between S1 and S2
    outer = body
    for side in (1, -1):
        ala = capsule(p, np.array((side * 22, 4, -15)) * s, np.array((side * 39, 12, -21)) * s, (13 * s, 13 * s))
        lower = capsule(p, np.array((side * 36, 14, -26)) * s, np.array((side * 24, 24, -75)) * s, (13 * s, 6 * s))
        facet = capsule(p, np.array((side * 21, 22, -6)) * s, np.array((side * 22, 21, 13)) * s, (5.5 * s, 4.2 * s))
        back = capsule(p, np.array((side * 20, 24, -8)) * s, np.array((side * 12, 34, -80)) * s, (6 * s, 3 * s))
        for part in (ala, lower, facet, back):
            outer = union(outer, part, 4)
    crest = block(p, np.array((0, 33, -40)) * s, np.array((3, 6, 28)) * s, 3)
    lamina = block(p, np.array((0, 28, -40)) * s, np.array((16, 3, 34)) * s, 2.5)
    outer = union(outer, union(crest, lamina))
    holes = column(p, np.array([(-90, 0, 30, 5, 3), (-40, 0, 21, 9, 5), (5, 0, 23, 13, 8)]) * s)
    for side in (1, -1):
        for depth, across in ((-29, 22), (-52, 19)):  # foramina, front to back
            start, end = np.array((side * across, -15, depth)) * s, np.array((side * (across - 2), 40, depth - 4)) * s
            holes = np.minimum(holes, capsule(p, start, end, (5.0 * s, 3.5 * s)))
    outer = np.maximum(outer, -holes)
    inner = np.maximum(outer + np.float32(1.2), -remnant)
    canvas.paint_bone(where, outer, inner, 0.75 * CORTICAL_HU, 0.9 * spine.cancellous_hu)
