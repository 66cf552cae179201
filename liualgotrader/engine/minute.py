"""A bar in the making: the trades of one second or minute, in whatever order they arrive."""

from __future__ import annotations

from liualgotrader.common.clock import NEVER
from liualgotrader.common.events import Bar, BarSource, Counts

_LAST, _HIGH_LOW, _VOLUME = int(Counts.LAST), int(Counts.HIGH_LOW), int(Counts.VOLUME)
_INFINITE = float("inf")
_OURS = int(BarSource.OURS)


class Forming:
    """Open, high, low, close and volume of `[opened_at, closed_at)` so far.

    Open and close are the earliest and latest trade that counts for last (of equal times the first and the
    last to arrive); high and low come from trades that count for them and always contain open and close;
    `count` is the number of trades that counted for anything.
    """

    __slots__ = (
        "close",
        "closed_at",
        "count",
        "first_at",
        "high",
        "last_at",
        "low",
        "open",
        "opened_at",
        "traded",
        "volume",
    )

    def __init__(self, opened_at: int, length: int) -> None:
        self.opened_at = opened_at
        self.closed_at = opened_at + length
        self.open = self.close = 0.0
        self.high, self.low = -_INFINITE, _INFINITE
        self.volume = self.traded = 0.0
        self.count = 0
        self.first_at, self.last_at = NEVER, -1

    @property
    def has_price(self) -> bool:
        """Whether a trade that counts for last has come; without one there is no bar."""
        return self.last_at >= 0

    def add(self, at: int, price: float, size: float, flags: int) -> None:
        """Take a trade that does not count for everything; whole ones are folded where they arrive."""
        if not flags:
            return
        self.count += 1
        if flags & _LAST:
            if at >= self.last_at:
                self.last_at, self.close = at, price
            if at < self.first_at:
                self.first_at, self.open = at, price
        if flags & _HIGH_LOW:
            self.high, self.low = max(self.high, price), min(self.low, price)
        if flags & _VOLUME:
            self.volume += size
            self.traded += price * size

    def correct(self, original: tuple[float, float], price: float, size: float) -> None:
        """Take back a print of (price, size) and count `price`, `size` in its place; size 0 cancels it.

        High, low, open and close stay: only the vendor, who has every print, can correct those.
        """
        was_price, was_size = original
        self.volume = max(0.0, self.volume - was_size + size)
        self.traded = max(0.0, self.traded - was_price * was_size + price * size)
        if not size:
            self.count = max(0, self.count - 1)

    def merge(self, bar: Bar) -> None:
        """Take a shorter bar that lies inside this one; bars arrive in order."""
        self.count += bar.count
        self.high, self.low = max(self.high, bar.high), min(self.low, bar.low)
        if bar.opened_at < self.first_at:
            self.first_at, self.open = bar.opened_at, bar.open
        if bar.opened_at >= self.last_at:
            self.last_at, self.close = bar.opened_at, bar.close
        self.volume += bar.volume
        self.traded += bar.vwap * bar.volume

    def bar(self, symbol: str) -> Bar:
        """Return what there is so far as a bar of our own making."""
        average = self.traded / self.volume if self.volume > 0 else self.close
        high = max(self.high, self.open, self.close)
        low = min(self.low, self.open, self.close)
        return Bar(
            symbol,
            self.opened_at,
            self.closed_at,
            self.open,
            high,
            low,
            self.close,
            self.volume,
            average,
            self.count,
            _OURS,
        )
