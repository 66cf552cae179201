"""A recorded day in the Lean folder format: ticks where there are any, else seconds, else minutes.

Quotes come from tick quotes; without these from second, then minute quote bars, valid from the end of their
interval; without any, from the last price-forming trade plus and minus half a tick. Trades come from tick
trades, else each second or minute trade bar is played as up to four prints (open, low and high, close).
`notes()` names the symbols that are not played from ticks. Prices in the files are raw; history is adjusted, as of
the day, for the splits of the factor files. There are no trade ids in the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

from liualgotrader.common.calendar import FIRST_DAY, LAST_DAY, session_of, sessions
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import SYMBOL_RULE, Bar, is_symbol
from liualgotrader.tapes import lean
from liualgotrader.tapes.base import (
    ColumnTape,
    TapeAsset,
    chosen_symbols,
    day_missing,
    grouped,
    played_session,
)
from liualgotrader.tapes.columns import (
    SymbolColumns,
    no_quotes,
    trades_from_bars,
)
from liualgotrader.tapes.minute_bars import daily_bars_of, history_bar
from liualgotrader.tapes.splits import Split, adjusted, lean_splits

_RESOLUTIONS = ("tick", "second", "minute")
_VENUES = {"N": "NYSE", "Q": "NASDAQ", "P": "ARCA", "A": "AMEX", "Z": "BATS"}


def holds_lean_data(folder: Path) -> bool:
    """Return whether the folder has the Lean layout."""
    return any((folder / r).is_dir() and any((folder / r).glob("*/*_trade.zip")) for r in _RESOLUTIONS)


def symbols_of(folder: Path, day: date) -> list[str]:
    """Return the symbols that have trades on that day, in alphabetical order.

    Raises:
        ConfigError: if a folder's name is no symbol.
    """
    folders = {p.parent for r in _RESOLUTIONS for p in (folder / r).glob(f"*/{day:%Y%m%d}_trade.zip")}
    for found in folders:
        if not is_symbol(found.name.upper()):
            raise ConfigError(f"The name of {found} is not a symbol: {SYMBOL_RULE}.")
    return sorted({found.name.upper() for found in folders})


def days_of(folder: Path) -> set[date]:
    """Return the days with trades of any symbol."""
    return {day for r in _RESOLUTIONS for day in _days((folder / r).glob("*/*_trade.zip"))}


def _days(paths: Iterable[Path]) -> set[date]:
    """Return the days that begin the names of files, as far as the calendar knows them."""
    found = set()
    for name in {p.name[:8] for p in paths}:
        with suppress(ValueError):
            found.add(date.fromisoformat(name))
    return {day for day in found if FIRST_DAY <= day <= LAST_DAY}


class RecordedTape(ColumnTape):
    """One day of a Lean data folder. Files are read when their symbol is first needed, and kept."""

    def __init__(
        self, folder: str | Path, day: date, symbols: Sequence[str] | None = None, *, bypass: bool = False
    ) -> None:
        """Find the symbols; with `bypass` the exchange may have been shut.

        Raises:
            ConfigError: if the exchange was shut, or a named symbol has no data on the day.
        """
        self._folder = Path(folder)
        session = played_session(day, f"{self._folder}", bypass=bypass)
        existing = symbols_of(self._folder, day)
        if not existing:
            raise day_missing(self._folder, day, days_of(self._folder))
        assets = []
        for s in chosen_symbols(symbols, existing, f"{self._folder}"):
            path = self._folder / "map_files" / f"{s.lower()}.csv"  # last day, symbol, letter of the primary exchange
            rows = [line.split(",") for line in path.read_text().split()] if path.exists() else []
            letters = [row[2] for row in rows if len(row) > 2 and row[0] >= f"{day:%Y%m%d}"]
            assets.append(TapeAsset(s, s, _VENUES.get(letters[0] if letters else "N", "NYSE")))
        super().__init__(session, assets)
        self._splits: dict[str, Sequence[Split]] = {}

    def notes(self) -> list[str]:
        """Return a sentence for each kind of event that is not played from ticks, with the symbols."""
        found = []
        for s in self.symbols():
            quotes, trades = self._resolution(s, "quote"), self._resolution(s, "trade")
            if quotes is None:
                found.append((s, "no quotes were recorded; they are the last trade plus and minus half a tick."))
            elif quotes != "tick":
                found.append((s, f"quotes are the closing quotes of {quotes} bars, valid from the end of each bar."))
            if trades != "tick":
                found.append((s, f"trades are made from {trades} bars, up to four prints a bar."))
        return grouped(found)

    def splits(self, symbol: str) -> Sequence[Split]:
        """Return the splits of the symbol's factor file, oldest first."""
        if symbol not in self._splits:
            self._splits[symbol] = lean_splits(self._where_splits(symbol))
        return self._splits[symbol]

    def _load(self, symbol: str) -> SymbolColumns:
        resolution = self._resolution(symbol, "quote")
        quotes = no_quotes()
        if resolution is not None:
            path = lean.path_of(self._folder, resolution, symbol, self.day, "quote")
            if resolution == "tick":
                quotes = lean.tick_quotes(path, self.session)
            else:
                quotes = lean.bar_quotes(path, self.session, lean.INTERVALS[resolution])
        resolution = self._resolution(symbol, "trade") or "minute"
        path = lean.path_of(self._folder, resolution, symbol, self.day, "trade")
        if resolution == "tick":
            return SymbolColumns(symbol, quotes, lean.tick_trades(path, self.session))
        bars, interval = lean.trade_bars(path, self.day), lean.INTERVALS[resolution]
        prices = (bars.open, bars.high, bars.low, bars.close)
        return SymbolColumns(symbol, quotes, trades_from_bars(bars.opened_at, prices, bars.volume, interval))

    def _where_splits(self, symbol: str) -> Path:
        return self._folder / "factor_files" / f"{symbol.lower()}.csv"

    def place_of_quote(self, symbol: str, row: int) -> str:
        resolution = self._resolution(symbol, "quote") or "tick"
        path = lean.path_of(self._folder, resolution, symbol, self.day, "quote")
        return f"{path}, line {lean.line_of_quote(path, resolution, row)}"

    def _resolution(self, symbol: str, kind: str) -> str | None:
        """Return the finest resolution in which trades or quotes of the day exist."""
        there = (r for r in _RESOLUTIONS if lean.path_of(self._folder, r, symbol, self.day, kind).exists())
        return next(there, None)

    def all_minutes(self, symbol: str) -> list[Bar]:
        """Return them from the minute files, which have neither vwap nor count: see `history_bar`."""
        found: list[Bar] = []
        for day in sorted(_days((self._folder / "minute" / symbol.lower()).glob("*_trade.zip"))):
            if day < self.day and session_of(day):
                b = lean.trade_bars(lean.path_of(self._folder, "minute", symbol, day, "trade"), day)
                columns = (c.tolist() for c in (b.opened_at, b.open, b.high, b.low, b.close, b.volume))
                rows = zip(*columns, strict=True)
                found += (history_bar(symbol, at, at + MINUTE, figures) for at, *figures in rows)
        return adjusted(found, self.splits(symbol), self.day)

    def all_days(self, symbol: str) -> list[Bar]:
        """Return them from the daily file; days that it lacks are summed from regular minutes, if there are any."""
        bars = {b.opened_at: b for b in daily_bars_of(self.minute_bars(symbol, 0, self.opens_at))}
        path = self._folder / "daily" / f"{symbol.lower()}.zip"
        if path.exists():
            spans = {s.day: s for s in sessions(FIRST_DAY, self.day - timedelta(days=1))}
            rows = ((spans.get(day), figures) for day, *figures in lean.daily_rows(path))
            raw = [history_bar(symbol, s.opens_at, s.closes_at, figures) for s, figures in rows if s is not None]
            bars |= {b.opened_at: b for b in adjusted(raw, self.splits(symbol), self.day)}
        return [bars[at] for at in sorted(bars)]
