"""A day from plain CSV or Parquet files.

`design/market_data_files.md` describes the files, `FIELDS` holds their columns. The folder is read and checked whole:
what cannot be is a sentence with file and line. A symbol without trades on the day is played from its minute bars, one
without quotes from its trades (see `columns.quotes_from_trades`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import numpy as np

from liualgotrader.common.calendar import day_of, new_york, session_of
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import SYMBOL_RULE, Bar, BarSource, Counts, Status, TradeTick, is_symbol
from liualgotrader.tapes.base import (
    ColumnTape,
    TapeAsset,
    chosen_symbols,
    day_missing,
    grouped,
    played_session,
)
from liualgotrader.tapes.columns import (
    QuoteColumns,
    SymbolColumns,
    TradeColumns,
    no_quotes,
    no_trades,
    trades_from_bars,
)
from liualgotrader.tapes.minute_bars import bars_of, daily_bars_of
from liualgotrader.tapes.splits import Split, adjusted
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
    "splits": (_SYMBOL, Field("day", Kind.DAY), Field("ratio", Kind.RATIO)),
    "assets": (
        *(_SYMBOL, Field("name", Kind.TEXT, ""), Field("exchange", Kind.TEXT, "NYSE")),
        Field("shortable", Kind.YES_NO, True),
    ),
}

_ONE_EACH = {"bars": "bar of one minute", "daily": "bar of one day", "splits": "split on one day", "assets": "row"}
_DAYS_IN = {"trades": "at", "bars": "opened_at", "quotes": "at"}
_ROW = "row"  # where a row stands, counted through all files of its kind

_Rows = dict[str, Column]


def holds_files(folder: Path) -> bool:
    """Return whether the folder has trades or minute bars in this layout."""
    return bool(_paths(folder, "trades") or _paths(folder, "bars"))


def days_of(folder: Path, wanted: date) -> set[date]:
    """Return the days with any events; as soon as `wanted` is found, those until then.

    A file that cannot be looked through may have the day: reading it whole says what is wrong.
    """
    found: set[date] = set()
    for kind, column in _DAYS_IN.items():
        for path in _paths(folder, kind):
            try:
                for days in days_in(path, column):
                    found |= days
                    if wanted in found:
                        return found
            except ValueError:
                return {wanted}
    return found


class _Table:
    """The rows of all files of a kind by symbol, sorted by time, equal times in the order of the file."""

    def __init__(self, folder: Path, kind: str) -> None:
        """Read them.

        Raises:
            ConfigError: if a file is malformed, or has two rows where there can be one.
        """
        fields, self._paths = FIELDS[kind], _paths(folder, kind)
        self._parts = []
        for path in self._paths:
            named = path.stem.upper() if path.parent != folder else None
            if named is not None and not is_symbol(named):
                raise ConfigError(f"The name of {path} is not a symbol: {SYMBOL_RULE}.")
            self._parts.append(read_table(path, fields, named))
        self.by_symbol: dict[str, _Rows] = {}
        if not self._parts:
            return
        rows = {f.name: np.concatenate([p[f.name] for p in self._parts]) for f in fields}
        names, codes = np.unique(rows["symbol"].astype(str), return_inverse=True)
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
            self.by_symbol[str(name)] = {**{f.name: rows[f.name][chunk] for f in fields}, _ROW: chunk}

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


class FilesTape(ColumnTape):
    """One day of a folder of CSV or Parquet files, all read and checked at once."""

    def __init__(
        self, folder: str | Path, day: date, symbols: Sequence[str] | None = None, *, bypass: bool = False
    ) -> None:
        """Read the folder; with `bypass` the exchange may have been shut on the day.

        Raises:
            ConfigError: if the exchange was shut, a file is malformed, or a named symbol has no data on the day.
        """
        where = Path(folder)
        session = played_session(day, f"{where}", bypass=bypass)
        self._tables = {kind: _Table(where, kind) for kind in FIELDS}
        self._rows = {kind: table.by_symbol for kind, table in self._tables.items()}
        self._check_days()
        self._start = new_york(day, time(0, 0))
        self._end = new_york(day + timedelta(days=1), time(0, 0))
        there = set()
        for kind, column in _DAYS_IN.items():
            there |= self._tables[kind].symbols(column, self._start, self._end)
        if not there:
            raise day_missing(where, day, days_of(where, day))
        assets = []
        for s in chosen_symbols(symbols, sorted(there), f"{where}"):
            name, venue, shortable = s, "NYSE", True
            if (row := self._rows["assets"].get(s)) is not None:
                name, venue, shortable = row["name"][0] or s, row["exchange"][0] or venue, bool(row["shortable"][0])
            assets.append(TapeAsset(s, name, venue, shortable))
        super().__init__(session, assets)

    def notes(self) -> list[str]:
        """Return a sentence for each kind of event that is made up, with the symbols."""
        found = []
        for s in self.symbols():
            if not len(self._today("quotes", s, "at")):
                found.append((s, "the files hold no quotes; they are the last trade plus and minus half a tick."))
            if not len(self._today("trades", s, "at")):
                found.append((s, "trades are made from minute bars, up to four prints a bar."))
        return grouped(found)

    def splits(self, symbol: str) -> Sequence[Split]:
        """Return the splits of the symbol that `splits` names, oldest first."""
        rows = self._rows["splits"].get(symbol)
        return () if rows is None else tuple(map(Split, rows["day"].tolist(), rows["ratio"].tolist()))

    def _load(self, symbol: str) -> SymbolColumns:
        rows = self._rows["quotes"].get(symbol)
        today = self._today("quotes", symbol, "at")
        quotes = no_quotes()
        if rows is not None:
            quotes = QuoteColumns(*(rows[f.name][today] for f in FIELDS["quotes"][1:]))
        rows = self._rows["statuses"].get(symbol)
        today = self._today("statuses", symbol, "at")
        statuses: tuple[Status, ...] = ()
        if rows is not None:
            cells = (rows[f.name][today].tolist() for f in FIELDS["statuses"][1:])
            statuses = tuple(Status(symbol, *row) for row in zip(*cells, strict=True))
        today, minutes = self._today("trades", symbol, "at"), self._today("bars", symbol, "opened_at")
        trades = no_trades()
        if len(today):
            rows = self._rows["trades"][symbol]
            trades = TradeColumns(*(rows[f.name][today] for f in FIELDS["trades"][1:]))
        elif len(minutes):
            rows = self._rows["bars"][symbol]
            prices = tuple(rows[f.name][minutes] for f in _PRICES)
            trades = trades_from_bars(rows["opened_at"][minutes], prices, rows["volume"][minutes], MINUTE)
        return SymbolColumns(symbol, quotes, trades, statuses)

    def _where_splits(self, symbol: str) -> str:
        return "`splits.csv`"

    def place_of_quote(self, symbol: str, row: int) -> str:
        today = self._today("quotes", symbol, "at")
        return self._tables["quotes"].place(int(self._rows["quotes"][symbol][_ROW][today[row]]))

    def _today(self, kind: str, symbol: str, column: str) -> Any:
        """Return the row numbers of the day."""
        rows = self._rows[kind].get(symbol)
        if rows is None:
            return np.zeros(0, np.int64)
        return np.flatnonzero((rows[column] >= self._start) & (rows[column] < self._end))

    def all_minutes(self, symbol: str) -> list[Bar]:
        """Return them as the file of minute bars has them, on its other days folded from trades."""
        rows = self._rows["bars"].get(symbol)
        found: list[Bar] = []
        if rows is not None:
            spans = [(at, at + MINUTE) for at in rows["opened_at"].tolist()]
            found = [b for b in _bars(symbol, spans, rows) if b.opened_at < self._start]
        known = {day_of(b.opened_at) for b in found}
        trades: Iterable[TradeTick] = ()
        if (ticks := self._rows["trades"].get(symbol)) is not None:
            before = slice(0, int(np.searchsorted(ticks["at"], self._start)))
            cells = (ticks[f.name][before].tolist() for f in FIELDS["trades"][1:])
            trades = map(TradeTick, repeat(symbol), *cells)
        folded = [b for b in bars_of(trades) if day_of(b.opened_at) not in known]
        raw = sorted(found + folded, key=lambda b: b.opened_at) if folded else found
        return adjusted(raw, self.splits(symbol), self.day)

    def all_days(self, symbol: str) -> list[Bar]:
        found = {b.opened_at: b for b in daily_bars_of(self.minute_bars(symbol, 0, self._start))}
        rows = self._rows["daily"].get(symbol)
        if rows is not None:
            days = (played_session(day, symbol) for day in rows["day"].tolist())
            spans = [(s.opens_at, s.closes_at) for s in days]
            raw = [b for b in _bars(symbol, spans, rows) if b.opened_at < self._start]
            found |= {b.opened_at: b for b in adjusted(raw, self.splits(symbol), self.day)}
        return [found[at] for at in sorted(found)]

    def _check_days(self) -> None:
        daily = self._rows["daily"]
        days: set[date] = set().union(*(rows["day"].tolist() for rows in daily.values()))
        shut = {day for day in days if session_of(day) is None}
        for symbol, rows in daily.items() if shut else ():
            for day, row in zip(rows["day"].tolist(), rows[_ROW].tolist(), strict=True):
                if day in shut:
                    where = self._tables["daily"].place(row)
                    raise ConfigError(f"{where}: a daily bar of {symbol} for {day}, on which the exchange was shut.")


def _paths(folder: Path, kind: str) -> list[Path]:
    """Return the files of a kind: one, or one per symbol."""
    single = [p for s in SUFFIXES if (p := folder / f"{kind}{s}").is_file()]
    many = sorted(p for p in (folder / kind).glob("*") if p.suffix in SUFFIXES) if (folder / kind).is_dir() else []
    if len(single) + bool(many) > 1:
        raise ConfigError(f"{folder} holds {kind} more than once; keep one of CSV, Parquet and the folder.")
    return single or many


def _bars(symbol: str, spans: Sequence[tuple[int, int]], rows: _Rows) -> Iterable[Bar]:
    mean = (rows["open"] + rows["high"] + rows["low"] + rows["close"]) / 4
    vwap = np.where(rows["vwap"] > 0, rows["vwap"], np.round(mean, 6))
    columns = (*(rows[f.name] for f in _FIGURES[:5]), vwap, rows["count"].astype(np.int64))
    opened, closed = [s[0] for s in spans], [s[1] for s in spans]
    figures = [c.tolist() for c in columns]
    return list(map(Bar, repeat(symbol), opened, closed, *figures, repeat(int(BarSource.HISTORY))))
