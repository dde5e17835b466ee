"""Situations from practice, from files to the end: what can be found is found, and what is wrong is not called high."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from XrayCTRegistrationLib.evaluation.exposures import round_field
from XrayCTRegistrationLib.geometry import Pose, rotation_from_euler, view_from_carm
from XrayCTRegistrationLib.io.radiographs import read_radiograph
from XrayCTRegistrationLib.io.volumes import read_ct, write_ct
from XrayCTRegistrationLib.metrics import bone_points, mtre_mm
from XrayCTRegistrationLib.phantom import synthetic_spine
from XrayCTRegistrationLib.registration import Settings, centered, register
from XrayCTRegistrationLib.simulation import detector_counts, line_integrals
from XrayCTRegistrationLib.volume import Volume
from XrayCTRegistrationLib.xray import Polarity

PIXELS = 128
CARM = {
    "source_to_detector_mm": 1000,
    "source_to_isocenter_mm": 700,
    "pixel_spacing_mm": [2.4, 2.4],
    "image_size_px": [PIXELS, PIXELS],
    "view": "PA",
}
RIGHT_MM = 2.0  # pixels of 1.7 mm at the spine, and depth, which a single view is least sure of


@dataclass(frozen=True, eq=False)
class Body:
    """A CT, and where it stands before a C-arm. counts: of the frontal X-ray, bone dark."""

    ct: Volume
    true: Pose
    counts: np.ndarray

    def counts_of(self, carm: dict) -> np.ndarray:
        integrals = line_integrals(self.ct, view_from_carm(carm), self.true, 1.5)
        return detector_counts(integrals, 20_000.0, np.random.default_rng(1))


@pytest.fixture(scope="module")
def body() -> Body:
    ct = synthetic_spine(0, spacing_mm=3.0)
    view = view_from_carm(CARM)
    start = centered(ct, [view])
    turn = view.axes @ rotation_from_euler(np.radians([8.0, -6, 5])) @ view.axes.T
    true = Pose.about(start.apply(ct.center), turn, view.axes @ [12.0, -9, 20]) @ start
    body = Body(ct, true, np.zeros(0))
    return Body(ct, true, body.counts_of(CARM))


@dataclass(frozen=True, eq=False)
class Given:
    """What somebody gives to the registration: a CT, X-rays with what they believe of their geometry, and where they
    saw the CT stand."""

    ct: Volume
    pixels: tuple[np.ndarray, ...]
    carms: tuple[dict, ...] = (CARM,)
    start: Pose | None = None


def shown(counts: np.ndarray, field: np.ndarray | None = None) -> np.ndarray:
    """As a screen shows it: 8 bits, bone bright, black outside the field."""
    integrals = -np.log(np.maximum(counts, 1))
    low, high = np.percentile(integrals if field is None else integrals[field], (0.5, 99.5))
    grey = np.round(255 * np.clip((integrals - low) / (high - low), 0, 1))
    return grey if field is None else np.where(field, grey, 0)


def blades(shape: tuple[int, int]) -> np.ndarray:
    field = np.zeros(shape, bool)
    field[9:-14, 12:-8] = True
    return field


def with_markers(pixels: np.ndarray) -> np.ndarray:
    """A row of one bright value at the top, as systems write."""
    return np.concatenate([np.full_like(pixels[:1], pixels.max()), pixels[1:]])


def near(body: Body) -> Pose:
    return body.true.moved(np.array([0.03, -0.02, 0.04, 4.0, -3.0, 5.0]), body.true.apply(body.ct.center))


def cylinder_of(body: Body, radius_mm: float, outside: float) -> Volume:
    """The CT as a C-arm with a small field reconstructs it: a cylinder about the spine, something else around it."""
    slices, rows, columns = np.indices(body.ct.array.shape)
    x, y, z = np.moveaxis(body.ct.points(np.stack([columns, rows, slices], axis=-1)), -1, 0)
    inside = (np.hypot(x, y - 10) < radius_mm) & (np.abs(z) < radius_mm)
    return Volume(np.where(inside, body.ct.array, outside).astype(np.int16), body.ct.ijk_to_world)


def long_ct(body: Body) -> Volume:
    """A whole body of 1 m: what the X-ray shows lies 360 mm from the middle of it."""
    array = np.full((340, *body.ct.array.shape[1:]), -1000, np.int16)
    array[:97] = body.ct.array
    for first in (97, 194):  # more of such a body, but without its bones
        array[first : first + 97] = np.minimum(body.ct.array, 60)
    return Volume(array, body.ct.ijk_to_world)


FIELD = round_field((PIXELS, PIXELS), 0.25)
RIGHT: dict[str, Callable[[Body], Given]] = {
    "counts, a round field, nothing outside": lambda b: Given(b.ct, (np.where(FIELD, b.counts, 0),)),
    "a screen's grey, a round field, black outside": lambda b: Given(b.ct, (shown(b.counts, FIELD),)),
    "counts, four blades, nothing outside": lambda b: Given(b.ct, (np.where(blades(b.counts.shape), b.counts, 0),)),
    "counts, a round field, a row of markers": lambda b: Given(b.ct, (with_markers(np.where(FIELD, b.counts, 0)),)),
    "counts, four blades, a little behind them": lambda b: Given(
        b.ct, (np.where(blades(b.counts.shape), b.counts, np.random.default_rng(2).poisson(80.0, b.counts.shape)),)
    ),
    "a whole body, centred elsewhere, from a start": lambda b: Given(long_ct(b), (b.counts,), start=near(b)),
    "a windowed picture, both ends clipped": lambda b: Given(b.ct, (shown(b.counts),)),
    "float counts after a dark current, some negative": lambda b: Given(
        b.ct, (((b.counts - 0.02 * b.counts.max()) / b.counts.max()).astype(np.float32),)
    ),
    "padding of -3024 around a round scan": lambda b: Given(cylinder_of(b, 200, -3024), (b.counts,)),
}
NOT_HIGH: dict[str, Callable[[Body], Given]] = {
    "AP called PA": lambda b: Given(b.ct, (b.counts_of({**CARM, "view": "AP"}),)),
    "pixel spacing at the patient": lambda b: Given(b.ct, (b.counts,), ({**CARM, "pixel_spacing_mm": [1.68, 1.68]},)),
    "two views whose geometries are swapped": lambda b: Given(
        b.ct, (b.counts, b.counts_of({**CARM, "view": "LAT"})), ({**CARM, "view": "LAT"}, CARM)
    ),
    "a CT of which the voxel size is forgotten": lambda b: Given(Volume(b.ct.array, np.eye(4)), (b.counts,)),
    "0 for air": lambda b: Given(Volume(np.where(b.ct.array < -500, 0, b.ct.array), b.ct.ijk_to_world), (b.counts,)),
    "a whole body, centred elsewhere": lambda b: Given(long_ct(b), (b.counts,)),
    "a cylinder cut out of the body": lambda b: Given(cylinder_of(b, 60, -1000), (b.counts,)),
    "a cylinder, water around it": lambda b: Given(cylinder_of(b, 60, 0), (b.counts,)),
}


def outcome(given: Given, folder: Path, body: Body, settings: Settings | None = None) -> tuple[float, str]:
    """The error in mm and the confidence's level of what a person would do: write the files, read them, register."""
    write_ct(folder / "ct.nii.gz", given.ct)
    radiographs, views = [], []
    for number, (pixels, carm) in enumerate(zip(given.pixels, given.carms)):
        path = folder / f"xray{number}.{'tif' if pixels.dtype.kind == 'f' and pixels.min() < 0 else 'mha'}"
        sitk.WriteImage(sitk.GetImageFromArray(pixels.astype(np.float32)), str(path))
        radiographs.append(read_radiograph(path))
        views.append(view_from_carm(carm))
    result = register(read_ct(folder / "ct.nii.gz"), radiographs, views, given.start, settings)
    return mtre_mm(bone_points(body.ct), result.pose, body.true), result.confidence.level


@pytest.mark.parametrize("name", RIGHT)
def test_what_can_be_found_is_found(name, body, tmp_path):
    error_mm, level = outcome(RIGHT[name](body), tmp_path, body)
    assert error_mm < RIGHT_MM
    assert level != "low"


@pytest.mark.parametrize("name", NOT_HIGH)
def test_what_cannot_be_right_is_not_called_high(name, body, tmp_path):
    known = Settings(polarity=Polarity.DARK)  # the search need not try both, which takes twice as long
    error_mm, level = outcome(NOT_HIGH[name](body), tmp_path, body, known)
    assert level != "high" or error_mm < RIGHT_MM
