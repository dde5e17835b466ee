"""The gold standard of Utrecht (van de Kraats et al. 2005): CT, 3DRX and fluoroscopy of eight vertebrae.

What the set's own page says: images and masks are raw files; source, detector and volumes stand in one world frame, in
which the volumes are at the truth; 200 starting positions, the same for every vertebra, are shifts along x, y and z and
turns about them through a centre that each vertebra has. How its text files lay out these numbers was not to be found.
So nothing is guessed: whoever has the set writes down what its own description says, as `utrecht.json` beside the
files. `Resources/docs/datasets.md` lists the entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...geometry import Pose, XrayView, rotation_from_vector
from ...io.described import RAW_ENTRIES, Described, read_described, read_raw
from ...search.search_range import NEAR
from ...volume import Volume, check_hounsfield
from ...xray import Polarity, Radiograph, radiograph_of_pixels
from ..runner import CaseResult
from . import About, Criterion, DatasetCase, Measure, Skipped

DESCRIPTION = "utrecht.json"
SUCCESS_MM = 2.0  # of mTRE, by the set's authors
_CAPTURED = 0.95  # of the starts of a step that must succeed, likewise
_STEP_MM = 1.0  # in which the capture range grows: the set has ten starts in each
_MAX_POINTS = 5000
_NO_ATTENUATION = "MR"
_COLUMNS = ("x_mm", "y_mm", "z_mm", "x_deg", "y_deg", "z_deg")
_ORDERS = ("xyz", "xzy", "yxz", "yzx", "zxy", "zyx")


@dataclass(frozen=True)
class _Target:
    """A vertebra in one of the volumes of its segment."""

    segment: Described
    vertebra: Described
    modality: str


@dataclass(frozen=True, eq=False)
class _Images:
    """What every start of a target has in common."""

    ct: Volume
    radiographs: tuple[Radiograph, ...]
    views: tuple[XrayView, ...]
    masks: tuple[np.ndarray, ...] | None
    points: np.ndarray


class Utrecht:
    """The described set. Images are those of the description's vertebrae, in every volume that shows attenuation.

    Raises InputError, beginning with file and place, when there is no description, or it cannot be followed.
    """

    about = About(
        "Utrecht, eight vertebrae",
        "as the Image Sciences Institute, University Medical Center Utrecht, gives it: see the set's own page",
        "E.B. van de Kraats et al., Standardized evaluation methodology for 2-D-3-D registration, IEEE Trans. Med. "
        "Imaging 24, 2005",
        "those of the set",
    )
    criteria = (
        Criterion(f"below {SUCCESS_MM:g} mm", lambda row: row.below(SUCCESS_MM)),
        Criterion("below 10 mm", lambda row: row.below(10)),
    )
    measures = (
        Measure("capture range", lambda rows, starts_mm: f"{capture_range_mm(rows, starts_mm):g}"),
        Measure("mean if right", lambda rows, _: _mean_of_successes(rows)),
    )
    search = NEAR

    def __init__(self, folder: Path) -> None:
        path = folder / DESCRIPTION
        if not path.is_file():
            raise InputError(_no_description(folder))
        whole = read_described(path).only("starts", "segments")
        self._offsets = _read_starts(whole.part("starts"))
        self.skipped: list[Skipped] = []
        self._targets: dict[str, _Target] = {}
        for segment in whole.parts("segments"):
            self._add(segment.only("name", "volumes", "projections", "vertebrae"))
        self.names = list(self._targets)
        if not self.names:
            raise InputError(
                f"{path.name}: no volume shows attenuation, so there is nothing to register. Describe a CT."
            )
        self._volume: tuple[str, Volume] | None = None
        self._images: tuple[str, _Images] | None = None

    def starts(self, count: int | None) -> Sequence[int]:
        """The numbers of all starts, or of `count` of them, evenly taken from the first to the last."""
        every = len(self._offsets)
        if count is not None and count > every:
            raise InputError(f"{DESCRIPTION}: there are {every} starts, not {count}. Ask for fewer with --cases.")
        return range(every) if count is None else np.linspace(0, every - 1, count).round().astype(int).tolist()

    def case(self, name: str, start: int, seed: int) -> DatasetCase:
        """A start of a vertebra, such as "CT/segment 1, vertebra 2"; the set's own, whatever the seed."""
        one, offset = self._targets[name], self._offsets[start]
        begin = Pose.about(one.vertebra.numbers("center_mm", 3), offset.rotation, offset.translation_mm)
        true = Pose.identity()  # the volume's own world is the set's, in which it stands at the truth
        read = self._read(name)
        return DatasetCase(
            name, start, read.ct, read.radiographs, read.views, begin, true, read.points, masks=read.masks
        )

    def _add(self, segment: Described) -> None:
        """Take up the vertebrae of a segment in its volumes, but for those that show no attenuation."""
        volumes = segment.part("volumes")
        for modality in volumes.entries:
            if modality.upper().startswith(_NO_ATTENUATION):
                self.skipped.append(Skipped(f"{modality} of segment {segment.text('name')}", "it shows no attenuation"))
                continue
            for vertebra in segment.parts("vertebrae"):
                vertebra.only("name", "center_mm", "points_mm", "volume_mask", "projection_masks")
                name = f"{modality}/segment {segment.text('name')}, vertebra {vertebra.text('name')}"
                if name in self._targets:
                    raise InputError(f"{vertebra.where}: there are two of the name {name!r}. Rename one.")
                _check_mask_sizes(vertebra, segment.parts("projections"))
                self._targets[name] = _Target(segment, vertebra, modality)

    def _read(self, name: str) -> _Images:
        """The images of a target; kept for its next start."""
        if self._images is None or self._images[0] != name:
            one = self._targets[name]
            projections = one.segment.parts("projections")
            radiographs, views = zip(*(_read_projection(projection) for projection in projections))
            masks, points = _read_masks(one.vertebra), _points(one.vertebra)
            self._images = name, _Images(self._ct(one), radiographs, views, masks, points)
        return self._images[1]

    def _ct(self, one: _Target) -> Volume:
        """The volume of a target; kept for the next vertebra of the same segment."""
        image = one.segment.part("volumes").part(one.modality)
        if self._volume is None or self._volume[0] != image.where:
            image.only(*RAW_ENTRIES, "voxel_to_world", "hounsfield")
            array = read_raw(image, 3)
            if "hounsfield" in image:
                slope, intercept = image.numbers("hounsfield", 2)
                array = (array * np.float32(slope) + np.float32(intercept)).astype(np.float32)
            volume = Volume(array, image.numbers("voxel_to_world", 4, 4))
            check_hounsfield(volume, image.where)
            self._volume = image.where, volume
        return self._volume[1]


