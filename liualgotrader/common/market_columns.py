"""Market data of one symbol as NumPy columns, one row an event or a bar, by time.

Instants are ns UTC, prices US dollars, sizes and volumes shares. Rows are never changed in place: a column may be a view
of a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import repeat
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from liualgotrader.common.calendar import day_of
from liualgotrader.common.clock import DAY, HOUR
from liualgotrader.common.events import Bar, BarSource

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class QuoteColumns:
    """Best bid and offer over time; `at` does not fall. A side without a quote is 0.0 with size 0."""

    at: Ints
    bid: Floats
    bid_size: Floats
    ask: Floats
    ask_size: Floats
    flags: Ints


@dataclass(frozen=True, slots=True)
class TradeColumns:
    """Prints over time; `at` does not fall, `flags` are `Counts`."""

    at: Ints
    price: Floats
    size: Floats
    flags: Ints


@dataclass(frozen=True, slots=True)
class BarColumns:
    """Bars of one symbol and one period over time; `opened_at` rises.

    `average` is the vendor's volume-weighted price, or the mean of the four prices where nobody wrote it down; `count`
    is the number of trades, 0 where nobody counted.
    """

    symbol: str
    opened_at: Ints
    closed_at: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    average: Floats
    count: Floats

    @classmethod
    def of(cls, symbol: str, bars: Sequence[Bar]) -> BarColumns:
        """Return bars of `symbol`, oldest first, as columns."""
        columns: Any = (
            np.array([getattr(bar, name) for bar in bars], np.int64 if name.endswith("_at") else np.float64)
            for name in ("opened_at", "closed_at", "open", "high", "low", "close", "volume", "vwap", "count")
        )
        return cls(symbol, *columns)

    def bars(self) -> list[Bar]:
        """Return the rows as bars of the past."""
        times = (self.opened_at, self.closed_at)
        figures = (self.open, self.high, self.low, self.close, self.volume, self.average, self.count.astype(np.int64))
        columns = (column.tolist() for column in (*times, *figures))
        return list(map(Bar, repeat(self.symbol), *columns, repeat(int(BarSource.HISTORY))))


Columns = TypeVar("Columns", QuoteColumns, TradeColumns, BarColumns)


def no_quotes() -> QuoteColumns:
    """Return quote columns without a row."""
    none, ints = np.zeros(0), np.zeros(0, np.int64)
    return QuoteColumns(ints, none, none, none, none, ints)


def no_trades() -> TradeColumns:
    """Return trade columns without a row."""
    none, ints = np.zeros(0), np.zeros(0, np.int64)
    return TradeColumns(ints, none, none, ints)


def mean_price(prices: Sequence[Floats]) -> Floats:
    """Return what stands for the average price of bars where nobody wrote it down: the mean of their four prices."""
    opens, highs, lows, closes = prices
    return np.round((opens + highs + lows + closes) / 4, 6)


def take(columns: Columns, rows: slice | NDArray[Any]) -> Columns:
    """Return the rows that a slice, row numbers or a mask name."""
    kind: Any = type(columns)
    values = (getattr(columns, name) for name in kind.__slots__)
    made: Columns = kind(*(value if isinstance(value, str) else value[rows] for value in values))
    return made


def times_of(columns: QuoteColumns | TradeColumns | BarColumns) -> Ints:
    """Return the times of the rows; a bar's is `opened_at`."""
    return columns.opened_at if isinstance(columns, BarColumns) else columns.at


def between(columns: Columns, start: int, end: int) -> Columns:
    """Return the rows with start <= time < end, without copying."""
    first, last = np.searchsorted(times_of(columns), [start, end]).tolist()
    return take(columns, slice(first, last))


def day_numbers(times: Ints) -> Ints:
    """Return the days of New York in which instants lie, as `date.toordinal` counts them."""
    hours, codes = np.unique(times // HOUR, return_inverse=True)
    return np.array([day_of(hour * HOUR).toordinal() for hour in hours.tolist()], np.int64)[codes]


def utc_day_numbers(times: Ints) -> Ints:
    """Return the same of the days of UTC, which crypto is traded by."""
    return date(1970, 1, 1).toordinal() + times // DAY


def joined(parts: Sequence[Columns]) -> Columns:
    """Return the rows of all parts, at least one, one part after the other."""
    kind: Any = type(parts[0])
    values = ([getattr(part, name) for part in parts] for name in kind.__slots__)
    made: Columns = kind(*(same[0] if isinstance(same[0], str) else np.concatenate(same) for same in values))
    return made
