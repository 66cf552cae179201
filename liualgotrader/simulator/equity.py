"""The account's equity over the day, one point a minute, for the portfolio history."""

from __future__ import annotations

from decimal import Decimal

from liualgotrader.common.clock import MINUTE, SECOND


class EquityCurve:
    """Points (market time, equity), oldest first, at most one for each minute that was played."""

    def __init__(self) -> None:
        self._points: list[tuple[int, Decimal]] = []
        self.due_at = 0

    def note(self, at: int, equity: Decimal) -> None:
        """Keep the account's equity at an instant."""
        self._points.append((at, equity))
        self.due_at = at - at % MINUTE + MINUTE

    def points(self, start: int, end: int, every: int) -> list[tuple[int, Decimal]]:
        """Return (epoch seconds, equity): the last point of each interval of `every` ns with start <= at <= end."""
        last: dict[int, Decimal] = {}
        for at, equity in self._points:
            if start <= at <= end:
                last[at // every * every // SECOND] = equity
        return sorted(last.items())