def capture_range_mm(rows: Sequence[CaseResult], starts_mm: Sequence[float]) -> float:
    """How far from the truth, in steps of 1 mm of mTRE, all starts lie of which 95 % succeed in every step.

    starts_mm: mTRE of the start of each row. A step without starts ends the range, for nothing was tried there.
    """
    above = np.ceil(np.asarray(starts_mm) / _STEP_MM - 1e-9)  # a start of just 20 mm, but for rounding, ends its step
    steps = np.maximum(above, 1).astype(int) - 1
    succeeded = np.array([row.below(SUCCESS_MM) for row in rows])
    for step in range(int(steps.max()) + 1):
        of_step = succeeded[steps == step]
        if not len(of_step) or of_step.mean() < _CAPTURED:
            return step * _STEP_MM
    return (int(steps.max()) + 1) * _STEP_MM


def _mean_of_successes(rows: Sequence[CaseResult]) -> str:
    found = [row.mtre_mm for row in rows if row.below(SUCCESS_MM)]
    return f"{np.mean(found):.2f}" if found else "none"


def _no_description(folder: Path) -> str:
    raw = sorted(folder.rglob("*.raw")) if folder.is_dir() else []
    return (
        f"{folder}: there is no {DESCRIPTION} ({len(raw)} .raw files were found). How the set's own text files lay out "
        "sizes, positions and starts is not known to this reader, and it does not guess: write them down in that file "
        "from the set's description. Resources/docs/datasets.md lists its entries."
    )


