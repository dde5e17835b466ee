"""Fit how far results can be trusted: on cases of some CTs, tested on those of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..calibrated import RIGHT_MM, Calibration, feature_values, logistic, standardised
from ..errors import InputError

FEATURES = ("similarity", "inlying", "compared", "runner_up_gap", "agreement", "uncertainty_mm", "strain")
# Of bones that were found from a CT that stood right, nothing else told the errors, which are nearly all depth: weights
# of the rest had no sign that held on both CTs (seed 1).
BONE_FEATURES = ("uncertainty_mm",)
BONE_RIGHT_MM = 3.0  # an error of a bone below it is a success

_WRONG_AMONG_HIGH, _HIGH_AMONG_FAILURES, _LOW_AMONG_SUCCESSES = 0.02, 0.05, 0.05  # at most, on cases not fitted on
_MARGIN = 0.5  # of these shares is spent where the thresholds are chosen: other cases are not quite like them
_WITHIN = 0.88  # of the true errors, where the expected error is fitted, lie below twice of it; 0.8 is wanted elsewhere
_RIDGE = 1.0  # prior precision of a standardised feature's weight on the error
# What each feature says is known before any case is seen: a prior on its weight in the log odds, of this mean, for or
# against, and this precision, which keeps weights finite where success can be told exactly. Without it, the uncertainty
# alone decided, and two views with each other's geometry, whose wrong pose is known exactly, were called "high".
_AGAINST = ("uncertainty_mm", "strain")
_PRIOR, _PRECISION = 1.0, 4.0
_LEAST_ERROR_MM = 0.01  # exacter than any use of it
_FEWEST = 10  # successes, and failures, that a fit needs


class Judged(Protocol):
    """A pose with its evidence and its true error.

    ct, case, effect: which. judged: whether a confidence can be fitted to it.
    """

    @property
    def ct(self) -> str: ...
    @property
    def case(self) -> int: ...
    @property
    def effect(self) -> str: ...
    @property
    def mtre_mm(self) -> float: ...
    @property
    def evidence(self) -> Mapping[str, float]: ...
    @property
    def judged(self) -> bool: ...


@dataclass(frozen=True)
class Figures:
    """What a calibration is worth on some cases. Percents are None where there is no case of the kind.

    cases, failures: counts. high_wrong: of those called "high". failures_not_high, successes_low: of the failures, of
    the successes. within_twice_expected: of all. brier: mean squared difference of probability and outcome.
    """

    cases: int
    failures: int
    high: int
    high_wrong_percent: float | None
    failures_not_high_percent: float | None
    successes_low_percent: float | None
    within_twice_expected_percent: float | None
    brier: float


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibration and what it is worth.

    test_cts: names of the files that it was tested on. fitted, tested: the cases of the other CTs, and of these.
    probability, right: of every case of the two parts, by their names: that it is a success, and whether it is.
    """

    calibration: Calibration
    test_cts: tuple[str, ...]
    fitted: Figures
    tested: Figures
    probability: dict[str, np.ndarray]
    right: dict[str, np.ndarray]


def calibrate(
    results: Sequence[Judged],
    test_cts: Sequence[str],
    features: tuple[str, ...] = FEATURES,
    right_mm: float = RIGHT_MM,
) -> Calibrated:
    """Fit a calibration to the cases of all CTs but test_cts (names of files, the suffix may be left out).

    right_mm: an error below it is a success. Starts and refused cases are left out. Raises InputError when a named CT
    has no case, when evidence is missing, or when there are too few successes or failures to fit.
    """
    judged = [result for result in results if result.judged]
    for name in test_cts:
        if not any(_is(result, name) for result in judged):
            raise InputError(f"There is no case of the CT {name}. The tables hold: {', '.join(_names(judged))}.")
    if not test_cts:
        raise InputError("There is no CT to test the calibration on. Name at least one with --test-cts.")
    _check_evidence(judged, features)
    test = [result for result in judged if any(_is(result, name) for name in test_cts)]
    fit = [result for result in judged if not any(_is(result, name) for name in test_cts)]
    calibration = fitted(*_arrays(fit, features), features, right_mm)
    parts = {"fitted": fit, "tested": test}
    probability = {
        part: np.array([calibration.probability(case.evidence) for case in cases]) for part, cases in parts.items()
    }
    right = {part: np.array([case.mtre_mm < right_mm for case in cases]) for part, cases in parts.items()}
    worth = {part: _figures(calibration, cases, probability[part]) for part, cases in parts.items()}
    return Calibrated(calibration, tuple(_names(test)), worth["fitted"], worth["tested"], probability, right)


