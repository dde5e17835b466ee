"""How bones are called: TotalSegmentator's numbers, what a person may write for a name, and names of files."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace

from ..errors import InputError
from ..volume import Volume
from .anatomy import is_bone
from .segments import Segment

_VERTEBRAE = [
    "S1",
    *(f"L{n}" for n in range(5, 0, -1)),
    *(f"T{n}" for n in range(12, 0, -1)),
    *(f"C{n}" for n in range(7, 0, -1)),
]
_LIMBS = ("humerus", "scapula", "clavicula", "femur", "hip")
# The bones of the task `total`, version 2 (Wasserthal et al. 2023), by number; a vertebra goes by its short name.
TOTALSEGMENTATOR: dict[int, str] = {
    25: "sacrum",
    **{26 + index: name for index, name in enumerate(_VERTEBRAE)},
    **{69 + 2 * k + side: f"{limb}_{('left', 'right')[side]}" for k, limb in enumerate(_LIMBS) for side in (0, 1)},
    91: "skull",
    **{92 + index: f"rib_left_{index + 1}" for index in range(12)},
    **{104 + index: f"rib_right_{index + 1}" for index in range(12)},
    116: "sternum",
}
_LISTED = 20  # names in a message
_PREFIXES = ("vertebrae_", "vertebra_", "vertebrae ", "vertebra ")
_VERTEBRA = re.compile(r"[ctls][1-9][0-9]?", re.IGNORECASE)
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f]')  # in a file's name on some system

log = logging.getLogger(__name__)


def chosen(segments: Sequence[Segment], wanted: Sequence[str], where: str) -> list[Segment]:
    """The segments that a person has named, in the order in which they are named, each once.

    wanted: names or numbers, each of which may hold several, divided by commas. Upper and lower case are alike, and a
    vertebra's name may go with or without "vertebrae_". Raises InputError, beginning with `where`, for a name that no
    segment bears.
    """
    found: list[Segment] = []
    for name in _divided(segments, wanted):
        match = _match(segments, name)
        if match is None:
            known = [_listed(segment) for segment in segments[:_LISTED]]
            more = f" and {len(segments) - _LISTED} more" if len(segments) > _LISTED else ""
            raise InputError(f"{where}: there is no bone {name!r}. There are: {', '.join(known)}{more}.")
        if match not in found:
            found.append(match)
    if not found:
        raise InputError(f"{where}: no bone is named. Name one, such as {_listed(segments[0])}.")
    return found


def supposed(segments: Sequence[Segment]) -> list[Segment]:
    """The labels of a label map that names none: as TotalSegmentator calls their numbers, until they are `settled`."""
    return [replace(one, name=TOTALSEGMENTATOR.get(one.number or 0, one.name), supposed=True) for one in segments]


def settled(segments: Sequence[Segment], attenuation: Volume, where: str) -> list[Segment]:
    """Segments whose names were `supposed`, with those that hold in their CT; other segments as they are.

    attenuation: of the CT, per mm. where: the file, which the log says whose names are used of.
    """
    if not any(one.supposed for one in segments):
        return list(segments)
    dense = [one.number or 0 for one in segments if is_bone(attenuation, one)]
    names = holding_names([one.number or 0 for one in segments], dense, where)
    return [replace(one, name=names.get(one.number or 0, str(one.number))) if one.supposed else one for one in segments]


def holding_names(numbers: Sequence[int], dense: Sequence[int], where: str) -> dict[int, str]:
    """Names of numbers, of a label map that names none: TotalSegmentator's, or none where it numbers otherwise.

    numbers: of all its labels. dense: of those that are as dense as bone in the CT. Thyroid, cartilage and whatever
    holds contrast medium are dense, too, but neither most of TotalSegmentator's organs nor more than there are bones.
    The log says whose names are used.
    """
    others = [number for number in numbers if number not in TOTALSEGMENTATOR]
    strange = [number for number in others if number in dense]
    if not strange or (2 * len(strange) < len(others) and 2 * len(strange) < len(dense)):
        log.info("%s: names of bones are TotalSegmentator's for their numbers.", where)
        return TOTALSEGMENTATOR
    listed = ", ".join(str(number) for number in strange[:_LISTED]) + (", ..." if len(strange) > _LISTED else "")
    log.warning(
        "%s: TotalSegmentator's names are not used, since too many labels that are none of its bones are dense in this "
        "CT: %s. Labels go by their numbers. Give names of their own to change that.",
        where,
        listed,
    )
    return {}


def file_names(names: Sequence[str]) -> list[str]:
    """Names of files, without ending, for the poses of bones: what no system allows becomes an underscore, and no two
    are the same where upper and lower case are alike."""
    taken: set[str] = set()
    result = []
    for name in names:
        stem = _UNSAFE.sub("_", name).strip(" .") or "bone"
        unique, number = stem, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{stem} ({number})"
        taken.add(unique.casefold())
        result.append(unique)
    return result


def is_vertebra(name: str) -> bool:
    """Whether a name is that of a vertebra, such as L5 or vertebrae_T12."""
    return _VERTEBRA.fullmatch(_plain(name)) is not None


def _divided(segments: Sequence[Segment], wanted: Sequence[str]) -> list[str]:
    """One name each: what is a name as it stands keeps its commas."""
    names: list[str] = []
    for text in wanted:
        parts = [text] if _match(segments, text) is not None else text.split(",")
        names.extend(part.strip() for part in parts if part.strip())
    return names


def _match(segments: Sequence[Segment], name: str) -> Segment | None:
    """The segment of a name, or of a number where no name is the same."""
    plain = _plain(name)
    for segment in segments:
        if segment.name == name:
            return segment
    for segment in segments:
        if _plain(segment.name) == plain:
            return segment
    return next((one for one in segments if plain.isdecimal() and one.number == int(plain)), None)


def _plain(name: str) -> str:
    plain = name.strip().casefold()
    return next((plain.removeprefix(prefix) for prefix in _PREFIXES if plain.startswith(prefix)), plain)


def _listed(segment: Segment) -> str:
    return segment.name if segment.number is None else f"{segment.name} ({segment.number})"
