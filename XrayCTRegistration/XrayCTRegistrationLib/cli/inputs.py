"""The files of a registration, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..geometry import XrayView
from ..io.autoscoper import read_trial, read_trial_volume
from ..io.carm_files import read_carm, read_view
from ..io.radiographs import read_radiograph
from ..io.stored_voxels import StoredVoxels, stored_voxels
from ..io.volumes import read_ct, read_image
from ..volume import Volume
from ..xray import Radiograph
from .console import waiting
from .loading import loading_meanwhile

NO_MASK = "none"


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is registered, and the names it was given by. One radiograph, view and mask per X-ray, in this order.

    ct_voxels: where the CT's voxels lie in its file, if a scene can take them from there.
    """

    ct: Volume
    radiographs: tuple[Radiograph, ...]
    views: tuple[XrayView, ...]
    masks: tuple[np.ndarray | None, ...]
    ct_name: str
    xray_names: tuple[str, ...]
    geometry_names: tuple[str, ...]
    mask_names: tuple[str | None, ...]
    ct_voxels: StoredVoxels | None = None


def read_inputs(ct: Path, xrays: Sequence[str], geometries: Sequence[Path], masks: Sequence[str]) -> Inputs:
    """Read everything, the small files first; InputError names the file that cannot be used.

    masks: one per X-ray, "none" for an X-ray without; or empty.
    """
    _check_count("geometry", "--geometry", [str(path) for path in geometries], xrays)
    if masks:
        _check_count("mask", "--mask", masks, xrays)
    mask_names = [None if name == NO_MASK else name for name in masks] or [None] * len(xrays)
    for path in geometries:
        read_carm(path)  # what is wrong with one of them is said before the images are read
    radiographs, views, read = _read_images(xrays, geometries, mask_names)
    with waiting(f"Reading {ct.name}"), loading_meanwhile():
        volume = read_ct(ct)
    names = tuple(str(path) for path in geometries)
    voxels = stored_voxels(ct, volume.array.shape)
    return Inputs(volume, radiographs, views, read, str(ct), tuple(xrays), names, tuple(mask_names), voxels)


def read_trial_inputs(path: Path, bone: str | None, frame: int, masks: Sequence[str]) -> Inputs:
    """As `read_inputs`, of a bone of an Autoscoper trial in one frame, counted from 1."""
    trial = read_trial(path)
    volume = trial.volume(bone)
    xrays = [str(one) for one in trial.frame(frame)]
    if masks:
        _check_count("mask", "--mask", masks, xrays)
    mask_names = [None if name == NO_MASK else name for name in masks] or [None] * len(xrays)
    radiographs, views, read = _read_images(xrays, trial.calibrations, mask_names)
    with waiting(f"Reading {volume.path.name}"):
        ct = read_trial_volume(volume)
    names = tuple(str(one) for one in trial.calibrations)
    return Inputs(ct, radiographs, views, read, str(volume.path), tuple(xrays), names, tuple(mask_names))


def _read_images(
    xrays: Sequence[str], geometries: Sequence[Path], mask_names: Sequence[str | None]
) -> tuple[tuple[Radiograph, ...], tuple[XrayView, ...], tuple[np.ndarray | None, ...]]:
    """X-rays, and the view and mask of each."""
    radiographs = tuple(read_radiograph(path) for path in xrays)
    views = tuple(read_view(path, radiograph) for path, radiograph in zip(geometries, radiographs))
    masks = (None if name is None else read_mask(Path(name), one) for name, one in zip(mask_names, radiographs))
    return radiographs, views, tuple(masks)


def read_mask(path: Path, radiograph: Radiograph) -> np.ndarray:
    """A mask (rows, columns), True where its image is not zero; InputError unless it fits the X-ray."""
    remedy = f"Give a grey image of the size of {radiograph.where}, nonzero where the X-ray may be used."
    image = read_image(path, remedy)
    columns, rows = image.GetSize()[:2]
    if (rows, columns) != radiograph.pixels.shape or image.GetNumberOfPixels() != rows * columns:
        size = " x ".join(str(length) for length in image.GetSize())
        raise InputError(f"{path.name}: the mask's size is {size} pixels. {remedy}")
    channels = sitk.GetArrayViewFromImage(image).reshape(rows, columns, -1)
    mask = np.asarray(channels[..., :3].any(axis=-1))  # a fourth is opacity
    if not mask.any():
        raise InputError(f"{path.name}: the mask is zero everywhere, so nothing of the X-ray is left. {remedy}")
    return mask


def _check_count(what: str, option: str, given: Sequence[str], xrays: Sequence[str]) -> None:
    if len(given) != len(xrays):
        raise InputError(
            f"{len(xrays)} X-ray(s) were given ({', '.join(xrays)}) but {len(given)} {what} file(s) "
            f"({', '.join(given) or 'none'}). Give {option} once per X-ray, in the same order."
        )
