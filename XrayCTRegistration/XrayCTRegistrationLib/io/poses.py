"""Pose files: ITK transforms as 3D Slicer saves them, and plain or JSON matrices."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..geometry import Pose

_ITK_TEXT = "#Insight Transform File"
_ITK_BINARY = {".h5", ".hdf5", ".hdf", ".mat"}
_PROBE_MM = 1000.0  # far apart, so that the offset's rounding does not show in the rotation
_REMEDY = "Give a rigid transform saved by 3D Slicer (.tfm, .h5), a 4x4 ct_to_world text file, or its JSON."


def write_pose(path: str | Path, pose: Pose) -> None:
    """Write `pose` (ct_to_world, LPS mm) as 3D Slicer saves the linear transform node that carries the CT.

    path: ends in .tfm (or .txt). It appears whole or, after an error, not at all.
    Raises InputError that names the file when it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".tfm", ".txt"):
        raise InputError(f"{path}: a pose is written as an ITK transform. Give a name that ends in .tfm.")
    with replacing(path) as unfinished:
        unfinished.write_bytes(pose_text(pose).encode("ascii"))


def pose_text(pose: Pose) -> str:
    """The pose as an ITK text transform in LPS, with the inverse (world to CT) that ITK and Slicer store."""
    inverse = _inverse_as_vtk(pose.matrix)
    parameters = [*inverse[:3, :3].ravel(), *inverse[:3, 3]]
    return (
        f"{_ITK_TEXT} V1.0\n"
        "#Transform 0\n"
        "Transform: AffineTransform_double_3_3\n"
        f"Parameters: {' '.join(_number(value) for value in parameters)}\n"
        "FixedParameters: 0 0 0\n"
    )


def read_pose(path: str | Path) -> Pose:
    """The pose ct_to_world (LPS, mm) that a file holds.

    ITK transforms (.tfm, .txt, .h5, as Slicer and ITK save them: affine, Euler, versor, with or without a centre of
    rotation) hold its inverse, world to CT. Plain text of 4x4 numbers and JSON ({"ct_to_world": 4x4}, or the 4x4
    list alone) hold ct_to_world itself.

    Raises InputError that names the file when it is missing, unreadable, or holds anything but a rigid transform.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such pose file. Check the path. {_REMEDY}")
    if path.suffix.lower() in _ITK_BINARY:
        return _rigid_inverse(_itk_transform(path), path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the pose cannot be read as text ({error}). {_REMEDY}") from None
    if text.startswith(_ITK_TEXT):
        transform = _itk_transform(path)
        _check_complete(text, transform, path)
        return _rigid_inverse(transform, path)
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
        return _pose(_json_matrix(text, path), path)
    return _pose(_text_matrix(text, path), path)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the name `path` once the block has ended well.

    Raises InputError that names the file when the folder is missing or cannot be written.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written, the folder {path.parent} does not exist. Create it first.")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}). Check the folder and disk.") from None
    finally:
        unfinished.unlink(missing_ok=True)


def _itk_transform(path: Path) -> sitk.Transform:
    try:
        return sitk.ReadTransform(str(path))
    except RuntimeError:
        raise InputError(f"{path}: this is not a transform that ITK can read, or it is damaged. {_REMEDY}") from None


def _check_complete(text: str, transform: sitk.Transform, path: Path) -> None:
    """Raise InputError where ITK would take the first of several transforms, or defaults for missing numbers."""
    lines = [line.partition(":") for line in text.splitlines()]
    kinds = [value.strip() for name, _, value in lines if name == "Transform"]
    if kinds and kinds[0].startswith("CompositeTransform"):
        return
    if len(kinds) > 1:
        raise InputError(f"{path}: it holds {len(kinds)} transforms, and which is the pose is not said. Keep one.")
    expected = {"Parameters": transform.GetParameters(), "FixedParameters": transform.GetFixedParameters()}
    for name, numbers in expected.items():
        if numbers and not any(line[0] == name and line[2].strip() for line in lines):
            raise InputError(f"{path}: the transform's {name} are missing, so the file is incomplete. Save it again.")


def _rigid_inverse(transform: sitk.Transform, path: Path) -> Pose:
    if transform.GetDimension() != 3:
        raise InputError(f"{path}: the transform is {transform.GetDimension()}-dimensional, a pose has 3. {_REMEDY}")
    if not transform.IsLinear():
        raise InputError(
            f"{path}: the transform deforms (it is or contains a B-spline or displacement field), so it is no pose of "
            "a rigid body. Give the rigid transform alone."
        )
    # Asking where points go serves every kind of transform, composites and centres of rotation included.
    offset = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    world_to_ct = np.eye(4)
    for axis in range(3):
        point = [0.0, 0.0, 0.0]
        point[axis] = _PROBE_MM
        world_to_ct[:3, axis] = (np.array(transform.TransformPoint(point)) - offset) / _PROBE_MM
    world_to_ct[:3, 3] = offset
    return _pose(world_to_ct, path).inverse()


def _pose(matrix: Any, path: Path) -> Pose:
    try:
        return Pose(matrix)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (TypeError, ValueError):
        raise InputError(f"{path}: the pose is not four rows of four numbers. {_REMEDY}") from None


def _json_matrix(text: str, path: Path) -> Any:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: this is not valid JSON ({error}). {_REMEDY}") from None
    if isinstance(content, dict):
        if "ct_to_world" not in content:
            raise InputError(f'{path}: the entry "ct_to_world", a 4x4 matrix in LPS mm, is missing. Add it.')
        content = content["ct_to_world"]
    return content


def _text_matrix(text: str, path: Path) -> np.ndarray:
    lines = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines()]
    try:
        rows = [[float(word) for word in line] for line in lines if line]
    except ValueError:
        raise InputError(f"{path}: this is neither a transform nor a matrix of numbers. {_REMEDY}") from None
    if len(rows) != 4 or any(len(row) != 4 for row in rows):
        raise InputError(f"{path}: the pose is not four rows of four numbers. {_REMEDY}")
    return np.array(rows)


def _inverse_as_vtk(matrix: np.ndarray) -> np.ndarray:
    """The inverse by cofactors, in VTK's order of operations: Slicer's files then agree to the last digit."""

    def signed_minor(i: int, j: int) -> float:
        a, b, c = np.delete(np.delete(matrix, i, axis=0), j, axis=1)
        value = a[0] * (b[1] * c[2] - c[1] * b[2]) - a[1] * (b[0] * c[2] - c[0] * b[2])
        value += a[2] * (b[0] * c[1] - c[0] * b[1])
        return -value if (i + j) % 2 else value

    cofactors = np.array([[signed_minor(i, j) for j in range(4)] for i in range(4)])
    determinant = sum(matrix[0, j] * cofactors[0, j] for j in range(4))
    return cofactors.T / determinant


def _number(value: float) -> str:
    """The fewest digits that read back to the same value, laid out as ITK does: exponents only when very small."""
    if value == 0:
        return "0"
    if 1e-6 <= abs(value) < 1e21:
        return np.format_float_positional(value, unique=True, trim="-")
    return np.format_float_scientific(value, unique=True, trim="-", exp_digits=1)
