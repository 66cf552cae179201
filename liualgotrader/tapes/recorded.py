"""A recorded day in the Lean folder format: ticks where there are any, else seconds, else minutes.

Quotes come from tick quotes; without these from second, then minute quote bars, valid from the end of their
interval; without any, from the last price-forming trade plus and minus half a tick. Trades come from tick
trades, else each second or minute trade bar is played as up to four prints (open, low and high, close).
`notes()` names the symbols that are not played from ticks. Prices in the files are raw; history is adjusted, as of
the day, for the splits of the factor files. There are no trade ids in the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time
from pathlib import Path

from liualgotrader.common.calendar import new_york
from liualgotrader.common.events import Bar
from liualgotrader.common.market_columns import no_quotes
from liualgotrader.common.ports import Asset
from liualgotrader.tapes import lean
from liualgotrader.tapes.base import ColumnTape, chosen_symbols, day_missing, grouped, played_session
from liualgotrader.tapes.columns import SymbolColumns, trades_from_bars
from liualgotrader.tapes.splits import Dividend, Split, adjusted

_RESOLUTIONS = ("tick", "second", "minute")
_VENUES = {"N": "NYSE", "Q": "NASDAQ", "P": "ARCA", "A": "AMEX", "Z": "BATS"}


def holds_lean_data(folder: Path) -> bool:
    """Return whether the folder has the Lean layout."""
    patterns = [*(f"{resolution}/*/*_trade.zip" for resolution in _RESOLUTIONS), "hour/*.zip", "daily/*.zip"]
    return any(any(folder.glob(pattern)) for pattern in patterns)


def symbols_of(folder: Path, day: date) -> list[str]:
    """Return the symbols that have trades on that day, in alphabetical order.

    Raises:
        ConfigError: if a folder's name is no symbol.
    """
    return lean.symbols_at(p.parent for r in _RESOLUTIONS for p in (folder / r).glob(f"*/{day:%Y%m%d}_trade.zip"))


def days_of(folder: Path) -> set[date]:
    """Return the days with trades of any symbol."""
    return lean.days_named(path for r in _RESOLUTIONS for path in (folder / r).glob("*/*_trade.zip"))


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
            rows = lean.map_rows(self._folder, s)
            letters = [row[2] for row in rows if len(row) > 2 and row[0] >= f"{day:%Y%m%d}"]
            assets.append(Asset(s, s, _VENUES.get(letters[0] if letters else "N", "NYSE")))
        super().__init__(session, assets)
        self._midnight = new_york(day, time())
        self._files = lean.LeanFiles(self._folder)
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
            self._splits[symbol] = self._files.splits(symbol)
        return self._splits[symbol]

    def dividends(self, symbol: str) -> Sequence[Dividend]:
        return self._files.dividends(symbol)

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
        interval = lean.INTERVALS[resolution]
        bars = lean.trade_bars(path, symbol, self.day, interval)
        prices = (bars.open, bars.high, bars.low, bars.close)
        return SymbolColumns(symbol, quotes, trades_from_bars(bars.opened_at, prices, bars.volume, interval))

    def where_splits(self, symbol: str) -> Path:
        return self._files.factor_file(symbol)

    def place_of_quote(self, symbol: str, row: int) -> str:
        resolution = self._resolution(symbol, "quote") or "tick"
        path = lean.path_of(self._folder, resolution, symbol, self.day, "quote")
        return f"{path}, line {lean.line_of_quote(path, resolution, row)}"

    def _resolution(self, symbol: str, kind: str) -> str | None:
        """Return the finest resolution in which trades or quotes of the day exist."""
        there = (r for r in _RESOLUTIONS if lean.path_of(self._folder, r, symbol, self.day, kind).exists())
        return next(there, None)

    def history(self, symbol: str, period: int) -> list[Bar]:
        """Return minutes from their files, days from the daily file; days that it lacks are summed from minutes."""
        raw = self._files.bars(symbol, period, 0, self._midnight)
        return adjusted(raw, self.splits(symbol), self.day).bars()
