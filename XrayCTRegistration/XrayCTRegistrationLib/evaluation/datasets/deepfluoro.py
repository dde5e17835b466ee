"""DeepFluoro (Grupp et al. 2020): X-rays of the pelvis of six cadavers, in one HDF5 file.

Its layout is described in the set's own `hdf5_layouts/Readme.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...geometry import Pose, XrayView
from ...search.search_range import SearchRange
from ...volume import Volume, check_hounsfield
from ...xray import Polarity, radiograph_of_pixels
from ..protocol import ROTATION_DEG, TRANSLATION_MM
from . import About, Criterion, DatasetCase, Measure, Skipped, draws, moved_start

_COLLIMATED_PX = 50  # at every border, by the set's own preprocessing
_PARAMETERS = "proj-params"
_SAME_PX = 5.0  # from an annotated landmark to its projection; where the layout is another, hundreds


class DeepFluoro:
    """The opened file. Whole CTs are registered, to the pelvis's pose; errors are those of the annotated landmarks.

    Raises InputError, beginning with the file's name, when it is not of this layout or h5py is missing.
    """

    about = About(
        "DeepFluoro, pelvis",
        "CC BY-NC 4.0: not for commercial use",
        "R. Grupp et al., Automatic annotation of hip anatomy in fluoroscopy for robust and efficient 2D/3D "
        "registration, IJCARS 15, 2020",
        f"off the reference by N(0, {ROTATION_DEG:g} degrees) about each axis of the C-arm, "
        f"N(0, {TRANSLATION_MM[0]:g} mm) across and N(0, {TRANSLATION_MM[2]:g} mm) in depth",
    )
    criteria = (
        Criterion("below 1 mm", lambda row: row.below(1)),
        Criterion("below 2 mm", lambda row: row.below(2)),
        Criterion("below 10 mm", lambda row: row.below(10)),
    )
    measures: tuple[Measure, ...] = ()
    search = SearchRange()

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError:
            raise InputError(
                "The package h5py is missing. Install it with: pip install 'XrayCTRegistration[datasets]'"
            ) from None
        self._where = path.name
        try:
            self._file = h5py.File(path, "r")
        except FileNotFoundError:
            raise InputError(f"{path.name}: there is no such file ({path}). Check the path.") from None
        except OSError:
            raise InputError(
                f"{path.name}: this is no HDF5 file, or it is incomplete. Give the set's ipcai_2020_full_res_data.h5."
            ) from None
        if _PARAMETERS not in self._file:
            raise InputError(
                f"{path.name}: there is no group {_PARAMETERS}. Give the full-resolution file, "
                "ipcai_2020_full_res_data.h5: the downsampled ones hold neither CTs nor poses."
            )
        specimens = [name for name in self._file if name != _PARAMETERS]
        every = [f"{one}/{number}" for one in specimens for number in self._group(one, "projections")]
        has_pose = {name: "gt-poses/cam-to-pelvis-vol" in self._projection(name) for name in every}
        self.names = [name for name in every if has_pose[name]]
        if not self.names:
            raise InputError(f"{path.name}: no projection has a pose of the pelvis, so there is nothing to measure.")
        self.skipped = [
            Skipped("femurs", "the whole CT is registered, and it follows the pelvis"),
            Skipped(f"{_COLLIMATED_PX} pixels at every border", "the collimator covers them"),
            *(Skipped(name, "it has no reference pose") for name in every if not has_pose[name]),
        ]
        self._view = self._read_view()
        self._read: tuple[str, Volume, dict[str, np.ndarray]] | None = None

    def starts(self, count: int | None) -> Sequence[int]:
        return range(count or 1)

    def case(self, name: str, start: int, seed: int) -> DatasetCase:
        """A start of a projection, such as "17-1882/003"."""
        ct, landmarks = self._specimen(name.partition("/")[0])
        points = np.array(list(landmarks.values()))
        projection = self._projection(name)
        to_volume = self._values(projection, "gt-poses/cam-to-pelvis-vol").reshape(4, 4)
        try:
            true = Pose(to_volume).inverse()
        except InputError as error:
            raise InputError(f"{self._where}, {name}: {error}") from None
        self._check_landmarks(name, projection, true, landmarks)
        pixels = self._values(projection, "image/pixels")
        columns, rows = self._view.size_px
        if pixels.shape != (rows, columns):
            raise InputError(
                f"{self._where}, {name}: the image has shape {pixels.shape}, but {_PARAMETERS} say {columns} columns "
                f"and {rows} rows."
            )
        border = _COLLIMATED_PX
        pixels = pixels[border:-border, border:-border]
        radiograph = radiograph_of_pixels(pixels, f"{self._where}, {name}", Polarity.DARK)
        view = self._view.cropped((border, border), (columns - 2 * border, rows - 2 * border))
        off = draws(name, start, seed).standard_normal(6)
        begin = moved_start(true, points, view, ROTATION_DEG * off[:3], np.array(TRANSLATION_MM) * off[3:])
        return DatasetCase(name, start, ct, (radiograph,), (view,), begin, true, points)

    def _check_landmarks(self, name: str, projection: Any, true: Pose, landmarks: Mapping[str, np.ndarray]) -> None:
        """Raise InputError where annotations in the image are not where the reference pose projects them."""
        annotated = projection.get("gt-landmarks", {})
        labels = [label for label in landmarks if label in annotated]
        if not labels:
            return
        seen = np.array([np.ravel(annotated[label][()]) for label in labels])
        projected, _ = self._view.project_points(true.apply(np.array([landmarks[label] for label in labels])))
        off_px = float(np.median(np.linalg.norm(projected - seen, axis=1)))
        if not off_px < _SAME_PX:
            raise InputError(
                f"{self._where}, {name}: the annotated landmarks lie {off_px:.0f} pixels from where the reference pose "
                "projects them, so poses or camera are not as this reader takes them. Check that the file is the "
                "published one."
            )

    def _read_view(self) -> XrayView:
        """The view of all projections. The camera's x runs along columns, y along rows, z to the source: points seen
        have negative z."""
        parameters = self._file[_PARAMETERS]
        extrinsic, intrinsic = (self._values(parameters, name) for name in ("extrinsic", "intrinsic"))
        columns, rows = (int(self._values(parameters, name)) for name in ("num-cols", "num-rows"))
        if min(columns, rows) <= 2 * _COLLIMATED_PX:
            raise InputError(f"{self._where}: images of {columns} x {rows} pixels are all border.")
        spacing_mm = float(self._values(parameters, "pixel-col-spacing"))
        (fx, _, cx), (_, fy, cy), _ = intrinsic.reshape(3, 3)
        ahead = np.array([[abs(fx), 0, -cx], [0, abs(fy), -cy], [0, 0, -1]])  # depth is minus z
        matrix = ahead @ extrinsic.reshape(4, 4)[:3]
        return XrayView.from_projection_matrix(matrix, (columns, rows), abs(float(fx)) * spacing_mm)

    def _specimen(self, name: str) -> tuple[Volume, dict[str, np.ndarray]]:
        """The CT and its landmarks (3,) by name, LPS; kept for the specimen's next projection."""
        if self._read is None or self._read[0] != name:
            group = self._group(name, "vol")
            matrix = np.eye(4)
            direction = self._values(group, "dir-mat").reshape(3, 3)
            matrix[:3, :3] = direction * self._values(group, "spacing").ravel()
            matrix[:3, 3] = self._values(group, "origin").ravel()
            ct = Volume(self._values(group, "pixels").astype(np.float32), matrix)
            check_hounsfield(ct, f"{self._where}, {name}")
            points = self._group(name, "vol-landmarks")
            landmarks = {label: np.ravel(points[label][()]).astype(np.float64) for label in sorted(points)}
            self._read = name, ct, landmarks
        return self._read[1:]

    def _projection(self, name: str) -> Any:
        specimen, _, number = name.partition("/")
        return self._group(specimen, f"projections/{number}")

    def _group(self, specimen: str, name: str) -> Any:
        return self._entry(self._file, f"{specimen}/{name}")

    def _values(self, group: Any, name: str) -> np.ndarray:
        return np.asarray(self._entry(group, name)[()])

    def _entry(self, group: Any, name: str) -> Any:
        if name not in group:
            raise InputError(f"{self._where}: there is no {group.name.rstrip('/')}/{name}. Download the file again.")
        return group[name]
