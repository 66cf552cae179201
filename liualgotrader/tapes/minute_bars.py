"""Minute bars folded from trades, with the trades' `Counts` deciding what each of them may move.

The simulated market serves these as its minute bars and as the history of the day that is being played,
so a bar is exactly the sum of the eligible trades that were served (and never known before its close).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import Bar, BarSource, Counts, TradeTick

_LAST = int(Counts.LAST)
_HIGH_LOW = int(Counts.HIGH_LOW)
_VOLUME = int(Counts.VOLUME)


class MinuteBars:
    """Minute bars of one day, by symbol; trades come in time order per symbol.

    Open and close are the first and last trade that counts as last, high and low span these and the trades
    that count for high and low, volume and `count` are the trades that count for volume, `vwap` is theirs.
    A minute in which no trade counted as last has no bar (as at the data vendors), so its volume is in none.
    """

    def __init__(self, source: BarSource = BarSource.VENDOR) -> None:
        self._source = int(source)
        self._open: dict[str, _Minute] = {}
        self._closed: dict[str, list[Bar]] = {}

    def add(self, trade: TradeTick) -> Bar | None:
        """Count the trade and return the bar of its symbol's earlier minute, if this trade is the first after it.

        Raises:
            ValueError: if the trade lies in a minute that is closed.
        """
        opened_at = trade.at - trade.at % MINUTE
        minute = self._open.get(trade.symbol)
        if minute is not None and minute.opened_at == opened_at:
            minute.add(trade)
            return None
        self._must_be_later(trade, opened_at, minute)
        finished = None if minute is None else self._close(trade.symbol, minute)
        self._open[trade.symbol] = fresh = _Minute(opened_at)
        fresh.add(trade)
        return finished

    def close_until(self, at: int) -> list[Bar]:
        """Close every minute that ends at or before `at` and return those bars, by time, then by symbol."""
        due = [s for s, m in self._open.items() if m.opened_at + MINUTE <= at]
        bars = [bar for s in due if (bar := self._close(s, self._open.pop(s))) is not None]
        return sorted(bars, key=lambda b: (b.opened_at, b.symbol))

    def bars(self, symbol: str, start: int, end: int) -> Sequence[Bar]:
        """Return the closed bars of a symbol with start <= opened_at < end, oldest first."""
        closed = self._closed.get(symbol, [])
        return closed[bisect_left(closed, start, key=_opened_at) : bisect_left(closed, end, key=_opened_at)]

    def day_bar(self, symbol: str, opens_at: int, closes_at: int) -> Bar | None:
        """Return the bar of the session so far, from closed minutes of regular trading; None without any."""
        return sum_of(self.bars(symbol, opens_at, closes_at), opens_at, closes_at)

    def last_bar(self, symbol: str) -> Bar | None:
        """Return the newest closed bar of a symbol."""
        closed = self._closed.get(symbol)
        return closed[-1] if closed else None

    def _close(self, symbol: str, minute: _Minute) -> Bar | None:
        bar = minute.bar(symbol, self._source)
        if bar is not None:
            self._closed.setdefault(symbol, []).append(bar)
        return bar

    def _must_be_later(self, trade: TradeTick, opened_at: int, minute: _Minute | None) -> None:
        newest = self.last_bar(trade.symbol)
        closed_until = max(minute.opened_at if minute else 0, newest.closed_at if newest else 0)
        if opened_at < closed_until:
            raise ValueError(f"trade of {trade.symbol} at {trade.at} lies in a minute that is closed")


def bars_of(trades: Iterable[TradeTick]) -> list[Bar]:
    """Return the minute bars of trades in time order, by time, then by symbol."""
    minutes = MinuteBars()
    bars = [bar for trade in trades if (bar := minutes.add(trade)) is not None]
    return sorted(bars + minutes.close_until(2**63 - 1), key=lambda b: (b.opened_at, b.symbol))


def sum_of(bars: Sequence[Bar], opened_at: int, closed_at: int, source: BarSource | None = None) -> Bar | None:
    """Return one bar over consecutive bars of one symbol, None if there are none.

    `source` is that of the first bar unless given; `vwap` is weighted by volume.
    """
    if not bars:
        return None
    volume = sum(b.volume for b in bars)
    close = bars[-1].close
    return Bar(
        bars[0].symbol,
        opened_at,
        closed_at,
        bars[0].open,
        max(b.high for b in bars),
        min(b.low for b in bars),
        close,
        volume,
        round(sum(b.vwap * b.volume for b in bars) / volume, 6) if volume else close,
        sum(b.count for b in bars),
        bars[0].source if source is None else int(source),
    )


def history_bar(symbol: str, opened_at: int, closed_at: int, figures: Sequence[float]) -> Bar:
    """Return a bar of the past from open, high, low, close and volume.

    Nobody wrote down its vwap and count, so they are the mean of the four prices, and 0.
    """
    opening, high, low, close, volume = figures
    vwap = round((opening + high + low + close) / 4, 6)
    return Bar(symbol, opened_at, closed_at, opening, high, low, close, volume, vwap, 0, int(BarSource.HISTORY))


class _Minute:
    """The open minute of one symbol."""

    __slots__ = ("close", "count", "high", "low", "notional", "open", "opened_at", "volume")

    def __init__(self, opened_at: int) -> None:
        self.opened_at = opened_at
        self.open: float | None = None
        self.close = 0.0
        self.high = float("-inf")
        self.low = float("inf")
        self.volume = self.notional = 0.0
        self.count = 0

    def add(self, trade: TradeTick) -> None:
        price, flags = trade.price, trade.flags
        if flags & _LAST:
            if self.open is None:
                self.open = price
            self.close = price
        if flags & (_HIGH_LOW | _LAST):
            self.high = max(self.high, price)
            self.low = min(self.low, price)
        if flags & _VOLUME:
            self.volume += trade.size
            self.notional += price * trade.size
            self.count += 1

    def bar(self, symbol: str, source: int) -> Bar | None:
        if self.open is None:
            return None
        vwap = round(self.notional / self.volume, 6) if self.volume else self.close
        ends_at = self.opened_at + MINUTE
        return Bar(
            symbol,
            self.opened_at,
            ends_at,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            vwap,
            self.count,
            source,
        )


def _opened_at(bar: Bar) -> int:
    return bar.opened_at
