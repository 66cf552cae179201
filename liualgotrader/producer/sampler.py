"""What a `run_all` strategy's home receives of a symbol: minute bars as they come, quotes and trades now and then."""

from __future__ import annotations

from collections.abc import Callable

from liualgotrader.common.clock import MILLISECOND
from liualgotrader.common.events import Counts, FeedEvent, Gap, MarketEvent, Quote, TradeTick

_LAST = int(Counts.LAST)
PERIOD = 250 * MILLISECOND  # of market time


class Sampler:
    """Keeps the newest quote and trade per symbol until the next sample; everything else goes on at once.

    A trade that makes no price (an odd lot, say) does not take the place of one that does: both are kept.
    """

    def __init__(self, append: Callable[[FeedEvent], None]) -> None:
        self._append = append
        self._newest: dict[tuple[type[MarketEvent], str, int], MarketEvent] = {}

    def take(self, event: MarketEvent | Gap) -> None:
        """Take one event of a symbol that the home needs."""
        if isinstance(event, Quote | TradeTick):
            key = (type(event), event.symbol, event.flags & _LAST if isinstance(event, TradeTick) else 0)
            self._newest.pop(key, None)  # so that a sample keeps the order of arrival
            self._newest[key] = event
        else:
            self._append(event)

    @property
    def holds(self) -> bool:
        """Whether anything waits for the next sample."""
        return bool(self._newest)

    def sample(self) -> None:
        """Hand on what changed since the last sample."""
        for event in self._newest.values():
            self._append(event)
        self._newest.clear()


def next_sample(now: int) -> int:
    """Return the first multiple of the period after `now`, ns UTC."""
    return (now // PERIOD + 1) * PERIOD
