"""What the panel's combo boxes offer. Names are stored with the scene; values are those of the library."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from ..mrml.units import LengthUnit


class Method(Enum):
    """Values are keys of `registration.METHODS`."""

    AUTO = "auto"
    SEARCH = "search"
    CMAES = "cmaes"
    GRADIENT = "gradient"
    LEARNED = "learned"
    LEARNED_CMAES = "learned+cmaes"

    @property
    def searches(self) -> bool:
        """Whether it begins with a search, whose range can be chosen."""
        return self in (Method.AUTO, Method.SEARCH)

    def label(self) -> str:
        return {
            Method.AUTO: _("Automatic: search, then refine"),
            Method.SEARCH: _("Search only"),
            Method.CMAES: _("CMA-ES nearby, then refine"),
            Method.GRADIENT: _("Refine a start that is close"),
            Method.LEARNED: _("Learned similarity only"),
            Method.LEARNED_CMAES: _("Learned similarity, CMA-ES, then refine"),
        }[self]


class Device(Enum):
    """Values are those of `Settings.device`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    def label(self) -> str:
        return {Device.AUTO: _("Automatic"), Device.CPU: _("Processor"), Device.CUDA: _("CUDA GPU")}[self]


class BonePolarity(Enum):
    """Values are those of `xray.Polarity`, or "" to find out."""

    AUTO = ""
    BRIGHT = "bright"
    DARK = "dark"

    def label(self) -> str:
        return {
            BonePolarity.AUTO: _("Automatic"),
            BonePolarity.BRIGHT: _("Bright"),
            BonePolarity.DARK: _("Dark"),
        }[self]


NEAR, WIDE = (8.0, 15.0, 25.0), (25.0, 70.0, 90.0)  # rotation_deg, depth_mm, in_plane_mm, as the library's ranges
_CMAES_MM, _ROUGHLY_MM = 20.0, 1.0


class SearchScope(Enum):
    """How far from the pose the search looks."""

    AUTO = "auto"
    NEAR = "near"
    WIDE = "wide"

    def label(self) -> str:
        return {
            SearchScope.AUTO: _("Automatic"),
            SearchScope.NEAR: _("Near the pose"),
            SearchScope.WIDE: _("Far around the pose"),
        }[self]

    def is_near(self, untouched: bool) -> bool:
        """Whether it means the near range. untouched: whether nobody has placed the CT."""
        return self is SearchScope.NEAR or (self is SearchScope.AUTO and not untouched)

    def words(self, method: Method, untouched: bool, unit: LengthUnit) -> str:
        """What will happen, for people."""
        if method is Method.CMAES:
            reach = unit.text(_CMAES_MM, _ROUGHLY_MM)
            return _("Looks some {reach} around the pose as it stands.").format(reach=reach)
        if not method.searches:
            return _("Begins at the pose as it stands, without a search.")
        turn_deg, shift_mm, _in_plane = NEAR if self.is_near(untouched) else WIDE
        reach = _("about {turn:.0f}\u00b0 and {shift}").format(turn=turn_deg, shift=unit.text(shift_mm, _ROUGHLY_MM))
        if self is SearchScope.AUTO and untouched:
            return _("Nobody has placed the CT: searches far, {reach}.").format(reach=reach)
        if self is SearchScope.AUTO:
            return _("The CT was placed: searches near that pose, {reach}.").format(reach=reach)
        if self is SearchScope.NEAR:
            return _("Searches near the pose, {reach}.").format(reach=reach)
        return _("Searches far around the pose, {reach}.").format(reach=reach)
