"""Where an X-ray has edges, whatever its grey scale, and which of them are seen first from the image's borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_WORKING_PX = 160  # the longer side in which outlines are looked for
_TRIM_SHARE = 0.008  # of the shorter side, at each border, that is not looked at: rows and columns of markers
_LEVELS = 32  # grey levels at which the noise is estimated
_LEAST_NOISE, _LEAST_NOISE_SHARE = 0.1, 1e-4  # at any level: of the median over levels, and of the image's range
_SIGMA_PX = 1.5  # of the edge filter
_LEAST_GRADIENT = 0.7  # noise levels per pixel: eight standard deviations of white noise behind the filter
_BESIDE_PX = 5  # an edge stands out from the gradient this far beside it, as ramps do not


@dataclass(frozen=True)
class Working:
    """How the working image stands in the X-ray: every factor-th pixel is a mean of factor x factor, trim_px off."""

    factor: int
    trim_px: int

    @property
    def shift_px(self) -> float:
        """Where the centre of working pixel 0 lies in the X-ray."""
        return self.trim_px + (self.factor - 1) / 2


@dataclass(frozen=True, eq=False)
class Edges:
    """points: (N, 2) as (column, row). directions: (N, 2) unit gradients. seen: (rows, columns) bool, N of them.
    slopes: (2, rows, columns) the gradient along columns and rows, bounded to 1, without a threshold."""

    points: np.ndarray
    directions: np.ndarray
    seen: np.ndarray
    slopes: np.ndarray


@dataclass(frozen=True, eq=False)
class FirstEdges:
    """What rays from the borders along rows and columns meet first: points (N, 2), and unit normals (N, 2) towards
    the border they were seen from."""

    points: np.ndarray
    outward: np.ndarray

    def of(self, which: np.ndarray) -> FirstEdges:
        """Those of a boolean selection (N,)."""
        return FirstEdges(self.points[which], self.outward[which])


def working_image(pixels: np.ndarray) -> tuple[np.ndarray, Working]:
    """The X-ray (rows, columns) small enough to be quick, without its outermost rows and columns."""
    trim = max(2, round(_TRIM_SHARE * min(pixels.shape)))
    inner = pixels[trim:-trim, trim:-trim]
    factor = max(1, round(max(inner.shape) / _WORKING_PX + 0.49))
    rows, columns = (side // factor for side in inner.shape)
    blocks = inner[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    # A mean over two axes at once walks through memory in small steps; this is six times as fast.
    return blocks.mean(axis=3, dtype=np.float32).mean(axis=1), Working(factor, trim)


def equal_noise(image: np.ndarray) -> np.ndarray:
    """The image on a grey scale in which neighbouring pixels differ by about 1 at every level.

    The noise of counts grows with them, the noise of their logarithm falls, and display curves and inversion change
    either. On this scale they are alike up to the sign, and an edge is as strong as it is visible.
    """
    smooth = ndimage.uniform_filter(image, 3, mode="nearest")
    order = np.argsort(smooth, axis=None)
    order = order[: len(order) // _LEVELS * _LEVELS].reshape(_LEVELS, -1)
    levels = smooth.ravel()[order].mean(axis=1)
    noise = np.abs(image - smooth).ravel()[order]
    noise = 1.5 * np.partition(noise, noise.shape[1] // 2, axis=1)[:, noise.shape[1] // 2]
    noise = np.maximum(noise, max(_LEAST_NOISE * float(np.median(noise)), _LEAST_NOISE_SHARE * float(np.ptp(image))))
    scale = np.union1d(np.linspace(image.min(), image.max(), 1024), levels)
    per_grey = 1 / np.interp(scale, levels, noise)
    stretched = np.concatenate([[0.0], np.cumsum((per_grey[1:] + per_grey[:-1]) / 2 * np.diff(scale))])
    return np.interp(image, scale, stretched).astype(np.float32)


def edges_of(image: np.ndarray) -> Edges:
    """Edges of an image (rows, columns) with equal noise: crests of the gradient that stand out on both sides."""
    along = ndimage.gaussian_filter(image, _SIGMA_PX, order=(0, 1), mode="nearest")
    down = ndimage.gaussian_filter(image, _SIGMA_PX, order=(1, 0), mode="nearest")
    size = np.hypot(along, down)
    far = _BESIDE_PX
    padded = np.pad(size, far)

    def beside(rows: int, columns: int) -> np.ndarray:
        return padded[far + rows :, far + columns :][: size.shape[0], : size.shape[1]]

    outstanding = size - _LEAST_GRADIENT
    across = (size >= beside(0, -1)) & (size > beside(0, 1))
    across &= (outstanding > beside(0, -far)) & (outstanding > beside(0, far))
    upright = (size >= beside(-1, 0)) & (size > beside(1, 0))
    upright &= (outstanding > beside(-far, 0)) & (outstanding > beside(far, 0))
    seen = np.where(np.abs(along) >= np.abs(down), across, upright)
    seen[:2] = seen[-2:] = seen[:, :2] = seen[:, -2:] = False
    gradient = np.stack([along, down])
    rows, columns = np.nonzero(seen)
    directions = (gradient[:, seen] / size[seen]).T
    return Edges(np.stack([columns, rows], axis=1), directions, seen, gradient / (size + 2 * _LEAST_GRADIENT))


def first_edges(edges: Edges) -> FirstEdges:
    """The edges that rays from the four borders meet first. One that two opposite rays meet counts for both."""
    seen = edges.seen
    index = np.cumsum(seen).reshape(seen.shape) - 1
    rows, columns = np.nonzero(seen.any(axis=1))[0], np.nonzero(seen.any(axis=0))[0]
    met = [
        index[rows, seen.argmax(axis=1)[rows]],
        index[rows, seen.shape[1] - 1 - seen[:, ::-1].argmax(axis=1)[rows]],
        index[seen.argmax(axis=0)[columns], columns],
        index[seen.shape[0] - 1 - seen[::-1].argmax(axis=0)[columns], columns],
    ]
    back = np.repeat([[-1, 0], [1, 0], [0, -1], [0, 1]], [len(part) for part in met], axis=0)
    which = np.concatenate(met)
    turned = (edges.directions[which] * back).sum(axis=1) < 0
    which, turned = np.divmod(np.unique(2 * which + turned), 2)
    return FirstEdges(edges.points[which].astype(np.float64), edges.directions[which] * (1 - 2 * turned)[:, None])
