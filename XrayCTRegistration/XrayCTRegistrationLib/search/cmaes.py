"""CMA-ES over the twist of the pose (Hansen and Ostermeier 2001), coarse to fine, a generation rendered at once."""

from __future__ import annotations

import numpy as np

from ..geometry import Pose
from ..levels import Problem
from ..state import RegistrationState, Steps, shown
from ..threads import imported_steps

_RENDERED_PIXELS_AT_ONCE = 24_000
# pixels along the longest side, first deviation as a share of the search range, population, generations
_STAGES = ((32, 0.6, 32, 45), (64, 0.12, 20, 40), (128, 0.02, 14, 25))
_REACH_MM = 70.0  # how far across the central ray poses may wander
_DEVIATIONS = np.array([np.radians(20.0)] * 3 + [30.0, 30.0, 60.0])  # turns, in plane, depth, in the C-arm's axes


def cmaes(problem: Problem, start: Pose, seed: int) -> Steps[tuple[Pose, float]]:
    """Refine a start by CMA-ES; returns the best pose and its similarity at the last resolution."""
    # Here, since it takes a second and the usual methods do without it; it warns of plots, which nobody wants.
    cma = yield from shown(imported_steps("cma"), RegistrationState("CMA-ES", 0.0, start, -1.0))
    axes, center = problem.views[0].axes, problem.center(start)
    extent_mm = problem.extent_mm(start)
    rng = np.random.default_rng(seed)
    mean, pose, value = np.zeros(6), start, -1.0
    for number, (pixels, deviation, population, generations) in enumerate(_STAGES):
        state = RegistrationState("CMA-ES", number / len(_STAGES), pose, value)
        steps = problem.level(start, extent_mm / pixels, 1.5 * extent_mm / pixels, margin_mm=_REACH_MM)
        level = yield from shown(steps, state)
        options = {
            "popsize": population,
            "CMA_stds": deviation * _DEVIATIONS,
            "randn": lambda *shape: rng.standard_normal(shape),
            "seed": float("nan"),  # leaves numpy's global generator alone
            "verbose": -9,
        }
        strategy = cma.CMAEvolutionStrategy(mean, 1.0, options)
        value = -1.0
        for generation in range(generations):
            asked = strategy.ask()
            poses = [start.moved(_in_world(twist, axes), center) for twist in asked]
            values = np.zeros(population)
            at_once = max(1, _RENDERED_PIXELS_AT_ONCE // sum(fixed.line_integrals.numel() for fixed in level.fixed))
            for first in range(0, population, at_once):
                values[first : first + at_once] = level.similarity(poses[first : first + at_once])
                yield RegistrationState("CMA-ES", (number + generation / generations) / len(_STAGES), pose, value)
            strategy.tell(asked, list(-values))
            if values.max() > value:
                value, pose, mean = float(values.max()), poses[values.argmax()], asked[values.argmax()]
            if strategy.stop():
                break
    return pose, value


def _in_world(twist: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return np.concatenate([axes @ twist[:3], axes @ twist[3:]])
