"""Which way the columns and rows of an X-ray run in the patient, in the letters of DICOM, world LPS."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from .pose import rotation_from_euler

_DIRECTIONS = {
    "L": (1, 0, 0),
    "R": (-1, 0, 0),
    "P": (0, 1, 0),
    "A": (0, -1, 0),
    "H": (0, 0, 1),
    "F": (0, 0, -1),
}
_ALONG = 0.3  # cosine: a letter farther than 72 degrees from an axis says nothing of it


def detector_axes(primary_deg: float, secondary_deg: float, from_before: bool = False) -> np.ndarray:
    """(3, 3) whose columns are unit vectors along an X-ray's columns, its rows, and away from the source, where nothing
    is said of how the image was stored.

    Of DICOM positioner angles (PS3.3 C.8.7.5): at 0, 0 (PA) columns run to the patient's left and rows to the feet.
    from_before: as an AP radiograph is shown, the patient's left on the right of the image although seen from before.
    """
    turn = rotation_from_euler(np.radians([-secondary_deg, 0.0, primary_deg]))  # cranial first, then the long axis
    column, row, to_detector = turn[:, 0], -turn[:, 2], -turn[:, 1]
    return np.stack([-column if from_before else column, row, to_detector], axis=1)


def is_orientation(letters: object) -> bool:
    """Whether something is two words of direction letters, as "L" and "F", or "LP" and "FP"."""
    return (
        isinstance(letters, Sequence)
        and not isinstance(letters, str)
        and len(letters) == 2
        and all(isinstance(word, str) and word and set(word) <= _DIRECTIONS.keys() for word in letters)
    )


def stored_axes(axes: np.ndarray, orientation: Sequence[str]) -> np.ndarray | None:
    """The axes (3, 3) of `detector_axes` turned by right angles, and mirrored where need be, so that columns and rows
    run as the letters say; None where the letters lie across the detector and so do not tell.

    orientation: where columns and rows run to, as DICOM's Patient Orientation (PS3.3 C.7.6.1.1.1).
    """
    wanted = np.stack([_direction(word) for word in orientation], axis=1)
    column, row, away = axes.T
    best, best_fit = None, -np.inf
    for (first, second), one, other in product(((column, row), (row, column)), (1, -1), (1, -1)):
        fits = (one * first @ wanted[:, 0], other * second @ wanted[:, 1])
        if min(fits) >= _ALONG and sum(fits) > best_fit:
            best, best_fit = np.stack([one * first, other * second, away], axis=1), sum(fits)
    return best


def letter_of(direction: np.ndarray) -> str:
    """The letter of the direction that a vector (3,) in LPS is nearest to."""
    return max(_DIRECTIONS, key=lambda letter: float(np.dot(_DIRECTIONS[letter], direction)))


def _direction(word: str) -> np.ndarray:
    """The unit vector of a word: each letter counts for less than the one before it."""
    vector = np.sum([np.array(_DIRECTIONS[letter]) * 0.5**place for place, letter in enumerate(word)], axis=0)
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