def fitted(
    values: np.ndarray, errors_mm: np.ndarray, features: tuple[str, ...], right_mm: float = RIGHT_MM
) -> Calibration:
    """The calibration of feature values (N, F), see `feature_values`, and true errors (N,).

    Raises InputError with fewer than ten successes or failures.
    """
    right = errors_mm < right_mm
    if min(right.sum(), (~right).sum()) < _FEWEST:
        raise InputError(
            f"There are {right.sum()} cases below {right_mm:g} mm and {(~right).sum()} others to fit to. Give at least "
            f"{_FEWEST} of each: more cases, or a table of harder ones."
        )
    mean, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    mean, scale = np.nan_to_num(mean), np.where(scale > 0, scale, 1.0)  # a feature that does not vary says nothing
    x = standardised(values, mean, scale)
    speaks = np.array([-1 if name in _AGAINST else int(name in FEATURES) for name in features])
    weights, bias = logistic_fit(x, right, _PRIOR * speaks)
    error_weights, error_bias = _expected_error_fit(x, errors_mm)
    high, low = thresholds(logistic(x @ weights + bias), right)
    return Calibration(
        features,
        _floats(mean),
        _floats(scale),
        _floats(weights),
        bias,
        _floats(error_weights),
        error_bias,
        high,
        low,
        right_mm,
    )


def _floats(array: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in array)


def logistic_fit(x: np.ndarray, right: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (F,) and bias of a logistic regression of outcomes (N,) bool on x (N, F), with a normal prior about
    `prior` (F,) on the weights.

    Newton's method on a convex function, each step halved until it descends.
    """
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.diag([*[_PRECISION] * x.shape[1], 1e-6])
    signs, mean = np.where(right, 1.0, -1.0), np.append(prior, 0.0)

    def loss(parameters: np.ndarray) -> float:
        away = parameters - mean
        return float(np.logaddexp(0, -signs * (design @ parameters)).sum() + 0.5 * away @ ridge @ away)

    parameters = mean
    for _ in range(50):
        p = logistic(design @ parameters)
        gradient = design.T @ (p - right) + ridge @ (parameters - mean)
        step = np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]) + ridge, gradient)
        while loss(parameters - step) > loss(parameters) and np.abs(step).max() > 1e-10:
            step = step / 2
        parameters = parameters - step
        if np.abs(step).max() < 1e-10:
            break
    return parameters[:-1], float(parameters[-1])


def thresholds(probability: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """The probabilities (high, low) from which on a pose is called "high", and below which "low".

    high: the lowest at which few of the "high" are wrong and few failures are "high". low: the highest, up to high, at
    which few successes are "low". Above 1 where even the surest pose may be wrong.
    """
    failures = int((~right).sum())
    high = float(np.nextafter(1.0, 2.0))
    for candidate in np.unique(probability):
        called = probability >= candidate
        wrong = int((called & ~right).sum())
        if wrong <= _tolerable(_WRONG_AMONG_HIGH, called.sum()) and wrong <= _tolerable(_HIGH_AMONG_FAILURES, failures):
            high = float(candidate)
            break
    successes = np.sort(probability[right])
    low = float(successes[int(_MARGIN * _LOW_AMONG_SUCCESSES * len(successes))])
    return high, min(low, high)


def _tolerable(share: float, cases: int) -> float:
    """How many of the cases chosen on may be an exception, such that not more than share are among others.

    One less than the share with its margin, since the threshold is put just where the next exception would come.
    """
    return max(_MARGIN * share * cases - 1, 0.0)


def _expected_error_fit(x: np.ndarray, errors_mm: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (F,) and bias of the logarithm of half the error that most true errors lie below."""
    target = np.log(np.maximum(errors_mm, _LEAST_ERROR_MM))
    centred = x - x.mean(axis=0)
    weights = np.linalg.solve(centred.T @ centred + _RIDGE * np.eye(x.shape[1]), centred.T @ target)
    above = np.quantile(target - x @ weights, _WITHIN, method="higher")
    return weights, float(above - np.log(2))


def _figures(calibration: Calibration, cases: Sequence[Judged], probability: np.ndarray) -> Figures:
    right = np.array([case.mtre_mm < calibration.right_mm for case in cases])
    levels = np.array([calibration.level(p) for p in probability])
    expected = np.array([calibration.expected_error_mm(case.evidence) for case in cases])
    within = np.array([case.mtre_mm for case in cases]) < 2 * expected
    high = levels == "high"
    return Figures(
        cases=len(cases),
        failures=int((~right).sum()),
        high=int(high.sum()),
        high_wrong_percent=_percent(~right[high]),
        failures_not_high_percent=_percent(~high[~right]),
        successes_low_percent=_percent(levels[right] == "low"),
        within_twice_expected_percent=_percent(within),
        brier=float(np.mean((probability - right) ** 2)),
    )


def _percent(outcomes: np.ndarray) -> float | None:
    return 100 * float(outcomes.mean()) if len(outcomes) else None


def _arrays(cases: Sequence[Judged], features: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Feature values (N, F) and true errors (N,) of cases."""
    values = [feature_values(case.evidence, features) for case in cases]
    return np.array(values).reshape(len(cases), len(features)), np.array([case.mtre_mm for case in cases])


def _check_evidence(cases: Sequence[Judged], features: tuple[str, ...]) -> None:
    for case in cases:
        missing = [name for name in features if name not in case.evidence]
        if missing:
            raise InputError(
                f"{case.ct}, case {case.case} {case.effect}: the table holds no evidence named {', '.join(missing)}. "
                "Evaluate again with this version."
            )


def _is(case: Judged, name: str) -> bool:
    return case.ct == name or case.ct.startswith(f"{name}.")


def _names(cases: Sequence[Judged]) -> list[str]:
    return list(dict.fromkeys(case.ct for case in cases))
