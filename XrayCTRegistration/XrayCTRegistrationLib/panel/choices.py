"""What the panel's combo boxes offer. Names are stored with the scene; values are those of the library."""

from enum import Enum

from slicer.i18n import tr as _


class Method(Enum):
    """Values are keys of `registration.METHODS`."""

    AUTO = "auto"
    SEARCH = "search"
    CMAES = "cmaes"
    GRADIENT = "gradient"
    LEARNED = "learned"
    LEARNED_CMAES = "learned+cmaes"

    def label(self) -> str:
        return {
            Method.AUTO: _("Automatic: search from afar, then refine"),
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


class SearchScope(Enum):
    """Values are those of `Settings.search`, as (rotation_deg, depth_mm, in_plane_mm)."""

    WIDE = (25.0, 70.0, 70.0)
    NEAR = (8.0, 15.0, 20.0)

    def label(self) -> str:
        return {SearchScope.WIDE: _("Wide"), SearchScope.NEAR: _("Near the initial pose")}[self]
