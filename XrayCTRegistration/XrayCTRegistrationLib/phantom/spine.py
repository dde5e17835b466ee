"""The vertebral column: where the vertebrae stand, and their shape as tables of numbers (mm, degrees)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from .shapes import Canvas, Points, block, capsule, column, in_frame, superellipse, union

CORTICAL_HU = 950.0
DISC_HU = 75.0
CANAL_HU = 20.0

# From top to bottom. Body: width, depth, height, height of the disc below; sagittal tilt: how far the upper endplate
# faces forward; pedicle half width; reach of the transverse process; height of the spinous process.
_LEVELS = {
    #      width depth height disc  tilt  pedicle transverse spinous
    "T11": (37.0, 29.0, 23.0, 5.0, -14.0, 4.3, 22.0, 12.0),
    "T12": (39.5, 30.0, 25.0, 6.5, -15.0, 4.3, 23.0, 15.0),
    "L1": (42.0, 31.0, 26.5, 8.0, -14.0, 4.2, 36.0, 18.0),
    "L2": (44.0, 32.0, 27.5, 9.5, -9.0, 4.4, 41.0, 19.0),
    "L3": (46.5, 33.0, 28.0, 10.5, -1.0, 5.2, 46.0, 20.0),
    "L4": (49.0, 34.0, 27.5, 11.0, 9.0, 6.2, 43.0, 18.0),
    "L5": (52.0, 34.5, 27.0, 10.0, 24.0, 8.5, 42.0, 14.0),
}
_SACRAL_TILT_DEG = 40.0
_L3_CENTER = (0.0, 4.0, 8.0)


@dataclass(frozen=True, eq=False)
class Vertebra:
    """One vertebra: its frame (x left, y posterior, z superior, origin in the middle of the body) and its sizes, mm."""

    name: str
    center: np.ndarray
    rotation: np.ndarray
    width: float
    depth: float
    height: float
    disc: float
    wedge: float
    pedicle: float
    transverse: tuple[float, float]  # left, right
    spinous: float
    transverse_rise: tuple[float, float]
    spinous_lean: float

    def endplate(self, side: int) -> np.ndarray:
        """(3,) the middle of the upper (+1) or lower (-1) endplate in world."""
        return self.center + side * self.height / 2 * self.rotation[:, 2]


@dataclass(frozen=True, eq=False)
class Spine:
    """The vertebrae from top to bottom, and the frame of the sacrum, its origin in the middle of its endplate."""

    vertebrae: tuple[Vertebra, ...]
    sacrum_center: np.ndarray
    sacrum_rotation: np.ndarray
    scale: float
    cancellous_hu: float

    def along(self, offset: tuple[float, float, float]) -> np.ndarray:
        """(n, 3) points of rising z: the offset (x, y, z) in the frame of each vertebra and of the sacrum."""
        frames = [(v.center, v.rotation) for v in self.vertebrae] + [(self.sacrum_center, self.sacrum_rotation)]
        return np.array([center + rotation @ offset for center, rotation in frames])[::-1]


def drawn_spine(rng: np.random.Generator) -> Spine:
    """A column of random size, lordosis, mild scoliosis and axial rotation."""
    scale = rng.uniform(0.95, 1.05)
    lordosis = rng.uniform(0.75, 1.15)
    coronal_deg = rng.uniform(2.0, 5.0) * rng.choice([-1, 1])
    apex, axial_deg = rng.uniform(-20, 40), rng.uniform(2, 5) * rng.choice([-1, 1])
    flexion_deg = rng.uniform(-3, 3)
    cancellous_hu = rng.uniform(160, 240)

    def rotation(tilt_deg: float, z: float) -> np.ndarray:
        bend = coronal_deg * np.sin((z - apex) / 55)
        turn = axial_deg * np.exp(-(((z - apex) / 60) ** 2))
        tilts = [tilt_deg * lordosis + flexion_deg, bend, turn]
        return Rotation.from_euler("XYZ", tilts, degrees=True).as_matrix()

    names = list(_LEVELS)
    table = np.array([_LEVELS[name] for name in names]) * rng.normal(1, 0.025, (len(names), 8))
    table[:, 4] = [_LEVELS[name][4] for name in names] + rng.normal(0, 1, len(names))
    table[:, [0, 1, 2, 3, 5, 6, 7]] *= scale
    # The bend depends on the height, and heights on the bend: evenly spaced ones are good enough for a smooth curve.
    rough_z = 38 * (names.index("L3") - np.arange(len(names) + 1))
    tilts = [*table[:, 4], _SACRAL_TILT_DEG]
    rotations = [rotation(tilt, z) for tilt, z in zip(tilts, rough_z)]

    centers = [np.zeros(3)]  # from the sacrum's endplate upwards
    for n in reversed(range(len(names))):
        below, up, gap = n + 1, rotations[n][:, 2], table[n, 3]
        half_below = table[below, 2] / 2 if below < len(names) else 0.0
        disc_axis = up + rotations[below][:, 2]
        disc_axis /= np.linalg.norm(disc_axis)
        centers.append(centers[-1] + half_below * rotations[below][:, 2] + gap * disc_axis + table[n, 2] / 2 * up)
    centers = np.array(centers[::-1])
    centers += np.array(_L3_CENTER) + rng.normal(0, 2, 3) - centers[names.index("L3")]

    vertebrae = []
    for n, name in enumerate(names):
        width, depth, height, disc, _, pedicle, transverse, spinous = table[n]
        wedge = 0.09 if name == "L5" else 0.03 if name in ("L3", "L4") else -0.02
        reach = tuple(transverse * rng.normal(1, 0.06, 2))
        rise = tuple({"L4": 9.0, "L5": 12.0}.get(name, 4.0) + rng.normal(0, 1.5, 2))
        lean = rng.normal(0, 2)
        sizes = (width, depth, height, disc, wedge, pedicle, reach, spinous, rise, lean)
        vertebrae.append(Vertebra(name, centers[n], rotations[n], *sizes))
    return Spine(tuple(vertebrae), centers[-1], rotations[-1], scale, cancellous_hu)


def paint_spine(canvas: Canvas, spine: Spine) -> None:
    """Discs, vertebrae and the spinal canal; the sacrum is the pelvis's."""
    back = spine.vertebrae[2].depth / 2 + 8
    canal = spine.along((0, back, 0))
    first, last = canal.min(axis=0) - 25, canal.max(axis=0) + 25
    where, p = canvas.box(first, last)
    knots = np.column_stack([canal[:, 2], canal[:, :2], np.full((len(canal), 2), (8.5, 7.0))])
    canvas.paint(where, column(p, knots), CANAL_HU)
    for vertebra in spine.vertebrae:
        _paint_disc(canvas, vertebra)
    for vertebra in spine.vertebrae:
        where, p = canvas.around(vertebra.center + vertebra.rotation @ (0, 26, -8), (60, 50, 42))
        outer, inner = _vertebra(in_frame(p, vertebra.center, vertebra.rotation), vertebra, spine.scale)
        canvas.paint_bone(where, outer, inner, CORTICAL_HU, spine.cancellous_hu)


