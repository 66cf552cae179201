"""Events of one symbol as NumPy columns, and their merge over symbols into one stream by time.

A day has a million events. They stay columns until they are due: one stable sort over all symbols, then
event values made in blocks of some thousand, which costs about half a microsecond an event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import Counts, Quote, QuoteMark, Status, TradeTick

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
TapeEvent = TradeTick | Quote | Status

BLOCK = 16_384  # events made at a time
ROUND_LOT = 100.0


@dataclass(frozen=True, slots=True)
class QuoteColumns:
    """Best bid and offer over time; `at` does not fall. A side that nobody quotes is 0.0 with size 0."""

    at: Ints
    bid: Floats
    bid_size: Floats
    ask: Floats
    ask_size: Floats
    flags: Ints

    def between(self, start: int, end: int) -> QuoteColumns:
        """Return the rows with start <= at < end, without copying."""
        rows = _rows(self.at, start, end)
        return QuoteColumns(
            self.at[rows],
            self.bid[rows],
            self.bid_size[rows],
            self.ask[rows],
            self.ask_size[rows],
            self.flags[rows],
        )


@dataclass(frozen=True, slots=True)
class TradeColumns:
    """Prints over time; `at` does not fall, `flags` are `Counts`."""

    at: Ints
    price: Floats
    size: Floats
    flags: Ints

    def between(self, start: int, end: int) -> TradeColumns:
        """Return the rows with start <= at < end, without copying."""
        rows = _rows(self.at, start, end)
        return TradeColumns(self.at[rows], self.price[rows], self.size[rows], self.flags[rows])


@dataclass(frozen=True, slots=True)
class SymbolColumns:
    """All that happened in one symbol on one day; statuses are few, so they are ready-made."""

    symbol: str
    quotes: QuoteColumns
    trades: TradeColumns
    statuses: tuple[Status, ...] = ()


def no_quotes() -> QuoteColumns:
    """Return quote columns without a row."""
    none, ints = np.zeros(0), np.zeros(0, np.int64)
    return QuoteColumns(ints, none, none, none, none, ints)


def no_trades() -> TradeColumns:
    """Return trade columns without a row."""
    none, ints = np.zeros(0), np.zeros(0, np.int64)
    return TradeColumns(ints, none, none, ints)


def quotes_from_trades(trades: TradeColumns) -> QuoteColumns:
    """Return made-up quotes for a symbol that has none: the last price-forming trade plus and minus half a tick.

    A new quote follows each change of that price, and the first trade of each minute even at the same price so
    that a stock which goes on trading has no old quote, at the time of the trade. Its sizes are those of the
    trade, at least a round lot. All rows are marked `QuoteMark.SYNTHETIC`.
    """
    forming = np.flatnonzero(trades.flags & int(Counts.LAST))
    price = trades.price[forming]
    minute = trades.at[forming] // MINUTE
    new = forming[np.flatnonzero((np.diff(price, prepend=np.nan) != 0) | (np.diff(minute, prepend=-1) != 0))]
    size = np.maximum(trades.size[new], ROUND_LOT)
    half_tick = np.where(trades.price[new] >= 1, 0.005, 0.00005)
    return QuoteColumns(
        trades.at[new],
        np.round(trades.price[new] - half_tick, 5),
        size,
        np.round(trades.price[new] + half_tick, 5),
        size,
        np.full(len(new), int(QuoteMark.SYNTHETIC), np.int64),
    )


def merged(symbols: Sequence[SymbolColumns], start: int, end: int) -> Iterator[TapeEvent]:
    """Yield the events of all symbols with start <= at < end, by time.

    Equal times come in the order of `symbols`, and within a symbol statuses, quotes, trades, by row; but a
    made-up quote follows the trade it was made from.
    """
    stream = _Stream([_cut(s, start, end) for s in symbols])
    return stream.events()


class _Stream:
    """Rows of all symbols in three blocks (quotes, trades, statuses), and the order in which they are due."""

    def __init__(self, symbols: Sequence[SymbolColumns]) -> None:
        self._names = [s.symbol for s in symbols]
        self._quotes = _joined_quotes([s.quotes for s in symbols])
        self._trades = _joined_trades([s.trades for s in symbols])
        self._statuses = [status for s in symbols for status in s.statuses]
        self._quote_names = np.repeat(np.arange(len(symbols)), [len(s.quotes.at) for s in symbols])
        self._trade_names = np.repeat(np.arange(len(symbols)), [len(s.trades.at) for s in symbols])
        self._order = self._due_order(symbols)

    def _due_order(self, symbols: Sequence[SymbolColumns]) -> Ints:
        """Return row numbers (quotes first, then trades, then statuses) sorted by time, ties as `merged` says."""
        first_trade = len(self._quotes.at)
        first_status = first_trade + len(self._trades.at)
        codes: list[Ints] = []
        times: list[Ints] = []
        quote = trade = status = 0
        for s in symbols:
            quote_codes = np.arange(quote, quote + len(s.quotes.at))
            trade_codes = np.arange(trade, trade + len(s.trades.at)) + first_trade
            status_codes = np.arange(status, status + len(s.statuses)) + first_status
            status_times = np.array([x.at for x in s.statuses], np.int64)
            rows = [(quote_codes, s.quotes.at), (trade_codes, s.trades.at)]
            if _made_from_trades(s.quotes):
                rows.reverse()
            codes += [status_codes, *(c for c, _ in rows)]
            times += [status_times, *(t for _, t in rows)]
            quote, trade, status = quote + len(quote_codes), trade + len(trade_codes), status + len(status_codes)
        if not codes:
            return np.zeros(0, np.int64)
        due = np.argsort(np.concatenate(times), kind="stable")
        ordered: Ints = np.concatenate(codes)[due]
        return ordered

    def events(self) -> Iterator[TapeEvent]:
        for first in range(0, len(self._order), BLOCK):
            yield from self._block(self._order[first : first + BLOCK])

    def _block(self, codes: Ints) -> list[TapeEvent]:
        """Return the events of one block of row numbers, in that order."""
        first_trade = len(self._quotes.at)
        first_status = first_trade + len(self._trades.at)
        is_quote = codes < first_trade
        is_status = codes >= first_status
        is_trade = ~(is_quote | is_status)
        quotes, trades = codes[is_quote], codes[is_trade] - first_trade
        names = self._names
        made: list[TapeEvent] = []
        made += _quotes([names[i] for i in self._quote_names[quotes].tolist()], take_quotes(self._quotes, quotes))
        made += _trades([names[i] for i in self._trade_names[trades].tolist()], _take_trades(self._trades, trades))
        made += [self._statuses[i] for i in (codes[is_status] - first_status).tolist()]
        place = np.empty(len(codes), np.int64)
        place[is_quote] = np.arange(len(quotes))
        place[is_trade] = np.arange(len(trades)) + len(quotes)
        place[is_status] = np.arange(len(quotes) + len(trades), len(codes))
        return [made[i] for i in place.tolist()]


def _cut(symbol: SymbolColumns, start: int, end: int) -> SymbolColumns:
    return SymbolColumns(
        symbol.symbol,
        symbol.quotes.between(start, end),
        symbol.trades.between(start, end),
        tuple(s for s in symbol.statuses if start <= s.at < end),
    )


def _rows(at: Ints, start: int, end: int) -> slice:
    return slice(int(np.searchsorted(at, start)), int(np.searchsorted(at, end)))


def _made_from_trades(quotes: QuoteColumns) -> bool:
    return len(quotes.at) > 0 and bool(quotes.flags[0] & int(QuoteMark.SYNTHETIC))


def _quotes(names: list[str], rows: QuoteColumns) -> list[Quote]:
    return list(map(Quote, names, *_lists(rows.at, rows.bid, rows.bid_size, rows.ask, rows.ask_size, rows.flags)))


def _trades(names: list[str], rows: TradeColumns) -> list[TradeTick]:
    return list(map(TradeTick, names, *_lists(rows.at, rows.price, rows.size, rows.flags)))


def _lists(*columns: NDArray[Any]) -> list[list[Any]]:
    return [c.tolist() for c in columns]


def take_quotes(q: QuoteColumns, rows: NDArray[Any]) -> QuoteColumns:
    """Return the rows that numbers or a mask name."""
    return QuoteColumns(q.at[rows], q.bid[rows], q.bid_size[rows], q.ask[rows], q.ask_size[rows], q.flags[rows])


def _take_trades(t: TradeColumns, rows: Ints) -> TradeColumns:
    return TradeColumns(t.at[rows], t.price[rows], t.size[rows], t.flags[rows])


def _joined_quotes(parts: Sequence[QuoteColumns]) -> QuoteColumns:
    if not parts:
        return no_quotes()
    names = ("at", "bid", "bid_size", "ask", "ask_size", "flags")
    return QuoteColumns(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


def _joined_trades(parts: Sequence[TradeColumns]) -> TradeColumns:
    if not parts:
        return no_trades()
    return TradeColumns(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("at", "price", "size", "flags")))


def trades_from_bars(opened_at: Ints, prices: Sequence[Floats], volume: Floats, interval: int) -> TradeColumns:
    """Return bars played as prints: open, low, high, close (a falling bar: open, high, low, close).

    `prices` are open, high, low, close. A price that repeats the one before gets no print of its own; the
    prints lie at the start, after one and two thirds, and a millisecond before the end of the interval, and
    share the volume in whole shares, the last taking what is left. Folded again they give the same bar.
    """
    opens, highs, lows, closes = prices
    rising = closes >= opens
    path = np.stack([opens, np.where(rising, lows, highs), np.where(rising, highs, lows), closes], axis=1)
    keep = np.ones(path.shape, bool)
    keep[:, 1:] = path[:, 1:] != path[:, :-1]
    keep &= (volume > 0)[:, None]
    prints = keep.sum(axis=1)
    equal = volume / np.maximum(prints, 1)
    share = np.where(equal >= 1, np.floor(equal), equal)
    sizes = np.where(keep, share[:, None], 0.0)
    last = 3 - np.argmax(keep[:, ::-1], axis=1)
    rows = np.arange(len(last))
    sizes[rows, last] += np.where(equal >= 1, volume - share * prints, 0.0)
    third = interval // 3
    offsets = np.array([0, third, 2 * third, interval - 1_000_000], np.int64)
    at = opened_at[:, None] + offsets
    return TradeColumns(at[keep], path[keep], sizes[keep], np.full(int(keep.sum()), int(Counts.ALL), np.int64))
