"""The edges of a field to a fraction of a pixel, and the width of its penumbra."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .edges import Working
from .shapes import Edge, Field

_REACH = 4  # working pixels on either side in which an edge is looked for
_ALONG = 5  # profiles that are averaged
_AGREED, _AGREED_PX = 2.5, 0.1  # times the median distance, and a little: points as near count for an edge
_MOST_WANDER = 1.0  # working pixels between the steepest places and the edge through them, in the median
_PENUMBRA = 0.8  # of step / steepest slope: two standard deviations of a penumbra blurred by a Gaussian
_WIDEST_SHARE = 0.02  # of the image's longer side


def refined(field: Field, pixels: np.ndarray, working: Working) -> Field:
    """A field found in the working image, in the X-ray's own pixels (rows, columns), with its penumbra's width.

    Where an edge cannot be told more exactly it stays as it was.
    """
    edges = [edge.scaled(working.factor, working.shift_px) for edge in field.edges]
    widths: list[float] = []
    for k, edge in enumerate(edges):
        others = Field(tuple(edges[:k] + edges[k + 1 :]))
        edges[k], width = _refined_edge(edge, others, pixels, working)
        widths += [width] if np.isfinite(width) else []
    rim = float(np.median(widths)) if widths else working.factor
    return Field(tuple(edges), float(np.clip(rim, 1.0, max(_WIDEST_SHARE * max(pixels.shape), 1.0))))


def _refined_edge(edge: Edge, others: Field, pixels: np.ndarray, working: Working) -> tuple[Edge, float]:
    """The edge through the steepest places across it, and its penumbra in pixels, NaN where it is not clear."""
    size = np.array(pixels.shape[::-1])
    points = edge.outline((int(size[0]), int(size[1])))[:: working.factor]
    inside = ((points >= working.trim_px) & (points < size - working.trim_px)).all(axis=1)
    points = points[inside & (others.depth_px(points) > working.factor)]
    if len(points) < 2 * _ALONG:
        return edge, float("nan")
    reach = _REACH * working.factor + 1
    offsets, normals = np.arange(-reach, reach + 1.0), edge.normals(points)
    at = points[:, None] + offsets[:, None] * normals[:, None]
    profiles = ndimage.map_coordinates(pixels, at.transpose(2, 0, 1)[::-1], order=1, mode="nearest")
    profiles = ndimage.uniform_filter1d(profiles, _ALONG, axis=0, mode="nearest")
    slopes = np.abs(ndimage.gaussian_filter1d(profiles, max(0.5, working.factor / 4), axis=1, order=1, mode="nearest"))
    peak = slopes[:, 1:-1].argmax(axis=1) + 1
    each = np.arange(len(points))
    before, top, after = (slopes[each, peak + step] for step in (-1, 0, 1))
    bend = before - 2 * top + after
    part = np.where(bend < 0, (before - after) / np.where(bend < 0, 2 * bend, 1.0), 0.0)
    found = points + (offsets[peak] + part)[:, None] * normals
    fitted, agreed = _robustly_fitted(edge, found)
    if np.median(np.abs(fitted.depth_px(found))) > _MOST_WANDER * working.factor:
        return edge, float("nan")
    steps = np.abs(profiles[:, : working.factor].mean(axis=1) - profiles[:, -working.factor :].mean(axis=1))
    return fitted, _PENUMBRA * float(np.median(steps[agreed] / np.maximum(top[agreed], 1e-12)))


def _robustly_fitted(edge: Edge, points: np.ndarray) -> tuple[Edge, np.ndarray]:
    """The edge through points (N, 2) of which some lie elsewhere, and which (N,) it goes through."""
    agreed = np.ones(len(points), bool)
    for _ in range(4):
        distance = np.abs(edge.depth_px(points))
        agreed = distance <= _AGREED * float(np.median(distance)) + _AGREED_PX
        edge = edge.fitted(points[agreed])
    return edge, agreed
