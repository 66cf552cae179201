"""A day from plain CSV or Parquet files: see `plain_files.py` for the files.

The folder is read and checked whole. A symbol without trades on the day is played from its minute bars, one without
quotes from its trades (see `columns.quotes_from_trades`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import Bar, Status
from liualgotrader.common.market_columns import between
from liualgotrader.common.ports import Asset
from liualgotrader.tapes.base import ColumnTape, chosen_symbols, day_missing, grouped, played_session
from liualgotrader.tapes.columns import SymbolColumns, trades_from_bars
from liualgotrader.tapes.plain_files import DAYS_IN, FIELDS, ROW, PlainFiles, days_of
from liualgotrader.tapes.splits import Dividend, Split, adjusted

_PLAYED = ("trades", "quotes", "statuses", "bars", "daily", "splits", "assets")


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
        self._files = PlainFiles(where)
        for kind in _PLAYED:
            self._files.table(kind)
        self._start = new_york(day, time(0, 0))
        self._end = new_york(day + timedelta(days=1), time(0, 0))
        there = set()
        for kind, column in DAYS_IN.items():
            there |= self._files.table(kind).symbols(column, self._start, self._end)
        if not there:
            raise day_missing(where, day, days_of(where, day))
        assets = []
        for s in chosen_symbols(symbols, sorted(there), f"{where}"):
            name, venue, shortable = s, "NYSE", True
            if (row := self._files.rows("assets", s)) is not None:
                name, venue, shortable = row["name"][0] or s, row["exchange"][0] or venue, bool(row["shortable"][0])
            assets.append(Asset(s, name, venue, shortable))
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
        return self._files.splits(symbol)

    def dividends(self, symbol: str) -> Sequence[Dividend]:
        return self._files.dividends(symbol)

    def _load(self, symbol: str) -> SymbolColumns:
        files, day = self._files, (self._start, self._end)
        quotes, trades = between(files.quotes(symbol), *day), between(files.trades(symbol), *day)
        statuses: tuple[Status, ...] = ()
        if (rows := files.rows("statuses", symbol)) is not None:
            today = self._today("statuses", symbol, "at")
            cells = (rows[f.name][today].tolist() for f in FIELDS["statuses"][1:])
            statuses = tuple(Status(symbol, *row) for row in zip(*cells, strict=True))
        if not len(trades.at):
            minutes = files.bars(symbol, MINUTE, *day)
            prices = minutes.open, minutes.high, minutes.low, minutes.close
            trades = trades_from_bars(minutes.opened_at, prices, minutes.volume, MINUTE)
        return SymbolColumns(symbol, quotes, trades, statuses)

    def where_splits(self, symbol: str) -> str:
        return "`splits.csv`"

    def place_of_quote(self, symbol: str, row: int) -> str:
        today = self._today("quotes", symbol, "at")
        rows = self._files.table("quotes").by_symbol[symbol]
        return self._files.table("quotes").place(int(rows[ROW][today[row]]))

    def _today(self, kind: str, symbol: str, column: str) -> Any:
        """Return the row numbers of the day."""
        rows = self._files.rows(kind, symbol)
        if rows is None:
            return np.zeros(0, np.int64)
        return np.flatnonzero((rows[column] >= self._start) & (rows[column] < self._end))

    def history(self, symbol: str, period: int) -> list[Bar]:
        """Return the bars as their files have them; those of other days are made from trades and minutes."""
        raw = self._files.bars(symbol, period, 0, self._start)
        return adjusted(raw, self.splits(symbol), self.day).bars()