def _read_starts(starts: Described) -> list[Pose]:
    """The offsets from the truth, as if the centre of rotation were the origin."""
    starts.only("file", "columns", "turns")
    columns = starts.entries.get("columns")
    if not isinstance(columns, list) or sorted(map(str, columns)) != sorted(_COLUMNS):
        raise InputError(
            f"{starts.place_of('columns')} must name the numbers of a line, in their order: {list(_COLUMNS)}."
        )
    order = starts.choice("turns", _ORDERS)
    path = starts.path("file")
    lines = [line.partition("#")[0].split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    try:
        rows = [[float(cell) for cell in cells] for cells in lines if cells]
    except ValueError as error:
        raise InputError(
            f"{path.name}: holds something else than numbers ({error}). Begin such lines with #."
        ) from None
    if not rows:
        raise InputError(f"{path.name}: holds no start. Give a line of six numbers for each.")
    unfit = [row for row in rows if len(row) != len(_COLUMNS)]
    if unfit:
        raise InputError(f"{path.name}: has {len(unfit[0])} numbers a line, where a start has {len(_COLUMNS)}.")
    if not np.isfinite(rows).all():
        raise InputError(f"{path.name}: has a number that is not finite (nan, inf). Correct it, or leave its line out.")
    values = np.array(rows)[:, [columns.index(name) for name in _COLUMNS]]
    return [Pose.from_parts(_turned(order, np.radians(row[3:])), row[:3]) for row in values]


def _turned(order: str, angles: np.ndarray) -> np.ndarray:
    """The rotation by angles (3,) about the fixed x, y and z axes, one after the other as `order` names them."""
    rotation = np.eye(3)
    for axis in ("xyz".index(letter) for letter in order):
        rotation = rotation_from_vector(angles[axis] * np.eye(3)[axis]) @ rotation
    return rotation


def _read_projection(projection: Described) -> tuple[Radiograph, XrayView]:
    projection.only(*RAW_ENTRIES, "source_mm", "pixel_to_world", "polarity", "logarithmic")
    pixels = read_raw(projection, 2)
    names = tuple(one.value for one in Polarity)
    polarity = Polarity(projection.choice("polarity", names)) if "polarity" in projection else None
    logarithmic = projection.flag("logarithmic") if "logarithmic" in projection else None
    radiograph = radiograph_of_pixels(pixels, projection.where, polarity, logarithmic)
    try:
        matrix = projection.numbers("pixel_to_world", 4, 4)
        view = XrayView(projection.numbers("source_mm", 3), matrix, (pixels.shape[1], pixels.shape[0]))
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(projection.where) else f"{projection.where}: {text}") from None
    return radiograph, view


def _check_mask_sizes(vertebra: Described, projections: Sequence[Described]) -> None:
    """Raise InputError unless there is a mask of its size for every projection, where there are any."""
    if "projection_masks" not in vertebra:
        return
    masks = vertebra.parts("projection_masks")
    files = [mask.path("file") for mask in masks]
    if len(masks) != len(projections):
        raise InputError(
            f"{vertebra.place_of('projection_masks')} has {len(masks)} masks for {len(projections)} projections. Give "
            "one for each, in their order."
        )
    for mask, file, projection in zip(masks, files, projections):
        size, needed = mask.numbers("size", 2), projection.numbers("size", 2)
        if not np.array_equal(size, needed):
            raise InputError(
                f"{mask.where}: the mask {file.name} has {size[0]:g} x {size[1]:g} pixels, its projection "
                f"{projection.text('file')} {needed[0]:g} x {needed[1]:g}. Give masks in the order of the projections."
            )


def _read_masks(vertebra: Described) -> tuple[np.ndarray, ...] | None:
    """The set's masks of the projections, where the description names them."""
    if "projection_masks" not in vertebra:
        return None
    return tuple(read_raw(mask.only(*RAW_ENTRIES), 2) for mask in vertebra.parts("projection_masks"))


def _points(vertebra: Described) -> np.ndarray:
    """Where errors are measured, (N, 3) at the truth: the points given, else the voxels of the vertebra's mask."""
    if "points_mm" in vertebra:
        return vertebra.numbers("points_mm", -1, 3)
    mask = vertebra.part("volume_mask").only(*RAW_ENTRIES, "voxel_to_world")
    inside = np.argwhere(read_raw(mask, 3) > 0)[:, ::-1]
    if not len(inside):
        raise InputError(f"{mask.where}: the mask holds nothing, so there are no points to measure at.")
    inside = inside[:: -(-len(inside) // _MAX_POINTS)]
    matrix = mask.numbers("voxel_to_world", 4, 4)
    return inside @ matrix[:3, :3].T + matrix[:3, 3]