def spine_labels(canvas: Canvas, spine: Spine) -> np.ndarray:
    """Which vertebra every voxel of a canvas belongs to, int16 (slices, rows, columns): 1 for the first, 0 for none."""
    labels = np.zeros(canvas.hu.shape, np.int16)
    for number, vertebra in enumerate(spine.vertebrae, start=1):
        where, p = canvas.around(vertebra.center + vertebra.rotation @ (0, 26, -8), (60, 50, 42))
        outer, _ = _vertebra(in_frame(p, vertebra.center, vertebra.rotation), vertebra, spine.scale)
        labels[where][outer <= 0] = number
    return labels


def _paint_disc(canvas: Canvas, vertebra: Vertebra) -> None:
    where, p = canvas.around(vertebra.endplate(-1), 40)
    x, y, z = in_frame(p, vertebra.endplate(-1), vertebra.rotation)
    a, b = vertebra.width / 2, vertebra.depth / 2
    level = superellipse(x / a, y / b, 2.4)
    bulge = np.maximum(level - 1, 0) * b - 0.5
    # Reaching into both bodies: their bone is painted over it, whatever the angle between the endplates.
    canvas.paint(where, np.maximum(bulge, np.abs(z + vertebra.disc / 2) - vertebra.disc / 2 - 3), DISC_HU)


