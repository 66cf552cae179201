"""A bar in the making: the trades of one interval, in whatever order they arrive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from liualgotrader.common.clock import NEVER
from liualgotrader.common.events import Bar, BarSource, Counts

_LAST, _VOLUME = int(Counts.LAST), int(Counts.VOLUME)
_INFINITE = float("inf")


class BarRules(NamedTuple):
    """What makers of bars do differently. Flags are `Counts`."""

    high_low: int  # a trade with one of these flags moves high and low
    counted: int  # a trade with one of these flags adds to `count`
    decimals: int | None  # of the average price; None leaves it as it is
    source: BarSource


OUR_RULES = BarRules(int(Counts.HIGH_LOW), ~0, None, BarSource.OURS)
"""Of the bars that the engine makes until the vendor's arrive: `count` is of trades that count for anything."""

TAPE_RULES = BarRules(int(Counts.HIGH_LOW | Counts.LAST), _VOLUME, 6, BarSource.VENDOR)
"""Of the simulated market's bars: like the vendor's, `count` is of trades that count for volume."""


@dataclass(slots=True, eq=False)
class BarBuilder:
    """Open, high, low, close and volume of `[opened_at, closed_at)` so far.

    Open and close are the earliest and latest trade that counts for last (of equal times the first and the
    last to arrive); high and low come from trades that count for them and always contain open and close.
    """

    opened_at: int
    closed_at: int
    rules: BarRules
    open: float = 0.0
    high: float = -_INFINITE
    low: float = _INFINITE
    close: float = 0.0
    volume: float = 0.0
    traded: float = 0.0
    count: int = 0
    first_at: int = NEVER
    last_at: int = -1
    _high_low: int = field(init=False)
    _counted: int = field(init=False)

    def __post_init__(self) -> None:
        self._high_low, self._counted = self.rules.high_low, self.rules.counted

    @property
    def has_price(self) -> bool:
        """Whether a trade that counts for last has come; without one there is no bar."""
        return self.last_at >= 0

    def add(self, at: int, price: float, size: float, flags: int) -> None:
        """Take a trade for what it counts. `Bars.fold` adds trades that count for everything itself, as that is faster."""
        if flags & self._counted:
            self.count += 1
        if flags & _LAST:
            if at >= self.last_at:
                self.last_at, self.close = at, price
            if at < self.first_at:
                self.first_at, self.open = at, price
        if flags & self._high_low:
            if price > self.high:  # noqa: PLR1730 - three times as quick as max()
                self.high = price
            if price < self.low:  # noqa: PLR1730
                self.low = price
        if flags & _VOLUME:
            self.volume += size
            self.traded += price * size

    def correct(self, original: tuple[float, float], price: float, size: float) -> None:
        """Replace a print of (price, size) by one of `price` and `size`; size 0 cancels it.

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
        """Return the bar so far."""
        rules = self.rules
        average = self.traded / self.volume if self.volume > 0 else self.close
        return Bar(
            symbol,
            self.opened_at,
            self.closed_at,
            self.open,
            max(self.high, self.open, self.close),
            min(self.low, self.open, self.close),
            self.close,
            self.volume,
            average if rules.decimals is None else round(average, rules.decimals),
            self.count,
            int(rules.source),
        )
