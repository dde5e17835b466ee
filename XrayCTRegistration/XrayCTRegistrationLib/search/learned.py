"""The learned similarity's stage: a guess, several hypotheses, and descents from them."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from ..geometry import Pose
from ..levels import Level, Problem
from ..networks.dual_branch import DualBranch
from ..networks.interface import SimilarityNetwork
from ..networks.sopi import Sopi, guessed_pose
from ..state import RegistrationState, Steps, shown
from .feature_descent import feature_descent
from .global_search import refining_level
from .hypotheses import Hypothesis, drawn_steps, judged, likely
from .learned_scene import Look
from .search_range import SearchRange
from .value_descent import value_descent

_FEW, _MANY = 6, 12  # steps down from every hypothesis, and from the best of their ends
_CONVINCING = 0.65  # similarity from which no other hypothesis is tried
_LIKELY = 0.2  # of the progress: guesses and the start, before poses that are drawn


def learned_search(problem: Problem, network: SimilarityNetwork, span: SearchRange, seed: int) -> Steps[Pose]:
    """The pose that a network finds, see `best_of_hypotheses`; with the baselines, ProST and SOPI, by a descent on
    their value, as their authors do, from the start or from SOPI's guess.

    Where the GPU's memory does not suffice, it goes on with the CPU.
    Raises InputError when the X-rays show too little of what the views see at their isocentre.
    """
    yield _searching(0.0, problem.start)
    look = Look(problem, network)
    if isinstance(network, DualBranch):
        return (yield from best_of_hypotheses(look, look, span, seed))
    start = problem.start
    if isinstance(network, Sopi):
        start = look.attempt(lambda scene: guessed_pose(network, scene.attenuation, scene.fixed, problem.isocenter))
    return (yield from value_descent(look, start))


def best_of_hypotheses(look: Look, guessing: Look, span: SearchRange, seed: int) -> Steps[Pose]:
    """From what one network guesses, a few steps down on the differences of another's features, or its own: from one
    hypothesis after the other until a pose is alike beyond doubt, and from the most alike to the end.

    How alike a pose is says the registration's similarity: a network is trained for the way, not for the value.
    """
    problem = look.problem
    level = yield from shown(refining_level(problem, span), _searching(0.0, problem.start))
    (best,) = judged(level, [problem.start])
    best = yield from _tried(look, level, span, likely(guessing), best, 0.0, _LIKELY)
    if best.similarity <= _CONVINCING:
        drawn = yield from shown(drawn_steps(guessing, span, seed), _searching(_LIKELY, best.pose))
        best = yield from _tried(look, level, span, drawn, best, _LIKELY, 1.0)
    end = yield from shown(_lower(look, level, span, best.pose, best, _MANY), _searching(1.0, best.pose))
    return end.pose


def _tried(
    look: Look, level: Level, span: SearchRange, poses: Sequence[Pose], best: Hypothesis, first: float, last: float
) -> Steps[Hypothesis]:
    """The best hypothesis after a few steps down from each pose, until one is convincing. first, last: the progress."""
    for number, pose in enumerate(poses):
        state = _searching(first + (last - first) * number / len(poses), best.pose)
        best = yield from shown(_lower(look, level, span, pose, best, _FEW), state)
        if best.similarity > _CONVINCING:
            break
    return best


def _searching(progress: float, pose: Pose) -> RegistrationState:
    return RegistrationState("learned", progress, pose, -1.0)


def _lower(
    look: Look, level: Level, span: SearchRange, start: Pose, best: Hypothesis, iterations: int
) -> Generator[None, None, Hypothesis]:
    """The best hypothesis after a descent from a start, whose end counts where it is within the range."""
    end = yield from feature_descent(look, start, iterations)
    if not span.holds(*look.problem.motion(end)):
        return best
    return max(best, *judged(level, [end]), key=lambda one: one.similarity)
