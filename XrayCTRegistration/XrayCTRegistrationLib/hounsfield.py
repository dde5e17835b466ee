"""Whether numbers are Hounsfield units, and what is wrong with them where they are not."""

from __future__ import annotations

import logging

import numpy as np

from .errors import InputError

AIR_HU = -1000.0
BODY_HU = -500.0  # everything denser is patient or table; a CT's air lies below
_BONE_HU = 200.0
_LEAST_SPAN_HU = 100.0  # from fat to muscle: what spans less holds no anatomy in Hounsfield units
_LOOKED_AT = 200_000  # voxels that are enough to know how values are distributed
_RAW_WATER = (850.0, 1200.0)  # stored values of soft tissue where the intercept, -1024 or -1000, was left out
_RAW_DENSE = 400.0  # more than the stored values of lung
_RAW_BIN = 50.0
_RAW_SHARE = 0.05  # of the voxels, at least: compact bone alone is less
_ZERO_SHARE = 0.1  # of the voxels that are exactly 0: in patients there are about 1 %

log = logging.getLogger(__name__)


def fill_missing(array: np.ndarray, where: str) -> None:
    """Set voxels without a value (NaN) to air, in place, and say so in the log. array: (slices, rows, columns)."""
    if array.dtype.kind != "f":
        return
    count = 0
    for plane in array:
        missing = np.isnan(plane)
        count += np.count_nonzero(missing)
        plane[missing] = AIR_HU
    if count:
        log.warning("%s: %s of the CT hold no value (NaN). They are taken as air.", where, _counted(count, array.size))


def check_range(low: float, high: float, where: str = "The CT") -> None:
    """Raise InputError unless a CT's least and largest value can be Hounsfield units: finite, and more than one."""
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(
            f"{where}: the CT holds values that are not finite (NaN or infinite). Set them to {AIR_HU:g} (air), or "
            "export it again."
        )
    if low == high:
        raise InputError(f"{where}: every voxel of the CT is {low:g}, so there is nothing to register.")
    dense = low >= 0 and high < _BONE_HU  # neither fat nor bone
    if high <= BODY_HU or dense or (low > BODY_HU and high - low < _LEAST_SPAN_HU):
        raise InputError(
            f"{where}: values from {low:g} to {high:g} are not Hounsfield units (air -1000, water 0, bone above 200). "
            "Load the CT with its rescale slope and intercept; a label map, a normalised image or attenuation per mm "
            "does not do."
        )


def check_values(array: np.ndarray, where: str = "The CT") -> None:
    """As `check_range`, of an array (slices, rows, columns), and by how its values are distributed."""
    check_values_within(array, float(array.min()), float(array.max()), where)


def check_values_within(array: np.ndarray, low: float, high: float, where: str = "The CT") -> None:
    """As `check_values`, where the least and the largest value are known already."""
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int(sum(np.count_nonzero(~np.isfinite(plane)) for plane in array))
        raise InputError(
            f"{where}: {_counted(count, array.size)} of the CT are not finite (NaN or infinite). Set them to "
            f"{AIR_HU:g} (air), or export it again."
        )
    check_range(low, high, where)
    if low == 0 and all(((plane == low) | (plane == high)).all() for plane in array):
        raise InputError(
            f"{where}: all voxels are {low:g} or {high:g}, as in a label map. Give the CT that it belongs to."
        )
    if low < 0:
        return
    some = _sample(array)
    least, most = _RAW_WATER
    tissue = _commonest(some[some > _RAW_DENSE])
    if least <= tissue <= most and np.mean((some > least) & (some < most)) > _RAW_SHARE:
        raise InputError(
            f"{where}: values from {low:g} to {high:g}, most tissue near {tissue:g}, are stored "
            "values without the rescale intercept, not Hounsfield units (air -1000, water 0). Subtract 1024, or "
            "convert the CT again from DICOM with its rescale slope and intercept."
        )


def tell_of_no_air(array: np.ndarray, where: str) -> None:
    """Say in the log where a CT (slices, rows, columns) in Hounsfield units holds no air, and what that may mean."""
    low = float(array.min())
    if low <= BODY_HU:
        return
    zeros = float(np.mean(_sample(array) == 0))
    if zeros > _ZERO_SHARE:
        log.warning(
            "%s: the CT holds no air (its least value is %g) and %.0f %% of it is exactly 0, which is water: as if the "
            "patient stood in a block of it. If 0 means outside or left out, set these voxels to %g.",
            where,
            low,
            100 * zeros,
            AIR_HU,
        )
    else:
        log.warning(
            "%s: the CT holds no air: its least value is %g. If it was not cut out of the inside of a body, its values "
            "are not Hounsfield units, and the result is not to be trusted.",
            where,
            low,
        )


def _sample(array: np.ndarray) -> np.ndarray:
    """Some of the values, evenly spread over the array."""
    every = max(1, round((array.size / _LOOKED_AT) ** (1 / 3)))
    return np.asarray(array[::every, ::every, ::every], dtype=np.float32).ravel()


def _commonest(values: np.ndarray) -> float:
    """The middle of the bin with most values; 0 where there are none."""
    if not len(values):
        return 0.0
    bins, counts = np.unique(np.floor(values / _RAW_BIN), return_counts=True)
    return float((bins[np.argmax(counts)] + 0.5) * _RAW_BIN)


def _counted(count: int, of: int) -> str:
    return f"{count} voxel{'s' if count > 1 else ''} ({100 * count / of:.2g} %)"
