"""A day of the market-data store as a tape: its trades and quotes, else its seconds or minutes played as prints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time, timedelta

from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar
from liualgotrader.common.market_columns import between
from liualgotrader.common.ports import Asset
from liualgotrader.data.market_store import MarketStore
from liualgotrader.tapes.base import ColumnTape, chosen_symbols, day_missing, grouped, played_session
from liualgotrader.tapes.columns import SymbolColumns, trades_from_bars
from liualgotrader.tapes.splits import Dividend, Split, adjusted


class StoreTape(ColumnTape):
    """One day of the store. Quotes are made from the trades where there are none."""

    def __init__(self, store: MarketStore, day: date, symbols: Sequence[str] | None = None) -> None:
        """Find the symbols that have trades or seconds on the day, or minutes if they are named.

        Raises:
            ConfigError: if the exchange was shut, or a symbol has no data on the day.
        """
        where = f"the market-data store {store.folder}"
        session = played_session(day, where)
        self._store = store
        self._span = new_york(day, time()), new_york(day + timedelta(days=1), time())
        found = ticks_by_day(store)
        existing = found.get(day, set()) | {s for s in symbols or () if len(store.read(s, MINUTE, *self._span).open)}
        if not found and not existing:
            raise ConfigError(
                "the market-data store holds no trades yet: name a folder with --data, take an invented market with --generated,"
                " or fill the store with `liu data import`"
            )
        if not existing:
            raise day_missing(f"{where[0].upper()}{where[1:]}", day, found)
        super().__init__(session, [Asset(s, s, "NYSE") for s in chosen_symbols(symbols, sorted(existing), where)])

    def notes(self) -> list[str]:
        """Return a sentence for each kind of event that is made up, with the symbols."""
        quotes = [
            (s, "no quotes are stored; they are the last trade plus and minus half a tick.") for s in self.symbols()
        ]
        found = [told for told in quotes if not len(self._store.quotes(told[0], *self._span).at)]
        for s in self.symbols():
            if not len(self._store.trades(s, *self._span).at):
                found.append((s, "trades are made from seconds or minutes, up to four prints a bar."))
        return grouped(found)

    def splits(self, symbol: str) -> Sequence[Split]:
        return self._store.actions(symbol)[0]

    def dividends(self, symbol: str) -> Sequence[Dividend]:
        return self._store.actions(symbol)[1]

    def _load(self, symbol: str) -> SymbolColumns:
        store = self._store
        trades, quotes = store.trades(symbol, *self._span), store.quotes(symbol, *self._span)
        for period in (SECOND, MINUTE):
            if not len(trades.at):
                bars = store.read(symbol, period, *self._span)
                prices = bars.open, bars.high, bars.low, bars.close
                trades = trades_from_bars(bars.opened_at, prices, bars.volume, period)
        return SymbolColumns(symbol, quotes, trades)

    def history(self, symbol: str, period: int) -> list[Bar]:
        """Return the bars that are stored of the days before."""
        raw = self._store.read(symbol, period, 0, self._span[1])
        return adjusted(between(raw, 0, self._span[0]), self.splits(symbol), self.day).bars()


def ticks_by_day(store: MarketStore) -> dict[date, set[str]]:
    """Return the symbols of which a store has trades or seconds, by day."""
    found: dict[date, set[str]] = {}
    for path in store.files():
        symbol, kind, period = store.series_of(path)
        if kind == "trades" or period == SECOND:
            found.setdefault(date.fromisoformat(path.stem), set()).add(symbol)
    return found
