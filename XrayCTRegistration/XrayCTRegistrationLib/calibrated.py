"""How likely a pose is right, and how far off it may be, from what the images say for and against it.

A logistic model gives the probability that the error is below a limit, a linear one the logarithm of the error. Both
are fitted by `xrayct calibrate` to cases with a known answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError

RIGHT_MM = 10.0  # an error of a whole CT below it is a success, as in the field's papers
_FARTHEST = 4.0  # standard deviations: evidence beyond what was fitted on says no more
_LEAST_MM = 1e-3  # of a length, before its logarithm


@dataclass(frozen=True)
class Calibration:
    """The fitted models.

    features: F names of the evidence that they look at. mean, scale: (F,) of these features among the cases they were
    fitted on. weights (F,), bias: of the log odds of a success. error_weights (F,), error_bias: of the natural
    logarithm of the expected error in mm. high, low: a pose is "high" from this probability on, and "low" below that.
    right_mm: an error below it is a success.
    """

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    error_weights: tuple[float, ...]
    error_bias: float
    high: float
    low: float
    right_mm: float = RIGHT_MM

    def probability(self, evidence: Mapping[str, float]) -> float:
        """Probability that the error is below right_mm. evidence: by name; it may hold more than the features."""
        return float(logistic(self._standardised(evidence) @ np.array(self.weights) + self.bias))

    def expected_error_mm(self, evidence: Mapping[str, float]) -> float:
        """The error to expect, such that at least 80 % of true errors lay below twice of it."""
        return float(np.exp(self._standardised(evidence) @ np.array(self.error_weights) + self.error_bias))

    def level(self, probability: float) -> str:
        """What to call a pose of this probability: "high", "moderate" or "low"."""
        return "high" if probability >= self.high else "low" if probability < self.low else "moderate"

    def _standardised(self, evidence: Mapping[str, float]) -> np.ndarray:
        return standardised(feature_values(evidence, self.features), np.array(self.mean), np.array(self.scale))


def feature_values(evidence: Mapping[str, float], features: tuple[str, ...]) -> np.ndarray:
    """(F,) the features of evidence. A length, whose name ends with _mm, enters as its logarithm.

    Raises KeyError for a feature that the evidence does not have.
    """
    values = np.array([evidence[name] for name in features], dtype=np.float64)
    lengths = np.array([name.endswith("_mm") for name in features])
    return np.where(lengths, np.log(np.maximum(values, _LEAST_MM)), values)


def standardised(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Feature values (..., F) in standard deviations from the mean, at most four.

    What is not known (NaN) counts as the mean.
    """
    return np.clip(np.nan_to_num((values - mean) / scale, nan=0.0), -_FARTHEST, _FARTHEST)


def logistic(log_odds: np.ndarray) -> np.ndarray:
    """Probabilities of log odds."""
    return 1 / (1 + np.exp(-np.clip(log_odds, -50, 50)))


def read_calibration(path: Path) -> Calibration:
    """A calibration as `xrayct calibrate` writes it. Raises InputError, naming the file, when it cannot be used."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else float(value) for name, value in entries.items()
        }
        calibration = Calibration(**values)
    except OSError as error:
        raise InputError(f"{path}: the calibration cannot be read ({error.strerror}). Install again.") from None
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{path}: this is no calibration. Write one with xrayct calibrate.") from None
    of_features = {len(value) for value in vars(calibration).values() if isinstance(value, tuple)}
    if len(of_features) > 1:
        raise InputError(f"{path}: the calibration's lists differ in length. Write one with xrayct calibrate.")
    return calibration
