"""Trials of Autoscoper, biplane X-rays of bones with tracks: a folder as SlicerAutoscoperM's samples are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...geometry import Pose
from ...io.autoscoper import Trial, TrialVolume, read_track, read_trial, read_trial_volume
from ...io.carm_files import read_view
from ...io.radiographs import read_radiograph
from ...metrics import bone_points
from ...search.search_range import NEAR
from ...volume import Volume
from ..runner import CaseResult
from . import About, Criterion, DatasetCase, Measure, Skipped, draws, moved_start

_OFF_DEG, _OFF_MM = 3.0, 3.0  # the neighbourhood in which Autoscoper itself looks, unless told otherwise
_SAME_DEG, _SAME_MM = 2.0, 1.0  # of the track: what SlicerAutoscoperM's evaluation calls right


@dataclass(frozen=True)
class _Tracked:
    """A bone in one frame, with the pose of its track."""

    trial: Trial
    volume: TrialVolume
    frame: int
    true: Pose


class AutoscoperTrials:
    """The trials (.cfg) of a folder, with the tracks (.tra) below it as reference.

    A track belongs to the bones of a trial when it holds as many, or to the bone whose name is in the track's.
    Raises InputError when there is no trial, or none with a track.
    """

    about = About(
        "Autoscoper trials",
        "that of the trial; the samples of Autoscoper come with its BSD 3-clause licence",
        "B. Akhbari et al., Accuracy of biplane videoradiography for quantifying dynamic wrist kinematics, "
        "J. Biomech. 92, 2019; for the data its own paper",
        f"off the track by up to {_OFF_DEG:g} degrees about and {_OFF_MM:g} mm along each axis of the first camera",
    )
    criteria = (
        Criterion(f"within {_SAME_DEG:g} deg and {_SAME_MM:g} mm", lambda row: _same(row)),
        Criterion("below 2 mm", lambda row: row.below(2)),
    )
    measures: tuple[Measure, ...] = ()
    search = NEAR

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("*.cfg")) if folder.is_dir() else []
        if not files:
            raise InputError(
                f"{folder}: there is no trial (.cfg). Give the folder of one; Autoscoper writes the trial of a sample "
                "when it first loads it."
            )
        self.skipped: list[Skipped] = []
        self._tracked: dict[str, _Tracked] = {}
        for path in files:
            trial = read_trial(path)
            for volume in trial.volumes:
                self._add(trial, volume, folder, several=len(files) > 1)
        self.names = list(self._tracked)
        if not self.names:
            raise InputError(
                f"{folder}: no bone has a track (.tra), so there is nothing to compare with. Save the tracking in "
                "Autoscoper, named after the bone; without one, use xrayct register --trial."
            )
        self._read: tuple[Path, Volume] | None = None

    def starts(self, count: int | None) -> Sequence[int]:
        return range(count or 1)

    def case(self, name: str, start: int, seed: int) -> DatasetCase:
        """A start of a bone in one frame, such as "radius/2"."""
        one = self._tracked[name]
        if self._read is None or self._read[0] != one.volume.path:
            self._read = one.volume.path, read_trial_volume(one.volume)
        ct = self._read[1]
        radiographs = tuple(read_radiograph(path) for path in one.trial.frame(one.frame))
        views = tuple(read_view(path, image) for path, image in zip(one.trial.calibrations, radiographs))
        points = bone_points(ct)
        off = draws(name, start, seed).uniform(-1, 1, 6)
        begin = moved_start(one.true, points, views[0], _OFF_DEG * off[:3], _OFF_MM * off[3:])
        return DatasetCase(name, start, ct, radiographs, views, begin, one.true, points)

    def _add(self, trial: Trial, volume: TrialVolume, folder: Path, several: bool) -> None:
        """Take up the frames of a bone in which it has a reference."""
        group = f"{trial.path.stem} {volume.name}" if several else volume.name
        track = _track_of(trial, volume, folder)
        if track is None:
            self.skipped.append(Skipped(group, "it has no track (.tra)"))
            return
        if len(track) != len(trial.frames):
            self.skipped.append(Skipped(group, f"its track has {len(track)} frames, the trial {len(trial.frames)}"))
            return
        for number, pose in enumerate(track, start=1):
            if pose is None:
                self.skipped.append(Skipped(f"{group}, frame {number}", "its track has no pose there"))
            else:
                self._tracked[f"{group}/{number}"] = _Tracked(trial, volume, number, pose)


def _same(row: CaseResult) -> bool:
    shift_mm = float(np.hypot(row.in_plane_mm, row.depth_mm))
    return not row.error and row.rotation_deg < _SAME_DEG and shift_mm < _SAME_MM


def _track_of(trial: Trial, volume: TrialVolume, folder: Path) -> list[Pose | None] | None:
    """The poses of a bone, frame by frame, from the track named after it, else from one of all bones of the trial."""
    files = sorted(folder.rglob("*.tra"))
    for path in files:
        if volume.name in path.stem:
            bones = read_track(path)
            if len(bones) == 1:
                return bones[0]
    for path in files:
        bones = read_track(path)
        if len(bones) == len(trial.volumes) and (len(bones) > 1 or len(files) == 1):
            return bones[trial.volumes.index(volume)]
    return None
