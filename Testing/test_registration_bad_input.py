"""Input that cannot be registered is named with a remedy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from registration_case import (
    GRADIENT,
    MODERATE,
    away,
    carm_view,
    small_spine,
    xray,
)
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.geometry import Pose, XrayView
from XrayCTRegistrationLib.registration import Settings, centered, register
from XrayCTRegistrationLib.volume import Volume
from XrayCTRegistrationLib.xray import Radiograph


@pytest.fixture(scope="module")
def ct() -> Volume:
    return small_spine()


@pytest.fixture(scope="module")
def view() -> XrayView:
    return carm_view()


@pytest.fixture(scope="module")
def radiograph(ct, view) -> Radiograph:
    return xray(ct, view, away(centered(ct, [view]), ct, view, MODERATE))


def shifted(pose: Pose, shift_mm: np.ndarray) -> Pose:
    return Pose.from_parts(np.eye(3), shift_mm) @ pose


BAD_INPUT = {
    "no X-ray": (dict(radiographs=[], views=[]), ["no X-ray", "at least one"]),
    "two geometries for one X-ray": (dict(views=2), ["1 X-rays", "2 geometries"]),
    "two masks for one X-ray": (dict(masks=[None, None]), ["2 masks"]),
    "the size contradicts the geometry": (dict(pixels=(64, 50)), ["xray.png", "50 x 64", "64 x 64"]),
    "a mask of another size": (dict(masks=[np.ones((3, 3))]), ["xray.png", "mask", "3"]),
    "an empty mask": (dict(masks=[np.zeros((64, 64))]), ["xray.png", "mask", "Widen"]),
    "the CT outside the view": (dict(across=600.0), ["xray.png", "outside", "isocentre"]),
    "the CT behind the source": (dict(along=-1500.0), ["xray.png", "behind", "initial pose"]),
    "an unknown method": (dict(settings=Settings(method="magic")), ["'magic'", "auto", "gradient", "cmaes"]),
    "an X-ray of one grey": (dict(pixels=(64, 64)), ["xray.png", "every pixel"]),
    "an X-ray with NaN": (dict(nan=True), ["xray.png", "not finite"]),
    "a CT of one value": (dict(ct=lambda ct: replace(ct, array=np.zeros_like(ct.array))), ["every voxel"]),
    "a CT with NaN": (dict(ct=lambda ct: replace(ct, array=np.full(ct.array.shape, np.nan))), ["CT", "not finite"]),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_named_with_a_remedy(ct, view, radiograph, name) -> None:
    change, words = BAD_INPUT[name]
    start = centered(ct, [view])
    shift = view.axes @ np.array([change.get("across", 0.0), 0.0, change.get("along", 0.0)])
    pixels = np.full(change["pixels"], 7.0, np.float32) if "pixels" in change else radiograph.pixels.copy()
    if "nan" in change:
        pixels[3, 4] = np.nan
    with pytest.raises(InputError) as caught:
        register(
            change.get("ct", lambda same: same)(ct),
            change.get("radiographs", [replace(radiograph, pixels=pixels)]),
            [view] * change["views"] if isinstance(change.get("views"), int) else change.get("views", [view]),
            shifted(start, shift),
            change.get("settings", GRADIENT),
            change.get("masks"),
        )
    for word in words:
        assert word in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_a_gpu_that_is_not_there_is_named_with_a_remedy(ct, view, radiograph) -> None:
    with pytest.raises(InputError, match=r"cuda.*Choose the device cpu"):
        register(ct, [radiograph], [view], settings=Settings(device="cuda"))
