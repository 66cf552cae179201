"""How long a symbol is followed after it was picked for the last time. Pure; market time, ns UTC."""

from __future__ import annotations

from liualgotrader.common.clock import MINUTE, NEVER, SECOND
from liualgotrader.common.tradeplan import TradePlan

REVIEW_PERIOD = MINUTE
REVIEW_OFFSET = 30 * SECOND  # between the instants at which scanners run, so that a pick never meets a review
SCAN_TIME = 2 * MINUTE  # that a scanner's next run may be late


class Ageing:
    """Until when each symbol is followed.

    A pick lasts `unpick_minutes`, and at least until its scanner had time to run again. That of a scanner
    that runs once lasts all day, and with `keep_picks` so does every pick.
    """

    def __init__(self, tradeplan: TradePlan) -> None:
        self._span = NEVER if tradeplan.keep_picks else round(tradeplan.timings.unpick_minutes * MINUTE)
        self._spans = {name: self._span_of(table.get("recurrence")) for name, table in tradeplan.scanners.items()}
        self._until: dict[str, int] = {}

    def _span_of(self, minutes: float | None) -> int:
        if not minutes or self._span == NEVER:
            return NEVER
        return max(self._span, round(minutes * MINUTE) + SCAN_TIME)

    def picked(self, symbol: str, scanner: str, at: int) -> None:
        """A scanner has chosen the symbol (again)."""
        span = self._spans.get(scanner, NEVER)
        until = NEVER if span == NEVER else at + span
        self._until[symbol] = max(self._until.get(symbol, 0), until)

    def needed(self, symbol: str, at: int) -> None:
        """The last position or order in the symbol has just ended; if no scanner picked it, that was all."""
        self._until.setdefault(symbol, NEVER if self._span == NEVER else at)

    def forget(self, symbol: str) -> None:
        """The symbol is followed no more."""
        self._until.pop(symbol, None)

    def over(self, now: int) -> list[str]:
        """Return the symbols whose time is over, in alphabetical order."""
        return sorted(symbol for symbol, until in self._until.items() if until <= now)

    def next_review(self, now: int) -> int:
        """Return the instant after `now` at which a symbol's time will be over, on the grid; NEVER if there is none."""
        first = min(self._until.values(), default=NEVER)
        if first == NEVER:
            return NEVER
        return next_on_grid(max(first - 1, now))


def next_on_grid(now: int) -> int:
    """Return the first half of a minute after `now`.

    >>> next_on_grid(30 * SECOND) // SECOND, next_on_grid(30 * SECOND - 1) // SECOND
    (90, 30)
    """
    return ((now - REVIEW_OFFSET) // REVIEW_PERIOD + 1) * REVIEW_PERIOD + REVIEW_OFFSET
