"""Events of one symbol as NumPy columns, and their merge over symbols into one stream by time.

A day has a million events. They stay columns until they are due: one stable sort over all symbols, then
event values made in blocks of some thousand, which costs about half a microsecond an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import Bar, BarSource, Counts, Quote, QuoteMark, Status, TradeTick
from liualgotrader.common.market_columns import (
    BarColumns,
    Floats,
    Ints,
    QuoteColumns,
    TradeColumns,
    between,
    joined,
    take,
)

TapeEvent = TradeTick | Quote | Status

BLOCK = 16_384  # events made at a time
ROUND_LOT = 100.0
_LAST, _VENDOR = int(Counts.LAST), int(BarSource.VENDOR)


@dataclass(frozen=True, slots=True)
class SymbolColumns:
    """All that happened in one symbol on one day; statuses are few, so they are ready-made."""

    symbol: str
    quotes: QuoteColumns
    trades: TradeColumns
    statuses: tuple[Status, ...] = ()


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
    """Yield the events of all symbols with start <= at < end, by time: see `blocks`."""
    return (event for block in blocks(symbols, start, end) for event in block)


def blocks(symbols: Sequence[SymbolColumns], start: int, end: int) -> Iterator[list[TapeEvent]]:
    """Yield the events of all symbols with start <= at < end, by time, some thousand at once.

    Equal times come in the order of `symbols`, and within a symbol statuses, quotes, trades, by row; but a
    made-up quote follows the trade it was made from.
    """
    due = [
        SymbolColumns(
            s.symbol,
            between(s.quotes, start, end),
            between(s.trades, start, end),
            tuple(status for status in s.statuses if start <= status.at < end),
        )
        for s in symbols
    ]
    return _Stream(due).blocks() if due else iter(())


def bars_in_order(columns: Sequence[BarColumns], since: int) -> Iterator[Bar]:
    """Yield the bars that close after `since` as a vendor's, by that time; of equal times the shortest, then by symbol."""
    whole, count = joined(columns), [len(one.opened_at) for one in columns]
    owner = np.repeat(np.arange(len(columns)), count)
    order = np.lexsort((owner, whole.closed_at - whole.opened_at, whole.closed_at))
    order = order[whole.closed_at[order] > since]
    for first in range(0, len(order), BLOCK):
        rows = order[first : first + BLOCK]
        names = [columns[place].symbol for place in owner[rows].tolist()]
        for name, bar in zip(names, take(whole, rows).bars(), strict=True):
            yield msgspec.structs.replace(bar, symbol=name, source=_VENDOR)


def newest_of(events: Iterable[TapeEvent]) -> list[TapeEvent]:
    """Return the newest of each symbol and kind, by time: what the exchange has to know where a market is joined."""
    newest: dict[tuple[type[TapeEvent], str], TapeEvent] = {}
    for event in events:
        if not isinstance(event, TradeTick) or event.flags & _LAST:  # an odd lot makes no price
            newest[type(event), event.symbol] = event
    return sorted(newest.values(), key=lambda event: event.at)


class _Stream:
    """Rows of all symbols in three blocks (quotes, trades, statuses), and the order in which they are due."""

    def __init__(self, symbols: Sequence[SymbolColumns]) -> None:
        self._names = [s.symbol for s in symbols]
        self._quotes = joined([s.quotes for s in symbols])
        self._trades = joined([s.trades for s in symbols])
        self._statuses = [status for s in symbols for status in s.statuses]
        self._quote_names = np.repeat(np.arange(len(symbols)), [len(s.quotes.at) for s in symbols])
        self._trade_names = np.repeat(np.arange(len(symbols)), [len(s.trades.at) for s in symbols])
        # Row numbers: quotes first, then trades, then statuses; sorted by time, ties as `merged` says.
        self._first_trade = len(self._quotes.at)
        self._first_status = self._first_trade + len(self._trades.at)
        quote, trade, status = 0, self._first_trade, self._first_status
        codes: list[Ints] = []
        times: list[Ints] = []
        for s in symbols:
            codes.append(np.arange(status, status + len(s.statuses)))
            times.append(np.array([x.at for x in s.statuses], np.int64))
            quote_rows, trade_rows = (
                np.arange(quote, quote + len(s.quotes.at)),
                np.arange(trade, trade + len(s.trades.at)),
            )
            rows = [(quote_rows, s.quotes.at), (trade_rows, s.trades.at)]
            if len(s.quotes.at) and s.quotes.flags[0] & int(QuoteMark.SYNTHETIC):
                rows.reverse()
            codes += (numbers for numbers, _ in rows)
            times += (at for _, at in rows)
            quote, trade, status = quote + len(s.quotes.at), trade + len(s.trades.at), status + len(s.statuses)
        self._order: Ints = np.concatenate(codes)[np.argsort(np.concatenate(times), kind="stable")]

    def blocks(self) -> Iterator[list[TapeEvent]]:
        for first in range(0, len(self._order), BLOCK):
            codes = self._order[first : first + BLOCK]
            is_quote = codes < self._first_trade
            is_status = codes >= self._first_status
            is_trade = ~(is_quote | is_status)
            quotes, trades = codes[is_quote], codes[is_trade] - self._first_trade
            made: list[TapeEvent] = []
            for kind, columns, rows, symbols in (
                (Quote, take(self._quotes, quotes), quotes, self._quote_names),
                (TradeTick, take(self._trades, trades), trades, self._trade_names),
            ):
                names = [self._names[i] for i in symbols[rows].tolist()]
                made += map(kind, names, *(getattr(columns, name).tolist() for name in columns.__slots__))
            made += [self._statuses[i] for i in (codes[is_status] - self._first_status).tolist()]
            place = np.empty(len(codes), np.int64)
            place[is_quote] = np.arange(len(quotes))
            place[is_trade] = np.arange(len(trades)) + len(quotes)
            place[is_status] = np.arange(len(quotes) + len(trades), len(codes))
            yield [made[i] for i in place.tolist()]


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
