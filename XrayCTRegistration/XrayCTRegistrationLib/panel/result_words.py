"""What a result says, in words and in colours that suit a light and a dark theme."""

from __future__ import annotations

import html

from slicer.i18n import tr as _

from ..mrml.results import KeptResult
from ..mrml.units import LengthUnit

_ON_LIGHT = {"high": "#1b7a2f", "moderate": "#8a5a00", "low": "#b3261e"}
_ON_DARK = {"high": "#7bd88f", "moderate": "#f2c14e", "low": "#ff8a80"}


def confidence_word(level: str) -> str:
    """How far to trust a result, in a word. level: of its confidence."""
    return {"high": _("High"), "moderate": _("Moderate"), "low": _("Low")}.get(level, level)


def figures(result: KeptResult, unit: LengthUnit) -> str:
    """How alike the images are, how far the CT moved, and how long it took."""
    return _("similarity {similarity:.2f}, moved {turn:.1f}\u00b0 and {shift} in {seconds:.1f} s").format(
        similarity=result.similarity,
        turn=result.moved_deg,
        shift=unit.text(result.moved_mm),
        seconds=result.seconds,
    )


def one_line(result: KeptResult, unit: LengthUnit, moved_since: bool, dark: bool) -> str:
    """The result in a line, as HTML: a coloured word for the confidence, and the figures or the reason."""
    if moved_since:
        return html.escape(_("The CT was moved since the last registration."))
    word = html.escape(_("{level} confidence").format(level=confidence_word(result.confidence)))
    color = (_ON_DARK if dark else _ON_LIGHT).get(result.confidence, "")
    if result.kept_start:
        rest = _("nothing more alike than the start was found, so the CT stays there")
    elif result.confidence == "high":
        rest = figures(result, unit)
    else:
        rest = result.reason
    return f'<span style="color: {color}">\u25cf <b>{word}</b></span>: {html.escape(rest)}.'
