"""A recorded day in the Lean folder format: ticks where there are any, else seconds, else minutes.

Quotes come from tick quotes; without these from second, then minute quote bars, valid from the end of their
interval; without any, from the last price-forming trade plus and minus half a tick. Trades come from tick
trades, else each second or minute trade bar is played as up to four prints (open, low and high, close).
`notes()` tells which symbols are not played from ticks. Prices are raw: a split between the history and the
day is not adjusted for. There are no trade ids in the data; whoever serves the trades numbers them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from liualgotrader.common.calendar import FIRST_DAY, session_of, sessions
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import Bar
from liualgotrader.data.tapes import lean
from liualgotrader.data.tapes.bars import history_bar, sum_of
from liualgotrader.data.tapes.base import ColumnTape, TapeAsset, chosen_symbols, session_must_exist
from liualgotrader.data.tapes.columns import (
    QuoteColumns,
    SymbolColumns,
    TradeColumns,
    no_quotes,
    quotes_from_trades,
    trades_from_bars,
)

_RESOLUTIONS = ("tick", "second", "minute")
_VENUES = {"N": "NYSE", "Q": "NASDAQ", "P": "ARCA", "A": "AMEX", "Z": "BATS"}


def holds_lean_data(folder: Path) -> bool:
    """Return whether the folder has the Lean layout."""
    return any((folder / r).is_dir() and any((folder / r).glob("*/*_trade.zip")) for r in _RESOLUTIONS)


def symbols_of(folder: Path, day: date) -> list[str]:
    """Return the symbols that have trades on that day, in alphabetical order."""
    found = {p.parent.name.upper() for r in _RESOLUTIONS for p in (folder / r).glob(f"*/{day:%Y%m%d}_trade.zip")}
    return sorted(found)


class RecordedTape(ColumnTape):
    """One day of a Lean data folder. Files are read when their symbol is first needed, and kept."""

    def __init__(self, folder: str | Path, day: date, symbols: Sequence[str] | None = None) -> None:
        """Look what there is.

        Raises:
            ConfigError: if the exchange was shut, or a named symbol has no data on the day.
        """
        self._folder = Path(folder)
        session = session_must_exist(day, f"{self._folder}")
        chosen = chosen_symbols(symbols, symbols_of(self._folder, day), f"{self._folder}")
        super().__init__(session, [TapeAsset(s, s, _venue(self._folder, s, day)) for s in chosen])
        self._minutes: dict[tuple[str, date], list[Bar]] = {}
        self._days: dict[str, list[Bar]] = {}

    def notes(self) -> list[str]:
        """Return one sentence per symbol and kind that is not played from ticks."""
        told = []
        for s in self.symbols():
            quotes, trades = self._resolution(s, "quote"), self._resolution(s, "trade")
            if quotes is None:
                told.append(f"{s}: no quotes were recorded; they are the last trade plus and minus half a tick.")
            elif quotes != "tick":
                told.append(f"{s}: quotes are the closing quotes of {quotes} bars, valid from the end of each bar.")
            if trades != "tick":
                told.append(f"{s}: trades are made from {trades} bars, up to four prints a bar.")
        return told

    def minute_bars(self, symbol: str, start: int, end: int) -> Sequence[Bar]:
        """Return minute bars of earlier days in the folder with start <= opened_at < end, oldest first.

        The files have neither vwap nor count; `history_bar` says what stands there instead.
        """
        bars: list[Bar] = []
        for day in self._minute_days(symbol):
            bars += (b for b in self._minutes_of(symbol, day) if start <= b.opened_at < end)
        return bars

    def daily_bars(self, symbol: str, start: date, end: date) -> Sequence[Bar]:
        """Return daily bars from `start` to `end`, both included, of days before `day`, oldest first.

        A day that the daily file lacks is summed from the regular minutes of its minute file, if there is one.
        """
        if symbol not in self._days:
            self._days[symbol] = self._all_days(symbol)
        first, last = _bounds(start), _bounds(end + timedelta(days=1))
        return [b for b in self._days[symbol] if first <= b.opened_at < last]

    def _load(self, symbol: str) -> SymbolColumns:
        trades = self._trades(symbol)
        quotes = self._quotes(symbol)
        return SymbolColumns(symbol, quotes if len(quotes.at) else quotes_from_trades(trades), trades)

    def _resolution(self, symbol: str, kind: str) -> str | None:
        """Return the finest resolution in which trades or quotes of the day exist."""
        there = (r for r in _RESOLUTIONS if lean.path_of(self._folder, r, symbol, self.day, kind).exists())
        return next(there, None)

    def _trades(self, symbol: str) -> TradeColumns:
        resolution = self._resolution(symbol, "trade") or "minute"
        path = lean.path_of(self._folder, resolution, symbol, self.day, "trade")
        if resolution == "tick":
            return lean.tick_trades(path, self.session)
        b = lean.trade_bars(path, self.day)
        return trades_from_bars(b.opened_at, (b.open, b.high, b.low, b.close), b.volume, lean.INTERVALS[resolution])

    def _quotes(self, symbol: str) -> QuoteColumns:
        resolution = self._resolution(symbol, "quote")
        if resolution is None:
            return no_quotes()
        path = lean.path_of(self._folder, resolution, symbol, self.day, "quote")
        if resolution == "tick":
            return lean.tick_quotes(path, self.session)
        return lean.bar_quotes(path, self.session, lean.INTERVALS[resolution])

    def _minute_days(self, symbol: str) -> list[date]:
        """Return the earlier days with a minute file, oldest first."""
        names = (p.name[:8] for p in (self._folder / "minute" / symbol.lower()).glob("*_trade.zip"))
        days = (date(int(n[:4]), int(n[4:6]), int(n[6:])) for n in names if n.isdigit())
        return sorted(d for d in days if FIRST_DAY <= d < self.day and session_of(d))

    def _minutes_of(self, symbol: str, day: date) -> list[Bar]:
        key = (symbol, day)
        if key not in self._minutes:
            b = lean.trade_bars(lean.path_of(self._folder, "minute", symbol, day, "trade"), day)
            figures = zip(*(c.tolist() for c in (b.open, b.high, b.low, b.close, b.volume)), strict=True)
            self._minutes[key] = [
                history_bar(symbol, at, at + MINUTE, row) for at, row in zip(b.opened_at.tolist(), figures, strict=True)
            ]
        return self._minutes[key]

    def _all_days(self, symbol: str) -> list[Bar]:
        bars = {b.opened_at: b for b in self._summed_days(symbol)}
        path = self._folder / "daily" / f"{symbol.lower()}.zip"
        if path.exists():
            spans = {s.day: s for s in sessions(FIRST_DAY, self.day)[:-1]}
            for day, *figures in lean.daily_rows(path):
                span = spans.get(day)
                if span is not None:
                    bars[span.opens_at] = history_bar(symbol, span.opens_at, span.closes_at, figures)
        return [bars[at] for at in sorted(bars)]

    def _summed_days(self, symbol: str) -> list[Bar]:
        found = []
        for day in self._minute_days(symbol):
            session = session_must_exist(day, symbol)
            regular = [b for b in self._minutes_of(symbol, day) if session.is_open(b.opened_at)]
            bar = sum_of(regular, session.opens_at, session.closes_at)
            if bar is not None:
                found.append(bar)
        return found


def _bounds(day: date) -> int:
    """Return the instant at which `day` begins in UTC; sessions lie well inside that day."""
    return (day - date(1970, 1, 1)).days * 1440 * MINUTE


def _venue(folder: Path, symbol: str, day: date) -> str:
    """Return the primary exchange on that day from the map file, `NYSE` where there is none."""
    path = folder / "map_files" / f"{symbol.lower()}.csv"
    if not path.exists():
        return "NYSE"
    rows = [line.split(",") for line in path.read_text().split()]
    letters = [r[2] for r in rows if len(r) > 2 and r[0] >= f"{day:%Y%m%d}"]
    return _VENUES.get(letters[0] if letters else "N", "NYSE")
