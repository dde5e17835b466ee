"""Public data sets with known poses: readers of the files as they are published, and the table of their papers.

data = open_dataset("deepfluoro", path)
case = data.case(data.names[0], start=0, seed=0)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ...errors import InputError
from ...geometry import Pose, XrayView, rotation_from_euler
from ...metrics import PoseError, pose_error
from ...search.search_range import SearchRange
from ...volume import Volume
from ...xray import Radiograph

if TYPE_CHECKING:
    from ..runner import CaseResult


@dataclass(frozen=True)
class About:
    """What must be said of a data set. name: for a title. licence, citation: its own. starts: how cases begin."""

    name: str
    licence: str
    citation: str
    starts: str


@dataclass(frozen=True)
class Skipped:
    """A part of a data set that is not evaluated, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Criterion:
    """A column of the paper's table: the share of cases that meet it."""

    title: str
    met: Callable[[CaseResult], bool]


@dataclass(frozen=True)
class Measure:
    """A column that many cases give together. of: those of a group and method, and the mTRE of each one's start, mm."""

    title: str
    of: Callable[[Sequence[CaseResult], Sequence[float]], str]


@dataclass(frozen=True, eq=False)
class DatasetCase:
    """One registration with a known answer; see `protocol.Case`, which it does all that the runner asks of.

    ct: group of the table and image, as in "17-1882/003". number: of the start. points: (N, 3) at which errors are
    measured, in the CT's own world. masks: (rows, columns) for each image, nonzero where it may be used.
    """

    ct: str
    number: int
    given: Volume
    radiographs: tuple[Radiograph, ...]
    views: tuple[XrayView, ...]
    start: Pose
    true: Pose
    points: np.ndarray
    effect: str = ""
    masks: tuple[np.ndarray, ...] | None = None

    def error_of(self, pose: Pose) -> PoseError:
        """The errors of an estimated pose; turns and shifts are those of the middle of the points."""
        return pose_error(pose, self.true, self.points, self.views[0], self.points.mean(axis=0))


class Dataset(Protocol):
    """An opened data set.

    names: of the images, or image pairs, that have a reference. search: how far the registration may look.
    """

    @property
    def about(self) -> About: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def skipped(self) -> Sequence[Skipped]: ...
    @property
    def criteria(self) -> Sequence[Criterion]: ...
    @property
    def measures(self) -> Sequence[Measure]: ...
    @property
    def search(self) -> SearchRange: ...

    def starts(self, count: int | None) -> Sequence[int]:
        """The numbers of `count` starts of every name; without a number, of as many as the set's papers take."""

    def case(self, name: str, start: int, seed: int) -> DatasetCase:
        """A start of one of the names; it depends on nothing but the arguments."""


def open_dataset(kind: str, path: str | Path) -> Dataset:
    """A data set by its kind, "deepfluoro", "autoscoper" or "utrecht".

    Raises InputError, naming the file and what is wrong.
    """
    # Imported here: each needs packages or readers that the other does not.
    if kind == "deepfluoro":
        from .deepfluoro import DeepFluoro

        return DeepFluoro(Path(path))
    if kind == "autoscoper":
        from .trials import AutoscoperTrials

        return AutoscoperTrials(Path(path))
    if kind == "utrecht":
        from .utrecht import Utrecht

        return Utrecht(Path(path))
    raise InputError(f"There is no data set {kind!r}. Known are: deepfluoro, autoscoper, utrecht.")


def group_of(ct: str) -> str:
    """The group of the table that a row belongs to, by its `ct`."""
    return ct.rpartition("/")[0]


def moved_start(true: Pose, points: np.ndarray, view: XrayView, turn_deg: np.ndarray, shift_mm: np.ndarray) -> Pose:
    """A pose off the true one: turned about the view's column, row and depth axes, in this order, through the middle of
    the points, by turn_deg (3,), and shifted along them by shift_mm (3,)."""
    turn = view.axes @ rotation_from_euler(np.radians(turn_deg)) @ view.axes.T
    return Pose.about(true.apply(points).mean(axis=0), turn, view.axes @ shift_mm) @ true


def draws(name: str, start: int, seed: int) -> np.random.Generator:
    """The random stream of a case."""
    if seed < 0:
        raise InputError(f"The seed is {seed}. Give a whole number from 0.")
    return np.random.default_rng([seed, start, *name.encode()])
