"""How often a running registration is shown: as often as drawing is cheap."""

from __future__ import annotations

_SHARE = 0.15  # of the time, for showing: less than a quarter, since a window has more to do than to draw
_LEAST_S, _MOST_S = 0.12, 2.0  # between two refreshes


class Pace:
    """Says when to show again, so that showing takes a small share of the time, and no longer than 2 s pass.

    A refresh costs what it takes to change the scene, and how long the window's event loop then keeps the registration
    waiting, since it draws. Times are those of one clock, in seconds; lag_s is `Ticker.lag_s`.
    """

    def __init__(self, now_s: float, lag_s: float) -> None:
        self._began_s, self._changed_s, self._lag_s = now_s, 0.0, lag_s

    def is_due(self, now_s: float, lag_s: float) -> bool:
        """Whether to show now."""
        cost_s = self._changed_s + lag_s - self._lag_s
        return now_s - self._began_s >= min(max(cost_s / _SHARE, _LEAST_S), _MOST_S)

    def shown(self, began_s: float, ended_s: float, lag_s: float) -> None:
        """The scene was changed from began_s to ended_s; it is drawn from now on."""
        self._began_s, self._changed_s, self._lag_s = began_s, ended_s - began_s, lag_s
