"""X-rays coarsened to one resolution, and cropped to where the CT can be."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import torch

from .block_means import weighted_block_means
from .errors import InputError
from .geometry import Pose, XrayView
from .similarity import FixedImage
from .volume import Volume
from .xray import XrayImage

# Radius of the windows of local normalisation, the larger of both: the grain of noise and of resampling is a matter of
# pixels, what a bone's edge stands out against one of millimetres.
_WINDOW_PX, _WINDOW_MM = 8, 12.0


def fixed_image_steps(
    image: XrayImage,
    view: XrayView,
    placed: Sequence[tuple[Volume, Pose]],
    center: np.ndarray,
    pixel_mm: float,
    margin_mm: float,
    device: torch.device,
) -> Generator[None, None, FixedImage]:
    """An X-ray with pixels of about pixel_mm, and margin_mm kept around the footprints of volumes at poses, with
    pauses.

    center: (3,) where both lengths are meant, the CT's isocentre under its pose.
    """
    native = view.millimetres_per_pixel_at(center)
    columns, rows = (max(1, round(pixel_mm / size)) for size in native)
    coarse = view.downsampled(columns, rows)
    (c0, r0), last = _footprints(placed, coarse, margin_mm / (native * (columns, rows)))
    c1, r1 = last + 1
    part = (slice(r0 * rows, r1 * rows), slice(c0 * columns, c1 * columns))
    means, share = yield from weighted_block_means(image.line_integrals[part], image.mask[part], rows, columns)
    if share.sum() < 1:
        raise InputError("The mask leaves nothing of the X-ray where the CT is. Widen or drop the mask.")
    expected_first, expected_last = _footprints(placed, coarse)
    (e0, f0), (e1, f1) = expected_first - (c0, r0), expected_last + 1 - (c0, r0)
    window_px = max(_WINDOW_PX, round(_WINDOW_MM / float(max(native * (columns, rows)))))
    return FixedImage(
        coarse.cropped((int(c0), int(r0)), (int(c1 - c0), int(r1 - r0))),
        torch.from_numpy(means).to(device),
        torch.from_numpy(share).to(device),
        window_px,
        float(share[f0:f1, e0:e1].sum()),
    )


def footprint(
    volume: Volume, pose: Pose, view: XrayView, margin_px: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel (column, row) of the part of a view that the posed volume can shadow, with a margin.

    Raises InputError when there is none.
    """
    edge = np.array(view.size_px) - 1
    pixels, depths = view.project_points(pose.apply(volume.corners()))
    if (depths <= 0).all():
        raise InputError(
            "The CT lies behind the X-ray source. Check the initial pose, and the sign of a calibrated world_to_pixel "
            "(points before the source must have positive depth)."
        )
    if (depths <= 0).any():
        return np.zeros(2, int), edge
    first = np.maximum(np.floor(pixels.min(axis=0) - margin_px), 0).astype(int)
    last = np.minimum(np.ceil(pixels.max(axis=0) + margin_px), edge).astype(int)
    if (first > last).any():
        raise InputError(
            "The CT lies wholly outside the X-ray view. Check the geometry's isocentre and the initial pose, "
            "or start from the centre."
        )
    return first, last


def _footprints(
    placed: Sequence[tuple[Volume, Pose]], view: XrayView, margin_px: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """As `footprint`, of all volumes at their poses together."""
    firsts, lasts = zip(*(footprint(volume, pose, view, margin_px) for volume, pose in placed))
    return np.min(firsts, axis=0), np.max(lasts, axis=0)
