"""The ways in which a CT and its X-ray disagree, each an effect that a case can be simulated under.

An effect is a body, which may differ from its CT, and an exposure of it, as a file holds it. What is random in them is
drawn from a generator of the case's own, so that a case is the same whatever else runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..realism import HARD, covered, hardened, stored
from ..simulation import detector_counts
from ..volume import Volume
from . import exposures as x
from .bodies import (
    Patient,
    cut_along_body,
    random_shift,
    smooth_field,
    tissues,
    warped,
    warped_points,
    with_soft_tissue_moved,
)

Body = Callable[[Volume, np.random.Generator], Patient]
Exposure = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Effect:
    """title: for tables. body: the patient of a CT in Hounsfield units. exposure: pixels (rows, columns) of line
    integrals (rows, columns) and a number of photons. at_vertebrae: whether errors are measured at the vertebrae alone,
    since the other bones do not move as one with them."""

    title: str
    body: Body
    exposure: Exposure
    at_vertebrae: bool = False


def _as_scanned(ct: Volume, rng: np.random.Generator) -> Patient:
    """The body as the CT shows it."""
    return Patient(ct, ct)


def _soft_tissue_moved(ct: Volume, rng: np.random.Generator) -> Patient:
    """Soft tissue 3 to 5 mm elsewhere than the bones, in one random direction."""
    return Patient(with_soft_tissue_moved(ct, tissues(ct), random_shift(rng, 3.0, 5.0)), ct)


def _bent(ct: Volume, rng: np.random.Generator) -> Patient:
    """A body bent smoothly by up to 4 mm."""
    field = smooth_field(ct, 4.0, rng)
    return Patient(warped(ct, field), ct, lambda points: warped_points(points, field))


def _cut(ct: Volume, rng: np.random.Generator) -> Patient:
    """A CT of 160 mm along the body."""
    return Patient(ct, cut_along_body(ct, 160.0))


def _mildly_different(ct: Volume, rng: np.random.Generator) -> Patient:
    """A CT of 220 mm along the body; soft tissue moved by 1.5 to 3 mm, then all of it bent by up to 2 mm."""
    moved = with_soft_tissue_moved(ct, tissues(ct), random_shift(rng, 1.5, 3.0))
    field = smooth_field(ct, 2.0, rng)
    return Patient(warped(moved, field), cut_along_body(ct, 220.0), lambda points: warped_points(points, field))


def _counts(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """What the detector counts, bone dark."""
    return detector_counts(integrals, photons, rng)


def _scatter(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Half to one and a half scattered photons per primary one."""
    return x.with_scatter(integrals, photons, rng, (0.5, 1.5))


