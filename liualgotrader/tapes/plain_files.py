"""A folder of plain CSV or Parquet files, as `docs/market_data_files.md` describes it; `FIELDS` holds the columns.

Each kind of file is read and checked whole: what cannot be is a sentence with file and line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, time
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import numpy as np

from liualgotrader.common.calendar import new_york, sessions
from liualgotrader.common.clock import DAY, HOUR, MINUTE, NEVER, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import SYMBOL_RULE, Counts, TradeTick, is_symbol
from liualgotrader.common.market_columns import (
    BarColumns,
    Columns,
    QuoteColumns,
    TradeColumns,
    between,
    day_numbers,
    joined,
    mean_price,
    no_quotes,
    no_trades,
    take,
)
from liualgotrader.tapes.minute_bars import SessionsOf, bars_of, session_bars
from liualgotrader.tapes.splits import Dividend, Split
from liualgotrader.tapes.tables import SUFFIXES, Column, Field, Kind, days_in, place, read_table

_SYMBOL = Field("symbol", Kind.SYMBOL)
_AT = Field("at", Kind.INSTANT)
_PRICES = tuple(Field(n, Kind.PRICE) for n in ("open", "high", "low", "close"))
_FIGURES = (
    *_PRICES,
    Field("volume", Kind.SIZE),
    Field("vwap", Kind.SIZE, 0.0),
    Field("count", Kind.SIZE, 0.0),
)
FIELDS: Mapping[str, tuple[Field, ...]] = {
    "trades": (
        *(_SYMBOL, _AT, Field("price", Kind.PRICE), Field("size", Kind.SIZE)),
        Field("flags", Kind.FLAGS, int(Counts.ALL)),
    ),
    "quotes": (
        *(_SYMBOL, _AT, Field("bid", Kind.SIDE_PRICE), Field("bid_size", Kind.SIZE)),
        *(Field("ask", Kind.SIDE_PRICE), Field("ask_size", Kind.SIZE), Field("flags", Kind.FLAGS, 0)),
    ),
    "statuses": (
        *(_SYMBOL, _AT, Field("halted", Kind.YES_NO)),
        *(Field("code", Kind.TEXT, ""), Field("reason", Kind.TEXT, "")),
    ),
    "bars": (_SYMBOL, Field("opened_at", Kind.MINUTE), *_FIGURES),
    "daily": (_SYMBOL, Field("day", Kind.DAY), *_FIGURES),
    "seconds": (_SYMBOL, Field("opened_at", Kind.SECOND), *_FIGURES),
    "hours": (_SYMBOL, Field("opened_at", Kind.HOUR), *_FIGURES),
    "splits": (_SYMBOL, Field("day", Kind.DAY), Field("ratio", Kind.RATIO)),
    "dividends": (_SYMBOL, Field("day", Kind.DAY), Field("amount", Kind.PRICE), Field("close", Kind.SIDE_PRICE, 0.0)),
    "renames": (_SYMBOL, Field("day", Kind.DAY), Field("before", Kind.SYMBOL)),
    "assets": (
        *(_SYMBOL, Field("name", Kind.TEXT, ""), Field("exchange", Kind.TEXT, "NYSE")),
        Field("shortable", Kind.YES_NO, True),
    ),
}

_ONE_EACH = {
    **{
        "bars": "bar of one minute",
        "daily": "bar of one day",
        "seconds": "bar of one second",
        "hours": "bar of one hour",
    },
    **{
        "splits": "split on one day",
        "dividends": "dividend on one day",
        "renames": "name before one day",
        "assets": "row",
    },
}
DAYS_IN = {"trades": "at", "bars": "opened_at", "quotes": "at"}
FILES_OF_PERIOD = {SECOND: "seconds", MINUTE: "bars", HOUR: "hours", DAY: "daily"}
ROW = "row"  # where a row stands, counted through all files of its kind

_DIVIDEND = ("day", "amount", "close", ROW)

Rows = dict[str, Column]


def holds_files(folder: Path) -> bool:
    """Return whether the folder has trades or bars in this layout."""
    return any(_paths(folder, kind) for kind in ("trades", *FILES_OF_PERIOD.values()))


def days_of(folder: Path, wanted: date) -> set[date]:
    """Return the days with any events; as soon as `wanted` is found, those until then.

    A file that cannot be looked through may have the day: reading it whole says what is wrong.
    """
    found: set[date] = set()
    for kind, column in DAYS_IN.items():
        for path in _paths(folder, kind):
            try:
                for days in days_in(path, column):
                    found |= days
                    if wanted in found:
                        return found
            except ValueError:
                return {wanted}
    return found


class Table:
    """The rows of all files of a kind by symbol, sorted by time, equal times in the order of the file."""

    def __init__(self, folder: Path, kind: str) -> None:
        """Read them.

        Raises:
            ConfigError: if a file is malformed, or has two rows where there can be one.
        """
        fields, self._paths = FIELDS[kind], _paths(folder, kind)
        self._parts = []
        for path in self._paths:
            named = path.stem.upper().replace("_", "/") if path.parent != folder else None
            if named is not None and not is_symbol(named):
                raise ConfigError(f"The name of {path} is not a symbol: {SYMBOL_RULE}.")
            self._parts.append(read_table(path, fields, named))
        self.by_symbol: dict[str, Rows] = {}
        if not self._parts:
            return
        rows = {f.name: np.concatenate([p[f.name] for p in self._parts]) for f in fields}
        names = sorted(set(rows["symbol"].tolist()))
        number = {name: i for i, name in enumerate(names)}
        codes = np.array([number[name] for name in rows["symbol"].tolist()], np.int64)
        keys = rows[fields[1].name]  # what the rows of a symbol are sorted by, if that is a time
        if fields[1].kind is Kind.DAY:
            keys = np.array([d.toordinal() for d in keys], np.int64)
        elif keys.dtype != np.int64:
            keys = np.zeros(len(keys), np.int64)
        order = np.lexsort((keys, codes))
        if kind in _ONE_EACH:
            again = np.flatnonzero((np.diff(codes[order]) == 0) & (np.diff(keys[order]) == 0))
            if len(again):
                first, second = (self.place(int(order[again[0] + i])) for i in (0, 1))
                symbol = rows["symbol"][order[again[0]]]
                raise ConfigError(f"{second}: a second {_ONE_EACH[kind]} of {symbol}, after {first}; keep one of them.")
        bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
        for name, (start, end) in zip(names, pairwise(bounds.tolist()), strict=True):
            chunk = order[start:end]
            self.by_symbol[name] = {**{f.name: rows[f.name][chunk] for f in fields}, ROW: chunk}

    def place(self, row: int) -> str:
        """Return file and line of a row, counted through all files."""
        number = 0
        while row >= len(self._parts[number]["symbol"]):
            row -= len(self._parts[number]["symbol"])
            number += 1
        return f"{self._paths[number]}, {place(self._paths[number], row)}"

    def symbols(self, column: str, start: int, end: int) -> set[str]:
        """Return the symbols that have a row with start <= time < end."""
        return {s for s, r in self.by_symbol.items() if np.any((r[column] >= start) & (r[column] < end))}


class PlainFiles:
    """The tables of a folder; each is read and checked whole when it is first asked for, and kept."""

    def __init__(self, folder: Path, days: SessionsOf = sessions) -> None:
        """Take the sessions that daily bars span from `days`."""
        self.folder, self._days = folder, days
        self._tables: dict[str, Table] = {}

    def table(self, kind: str) -> Table:
        """Return the rows of a kind.

        Raises:
            ConfigError: if a file holds what cannot be.
        """
        if kind not in self._tables:
            table = Table(self.folder, kind)
            if kind == "daily":
                self._check_sessions(table)
            self._tables[kind] = table
        return self._tables[kind]

    def rows(self, kind: str, symbol: str) -> Rows | None:
        """Return the rows of a symbol, None without any."""
        return self.table(kind).by_symbol.get(symbol)

    def symbols(self, period: int) -> list[str]:
        """Return the symbols that have bars of a period, or with 0 trades or quotes, in alphabetical order."""
        kinds = {0: ("trades", "quotes"), MINUTE: ("bars", "trades"), DAY: ("daily", "bars", "trades")}
        return sorted(
            {
                symbol
                for kind in kinds.get(period) or (FILES_OF_PERIOD[period],)
                for symbol in self.table(kind).by_symbol
            }
        )

    def names(self, symbol: str, end: int = NEVER) -> list[tuple[str, int, int]]:
        """Return what the symbol was called before `end`, oldest first: name, from when, until when."""
        rows = self.rows("renames", symbol)
        for day, before in zip(*(rows[n].tolist()[::-1] for n in ("day", "before")), strict=True) if rows else ():
            if (since := new_york(day, time())) < end:
                return [*self.names(before, since), (symbol, since, end)]
        return [(symbol, 0, end)]

    def _through(self, symbol: str, read: Callable[[str], Columns]) -> Columns:
        """Return what `read` gives of each name that the symbol had, while it had it."""
        parts = [between(read(name), since, until) for name, since, until in self.names(symbol)]
        return joined(parts) if len(parts) > 1 else parts[0]

    def bars(self, symbol: str, period: int, start: int = 0, end: int = NEVER) -> BarColumns:
        """Return the bars with start <= opened_at < end at their raw prices.

        Days that lack minute bars are folded from trades, days that lack a daily bar are summed from minutes.
        """
        return replace(self._through(symbol, lambda name: self._under(name, period, start, end)), symbol=symbol)

    def _under(self, symbol: str, period: int, start: int, end: int) -> BarColumns:
        """Return the bars of one name."""
        bars = self._written(symbol, period)
        if period == MINUTE and self.rows("trades", symbol) is not None:
            ticks = between(self._prints(symbol), 0, min(end, NEVER - MINUTE) + MINUTE)
            new = take(ticks, ~np.isin(day_numbers(ticks.at), day_numbers(bars.opened_at)))
            cells = (getattr(new, name).tolist() for name in new.__slots__)
            bars = _completed(bars, BarColumns.of(symbol, bars_of(map(TradeTick, repeat(symbol), *cells))))
        elif period == DAY:
            bars = _completed(
                bars, session_bars(self._under(symbol, MINUTE, start, min(end, NEVER - DAY) + DAY), self._days)
            )
        return between(bars, start, end)

    def trades(self, symbol: str) -> TradeColumns:
        """Return the prints of a symbol."""
        return self._through(symbol, self._prints)

    def quotes(self, symbol: str) -> QuoteColumns:
        """Return the quotes of a symbol."""
        return self._through(symbol, self._offers)

    def _prints(self, symbol: str) -> TradeColumns:
        rows = self.rows("trades", symbol)
        return no_trades() if rows is None else TradeColumns(*(rows[f.name] for f in FIELDS["trades"][1:]))

    def _offers(self, symbol: str) -> QuoteColumns:
        rows = self.rows("quotes", symbol)
        return no_quotes() if rows is None else QuoteColumns(*(rows[f.name] for f in FIELDS["quotes"][1:]))

    def ticks(self, symbol: str, start: int, end: int) -> Iterator[TradeColumns | QuoteColumns]:
        """Yield the prints and the quotes of a symbol with start <= at < end."""
        yield between(self.trades(symbol), start, end)
        yield between(self.quotes(symbol), start, end)

    def splits(self, symbol: str) -> Sequence[Split]:
        """Return the splits of the symbol that `splits` names, oldest first."""
        return tuple(Split(day, ratio) for day, ratio, _ in self._changes("splits", symbol, ("day", "ratio", ROW)))

    def dividends(self, symbol: str) -> Sequence[Dividend]:
        """Return the dividends of the symbol that `dividends` names, oldest first.

        Raises:
            ConfigError: if the close before one is neither stated nor in the daily bars.
        """
        rows = self._changes("dividends", symbol, _DIVIDEND)
        days = BarColumns.of(symbol, ()) if all(row[2] for row in rows) else self.bars(symbol, DAY)
        found = []
        for day, amount, close, row in rows:
            before = close or float(np.append(0.0, days.close)[np.searchsorted(days.opened_at, new_york(day, time()))])
            if not before:
                where = self.table("dividends").place(row)
                raise ConfigError(f"{where}: no close of {symbol} before {day} is known; state it in a column `close`.")
            found.append(Dividend(day, amount, before))
        return tuple(found)

    def _changes(self, kind: str, symbol: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return the rows of days in each name that the symbol had, while it had it; the day comes first."""
        found: list[tuple[Any, ...]] = []
        for name, since, until in self.names(symbol):
            if (rows := self.rows(kind, name)) is not None:
                every = zip(*(rows[n].tolist() for n in columns), strict=True)
                found += [row for row in every if since <= new_york(row[0], time()) < until]
        return found

    def _written(self, symbol: str, period: int) -> BarColumns:
        rows = self.rows(FILES_OF_PERIOD[period], symbol)
        if rows is None:
            return BarColumns.of(symbol, ())
        if period == DAY:
            days = rows["day"].tolist()
            spans = {session.day: session for session in self._days(days[0], days[-1])}
            opened = np.array([spans[day].opens_at for day in days], np.int64)
            closed = np.array([spans[day].closes_at for day in days], np.int64)
        else:
            opened, closed = rows["opened_at"], rows["opened_at"] + period
        prices = rows["open"], rows["high"], rows["low"], rows["close"]
        average = np.where(rows["vwap"] > 0, rows["vwap"], mean_price(prices))
        return BarColumns(symbol, opened, closed, *prices, rows["volume"], average, rows["count"])

    def _check_sessions(self, daily: Table) -> None:
        days: set[date] = set().union(*(rows["day"].tolist() for rows in daily.by_symbol.values()))
        shut = {day for day in days if not self._days(day, day)}
        for symbol, rows in daily.by_symbol.items() if shut else ():
            for day, row in zip(rows["day"].tolist(), rows[ROW].tolist(), strict=True):
                if day in shut:
                    where = daily.place(row)
                    raise ConfigError(f"{where}: a daily bar of {symbol} for {day}, on which the exchange was shut.")


def _completed(bars: BarColumns, others: BarColumns) -> BarColumns:
    """Return the bars, and those of others that they lack, by time."""
    both = joined([bars, take(others, ~np.isin(others.opened_at, bars.opened_at))])
    return take(both, np.argsort(both.opened_at))


def _paths(folder: Path, kind: str) -> list[Path]:
    """Return the files of a kind: one, or one per symbol."""
    single = [p for s in SUFFIXES if (p := folder / f"{kind}{s}").is_file()]
    many = sorted(p for p in (folder / kind).glob("*") if p.suffix in SUFFIXES) if (folder / kind).is_dir() else []
    if len(single) + bool(many) > 1:
        raise ConfigError(f"{folder} holds {kind} more than once; keep one of CSV, Parquet and the folder.")
    return single or many
