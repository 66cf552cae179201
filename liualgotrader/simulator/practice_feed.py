"""The vendor's test stream: one symbol that is not listed anywhere and trades at every hour, for clients to try themselves on.

Source: Alpaca market data API 1.1, test stream. Each second of market time has a quote and half a second later a print,
each minute its bar; all are worked out from the time alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.events import Quote, TradeTick
from liualgotrader.ipc.session_page import SessionPage
from liualgotrader.simulator.asset_codes import SymbolTable
from liualgotrader.simulator.stream_hubs import DataHub
from liualgotrader.tapes.minute_bars import bars_of

PRACTICE_SYMBOL = "FAKEPACA"
_MIDDLE, _CENTS, _STEP = 100.0, 40, 7  # dollars, cents above it at most, steps of the cents from second to second


class PracticeFeed:
    """The connections of the test stream, and what they are sent."""

    def __init__(self, page: SessionPage) -> None:
        self.hub = DataHub(SymbolTable(()), page)

    def play(self, start: int, end: int) -> bool:
        """Send what happens with start <= time < end, and return whether anybody got anything."""
        if not self.hub.members:
            return False
        for second in range(-(-start // SECOND), -(-end // SECOND)):
            quote, trade = _events(second)
            if second % 60 == 0:
                for bar in bars_of(_trades(second - 60)):
                    self.hub.minute_bar(bar)
            self.hub.quote(quote)
            self.hub.trade(trade, second)
        return self.hub.flush(end)


def _events(second: int) -> tuple[Quote, TradeTick]:
    price = round(_MIDDLE + second * _STEP % _CENTS / 100, 2)
    at = second * SECOND
    quote = Quote(PRACTICE_SYMBOL, at, round(price - 0.01, 2), 100.0, round(price + 0.01, 2), 100.0)
    return quote, TradeTick(PRACTICE_SYMBOL, at + SECOND // 2, price, 100.0)


def _trades(first: int) -> Iterator[TradeTick]:
    """Yield the prints of the minute that begins with a second."""
    return (_events(second)[1] for second in range(first, first + MINUTE // SECOND))
