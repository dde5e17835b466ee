"""X-ray files as people have them: pixels that hold no value, grey with opacity, and what other programs write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
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


GREY = (COUNTS * 0.04).astype(np.uint8)


FORMATS = {
    "palette.png": lambda path: Image.fromarray(GREY).convert("P").save(path),
    "packed.tif": lambda path: Image.fromarray(GREY).save(path, compression="tiff_lzw"),
    "big-endian.tif": lambda path: path.write_bytes(big_endian_tiff(GREY.astype(np.uint16))),
    "white-is-zero.tif": lambda path: path.write_bytes(big_endian_tiff(GREY.astype(np.uint16), white_is_zero=True)),
    "float.tif": lambda path: Image.fromarray(GREY.astype(np.float32)).save(path),
    "sp äüß 日本.png": lambda path: Image.fromarray(GREY).save(path),
    "x:12.png": lambda path: Image.fromarray(GREY).save(path),  # named as a frame of a run is
}


def big_endian_tiff(pixels: np.ndarray, white_is_zero: bool = False) -> bytes:
    """A TIFF file of 16 bits, not packed, its numbers big-endian (TIFF 6.0, sections 2 and 3)."""
    rows, columns = pixels.shape
    strip = 8 + 2 + 8 * 12 + 4
    short, long = 3, 4
    entries = [
        (256, long, columns),
        (257, long, rows),
        (258, short, 16),
        (259, short, 1),
        (262, short, 0 if white_is_zero else 1),
        (273, long, strip),
        (278, long, rows),
        (279, long, 2 * rows * columns),
    ]
    directory = struct.pack(">H", len(entries))
    for tag, kind, value in entries:
        directory += (
            struct.pack(">HHIHH", tag, kind, 1, value, 0)
            if kind == short
            else struct.pack(">HHII", tag, kind, 1, value)
        )
    return b"MM\x00\x2a" + struct.pack(">I", 8) + directory + struct.pack(">I", 0) + pixels.astype(">u2").tobytes()


@pytest.mark.parametrize("name", FORMATS)
def test_grey_is_read_as_it_is_stored_from_whatever_programs_write(tmp_path, name):
    path = tmp_path / name
    FORMATS[name](path)
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, GREY)
    assert radiograph.polarity is None  # white is zero says how it is shown, not what was measured


@pytest.mark.parametrize("name", ["one.tif:2", "one.tif"])
def test_a_tiff_of_several_pages_is_a_run(tmp_path, name):
    path = tmp_path / "one.tif"
    Image.fromarray(GREY).save(path, save_all=True, append_images=[Image.fromarray(GREY // 2)])
    if name.endswith(":2"):
        np.testing.assert_array_equal(read_radiograph(tmp_path / name).pixels, GREY // 2)
        return
    with pytest.raises(InputError, match=r"^one\.tif: holds 2 frames.*choose a frame"):
        read_radiograph(tmp_path / name)


@pytest.mark.parametrize("name", ["empty.png", "array.npy"])
def test_a_file_that_is_no_image_names_those_that_are(tmp_path, name):
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, COUNTS)
    else:
        path.write_bytes(b"")
    with pytest.raises(InputError, match=rf"^{name}: cannot be read as an image.*Give one X-ray image, grey, as PNG"):
        read_radiograph(path)


def test_letters_burnt_in_in_colour_are_told(tmp_path):
    colours = np.stack([GREY] * 3, axis=-1)
    colours[2:6, 2:9] = 255, 220, 0
    Image.fromarray(colours).save(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"^x\.png: the image has colours.*without annotations"):
        read_radiograph(tmp_path / "x.png")
