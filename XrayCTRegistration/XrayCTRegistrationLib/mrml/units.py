"""Lengths as the scene's unit node wants them shown: in millimetres unless a person has chosen another unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

_SELECTION = "vtkMRMLSelectionNodeSingleton"
_RESOLUTION_MM = 0.1  # finer means nothing in a registration's result


@dataclass(frozen=True)
class LengthUnit:
    """suffix: its symbol. per_mm: how many of it a millimetre is. precision: the most decimals that are shown."""

    suffix: str = "mm"
    per_mm: float = 1.0
    precision: int = 4

    def shown(self, length_mm: float) -> float:
        """The number that stands for a length."""
        return length_mm * self.per_mm

    def millimetres(self, shown: float) -> float:
        """The length that a number stands for."""
        return shown / self.per_mm

    def decimals(self, resolution_mm: float = _RESOLUTION_MM) -> int:
        """As many decimals as a resolution needs, and no more than the unit's precision."""
        return min(self.decimals_needed(resolution_mm), self.precision)

    def decimals_needed(self, resolution_mm: float) -> int:
        """As many decimals as a resolution needs: for numbers that are edited, and must not lose what they were."""
        return max(math.ceil(-math.log10(resolution_mm * self.per_mm) - 1e-9), 0)

    def text(self, length_mm: float, resolution_mm: float = _RESOLUTION_MM) -> str:
        """A length with its unit: `12.3 mm`."""
        return f"{self.number(length_mm, resolution_mm)} {self.suffix}"

    def number(self, length_mm: float, resolution_mm: float = _RESOLUTION_MM) -> str:
        """A length without its unit, for lists of them."""
        return f"{self.shown(length_mm):.{self.decimals(resolution_mm)}f}"


MILLIMETRES = LengthUnit()


def length_unit_node(scene: Any) -> Any | None:
    """The node that says how lengths are shown."""
    selection = scene.GetNodeByID(_SELECTION)
    return selection.GetUnitNode("length") if selection is not None else None


def length_unit(scene: Any) -> LengthUnit:
    """The unit of lengths in a scene; millimetres where it has none."""
    node = length_unit_node(scene)
    if node is None or not node.GetDisplayCoefficient() > 0:
        return MILLIMETRES
    return LengthUnit(node.GetSuffix() or MILLIMETRES.suffix, node.GetDisplayCoefficient(), node.GetPrecision())
