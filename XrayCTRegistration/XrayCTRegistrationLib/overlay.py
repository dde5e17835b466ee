"""Green edges of the posed CT's DRR on the X-ray: what a person judges a registration by."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from .edge_lines import edge_lines
from .figure_layout import laid_out
from .geometry import Pose, XrayView
from .grey import GREY_PERCENTS, grey_window
from .projector import Projector, projector_steps
from .state import finished
from .volume import WATER_ATTENUATION_PER_MM, Volume, prepared_attenuation
from .xray import XrayImage

EDGE_PX = 480  # longest side that edges are sought at: fine enough for a cortex, coarse enough to be seen when shown
_BONE_GAIN = 0.5  # faint bone gets its edge beside strong gas and skin
_BONE_FROM, _BONE_TO = 1.12, 1.25  # attenuation relative to water, 120 to 250 HU
_OUTSIDE_MASK = 0.15  # brightness
_GREEN = (40.0, 235.0, 80.0)

_COARSE_PX = 96  # enough to see where a CT's shadow lies
_SHADOW_MARGIN, _LEAST_FIELD, _MOST_FIELD = 1.6, 0.25, 0.75  # sides of the field shown: of the shadow, of the X-ray

_TITLES = ("X-ray", "Start", "Result", "DRR at the result")


@dataclass(frozen=True, eq=False)
class OverlayView:
    """One X-ray to be shown: its name, its line integrals with their mask, and its geometry."""

    name: str
    image: XrayImage
    view: XrayView


def overlay_projector(ct: Volume, device: str = "cpu") -> Projector:
    """A projector for DRRs whose edges are drawn: of a CT in Hounsfield units, with bone brought out a little."""
    return finished(overlay_projector_steps(ct, device))


def overlay_projector_steps(ct: Volume, device: str = "cpu") -> Generator[object, None, Projector]:
    """As `overlay_projector`, with pauses."""
    attenuation = yield from prepared_attenuation(ct)
    return (yield from _drawing_edges(attenuation, device))


def overlay_projector_of(attenuation: Volume, device: str = "cpu") -> Projector:
    """As `overlay_projector`, of the attenuation per mm of a CT that was prepared already."""
    return finished(_drawing_edges(attenuation, device))


def _drawing_edges(attenuation: Volume, device: str) -> Generator[object, None, Projector]:
    shown = yield from attenuation.downsampled_steps((1, 1, 1), _with_bone_brought_out)
    return (yield from projector_steps(shown, device))


def _with_bone_brought_out(attenuation: np.ndarray) -> np.ndarray:
    excess = attenuation * np.float32(1 / WATER_ATTENUATION_PER_MM)
    excess -= np.float32(_BONE_FROM)
    excess *= np.float32(_BONE_GAIN / (_BONE_TO - _BONE_FROM))
    np.clip(excess, 0, _BONE_GAIN, out=excess)
    excess += 1
    return np.multiply(excess, attenuation, out=excess)


def overlay_drr(projector: Projector, view: XrayView, pose: Pose) -> np.ndarray:
    """The DRR (rows, columns) of a view at the resolution that its edges look good at; see `edge_view`."""
    return projector.images(torch.from_numpy(pose.matrix.copy())[None], edge_view(view))[0].cpu().numpy()


def edge_view(view: XrayView, longest_px: int = EDGE_PX) -> XrayView:
    """The same field with square pixels, the longest side longest_px of them."""
    size_mm = np.array(view.size_px) * view.pixel_spacing_mm
    size_px = np.maximum(1, np.round(longest_px * size_mm / size_mm.max())).astype(int)
    scale = np.array(view.size_px) / size_px
    to_fine = np.diag([*scale, 1.0, 1.0])
    to_fine[:2, 3] = (scale - 1) / 2
    return XrayView(view.source, view.pixel_to_world @ to_fine, (int(size_px[0]), int(size_px[1])), view.isocenter)


def edges(drr: np.ndarray) -> np.ndarray:
    """The pixels that the edge lines of a DRR (rows, columns) go through: bool (rows, columns); see `edge_lines`."""
    mask = np.zeros(drr.shape, bool)
    columns, rows = np.rint(edge_lines(drr).points).astype(int).T
    mask[rows, columns] = True
    return mask


def overlay_rgb(image: XrayImage, drr: np.ndarray) -> np.ndarray:
    """The X-ray in grey, bone bright, with the DRR's edges in green: uint8 (rows, columns, 3), the X-ray's size.

    drr: of the same field at any resolution. Finer than the X-ray it is reduced first; from a coarser one the lines
    come out as wide as its pixels, so that they can still be seen when a large image is shown small.
    """
    return with_edges(_rgb(grey_image(image)), drr)


def grey_image(image: XrayImage, part: tuple[slice, slice] = (slice(None), slice(None))) -> np.ndarray:
    """The X-ray (rows, columns) as uint8, windowed to what is well inside the mask, dimmed outside it.

    part: rows and columns that are wanted; the window is that of the whole.
    """
    low, high = grey_window(image)
    brightness = np.where(image.mask[part], np.float32(1), np.float32(_OUTSIDE_MASK))
    return _windowed(image.line_integrals[part], low, high, brightness)


def overlay_figure(
    projector: Projector,
    views: Sequence[OverlayView],
    start: Pose,
    result: Pose,
    drrs: Sequence[np.ndarray | None] | None = None,
    titles: Sequence[str] = _TITLES,
) -> np.ndarray:
    """Every X-ray, with the edges at the start and at the result, and the DRR there, side by side; a row per X-ray.

    projector: of `overlay_projector`. drrs: of `overlay_drr` at the result, one per X-ray, where they were drawn
    already. titles: of the four pictures. A CT of a small part of the X-ray is shown enlarged, with its surroundings.
    Returns uint8 (rows, columns, 3).
    """
    there = drrs if drrs is not None else [None] * len(views)
    rows = [_panels(projector, item, start, result, drr) for item, drr in zip(views, there)]
    return laid_out(rows, [item.name for item in views], titles)


def _panels(
    projector: Projector, item: OverlayView, start: Pose, result: Pose, whole: np.ndarray | None
) -> list[np.ndarray]:
    """The four pictures of a row, uint8 (rows, columns, 3). whole: the DRR of the whole X-ray at the result."""
    grey, view = enlarged(item, [(projector, start), (projector, result)])
    before = overlay_drr(projector, view, start)
    after = whole if whole is not None and view is item.view else overlay_drr(projector, view, result)
    drr = _windowed(after, *np.percentile(after, GREY_PERCENTS))
    return [grey, with_edges(grey, before), with_edges(grey, after), _rgb(drr)]


def enlarged(item: OverlayView, bodies: Sequence[tuple[Projector, Pose]]) -> tuple[np.ndarray, XrayView]:
    """The part of an X-ray about the shadows of bodies at their poses, uint8 (rows, columns, 3) at the resolution of
    `edge_view`, and the view of it; the whole X-ray where that is most of it."""
    from PIL import Image

    first, size_px = _field_about_shadows(item.view, bodies)
    view = item.view if size_px == item.view.size_px else item.view.cropped(first, size_px)
    part = slice(first[1], first[1] + size_px[1]), slice(first[0], first[0] + size_px[0])
    grey = grey_image(item.image, part)
    return _rgb(np.asarray(Image.fromarray(grey).resize(edge_view(view).size_px, Image.Resampling.LANCZOS))), view


def _field_about_shadows(
    view: XrayView, bodies: Sequence[tuple[Projector, Pose]]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """First pixel and size (column, row) of the part of a view about the shadows of bodies, of the view's proportions;
    the whole view where that is most of it."""
    coarse = edge_view(view, _COARSE_PX)
    shadow = np.zeros(coarse.size_px[::-1], bool)
    for projector, pose in bodies:
        shadow |= (projector.images(torch.from_numpy(pose.matrix.copy())[None], coarse)[0] > 0).cpu().numpy()
    whole = (0, 0), view.size_px
    if not shadow.any():
        return whole
    lines, columns = (np.flatnonzero(shadow.any(axis=axis)) for axis in (1, 0))
    first, last = (np.array([columns[k], lines[k]]) for k in (0, -1))
    share = max(_LEAST_FIELD, _SHADOW_MARGIN * float(((last + 1 - first) / coarse.size_px).max()))
    if share > _MOST_FIELD:
        return whole
    size = np.ceil(share * np.array(view.size_px)).astype(int)
    middle = (first + last + 1) / 2 / coarse.size_px * view.size_px
    corner = np.clip(np.round(middle - size / 2).astype(int), 0, view.size_px - size)
    return (int(corner[0]), int(corner[1])), (int(size[0]), int(size[1]))


def with_edges(rgb: np.ndarray, drr: np.ndarray, color: tuple[float, float, float] = _GREEN) -> np.ndarray:
    """A picture, uint8 (rows, columns, 3), with a DRR's edges in a colour, red, green and blue from 0 to 255."""
    shape = rgb.shape[:2]
    if max(drr.shape) > max(shape):
        drr = _resampled(drr, shape)
    alpha = edges(drr).astype(np.float32)
    if drr.shape != shape:
        alpha = np.minimum(1.5 * _enlarged(alpha, shape), 1)
    drawn, crossed = rgb.copy(), alpha > 0
    below = rgb[crossed].astype(np.float32)
    drawn[crossed] = np.rint(below + alpha[crossed][:, None] * (np.array(color, np.float32) - below))
    return drawn


def _rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def _windowed(values: np.ndarray, low: float, high: float, brightness: np.ndarray | float = 1.0) -> np.ndarray:
    shares = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return np.rint(255 * brightness * shares).astype(np.uint8)


def _resampled(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Linearly interpolated so that the outer borders of both images coincide; float32."""
    factors = np.array(shape) / array.shape
    return ndimage.zoom(array.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)


def _enlarged(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """As `_resampled`, to a finer resolution."""
    from PIL import Image

    rows, columns = shape
    return np.asarray(Image.fromarray(array).resize((columns, rows), Image.Resampling.BILINEAR))
