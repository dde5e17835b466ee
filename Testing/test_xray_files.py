"""X-ray files as people have them: pixels that hold no value, and PNG files of grey with opacity."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from XrayCTRegistrationLib.cli.inputs import read_mask
from XrayCTRegistrationLib.errors import InputError
from XrayCTRegistrationLib.io.radiographs import read_frames, read_radiograph
from XrayCTRegistrationLib.xray import Polarity, xray_image

COUNTS = np.random.default_rng(0).integers(5000, 6000, (60, 80)).astype(np.float32)


def written(path: Path, array: np.ndarray) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


def with_gap() -> tuple[np.ndarray, np.ndarray]:
    """Counts with a gap of NaN, and where it is."""
    gap = np.zeros(COUNTS.shape, bool)
    gap[20:30, 40:55] = True
    return np.where(gap, np.float32(np.nan), COUNTS), gap


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".tif"])
def test_pixels_without_a_value_are_masked_and_told(tmp_path, ending, caplog):
    pixels, gap = with_gap()
    radiograph = read_radiograph(written(tmp_path / f"x{ending}", pixels))
    assert any(f"{gap.sum()} pixels" in told and "masked" in told for told in caplog.messages)
    np.testing.assert_array_equal(radiograph.pixels[~gap], COUNTS[~gap])
    np.testing.assert_array_equal(radiograph.stored, pixels)
    assert np.isfinite(radiograph.pixels).all()
    image = xray_image(radiograph, Polarity.DARK)
    assert not image.mask[gap].any()
    assert image.mask[~gap].mean() > 0.9  # of noise alone, some pixels may be left out as foreign
    assert np.isfinite(image.line_integrals).all()


def test_frames_of_a_run_have_their_own_gaps(tmp_path):
    pixels, gap = with_gap()
    first, second = read_frames(written(tmp_path / "run.nrrd", np.stack([COUNTS, pixels])))
    assert first.valued is None
    np.testing.assert_array_equal(second.valued, ~gap)


def write_grey_with_opacity(path: Path, grey: np.ndarray, opacity: np.ndarray, filter_kind: int) -> Path:
    """A PNG file of colour type 4, all of its rows packed by one filter: 0 none, 1 sub, 2 up (PNG specification, 9)."""
    size = grey.dtype.itemsize
    pixels = np.stack([grey, opacity], axis=-1).astype(f">u{size}").view(np.uint8).reshape(len(grey), -1)
    rows = pixels.astype(np.int16)
    if filter_kind == 1:
        rows[:, 2 * size :] -= pixels[:, : -2 * size]
    if filter_kind == 2:
        rows[1:] -= pixels[:-1]
    packed = b"".join(bytes([filter_kind]) + (row % 256).astype(np.uint8).tobytes() for row in rows)
    header = struct.pack(">2I5B", grey.shape[1], grey.shape[0], 8 * size, 4, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(packed)), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


@pytest.mark.parametrize("filter_kind", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_with_opacity_is_read_as_grey(tmp_path, dtype, filter_kind):
    grey = (COUNTS * (0.04 if dtype == np.uint8 else 10)).astype(dtype)
    opacity = np.full_like(grey, np.iinfo(dtype).max)
    opacity[3:9] //= 3
    path = write_grey_with_opacity(tmp_path / "x.png", grey, opacity, filter_kind)
    np.testing.assert_array_equal(read_radiograph(path).pixels, grey)


def test_a_damaged_file_of_grey_with_opacity_is_refused_by_name(tmp_path):
    grey = COUNTS.astype(np.uint16)
    path = write_grey_with_opacity(tmp_path / "x.png", grey, grey, 1)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"^x\.png: cannot be read.*Give one X-ray"):
        read_radiograph(path)


def test_the_opacity_of_a_mask_does_not_count(tmp_path):
    radiograph = read_radiograph(written(tmp_path / "x.nrrd", COUNTS))
    grey = np.zeros(COUNTS.shape, np.uint8)
    grey[10:20] = 255
    colours = np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "rgba.png"))
    write_grey_with_opacity(tmp_path / "grey.png", grey, np.full_like(grey, 255), 0)
    for name in ("rgba.png", "grey.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name, radiograph), grey > 0)
