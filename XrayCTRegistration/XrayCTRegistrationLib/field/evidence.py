"""What an image says for and against an outline: is it as sharp, as smooth and as quiet outside as metal is?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .edges import FirstEdges
from .outlines import TOLERANCE_PX, beyond, on
from .shapes import Disc, Edge

_PROFILE_PX = np.arange(-7.0, 8.0)  # across an outline, from inside to outside
_WINDOWS = np.repeat(np.eye(5), 3, axis=0)[:, [0, 1, 3, 4]] / 3  # far and near inside, near and far outside
_ALONG_PX = 9  # over which profiles are averaged
_LEAST_STEP = 1.0  # noise levels between both sides, after averaging
_SHORTEST_PX = 6
# Most rise inside and fall outside per step, and roughness outside per roughness inside. Image intensifiers glow at
# their rim and saturate inside; hardly any anatomy and no tool is a disc of this size.
_BLADE_LIMITS, _DISC_LIMITS = (0.25, 0.12, 1.0), (0.4, 0.4, 2.0)
_MOST_ROUGH_OUTSIDE = 0.2  # of the step
_ROUGH_ANYHOW = 0.3  # noise levels: no image is smoother inside
# Most of an outline beside whose steepest place it runs, that no edge lies on, per pixel of which an edge lies in its
# shadow, and that is too faint to be seen.
_MOST_OFF, _MOST_UNSEEN, _MOST_BEYOND, _MOST_FAINT = 0.6, 0.75, 0.25, 0.5
_DOUBT = 1.5  # times the root mean square of the objections is what the length is reduced by


@dataclass(frozen=True, eq=False)
class Outline:
    """An edge of a field in an image. points: (N, 2) along it. profiles: (N, 15) grey values across it.
    on, beyond: counts of first edges. wander_px: standard deviation of the first edges on it."""

    edge: Edge
    points: np.ndarray
    profiles: np.ndarray
    on: int
    beyond: int
    wander_px: float


@dataclass(frozen=True)
class Evidence:
    """length_px: what is seen of an outline. objections: what speaks against it, each 1 where it would be too much."""

    length_px: int
    objections: tuple[float, ...]

    @property
    def worst(self) -> float:
        return max(self.objections)

    @property
    def weight_px(self) -> float:
        """The length, less for doubts; negative where they prevail."""
        return self.length_px * (1 - _DOUBT * float(np.sqrt(np.mean(np.square(self.objections)))))


NONE = Evidence(0, (float("inf"),))


def outline(edge: Edge, image: np.ndarray, first: FirstEdges) -> Outline:
    """An edge with what an image (rows, columns) of equal noise shows along it."""
    size = np.array(image.shape[::-1])
    points = edge.outline((int(size[0]), int(size[1])))
    points = points[((points >= 2) & (points <= size - 3)).all(axis=1)]
    at = points[:, None] + _PROFILE_PX[:, None] * edge.normals(points)[:, None]
    profiles = ndimage.map_coordinates(image, at.transpose(2, 0, 1)[::-1], order=1, mode="nearest")
    hit = on(edge, first)
    wander = float(edge.depth_px(first.points[hit]).std()) if hit.any() else TOLERANCE_PX
    return Outline(edge, points, profiles, int(hit.sum()), int(beyond(edge, first).sum()), wander)


def evidence(drawn: Outline, others: list[Edge]) -> Evidence:
    """What speaks for an outline where the other edges of the same field leave it in sight."""
    seen = np.ones(len(drawn.points), bool)
    for other in others:
        seen &= other.depth_px(drawn.points) > 1
    length = int(seen.sum())
    if length < _SHORTEST_PX:
        return NONE
    profiles = ndimage.uniform_filter1d(drawn.profiles[seen], _ALONG_PX, axis=0, mode="nearest")
    far_in, near_in, near_out, far_out = (profiles @ _WINDOWS).T
    steps = near_in - near_out
    clear = np.abs(steps) > _LEAST_STEP
    if not clear.any():
        return NONE
    signs = np.sign(steps[clear])
    step = _median(np.abs(steps[clear]))
    rise = _median(signs * (far_in - near_in)[clear]) / step
    fall = _median(signs * (near_out - far_out)[clear]) / step
    slopes = signs[:, None] * (profiles[clear, :-2] - profiles[clear, 2:])
    most_rise, most_fall, most_opaque = _DISC_LIMITS if isinstance(drawn.edge, Disc) else _BLADE_LIMITS
    off = np.abs(_PROFILE_PX[1:-1][slopes.argmax(axis=1)]) > TOLERANCE_PX
    rough_in, rough_out = _roughness(near_in), _roughness(near_out)
    return Evidence(
        length,
        (
            max(rise, 0.0) / most_rise,  # bodies grow thicker inwards; at metal the step is all there is
            max(fall, 0.0) / most_fall,
            rough_out / (_MOST_ROUGH_OUTSIDE * step),  # anatomy goes on outside
            rough_out / (rough_in + _ROUGH_ANYHOW) / most_opaque,  # an opaque object is smoother inside
            float(off.mean()) / _MOST_OFF,
            max(1 - drawn.on / length, 0.0) / _MOST_UNSEEN,
            drawn.beyond / length / _MOST_BEYOND,
            float(1 - clear.mean()) / _MOST_FAINT,
            drawn.wander_px,
        ),
    )


def _roughness(values: np.ndarray) -> float:
    """Median change of averaged grey values (N,) along an outline, slow changes such as scatter hardly counted."""
    if len(values) < 2 * _ALONG_PX:
        return float(values.std())
    return _median(np.abs(values[_ALONG_PX - 1 :] - values[: 1 - _ALONG_PX]))


def _median(values: np.ndarray) -> float:
    """The upper median: numpy's own takes longer than the rest of the evidence together."""
    return float(np.partition(values, len(values) // 2)[len(values) // 2])
