"""A synthetic lumbar spine CT, so that everything can be tried and tested without a patient's data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..bones.segments import Segment, labelled
from ..errors import InputError
from ..volume import Volume
from .pelvis_and_ribs import paint_pelvis, paint_ribs
from .shapes import Canvas
from .soft_tissue import AIR_HU, paint_organs, paint_trunk
from .spine import drawn_spine, paint_spine, spine_labels

_NOISE_HU = 12.0
_TEXTURE_HU = 8.0
_BONE_TEXTURE = 0.1  # share of the HU
_TEXTURE_MM = 6.0
_LEAST_BODY_HU = -500.0
_LEAST_HU = -1024.0  # as scanners clip

_COLORS = (  # of T11 to L5: light, told apart by the colour-blind, none green as the edges of the CT
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.94, 0.89, 0.26),
    (0.80, 0.47, 0.65),
    (0.25, 0.55, 1.00),
    (0.95, 0.45, 0.20),
    (0.75, 0.60, 1.00),
)

__all__ = ["spine_centers_mm", "spine_segments", "synthetic_spine"]


def synthetic_spine(
    seed: int = 0, spacing_mm: float = 1.5, size_mm: tuple[float, float, float] = (320.0, 240.0, 290.0)
) -> Volume:
    """A CT of an invented lumbar spine from T11 to the sacrum, with ribs, pelvis and soft tissue, int16 HU.

    seed: draws the anatomy (sizes, lordosis, scoliosis, organs, gas) and the noise. The same seed gives the same
        volume; with another spacing or size it gives the same anatomy at the same place.
    spacing_mm: side length of the cubic voxels.
    size_mm: extent along x (to the left), y (posterior) and z (superior), LPS, centred about the world's origin;
        what does not fit is cut off.

    The left side does not mirror the right one, so that a registration has one answer. Raises InputError for a
    spacing or size that is not positive, or a negative seed.
    """
    if not (spacing_mm > 0 and min(size_mm) >= spacing_mm):
        raise InputError(
            f"The phantom's spacing ({spacing_mm} mm) must be positive and its size {tuple(size_mm)} mm no smaller."
        )
    if seed < 0:
        raise InputError(f"The phantom's seed is {seed}. Give 0 or a positive whole number.")
    canvas = Canvas(size_mm, spacing_mm, AIR_HU)
    spine = drawn_spine(_random(seed, "spine"))
    paint_trunk(canvas, _random(seed, "trunk"))
    paint_organs(canvas, spine, _random(seed, "organs"))
    paint_ribs(canvas, spine, _random(seed, "ribs"))
    paint_spine(canvas, spine)
    paint_pelvis(canvas, spine, _random(seed, "pelvis"))
    _add_noise(canvas, seed)
    return Volume(np.rint(np.maximum(canvas.hu, _LEAST_HU), out=canvas.hu).astype(np.int16), canvas.ijk_to_world)


def spine_centers_mm(seed: int = 0) -> dict[str, np.ndarray]:
    """World points (3,) in the middle of the bodies of T11 to L5 in `synthetic_spine(seed)`, by name, top to bottom."""
    return {vertebra.name: vertebra.center for vertebra in drawn_spine(_random(seed, "spine")).vertebrae}


def spine_segments(
    seed: int = 0, spacing_mm: float = 1.5, size_mm: tuple[float, float, float] = (320.0, 240.0, 290.0)
) -> list[Segment]:
    """The vertebrae T11 to L5 of `synthetic_spine`, top to bottom, each with a colour, on the same grid, but cropped.

    A vertebra that lies outside is left out.
    """
    canvas = Canvas(size_mm, spacing_mm, AIR_HU)
    spine = drawn_spine(_random(seed, "spine"))
    names = {number: vertebra.name for number, vertebra in enumerate(spine.vertebrae, start=1)}
    segments = labelled(spine_labels(canvas, spine), canvas.ijk_to_world, names, "The phantom")
    return [replace(one, number=None, color=_COLORS[(one.number or 1) - 1]) for one in segments]


def _random(seed: int, purpose: str) -> np.random.Generator:
    """A stream of its own for each part, so that a change to one leaves the others as they were."""
    return np.random.default_rng([seed, *purpose.encode()])


def _add_noise(canvas: Canvas, seed: int) -> None:
    """A smooth texture that belongs to the anatomy, inside the body, and noise that belongs to the voxels."""
    inside = canvas.hu > _LEAST_BODY_HU
    texture = _smooth_field(canvas, _random(seed, "texture"))
    canvas.hu += inside * texture * (_TEXTURE_HU + _BONE_TEXTURE * np.maximum(canvas.hu, 0))
    noise = _random(seed, "noise").standard_normal(canvas.hu.shape, dtype=np.float32)
    canvas.hu += noise * np.float32(_NOISE_HU)


def _smooth_field(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Random values at the nodes of a coarse lattice in world, linear between them: the same at every spacing."""
    reach = 300.0
    nodes = np.arange(-reach, reach + _TEXTURE_MM, _TEXTURE_MM)
    field = rng.standard_normal((len(nodes),) * 3, dtype=np.float32)
    for axis in canvas.axes:  # contracting the last axis and putting the result first: x, y, z end as k, j, i
        at = np.clip((axis + reach) / _TEXTURE_MM, 0, len(nodes) - 1.001)
        first = at.astype(int)
        weights = (at - first).astype(np.float32)
        field = field[..., first] * (1 - weights) + field[..., first + 1] * weights
        field = np.moveaxis(field, -1, 0)
    return field
