"""Volume order imbalance: who presses harder, the bid or the offer."""

from __future__ import annotations

from liualgotrader.common.events import Quote

_SMOOTHING = 2 / (100 + 1)  # the weight of the newest value in a mean of span 100
_KEPT = 10


class Imbalance:
    """The smoothed volume order imbalance of one symbol, in shares; `values` holds the newest ten, oldest first.

    Per quote, the volume added at the bid (all of it at a better price, the difference at an equal one, none
    at a worse one) less the same at the offer; then an exponential mean with weight 2/101.

    *Source*: D. Shen, "Order Imbalance Based Strategy in High Frequency Trading", Oxford 2015, section 3.1.
    """

    __slots__ = ("ask_added", "bid_added", "previous", "values")

    def __init__(self) -> None:
        self.previous: Quote | None = None
        self.bid_added = 0.0
        self.ask_added = 0.0
        self.values: list[float] = []

    def take(self, quote: Quote) -> None:
        """Take the next quote; the first only starts the series."""
        before, self.previous = self.previous, quote
        if before is None:
            return
        self.bid_added = _added(quote.bid - before.bid, quote.bid_size, before.bid_size)
        self.ask_added = _added(before.ask - quote.ask, quote.ask_size, before.ask_size)
        last = self.values[-1] if self.values else 0.0
        self.values.append(last + _SMOOTHING * (self.bid_added - self.ask_added - last))
        if len(self.values) > _KEPT:
            del self.values[0]


def _added(better: float, size: float, size_before: float) -> float:
    if better > 0:
        return size
    return size - size_before if better == 0 else 0.0
