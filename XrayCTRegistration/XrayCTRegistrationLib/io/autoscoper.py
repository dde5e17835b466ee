"""Trials of Autoscoper and SlicerAutoscoperM: cameras, frames, volumes of bones and their tracks, in millimetres.

As described in Autoscoper's "Configuration File Format", 1.0 to 1.2. A volume's own world has its first column, last
row and first slice at the origin; x runs along columns, y against rows, z against slices. A track holds the poses of
that world.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..geometry import Pose
from ..volume import Volume, check_hounsfield
from .volumes import read_image

_FRAMES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_STORED_WATER = 1024  # of a volume without negative values: 0 is air, and what is not the bone
_REMEDY = "Give the volume as a TIFF stack, as Autoscoper reads it."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrialVolume:
    """A bone of a trial. flip: along columns, rows, slices. voxel_mm: likewise."""

    path: Path
    flip: tuple[bool, bool, bool]
    voxel_mm: tuple[float, float, float]

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass(frozen=True)
class Trial:
    """A trial as its file tells it.

    calibrations: a MayaCam file per camera. frames: the X-rays of every moment, one per camera, in their order.
    """

    path: Path
    calibrations: tuple[Path, ...]
    frames: tuple[tuple[Path, ...], ...]
    volumes: tuple[TrialVolume, ...]

    def volume(self, name: str | None = None) -> TrialVolume:
        """The bone of that name, by its file with or without ending; the only one of the trial without a name."""
        names = ", ".join(one.name for one in self.volumes)
        if name is None and len(self.volumes) > 1:
            raise InputError(f"{self.path.name}: the trial has several bones. Choose one: {names}.")
        found = [one for one in self.volumes if name in (None, one.name, one.path.name)]
        if not found:
            raise InputError(f"{self.path.name}: the trial has no bone {name!r}. It has: {names}.")
        return found[0]

    def frame(self, number: int) -> tuple[Path, ...]:
        """The X-rays of a moment, counted from 1."""
        if not 1 <= number <= len(self.frames):
            raise InputError(f"{self.path.name}: there is no frame {number}. Frames are 1 to {len(self.frames)}.")
        return self.frames[number - 1]


def read_trial(path: str | Path) -> Trial:
    """Read a trial's .cfg file and look up its files.

    Raises InputError, beginning with the file's name, when an entry or a file that it names is missing.
    """
    path = Path(path)
    entries = _entries(path)
    cameras, folders, files = (entries.get(key, []) for key in ("mayaCam_csv", "CameraRootDir", "VolumeFile"))
    if not cameras or not files or len(cameras) != len(folders):
        raise InputError(
            f"{path.name}: the trial has {len(cameras)} mayaCam_csv, {len(folders)} CameraRootDir and {len(files)} "
            "VolumeFile. It needs a calibration and a folder of frames per camera, and at least one volume."
        )
    sizes, flips = entries.get("VoxelSize", []), entries.get("VolumeFlip", ["0 0 0"] * len(files))
    if len(sizes) != len(files) or len(flips) != len(files):
        raise InputError(
            f"{path.name}: {len(files)} VolumeFile need as many VoxelSize and VolumeFlip; there are {len(sizes)} and "
            f"{len(flips)}."
        )
    volumes = []
    for file, size, flip in zip(files, sizes, flips):
        voxel_mm = _three(size, "VoxelSize", path)
        if min(voxel_mm) <= 0:
            raise InputError(f"{path.name}: VoxelSize {size} must be three positive numbers, in mm.")
        x, y, z = (bool(value) for value in _three(flip, "VolumeFlip", path))
        volumes.append(TrialVolume(_found(file, path), (x, y, z), voxel_mm))
    calibrations = tuple(_found(name, path) for name in cameras)
    return Trial(path, calibrations, _frames([_found(name, path) for name in folders], path), tuple(volumes))


def read_trial_volume(volume: TrialVolume) -> Volume:
    """The CT of a bone in Hounsfield units, in its own world.

    A stack without negative values holds Hounsfield units + 1024. Raises InputError, beginning with the file's name.
    """
    where = volume.path.name
    image = read_image(volume.path, _REMEDY)
    stored = sitk.GetArrayFromImage(image)
    if stored.ndim != 3 or len(stored) < 2:
        raise InputError(f"{where}: this is no stack of slices, but an image of shape {stored.shape}. {_REMEDY}")
    if stored.dtype.itemsize == 1:
        raise InputError(
            f"{where}: 8 bits hold grey values, not Hounsfield units. Export the volume with 16 bits from the CT."
        )
    array: np.ndarray = stored.astype(np.float32) if stored.dtype.kind == "f" else stored.astype(np.int32)
    if array.min() >= 0:
        array -= _STORED_WATER
        log.info("%s: no value is negative, so %d is taken as water and 0 as air.", where, _STORED_WATER)
    array = array[tuple(slice(None, None, -1 if turned else 1) for turned in volume.flip[::-1])]
    limits = np.iinfo(np.int16)
    if array.dtype.kind == "i" and array.max() <= limits.max and array.min() >= limits.min:
        array = array.astype(np.int16)
    x, y, z = volume.voxel_mm
    matrix = np.diag([x, -y, -z, 1.0])
    matrix[:3, 3] = x / 2, (array.shape[1] - 0.5) * y, -z / 2
    result = Volume(np.ascontiguousarray(array), matrix)
    check_hounsfield(result, where)
    return result


def read_track(path: str | Path) -> list[list[Pose | None]]:
    """The poses (volume to world) of each bone of a .tra file, frame by frame; None where a frame has none (NaN).

    Each line holds 16 numbers of a 4x4 matrix for each bone, rows or columns first, separated by commas or blanks.
    Raises InputError, beginning with the file's name and naming the line.
    """
    path = Path(path)
    bones: list[list[Pose | None]] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path.name}: line {number}"
        try:
            values = np.array([float(cell) for cell in re.split(r"[\s,]+", line.strip(" \t,\r"))])
        except ValueError:
            raise InputError(f"{where} holds something else than numbers. Save the tracking again.") from None
        if len(values) % 16 or (bones and len(values) != 16 * len(bones)):
            raise InputError(
                f"{where} holds {len(values)} numbers, not 16 for each bone. Save the tracking as matrices, of all "
                "volumes or of one."
            )
        bones = bones or [[] for _ in range(len(values) // 16)]
        for bone, matrix in zip(bones, values.reshape(-1, 4, 4)):
            bone.append(None if np.isnan(matrix).any() else _pose(matrix, where))
    if not bones:
        raise InputError(f"{path.name}: the track is empty. Save the tracking again.")
    return bones


def _pose(matrix: np.ndarray, where: str) -> Pose:
    turned = np.allclose(matrix[:3, 3], 0) and not np.allclose(matrix[3, :3], 0)  # columns first
    try:
        return Pose(matrix.T if turned else matrix)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _entries(path: Path) -> dict[str, list[str]]:
    """The values of each key, in their order."""
    entries: dict[str, list[str]] = {}
    for line in _text(path).splitlines():
        words = line.split(maxsplit=1)
        if len(words) == 2 and not words[0].startswith("#"):
            entries.setdefault(words[0], []).append(words[1].strip())
    return entries


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path.name}: there is no such file ({path}). Check the path.") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path.name}: this is no text. Give a trial (.cfg) or a track (.tra) of Autoscoper."
        ) from None
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}). Give a file that may be read.") from None


def _three(text: str, key: str, path: Path) -> tuple[float, float, float]:
    try:
        x, y, z = (float(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise InputError(f"{path.name}: {key} takes three numbers, not {text!r}.") from None
    return x, y, z


def _found(name: str, path: Path) -> Path:
    """The file or folder that a trial names, relative to it; Windows' slashes are taken as well."""
    found = path.parent / PureWindowsPath(name).as_posix()
    if not found.exists():
        raise InputError(
            f"{path.name}: there is no {name}. Correct the line; paths are relative to the folder of the trial."
        )
    return found


def _frames(folders: Sequence[Path], path: Path) -> tuple[tuple[Path, ...], ...]:
    of_cameras = [
        sorted(one for one in folder.iterdir() if one.suffix.lower() in _FRAMES) if folder.is_dir() else []
        for folder in folders
    ]
    counts = [len(of_camera) for of_camera in of_cameras]
    if not min(counts) or len(set(counts)) > 1:
        told = ", ".join(f"{folder.name} {count}" for folder, count in zip(folders, counts))
        raise InputError(
            f"{path.name}: every camera needs the same frames, TIFF or PNG, at least one. There are: {told}."
        )
    return tuple(zip(*of_cameras))
