"""The irradiated field of an X-ray: a disc, straight blades or both, found before polarity is known.

A field is convex. So whatever lies beyond one of its edges is shadow, and what is seen first from the image's borders
is the field's outline, save where letters and markers stand in the shadow, and where anatomy at the rim is as dark as
the shadow. Discs and lines are fitted to those first edges and kept while the image speaks for them (see `evidence`);
then faint sides of a rectangle or an octagon are looked for, and the edges are refined in the full image.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .edges import Edges, FirstEdges, edges_of, equal_noise, first_edges, working_image
from .evidence import Outline, evidence, outline
from .outlines import LEAST_LENGTH, TOLERANCE_PX, beyond, blades_through, disc_through, faint_blades, on, quiet
from .refine import refined
from .shapes import Blade, Disc, Field

__all__ = ["Blade", "Disc", "Field", "irradiated_field"]

_SMALLEST_PX = 48  # images smaller than this are not looked at
_LEAST_WEIGHT = 0.5  # of the image's longer side
_LEAST_SHADOW, _LEAST_FIELD = 0.01, 0.1  # of the image
_FAINT_OBJECTION = 2.0  # at most against a side that completes a rectangle or an octagon


def irradiated_field(pixels: np.ndarray) -> Field:
    """The field in an X-ray's pixels (rows, columns), finite, of any polarity and grey scale.

    `Field()`, which is all of the image, where nothing speaks clearly for a collimator.
    """
    if min(pixels.shape) < _SMALLEST_PX:
        return Field()
    small, working = working_image(pixels)
    image = equal_noise(small)
    edges = edges_of(image)
    first = first_edges(edges)
    best, most = Field(), _LEAST_WEIGHT * max(image.shape)
    for field, weight in _fields(first, image):
        if weight > most and _plausible(field, image.shape):
            best, most = field, weight
    if not best.edges:
        return best
    best = _completed(best, edges, image, first)
    return refined(best, pixels, working)


def _fields(first: FirstEdges, image: np.ndarray) -> Iterator[tuple[Field, float]]:
    """Fields with straight edges alone, and with a disc, and the weight in pixels of what speaks for them."""
    size = max(image.shape)
    yield _convincing([outline(b, image, first) for b in blades_through(first, size) if quiet(b, first)])
    disc = disc_through(first, size)
    if disc is not None and quiet(disc, first):
        off = first.of(np.abs(disc.depth_px(first.points)) > 2 * TOLERANCE_PX)
        blades = [b for b in blades_through(off, size) if quiet(b, first)]
        edges: list[Disc | Blade] = [disc, *blades]
        yield _convincing([outline(edge, image, first) for edge in edges])


def _convincing(outlines: list[Outline]) -> tuple[Field, float]:
    """The field that is left when the outline with the worst objection goes, until none is too bad."""
    while outlines:
        drawn = [o.edge for o in outlines]
        found = [evidence(o, [edge for edge in drawn if edge is not o.edge]) for o in outlines]
        worst = max(range(len(found)), key=lambda k: found[k].worst)
        if found[worst].worst <= 1:
            return Field(tuple(drawn)), sum(e.weight_px for e in found)
        outlines = outlines[:worst] + outlines[worst + 1 :]
    return Field(), 0.0


def _plausible(field: Field, shape: tuple[int, int]) -> bool:
    share = float(field.mask(shape).mean())
    return _LEAST_FIELD <= share <= 1 - _LEAST_SHADOW


def _completed(field: Field, edges: Edges, image: np.ndarray, first: FirstEdges) -> Field:
    """The field with faint sides that fit the others."""
    least_px = LEAST_LENGTH * max(image.shape)
    for blade in faint_blades(field, edges):
        if beyond(blade, first).sum() > on(blade, first).sum():
            continue
        found = evidence(outline(blade, image, first), list(field.edges))
        if found.length_px >= least_px and found.worst <= _FAINT_OBJECTION and found.weight_px > 0:
            field = Field((*field.edges, blade))
    return field
