"""Minute bars folded from trades, with the trades' `Counts` deciding what each of them may move.

The simulated market serves these as its minute bars and as the history of the day that is being played,
so a bar is exactly the sum of the eligible trades that were served (and never known before its close).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np

from liualgotrader.common.bar_builder import TAPE_RULES, BarBuilder
from liualgotrader.common.calendar import TradingSession, day_of, sessions
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import Bar, Counts, TradeTick
from liualgotrader.common.market_columns import BarColumns, Ints, TradeColumns, take

SessionsOf = Callable[[date, date], Sequence[TradingSession]]
"""Returns the sessions from one day to another, both included."""


class MinuteBars:
    """Minute bars of one day, by symbol; trades come in time order per symbol.

    Open and close are the first and last trade that counts as last, high and low span these and the trades
    that count for high and low, volume and `count` are the trades that count for volume, `vwap` is theirs.
    A minute in which no trade counted as last has no bar (as at the data vendors), so its volume is in none.
    """

    def __init__(self) -> None:
        self._open: dict[str, BarBuilder] = {}
        self._closed: dict[str, list[Bar]] = {}

    def add(self, trade: TradeTick) -> Bar | None:
        """Count the trade and return the bar of its symbol's earlier minute, if this trade is the first after it.

        Raises:
            ValueError: if the trade lies in a minute that is closed.
        """
        opened_at = trade.at - trade.at % MINUTE
        minute = self._open.get(trade.symbol)
        if minute is not None and minute.opened_at == opened_at:
            minute.add(trade.at, trade.price, trade.size, trade.flags)
            return None
        newest = self.last_bar(trade.symbol)
        if opened_at < max(minute.opened_at if minute else 0, newest.closed_at if newest else 0):
            raise ValueError(f"trade of {trade.symbol} at {trade.at} lies in a minute that is closed")
        finished = None if minute is None else self._close(trade.symbol, minute)
        self._open[trade.symbol] = minute = BarBuilder(opened_at, opened_at + MINUTE, TAPE_RULES)
        minute.add(trade.at, trade.price, trade.size, trade.flags)
        return finished

    def close_until(self, at: int) -> list[Bar]:
        """Close every minute that ends at or before `at` and return those bars, by time, then by symbol."""
        due = [s for s, m in self._open.items() if m.closed_at <= at]
        bars = [bar for s in due if (bar := self._close(s, self._open.pop(s))) is not None]
        return sorted(bars, key=lambda b: (b.opened_at, b.symbol))

    def bars(self, symbol: str, start: int, end: int) -> Sequence[Bar]:
        """Return the closed bars of a symbol with start <= opened_at < end, oldest first."""
        closed = self._closed.get(symbol, [])
        return closed[bisect_left(closed, start, key=_opened_at) : bisect_left(closed, end, key=_opened_at)]

    def recount(self, symbol: str, opened_at: int, trades: Iterable[TradeTick]) -> Bar | None:
        """Make a minute anew from all of its trades, and return its bar if the minute is closed and has one."""
        minute = BarBuilder(opened_at, opened_at + MINUTE, TAPE_RULES)
        for trade in trades:
            minute.add(trade.at, trade.price, trade.size, trade.flags)
        if (under_way := self._open.get(symbol)) is not None and under_way.opened_at == opened_at:
            self._open[symbol] = minute
            return None
        closed = self._closed.setdefault(symbol, [])
        place = bisect_left(closed, opened_at, key=_opened_at)
        bar = minute.bar(symbol) if minute.has_price else None
        there = closed[place : place + 1]
        closed[place : place + bool(there and there[0].opened_at == opened_at)] = [] if bar is None else [bar]
        return bar

    def last_bar(self, symbol: str) -> Bar | None:
        """Return the newest closed bar of a symbol."""
        closed = self._closed.get(symbol)
        return closed[-1] if closed else None

    def _close(self, symbol: str, minute: BarBuilder) -> Bar | None:
        if not minute.has_price:
            return None
        bar = minute.bar(symbol)
        self._closed.setdefault(symbol, []).append(bar)
        return bar


def bars_of(trades: Iterable[TradeTick]) -> list[Bar]:
    """Return the minute bars of trades in time order, by time, then by symbol."""
    minutes = MinuteBars()
    bars = [bar for trade in trades if (bar := minutes.add(trade)) is not None]
    return sorted(bars + minutes.close_until(2**63 - 1), key=lambda b: (b.opened_at, b.symbol))


def bars_every(period: int, symbol: str, trades: TradeColumns) -> BarColumns:
    """Return the bars of a period, ns, that trades of one symbol make: its minutes are those of `bars_of`, to the last bit."""
    forms = (trades.flags & int(Counts.LAST)) > 0
    spans = (trades.flags & TAPE_RULES.high_low) > 0
    volumes = (trades.flags & int(Counts.VOLUME)) > 0
    spans_of, row = np.unique(trades.at // period, return_inverse=True)
    first, last = (np.flatnonzero(np.diff(row[forms], **edge)) for edge in ({"prepend": -1}, {"append": -1}))
    priced = row[forms][first]  # those in which a trade makes a price
    highs, lows = np.full(len(spans_of), -np.inf), np.full(len(spans_of), np.inf)
    np.maximum.at(highs, row[spans], trades.price[spans])
    np.minimum.at(lows, row[spans], trades.price[spans])
    size, price = (np.where(volumes, column, 0.0) for column in (trades.size, trades.price))
    volume, traded = (np.bincount(row, weights, len(spans_of))[priced] for weights in (size, price * size))
    close = trades.price[forms][last]
    means = np.divide(traded, volume, out=close.copy(), where=volume > 0)
    average = np.array([round(mean, TAPE_RULES.decimals) for mean in means.tolist()], np.float64)
    opened = spans_of[priced] * period
    prices = trades.price[forms][first], highs[priced], lows[priced], close
    count = np.bincount(row[volumes], minlength=len(spans_of))[priced].astype(np.float64)
    columns: Any = (opened, opened + period, *prices, volume, average, count)
    return BarColumns(symbol, *columns)


def sum_of(bars: Sequence[Bar], opened_at: int, closed_at: int) -> Bar:
    """Return one bar over consecutive bars of one symbol, at least one; `vwap` is weighted by volume."""
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
        bars[0].source,
    )


def regular(minutes: BarColumns) -> BarColumns:
    """Return the minutes of regular trading."""
    return _by_session(minutes, sessions)[0] if len(minutes.opened_at) else minutes


def _by_session(minutes: BarColumns, sessions_of: SessionsOf) -> tuple[BarColumns, Ints, Ints, Ints]:
    """Return the minutes of regular trading, the place of each one's session, and when sessions open and close."""
    opened = minutes.opened_at
    days = sessions_of(day_of(int(opened[0])), day_of(int(opened[-1])) + timedelta(days=1))
    opens, closes = (np.array([getattr(day, name) for day in days], np.int64) for name in ("opens_at", "closes_at"))
    place = np.searchsorted(opens, opened, "right") - 1
    inside = np.flatnonzero((place >= 0) & (opened < np.append(closes, 0)[place]))
    return take(minutes, inside), place[inside], opens, closes


def session_bars(minutes: BarColumns, sessions_of: SessionsOf = sessions) -> BarColumns:
    """Return the daily bars of the sessions that minute bars cover; what lies outside a session is in none."""
    if not len(minutes.opened_at):
        return minutes
    rows, place, opens, closes = _by_session(minutes, sessions_of)
    first = np.flatnonzero(np.diff(place, prepend=-1))
    if not len(first):
        return rows
    last = np.append(first[1:], len(place)) - 1
    volume = np.add.reduceat(rows.volume, first)
    traded = np.add.reduceat(rows.average * rows.volume, first)
    close = rows.close[last]
    return BarColumns(
        minutes.symbol,
        opens[place[first]],
        closes[place[first]],
        rows.open[first],
        np.maximum.reduceat(rows.high, first),
        np.minimum.reduceat(rows.low, first),
        close,
        volume,
        np.where(volume > 0, np.round(traded / np.where(volume > 0, volume, 1.0), 6), close),
        np.add.reduceat(rows.count, first),
    )


def _opened_at(bar: Bar) -> int:
    return bar.opened_at