def _vertebra(p: Points, v: Vertebra, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Signed distances of the outer surface and of the inner surface of the cortical bone."""
    body, body_core = _body(p, v)
    x, y, z = p
    s, b, lumbar = scale, v.depth / 2, v.name.startswith("L")
    pedicle_x = 0.36 * v.width  # pedicles stand further apart as bodies widen downwards
    facet = pedicle_x - 1.0 if lumbar else pedicle_x - 3.0
    tall = 1.0 if lumbar else 0.8
    low = v.height / 2 + v.disc  # the next body begins here

    lamina = capsule(p, (0, b + 27 * s, -7 * s), (0, b + 26 * s, 0), (4 * s, 4 * s))
    tip = b + (47 * s if lumbar else 42 * s)
    drop = -9 * s if lumbar else -14 * s
    sheared = (x - (y - b) * np.float32(v.spinous_lean / 50), y, z - (y - b - 27 * s) * np.float32((drop + 4) / 25))
    spinous = block(
        sheared, (0, (tip + b + 24 * s) / 2, -6 * s), (3.1 * s, (tip - b - 20 * s) / 2, v.spinous / 2), 2.4 * s
    )
    knob = capsule(sheared, (0, tip, -6 * s - v.spinous * 0.3), (0, tip, -6 * s + v.spinous * 0.3), (3.8 * s, 3.2 * s))
    posterior = union(lamina, union(spinous, knob))
    for side, reach, rise in zip((1, -1), v.transverse, v.transverse_rise):
        parts = [
            # pedicle
            capsule(
                p,
                (side * pedicle_x, b - 6 * s, 0.17 * v.height),
                (side * pedicle_x, b + 13 * s, 0.15 * v.height),
                (v.pedicle, v.pedicle),
                (1, 1, max(1.0, 7.2 * s / v.pedicle)),
            ),
            # pars and lamina down to the spinous process
            capsule(
                p, (side * (pedicle_x - 1), b + 17 * s, 3 * s), (side * 3, b + 26 * s, -7 * s), (3.2, 3.0), (1, 1, 2.1)
            ),
            # superior and inferior articular process
            capsule(
                p, (side * (facet + 1.5), b + 14 * s, 2), (side * (facet + 3), b + 14 * s, 0.62 * v.height), (5.5, 4.2)
            ),
            capsule(
                p,
                (side * (facet - 4), b + 19 * s, -4),
                (side * (facet - 4.5), b + 21 * s, -low + 1 - 3 * s),
                (5.2, 4.2 * tall),
            ),
            # transverse process
            capsule(
                p,
                (side * pedicle_x, b + 11 * s, 4 * s),
                (side * reach, b + 15 * s, rise),
                (5.5 if v.name == "L5" else 4.2, 3.0),
                (1, 0.75, 1.3),
            ),
        ]
        for part in parts:
            posterior = union(posterior, part)
    canal = column(p, [(0, 0, b + 8 * s, 0.27 * v.width, 8.6 * s)])
    posterior = np.maximum(posterior, -canal)
    body, body_core = np.maximum(body, -canal), np.maximum(body_core, 0.9 - canal)
    return union(body, posterior), np.minimum(body_core, posterior + np.float32(1.3))


def _body(p: Points, v: Vertebra) -> tuple[np.ndarray, np.ndarray]:
    x, y, z = p
    a, b, h = v.width / 2, v.depth / 2, v.height / 2
    level = np.maximum(superellipse(x / np.float32(a), y / np.float32(b), 2.4), np.float32(1e-3))
    waist = 1 - 0.10 * np.maximum(1 - (z / np.float32(h)) ** 2, 0)
    side = np.sqrt(x * x + y * y) * (1 - waist / level)
    sunken = np.float32(1.8) * np.maximum(1 - level * level, 0)
    end = np.abs(z) - (np.float32(h) * (1 - np.float32(v.wedge / b) * y) - sunken)
    return -union(-side, -end, 2.5), np.maximum(side + np.float32(0.9), end + np.float32(1.3))
