"""The result of a registration, kept with the pose's transform node and saved with the scene."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..geometry import Pose
from ..xray import Meaning

if TYPE_CHECKING:
    from ..registration import RegistrationResult

_RESULT = "XrayCTRegistration.Result"
_SAME = 1e-6


@dataclass(frozen=True)
class KeptResult:
    """What the panel shows of a registration; see `RegistrationResult`. ct_to_world: 4x4 in LPS, row by row."""

    method: str
    similarity_before: float
    similarity: float
    moved_deg: float
    moved_mm: float
    confidence: str
    reason: str
    expected_error_mm: float
    seconds: float
    polarities: tuple[str, ...]
    ct_to_world: tuple[float, ...]
    kept_start: bool = False  # also of scenes that were saved before it was known, as what follows
    logarithmic: tuple[bool | None, ...] = ()
    scatter: tuple[dict[str, float] | None, ...] = ()
    tone: tuple[dict[str, float] | None, ...] = ()

    @property
    def meanings(self) -> list[Meaning]:
        """How the pixels of every X-ray were read."""
        count = len(self.polarities)
        told = (self.logarithmic, self.scatter, self.tone)
        return [Meaning.told(*row) for row in zip(self.polarities, *(of_all or [None] * count for of_all in told))]

    def is_of(self, pose: Pose) -> bool:
        """Whether the CT still stands where the registration left it."""
        return np.allclose(np.reshape(self.ct_to_world, (4, 4)), pose.matrix, rtol=0, atol=_SAME)


def result_to_keep(result: RegistrationResult, method: str) -> KeptResult:
    """What is kept of a result."""
    return KeptResult(
        method=method,
        similarity_before=result.similarity_before,
        similarity=result.similarity,
        moved_deg=result.moved_deg,
        moved_mm=result.moved_mm,
        confidence=result.confidence.level,
        reason=result.confidence.reason,
        expected_error_mm=result.confidence.expected_error_mm,
        seconds=sum(result.seconds.values()),
        polarities=tuple(one.polarity.value if one.polarity else "" for one in result.meanings),
        ct_to_world=tuple(result.pose.matrix.ravel().tolist()),
        kept_start=result.kept_start,
        logarithmic=tuple(one.logarithmic for one in result.meanings),
        scatter=tuple(asdict(one.scatter) if one.scatter else None for one in result.meanings),
        tone=tuple(asdict(one.tone) if one.tone else None for one in result.meanings),
    )


def keep_result(transform_node: Any, result: RegistrationResult, method: str) -> KeptResult:
    """Write a result to the node of its pose."""
    kept = result_to_keep(result, method)
    transform_node.SetAttribute(_RESULT, json.dumps(asdict(kept)))
    return kept


def kept_result(transform_node: Any) -> KeptResult | None:
    """The last result of a pose's node, if there is one."""
    text = transform_node.GetAttribute(_RESULT)
    if not text:
        return None
    content = json.loads(text)
    return KeptResult(**{name: tuple(value) if isinstance(value, list) else value for name, value in content.items()})