def _hardening(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """A beam of two energies, the softer absorbed 1.7 to 2.6 times as much as the harder."""
    return detector_counts(hardened(integrals, rng.uniform(0.3, 0.6)), photons, rng)


def _eight_bits(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """A picture of a radiograph: logarithm, bone bright, 8 bits of an unknown window."""
    everywhere = np.ones(integrals.shape, bool)
    return x.unknown_window(x.absorbed(_counts(integrals, photons, rng), photons), everywhere, rng)


def _inverted(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Counts turned black for white: bone bright without a logarithm."""
    return x.inverted(_counts(integrals, photons, rng))


def _collimator(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Four blades over 30 % of the image, the shadow behind them grey and flat, as a file that was clipped holds it."""
    field = x.four_blades(integrals.shape, rng, 0.3)
    return np.where(field, _counts(integrals, photons, rng), np.float32(x.LEAKAGE[1] * photons))


def _rods(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Two to four opaque rods over 3 to 8 % of the image."""
    hidden = x.rods(integrals.shape, rng, int(rng.integers(2, 5)), rng.uniform(0.03, 0.08))
    return _counts(np.where(hidden, x.OPAQUE, integrals), photons, rng)


def _rectangle(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """One opaque rectangle over 15 % of the image."""
    hidden = x.rectangle(integrals.shape, rng, 0.15)
    return _counts(np.where(hidden, x.OPAQUE, integrals), photons, rng)


def _noisy_shadow_bright(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """A collimator over 30 % whose few photons of leakage make a noisy shadow: the logarithm's full range in 8 bits,
    bone bright."""
    field = x.four_blades(integrals.shape, rng, 0.3)
    counts = x.behind_collimator(_counts(integrals, photons, rng), field, photons, rng)
    return x.full_range(x.absorbed(counts, photons))


def _noisy_shadow_dark(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """The same black for white."""
    return x.inverted(_noisy_shadow_bright(integrals, photons, rng))


def _round_field(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Counts in a round field, 22 to 26 % of the image black outside it."""
    field = x.round_field(integrals.shape, rng.uniform(0.22, 0.26))
    return np.where(field, _counts(integrals, photons, rng), np.float32(0))


def _four_blades(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Counts between four blades, 20 to 40 % of the image black outside them."""
    field = x.four_blades(integrals.shape, rng, rng.uniform(0.2, 0.4))
    return np.where(field, _counts(integrals, photons, rng), np.float32(0))


def _black_surround(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """A C-arm's screen: bone bright in 8 bits of an unknown window, in a round field, black outside it."""
    field = x.round_field(integrals.shape, rng.uniform(0.22, 0.26))
    shown = x.unknown_window(x.absorbed(_counts(integrals, photons, rng), photons), field, rng)
    return np.where(field, shown, np.float32(0))


def _mild_exposure(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """One or two rods over 1 to 3 %, a rectangle over 4 %, some hardening and scatter, a collimator over 10 to 20 %,
    and 8 bits of an unknown window, bone bright or dark."""
    hidden = x.rods(integrals.shape, rng, int(rng.integers(1, 3)), rng.uniform(0.01, 0.03))
    hidden |= x.rectangle(integrals.shape, rng, 0.04)
    body = hardened(integrals, rng.uniform(0.1, 0.3))
    counts = x.with_scatter(np.where(hidden, x.OPAQUE, body), photons, rng, (0.2, 0.5))
    field = x.four_blades(integrals.shape, rng, rng.uniform(0.1, 0.2))
    counts = x.behind_collimator(counts, field, photons, rng)
    shown = x.unknown_window(x.absorbed(counts, photons), field, rng)
    return shown if rng.random() < 0.5 else x.inverted(shown)


def _hard(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Everything of `realism.HARD`, which draws its own number of photons."""
    return stored(integrals, rng, HARD)


def _hard_covered(integrals: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """The same, occluded by pieces that have structure of their own."""
    return stored(integrals, rng, HARD, covered)


EFFECTS: dict[str, Effect] = {
    "none": Effect("nothing", _as_scanned, _counts),
    "scatter": Effect("scatter", _as_scanned, _scatter),
    "hardening": Effect("beam hardening", _as_scanned, _hardening),
    "8-bit": Effect("8 bits of an unknown window", _as_scanned, _eight_bits),
    "inverted": Effect("inverted", _as_scanned, _inverted),
    "collimator": Effect("collimator over 30 %", _as_scanned, _collimator),
    "rods": Effect("two to four opaque rods over 3 to 8 %", _as_scanned, _rods),
    "rectangle": Effect("one opaque rectangle over 15 %", _as_scanned, _rectangle),
    "soft-tissue": Effect("soft tissue 3 to 5 mm elsewhere than the bones", _soft_tissue_moved, _counts),
    "warp": Effect("body bent smoothly by up to 4 mm, at the vertebrae", _bent, _counts, at_vertebrae=True),
    "cut": Effect("CT cut to 160 mm along the body", _cut, _counts),
    "noisy-shadow-dark": Effect("collimator with a noisy shadow, bone dark", _as_scanned, _noisy_shadow_dark),
    "noisy-shadow-bright": Effect("collimator with a noisy shadow, bone bright", _as_scanned, _noisy_shadow_bright),
    "round-field": Effect("round field, black outside", _as_scanned, _round_field),
    "four-blades": Effect("four blades, black outside", _as_scanned, _four_blades),
    "black-surround": Effect("bone bright, black outside a round field", _as_scanned, _black_surround),
    "together": Effect("all of it mildly, CT cut to 220 mm", _mildly_different, _mild_exposure, at_vertebrae=True),
    "hard": Effect("hard realism, a fifth occluded", _as_scanned, _hard),
    "hard-covered": Effect("hard realism, a fifth behind other anatomy", _as_scanned, _hard_covered),
}
