"""Which bones of a CT are registered: what the options of `xrayct register` ask for, and where that lies in the CT."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..bones.anatomy import Bone, NoBoneError, is_bone, taken_apart
from ..bones.colors import colored
from ..bones.joints import FREE, Joint
from ..bones.names import chosen, settled
from ..bones.segments import Segment, check_distinct, check_extent, place_in
from ..errors import InputError
from ..io.label_files import read_segments
from ..state import finished
from ..volume import Volume, prepared_attenuation
from .console import waiting

_FREE = "free"

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AskedBones:
    """What a segmentation holds, and what of it was asked for. file: its path. wanted: what was named, as
    `bones.names.chosen` takes it; nothing: all that are bone."""

    file: Path
    segments: tuple[Segment, ...]
    wanted: tuple[str, ...]
    joint: Joint

    def within(self, ct: Volume) -> ChosenBones:
        """The bones that were asked for, taken out of a CT in Hounsfield units.

        Raises InputError that names the file, and the segment that lies beside the CT or is no bone, or the name that
        no segment bears in this CT; or the file alone where it holds no bone of this CT.
        """
        with waiting(f"Finding the bones of {self.file.name} in the CT"):
            with _naming(self.file.name):
                attenuation = finished(prepared_attenuation(ct))
            every = settled(self.segments, attenuation, self.file.name)
            wanted = chosen(every, self.wanted, self.file.name) if self.wanted else []
            with _naming(self.file.name):
                if not wanted:
                    return self._all_bones(every, attenuation)
                others = [one for one in every if one not in wanted and is_bone(attenuation, one)]
                bodies = taken_apart(attenuation, colored(wanted), others).bones
                return ChosenBones(self.file, tuple(colored(wanted)), tuple(others), self.joint, bodies)

    def _all_bones(self, every: Sequence[Segment], attenuation: Volume) -> ChosenBones:
        """All segments that are bone, taken out of the CT; the log says which, and which stay with the CT."""
        segments, others = _dense(every, attenuation, self.file.name)
        check_distinct(segments)
        segments = colored(segments)
        bodies: tuple[Bone, ...] = ()
        while segments and not bodies:
            try:
                bodies = taken_apart(attenuation, segments, others).bones
            except NoBoneError as error:  # nobody has asked for this one
                log.warning("%s: %s It stays with the CT.", self.file.name, error)
                segments.remove(error.segment)
        if not segments:
            _check_any_placed(every, attenuation)
            raise InputError(
                "the CT is as dense as bone in none of the segments. Name the bones with --bone; or does the "
                "segmentation belong to another CT?"
            )
        names = ", ".join(one.name for one in segments)
        log.info("No --bone is given: all bones of %s are registered (%d): %s.", self.file.name, len(segments), names)
        return ChosenBones(self.file, tuple(segments), tuple(others), self.joint, bodies)


@dataclass(frozen=True, eq=False)
class ChosenBones:
    """The bones to be registered. segments, others, joint: see `bones_steps`; every segment has a colour. bodies: the
    same bones, taken out of the CT."""

    file: Path
    segments: tuple[Segment, ...]
    others: tuple[Segment, ...]
    joint: Joint
    bodies: tuple[Bone, ...]


def read_asked(path: Path, names: Path | None, wanted: Sequence[str], joint: Joint) -> AskedBones:
    """Read a segmentation and find in it what was named; all that can be told without the CT raises InputError here.

    wanted: as `bones.names.chosen` takes it; nothing stands for all that are bone.
    """
    with waiting(f"Reading {path.name}"):
        segments = read_segments(path, names)
    named = chosen(segments, wanted, path.name) if wanted else []
    with _naming(path.name):
        for segment in named:
            check_extent(segment)
        check_distinct(named)
    return AskedBones(path, tuple(segments), tuple(wanted), joint)


def joint_of(text: str | None) -> Joint:
    """The motion between neighbours that is written as "3,2", degrees and mm, or "free"; the usual one unless given."""
    if text is None:
        return Joint()
    if text.strip().lower() == _FREE:
        return FREE
    try:
        rotation_deg, shift_mm = (float(word) for word in text.split(","))
    except ValueError:
        raise InputError(
            f"--joint {text}: this is not two numbers. Give how far neighbours turn and shift against each other "
            "(standard deviations), in degrees and mm, as in --joint 3,2; or --joint free."
        ) from None
    with _naming(f"--joint {text}"):
        return Joint(rotation_deg, shift_mm)


def joint_words(joint: Joint) -> str:
    """A joint as `joint_of` reads it."""
    if math.isinf(joint.rotation_deg) and math.isinf(joint.shift_mm):
        return _FREE
    return f"{joint.rotation_deg:g},{joint.shift_mm:g}"


def _dense(segments: Sequence[Segment], attenuation: Volume, where: str) -> tuple[list[Segment], list[Segment]]:
    """Those in which the CT is as dense as bone, and of these the ones that are something else: numbers without a name
    where others of the label map have names, which the log says."""
    dense = [one for one in segments if is_bone(attenuation, one)]
    if not any(_is_named(one) for one in segments):
        return dense, []
    others = [one for one in dense if not _is_named(one)]
    if others:
        numbers = ", ".join(one.name for one in others)
        log.warning("%s: what has no name stays with the CT: %s. Ask for it with --bone, or name it.", where, numbers)
    return [one for one in dense if _is_named(one)], others


def _is_named(segment: Segment) -> bool:
    return segment.number is None or segment.name != str(segment.number)


def _check_any_placed(segments: Sequence[Segment], attenuation: Volume) -> None:
    """Raise the InputError that says of a segment why it has no place in the CT, where none of them has one."""
    for segment in segments:
        try:
            place_in(segment, attenuation)
            return
        except InputError as error:
            last = error
    raise last


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Begin the messages of InputErrors with the file or option that they are about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}") from None
