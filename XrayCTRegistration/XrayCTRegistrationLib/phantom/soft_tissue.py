"""What surrounds the bones: skin, fat, muscles, organs, vessels and gas (mm, Hounsfield units)."""

from __future__ import annotations

import numpy as np

from .shapes import Canvas, column, ellipsoid
from .spine import Spine

AIR_HU = -1000.0
SKIN_HU = 50.0
FAT_HU = -100.0
MUSCLE_HU = 58.0
BOWEL_HU = 30.0
GAS_HU = -900.0
LIVER_HU = 62.0
BLOOD_HU = 42.0

# The outline of the body at heights z: middle in x and y, half widths.
_TRUNK = [(-150, 0, 2, 154, 113), (-70, 0, 0, 150, 111), (20, 0, 0, 139, 107), (150, 0, 2, 147, 113)]

# Center x, y, z; radii; HU. Left is +x: the liver is right, the spleen left.
_ORGANS = [
    ((-72, -14, 128), (60, 74, 72), LIVER_HU),
    ((-10, -48, 140), (52, 40, 40), LIVER_HU),
    ((102, 22, 128), (24, 40, 46), 50.0),  # spleen
    ((60, -40, 118), (44, 34, 34), 40.0),  # stomach
    ((62, 38, 62), (27, 25, 56), 34.0),  # kidneys
    ((-64, 38, 44), (27, 25, 54), 34.0),
    ((-16, -18, 66), (28, 16, 16), 40.0),  # head of the pancreas and duodenum
]


# Paired muscles, the left one. Beside the midline of the spine at heights z: x, y, half widths.
_PSOAS = [(-150, 62, -30, 20, 20), (-80, 46, 0, 22, 25), (-20, 38, 6, 17, 20), (70, 26, 8, 6, 8)]
_ERECTOR_SPINAE = [(-160, 18, 60, 14, 9), (-80, 30, 56, 26, 16), (0, 34, 54, 31, 21), (150, 34, 44, 34, 18)]
_QUADRATUS_LUMBORUM = [(-60, 74, 34, 20, 12), (0, 66, 32, 20, 9), (90, 50, 34, 14, 5)]


def paint_trunk(canvas: Canvas, rng: np.random.Generator) -> None:
    """Skin, a layer of fat, the muscular wall, and the fat that fills the cavity."""
    where, p = canvas.box((-np.inf,) * 3, (np.inf,) * 3)
    girth = rng.uniform(0.98, 1.02)
    fat_mm, wall_mm = rng.uniform(8, 16), rng.uniform(9, 13)
    distance = column(p, np.array(_TRUNK) * [1, 1, 1, girth, girth], 2.3)
    for depth_mm, hu in ((0, SKIN_HU), (2, FAT_HU), (2 + fat_mm, MUSCLE_HU), (2 + fat_mm + wall_mm, FAT_HU)):
        canvas.paint(where, distance + np.float32(depth_mm), hu)


def paint_organs(canvas: Canvas, spine: Spine, rng: np.random.Generator) -> None:
    """Organs and bowel loops with gas in places, muscles beside the spine, and the great vessels before it."""
    for center, radii, hu in _ORGANS:
        grow = rng.normal(1, 0.06, 3)
        _paint_ellipsoid(canvas, np.array(center) + rng.normal(0, 4, 3), np.array(radii) * grow, hu)
    _paint_bowel(canvas, rng)
    _paint_muscles(canvas, spine, rng)
    _paint_vessels(canvas, spine, rng)


def _paint_bowel(canvas: Canvas, rng: np.random.Generator) -> None:
    loops = [(rng.uniform(-75, 75), rng.uniform(-72, -25), rng.uniform(-140, 60)) for _ in range(70)]
    colon = [(98 + rng.normal(0, 4), 5 + rng.normal(0, 6), z) for z in np.arange(-120, 90, 26)]
    colon += [(-98 + rng.normal(0, 4), -5 + rng.normal(0, 6), z) for z in np.arange(-110, 20, 30)]
    for center in loops + colon:
        radii = rng.permutation(rng.uniform((10, 10, 18), (15, 15, 30)))  # cut from a winding tube
        _paint_ellipsoid(canvas, np.array(center), radii, BOWEL_HU + rng.normal(0, 6))
        if rng.random() < 0.15:  # gas rises to the front of a supine patient
            gas = np.array(center) - np.array((0, 0.15 * radii[1], 0))
            _paint_ellipsoid(canvas, gas, radii * rng.uniform(0.35, 0.8), GAS_HU)
    _paint_ellipsoid(canvas, np.array((58, -55, 122)) + rng.normal(0, 5, 3), rng.uniform(14, 24, 3), GAS_HU)  # stomach


def _paint_muscles(canvas: Canvas, spine: Spine, rng: np.random.Generator) -> None:
    line = spine.along((0, 0, 0))
    for muscle in (_PSOAS, _ERECTOR_SPINAE, _QUADRATUS_LUMBORUM):
        for side in (1, -1):
            knots = np.array(muscle, dtype=np.float64)
            knots[:, 1] = side * knots[:, 1] + np.interp(knots[:, 0], line[:, 2], line[:, 0])
            knots[:, 2] += np.interp(knots[:, 0], line[:, 2], line[:, 1])
            knots[:, 3:] *= rng.uniform(0.92, 1.08)
            low, high = knots[[0, -1], 0]
            reach = knots[:, 3:].max() + 2
            where, p = canvas.box(
                (*(knots[:, 1:3].min(axis=0) - reach), low), (*(knots[:, 1:3].max(axis=0) + reach), high)
            )
            canvas.paint(where, column(p, knots), MUSCLE_HU)


def _paint_vessels(canvas: Canvas, spine: Spine, rng: np.random.Generator) -> None:
    front = spine.vertebrae[4].depth / 2 + 11
    for x, radius, hu in ((11, rng.uniform(8.5, 11), BLOOD_HU), (-14, rng.uniform(8, 12), BLOOD_HU - 4)):
        line = spine.along((x, -front, 0))[2:]  # both divide before the last lumbar vertebra
        where, p = canvas.box(line.min(axis=0) - (15, 15, 0), line.max(axis=0) + 15)
        knots = np.column_stack([line[:, 2], line[:, :2], np.full((len(line), 2), radius)])
        canvas.paint(where, column(p, knots), hu)
        if x > 0:  # plaques on the aorta
            for _ in range(rng.integers(2, 7)):
                z, angle = rng.uniform(line[0, 2], 60), rng.uniform(0, 2 * np.pi)
                at = np.array([np.interp(z, line[:, 2], line[:, n]) for n in (0, 1)])
                at += (radius - 1) * np.array([np.cos(angle), np.sin(angle)])
                _paint_ellipsoid(canvas, np.array([*at, z]), rng.uniform(1.2, 3.5, 3), 700.0)


def _paint_ellipsoid(canvas: Canvas, center: np.ndarray, radii: np.ndarray, hu: float) -> None:
    where, p = canvas.around(center, radii + 2 * canvas.spacing_mm)
    canvas.paint(where, ellipsoid(p, center, radii), hu)
