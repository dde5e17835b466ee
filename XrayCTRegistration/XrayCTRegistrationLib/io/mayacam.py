"""Calibrated X-ray cameras as XMALab and Autoscoper keep them: MayaCam 2.0 and 1.0, text files, in millimetres.

Both are read as Autoscoper reads them; its description of the formats, "Camera Calibration File Format", leaves out the
offset of the principal point in 1.0, which counts pixels from 1 and rows from the bottom.
"""

from __future__ import annotations

import re

import numpy as np

from ..errors import InputError
from ..geometry import XrayView, rotation_from_euler

_BLOCKS = {"image size": 2, "camera matrix": 9, "rotation": 9, "translation": 3}
_LINES_OF_1 = 5
_LEAST_SOURCE_MM = 200.0  # from the origin, which lies in what is imaged; nearer, the file is in centimetres
_ROTATION_TOLERANCE = 1e-3  # files hold six digits or more


def is_mayacam(text: str) -> bool:
    """Whether a text begins as a MayaCam file of either version."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return first.lower() == "image size" or len(_numbers(first)) == 3


def view_of_mayacam(text: str, where: str, image_size_px: tuple[int, int] | None = None) -> XrayView:
    """The view of a MayaCam file, in the world of its calibration.

    image_size_px: (columns, rows) of the image it belongs to. Programs differ in whether the file tells width or height
    first; without an image it is taken as width, height.

    MayaCam 2.0: pixel = camera matrix (rotation x + translation), rows counted from the top. MayaCam 1.0: the camera
    looks along its own negative z, turned about its own z, then y, then x; focal length -Z.
    Raises InputError, beginning with `where`, when the file is incomplete or its numbers cannot be a camera.
    """
    blocks = _blocks(text)
    if "image size" in blocks:
        matrix, size_px = _camera_2(blocks, where, image_size_px)
    else:
        matrix, size_px = _camera_1(text, where, image_size_px)
    try:
        view = XrayView.from_projection_matrix(matrix, size_px)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    distance_mm = float(np.linalg.norm(view.source))
    if distance_mm < _LEAST_SOURCE_MM:
        raise InputError(
            f"{where}: the source stands {distance_mm:.3g} mm from the calibration's origin, so its lengths seem to be "
            "in centimetres. Export the calibration in millimetres, or multiply its translation (MayaCam 1.0: lines 1 "
            "and 3) by 10."
        )
    return view


def _camera_2(
    blocks: dict[str, list[float]], where: str, image_size_px: tuple[int, int] | None
) -> tuple[np.ndarray, tuple[int, int]]:
    """3x4 world_to_pixel and the image's size."""
    for name, count in _BLOCKS.items():
        if len(blocks.get(name, ())) != count:
            found = f"holds {len(blocks[name])}" if name in blocks else "is missing"
            raise InputError(
                f'{where}: the block "{name}" of the MayaCam 2.0 file takes {count} numbers, and {found}. Export it '
                "again from XMALab."
            )
    intrinsic = np.reshape(blocks["camera matrix"], (3, 3))
    rotation = np.reshape(blocks["rotation"], (3, 3))
    if not np.allclose(intrinsic[2], (0, 0, 1)) or min(intrinsic[0, 0], intrinsic[1, 1]) <= 0:
        raise InputError(
            f"{where}: the camera matrix must be fx,0,cx / 0,fy,cy / 0,0,1 with positive focal lengths. Export it "
            "again from XMALab."
        )
    proper = np.allclose(rotation @ rotation.T, np.eye(3), atol=_ROTATION_TOLERANCE) and np.linalg.det(rotation) > 0
    if not proper:
        raise InputError(
            f"{where}: the rotation is none: its rows are not perpendicular unit vectors. Export it again."
        )
    matrix = intrinsic @ np.column_stack([rotation, blocks["translation"]])
    return matrix, _size(blocks["image size"], where, image_size_px)


def _camera_1(text: str, where: str, image_size_px: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    """3x4 world_to_pixel and the image's size."""
    lines = [_numbers(line) for line in text.splitlines() if line.strip()]
    if len(lines) < _LINES_OF_1 or any(len(line) != 3 for line in lines[:_LINES_OF_1]):
        raise InputError(
            f"{where}: a MayaCam 1.0 file has five lines of three numbers: camera position, its rotation, the film "
            "plane, principal point and Z, scale and image size. Export it again."
        )
    position, angles_deg, _film, (u0, v0, z), (_scale, first, second) = np.array(lines[:_LINES_OF_1])
    if z >= 0:
        raise InputError(f"{where}: Z in line 4 is {z:g}. A camera looks along its negative z: it must be below 0.")
    columns, rows = _size([first or 1024.0, second or 1024.0], where, image_size_px)  # 0 stands for 1024
    axes = rotation_from_euler(np.radians(angles_deg))  # its columns to the right, up and back
    rotation = np.diag([1.0, -1.0, -1.0]) @ axes.T  # to the right, down and ahead
    intrinsic = np.array([[-z, 0.0, u0 - 1], [0.0, -z, rows - v0], [0.0, 0.0, 1.0]])
    return intrinsic @ np.column_stack([rotation, -rotation @ position]), (columns, rows)


def _size(values: list[float], where: str, image_size_px: tuple[int, int] | None) -> tuple[int, int]:
    if any(value < 1 or value != int(value) for value in values):
        raise InputError(
            f"{where}: the image size must be two positive whole numbers, not {values[0]:g},{values[1]:g}."
        )
    told = (int(values[0]), int(values[1]))
    return image_size_px if image_size_px is not None and sorted(told) == sorted(image_size_px) else told


def _blocks(text: str) -> dict[str, list[float]]:
    """The numbers under each title of a MayaCam 2.0 file."""
    blocks: dict[str, list[float]] = {}
    title = ""
    for line in text.splitlines():
        name = line.strip().lower()
        if name in _BLOCKS:
            title = name
            blocks[title] = []
        elif title:
            blocks[title] += _numbers(line)
    return blocks


def _numbers(line: str) -> list[float]:
    """The finite numbers of a line, separated by commas or blanks; none where anything else is among them."""
    try:
        values = [float(cell) for cell in re.split(r"[\s,]+", line.strip(" \t,\r")) if cell]
    except ValueError:
        return []
    return values if np.isfinite(values).all() else []
