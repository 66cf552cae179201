"""A day from plain CSV or Parquet files, and the writer that makes such files.

A folder holds, each as `.csv` or `.parquet`:

==========  ==========================================================================================
file        columns (those in brackets may be missing)
==========  ==========================================================================================
`trades`    symbol, at, price, size, [flags: sum of 1 last, 2 high and low, 4 volume; 7 if missing]
`quotes`    symbol, at, bid, bid_size, ask, ask_size, [flags: 1 marks a made-up quote]
`statuses`  symbol, at, halted, [code, reason]
`bars`      symbol, opened_at, open, high, low, close, volume, [vwap, count]: one minute each
`daily`     symbol, day, open, high, low, close, volume, [vwap, count]
`assets`    symbol, [name, exchange, shortable]
==========  ==========================================================================================

`trades` or `bars` is needed, the rest is not; a `vwap` of 0 means that nobody knows it. Instead of one file there may be a folder of that name with
one file per symbol (`trades/ABC.csv`), which then needs no symbol column. Times are ISO 8601 with an offset,
or ns since 1970 UTC; rows need not be sorted, equal times keep the order of the file. Files may span several
days: the tape plays one of them, bars of days before it are history, on days without bars folded from trades. A symbol without trades on the day is
played from its minute bars, one without quotes from its trades (see `columns.quotes_from_trades`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import numpy as np

from liualgotrader.common.calendar import day_of, new_york, session_of
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar, BarSource, Counts, Status, Trade
from liualgotrader.data.tapes.bars import bars_of, sum_of
from liualgotrader.data.tapes.base import ColumnTape, TapeAsset, chosen_symbols, session_must_exist
from liualgotrader.data.tapes.columns import (
    QuoteColumns,
    SymbolColumns,
    TradeColumns,
    no_quotes,
    no_trades,
    quotes_from_trades,
    trades_from_bars,
)
from liualgotrader.data.tapes.tables import SUFFIXES, Column, Field, Kind, read_table

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
    "assets": (
        *(_SYMBOL, Field("name", Kind.TEXT, ""), Field("exchange", Kind.TEXT, "NYSE")),
        Field("shortable", Kind.YES_NO, True),
    ),
}

_Rows = dict[str, Column]


def holds_files(folder: Path) -> bool:
    """Return whether the folder has trades or minute bars in this layout."""
    return bool(_paths(folder, "trades") or _paths(folder, "bars"))


@dataclass(frozen=True, slots=True)
class _Tables:
    """The rows of all files by kind and symbol, sorted by time."""

    of: Mapping[str, Mapping[str, _Rows]]

    def rows(self, kind: str, symbol: str) -> _Rows | None:
        return self.of[kind].get(symbol)

    def symbols(self, kind: str, column: str, start: int, end: int) -> set[str]:
        """Return the symbols that have a row with start <= time < end."""
        return {s for s, r in self.of[kind].items() if np.any((r[column] >= start) & (r[column] < end))}


class FilesTape(ColumnTape):
    """One day of a folder of CSV or Parquet files, all read and checked at once."""

    def __init__(self, folder: str | Path, day: date, symbols: Sequence[str] | None = None) -> None:
        """Read the folder.

        Raises:
            ConfigError: if the exchange was shut, a file is malformed, or a named symbol has no data on the day.
        """
        where = Path(folder)
        session = session_must_exist(day, f"{where}")
        self._tables = _Tables({kind: _by_symbol(where, kind) for kind in FIELDS})
        _must_be_sessions(where, self._tables.of["daily"])
        self._start = new_york(day, time(0, 0))
        self._end = new_york(day + timedelta(days=1), time(0, 0))
        there = set()
        for kind, column in (("trades", "at"), ("quotes", "at"), ("bars", "opened_at")):
            there |= self._tables.symbols(kind, column, self._start, self._end)
        chosen = chosen_symbols(symbols, sorted(there), f"{where}")
        super().__init__(session, [self._asset(s) for s in chosen])
        self._minutes: dict[str, list[Bar]] = {}
        self._days: dict[str, list[Bar]] = {}

    def notes(self) -> list[str]:
        """Return one sentence per symbol whose quotes or trades are made up."""
        told = []
        for s in self.symbols():
            if not len(self._today("quotes", s, "at")):
                told.append(f"{s}: the files hold no quotes; they are the last trade plus and minus half a tick.")
            if not len(self._today("trades", s, "at")):
                told.append(f"{s}: trades are made from minute bars, up to four prints a bar.")
        return told

    def minute_bars(self, symbol: str, start: int, end: int) -> Sequence[Bar]:
        """Return minute bars of earlier days with start <= opened_at < end, oldest first."""
        if symbol not in self._minutes:
            self._minutes[symbol] = self._all_minutes(symbol)
        return [b for b in self._minutes[symbol] if start <= b.opened_at < end]

    def daily_bars(self, symbol: str, start: date, end: date) -> Sequence[Bar]:
        """Return daily bars from `start` to `end`, both included, before `day`; from minutes where `daily` has none."""
        if symbol not in self._days:
            self._days[symbol] = self._all_days(symbol)
        first, last = (new_york(d, time(0, 0)) for d in (start, end + timedelta(days=1)))
        return [b for b in self._days[symbol] if first <= b.opened_at < last]

    def _load(self, symbol: str) -> SymbolColumns:
        trades = self._trades(symbol)
        quotes = self._quotes(symbol)
        return SymbolColumns(
            symbol, quotes if len(quotes.at) else quotes_from_trades(trades), trades, self._statuses(symbol)
        )

    def _trades(self, symbol: str) -> TradeColumns:
        today = self._today("trades", symbol, "at")
        if len(today):
            r = self._tables.of["trades"][symbol]
            return TradeColumns(r["at"][today], r["price"][today], r["size"][today], r["flags"][today])
        minutes = self._today("bars", symbol, "opened_at")
        if not len(minutes):
            return no_trades()
        r = self._tables.of["bars"][symbol]
        prices = tuple(r[f.name][minutes] for f in _PRICES)
        return trades_from_bars(r["opened_at"][minutes], prices, r["volume"][minutes], MINUTE)

    def _quotes(self, symbol: str) -> QuoteColumns:
        today = self._today("quotes", symbol, "at")
        if not len(today):
            return no_quotes()
        r = self._tables.of["quotes"][symbol]
        return QuoteColumns(*(r[f.name][today] for f in FIELDS["quotes"][1:]))

    def _statuses(self, symbol: str) -> tuple[Status, ...]:
        rows = self._tables.rows("statuses", symbol)
        today = self._today("statuses", symbol, "at").tolist()
        if rows is None:
            return ()
        cells = (rows[f.name].tolist() for f in FIELDS["statuses"][1:])
        every = [Status(symbol, *row) for row in zip(*cells, strict=True)]
        return tuple(every[i] for i in today)

    def _today(self, kind: str, symbol: str, column: str) -> Any:
        """Return the row numbers of the day."""
        rows = self._tables.rows(kind, symbol)
        if rows is None:
            return np.zeros(0, np.int64)
        return np.flatnonzero((rows[column] >= self._start) & (rows[column] < self._end))

    def _all_minutes(self, symbol: str) -> list[Bar]:
        """Return the minutes of earlier days: as the file of minute bars has them, on its other days folded from trades."""
        rows = self._tables.rows("bars", symbol)
        found: list[Bar] = []
        if rows is not None:
            spans = [(at, at + MINUTE) for at in rows["opened_at"].tolist()]
            found = [b for b in _bars(symbol, spans, rows) if b.opened_at < self._start]
        known = {day_of(b.opened_at) for b in found}
        folded = [b for b in bars_of(self._earlier_trades(symbol)) if day_of(b.opened_at) not in known]
        return sorted(found + folded, key=lambda b: b.opened_at) if folded else found

    def _earlier_trades(self, symbol: str) -> Iterator[Trade]:
        rows = self._tables.rows("trades", symbol)
        if rows is None:
            return iter(())
        before = slice(0, int(np.searchsorted(rows["at"], self._start)))
        cells = (rows[f.name][before].tolist() for f in FIELDS["trades"][1:])
        return map(Trade, repeat(symbol), *cells)

    def _all_days(self, symbol: str) -> list[Bar]:
        found = {b.opened_at: b for b in _summed(self.minute_bars(symbol, 0, self._start))}
        rows = self._tables.rows("daily", symbol)
        if rows is not None:
            days = (session_must_exist(day, symbol) for day in rows["day"].tolist())
            spans = [(s.opens_at, s.closes_at) for s in days]
            found |= {b.opened_at: b for b in _bars(symbol, spans, rows) if b.opened_at < self._start}
        return [found[at] for at in sorted(found)]

    def _asset(self, symbol: str) -> TapeAsset:
        rows = self._tables.rows("assets", symbol)
        if rows is None:
            return TapeAsset(symbol, symbol, "NYSE")
        return TapeAsset(symbol, rows["name"][0] or symbol, rows["exchange"][0] or "NYSE", bool(rows["shortable"][0]))


def _paths(folder: Path, kind: str) -> list[Path]:
    """Return the files of a kind: one, or one per symbol."""
    single = [p for s in SUFFIXES if (p := folder / f"{kind}{s}").is_file()]
    many = sorted(p for p in (folder / kind).glob("*") if p.suffix in SUFFIXES) if (folder / kind).is_dir() else []
    if len(single) + bool(many) > 1:
        raise ConfigError(f"{folder} holds {kind} more than once; keep one of CSV, Parquet and the folder.")
    return single or many


def _by_symbol(folder: Path, kind: str) -> dict[str, _Rows]:
    """Return the rows of a kind by symbol, sorted by time, equal times in the order of the file."""
    parts = [read_table(p, FIELDS[kind], p.stem.upper() if p.parent != folder else None) for p in _paths(folder, kind)]
    if not parts:
        return {}
    rows = {f.name: np.concatenate([p[f.name] for p in parts]) for f in FIELDS[kind]}
    names, codes = np.unique(rows["symbol"].astype(str), return_inverse=True)
    order = np.lexsort((_sort_keys(kind, rows), codes))
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    chunks = [order[a:b] for a, b in pairwise(bounds.tolist())]
    return {str(n): {k: v[c] for k, v in rows.items()} for n, c in zip(names, chunks, strict=True)}


def _sort_keys(kind: str, rows: _Rows) -> Column:
    """Return what the rows of a symbol are sorted by: the second column, if that is a time."""
    if kind == "daily":
        return np.array([d.toordinal() for d in rows["day"]], np.int64)
    column = rows[FIELDS[kind][1].name]
    return column if column.dtype == np.int64 else np.zeros(len(column), np.int64)


def _bars(symbol: str, spans: Sequence[tuple[int, int]], rows: _Rows) -> Iterable[Bar]:
    mean = (rows["open"] + rows["high"] + rows["low"] + rows["close"]) / 4
    vwap = np.where(rows["vwap"] > 0, rows["vwap"], np.round(mean, 6))
    columns = (*(rows[f.name] for f in _FIGURES[:5]), vwap, rows["count"].astype(np.int64))
    opened, closed = [s[0] for s in spans], [s[1] for s in spans]
    figures = [c.tolist() for c in columns]
    return list(map(Bar, repeat(symbol), opened, closed, *figures, repeat(int(BarSource.HISTORY))))


def _must_be_sessions(folder: Path, daily: Mapping[str, _Rows]) -> None:
    for symbol, rows in daily.items():
        for day in set(rows["day"].tolist()):
            if session_of(day) is None:
                raise ConfigError(f"{folder}: the daily bars of {symbol} hold {day}, on which the exchange was shut.")


def _summed(minutes: Sequence[Bar]) -> list[Bar]:
    """Return the daily bars of the sessions that minute bars cover."""
    by_day: dict[tuple[int, int], list[Bar]] = {}
    midnight, session = 0, None
    for bar in minutes:
        if not midnight <= bar.opened_at < midnight + 24 * 60 * MINUTE:
            midnight = bar.opened_at - bar.opened_at % (24 * 60 * MINUTE)
            session = session_of(date(1970, 1, 1) + timedelta(days=midnight // (24 * 60 * MINUTE)))
        if session is not None and session.is_open(bar.opened_at):
            by_day.setdefault((session.opens_at, session.closes_at), []).append(bar)
    return [whole for span, bars in by_day.items() if (whole := sum_of(bars, *span)) is not None]
