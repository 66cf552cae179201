"""The port of a vendor's market history, and the original's `DataAPI` by frame."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from liualgotrader.common.calendar import previous_sessions, sessions
from liualgotrader.common.clock import NEW_YORK, WallClock, as_datetime, instant
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.common.types import TimeScale

if TYPE_CHECKING:
    import pandas as pd

    from liualgotrader.tapes.splits import Split

MINUTES = {TimeScale.minute: 1, TimeScale.day: 1440}
SIMULATED = "simulated"  # the source of data that never happened
Actions = tuple[Sequence["Split"], Sequence[tuple[date, float]]]
"""Splits, and dividends as first day without it, dollars per share; oldest first."""
COLUMNS = ("open", "high", "low", "close", "volume", "vwap", "average", "count")


def midnight(day: date) -> int:
    """Return the instant at which a New York day begins."""
    return instant(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK))


class DataAPI(ABC):
    """One vendor's history. An adapter writes the three `…_now` methods; each blocks, and ends within its time-out."""

    @abstractmethod
    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        """Return bars with start <= opened_at < end, oldest first; `minutes` is 1 or 1440 (a session day).

        Raises:
            DataUnavailable: the vendor did not answer or said no.
        """

    def raw_bars_now(
        self, symbols: Sequence[str], start: int, end: int, *, minutes: int
    ) -> Mapping[str, Sequence[Bar]]:
        """Return the same bars at the prices of their own days, not adjusted for splits and dividends.

        Raises:
            DataUnavailable: the same.
            ConfigError: the vendor has none.
        """
        raise ConfigError(f"{type(self).__name__} has no raw bars, so the market-data store cannot be filled from it.")

    def actions_now(self, symbols: Sequence[str], start: int, end: int) -> Mapping[str, Actions]:
        """Return the splits and dividends that take effect with start <= at < end, of those symbols that have any.

        Raises:
            DataUnavailable: the vendor did not answer or said no.
            ConfigError: the vendor has none.
        """
        raise ConfigError(f"{type(self).__name__} has no splits, so the market-data store cannot be filled from it.")

    def market_time_now(self) -> int:
        """Return the vendor's time, ns UTC; on the simulated market that is simulated time.

        Raises:
            DataUnavailable: the vendor did not answer or said no.
            ConfigError: the vendor does not tell it.
        """
        raise ConfigError(f"{type(self).__name__} does not tell its time.")

    @abstractmethod
    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        """Return the newest figures of those symbols that have any."""

    @abstractmethod
    def assets_now(self) -> Mapping[str, Asset]:
        """Return active, tradable US equities by symbol."""

    # --- the original's questions --------------------------------------------------------------------

    def get_symbol_data(
        self, symbol: str, start: date, end: date | None = None, scale: TimeScale = TimeScale.minute
    ) -> pd.DataFrame:
        """Return the symbol's bars of whole New York days, `end` (today if none is given) included, by their start.

        Raises:
            ValueError: if there are none.
        """
        last = as_datetime(WallClock().now()).date() if end is None else end
        return self.get_symbols_data([symbol], start, last, scale)[symbol]

    def get_symbols_data(
        self, symbols: Sequence[str], start: date, end: date, scale: TimeScale = TimeScale.minute
    ) -> dict[str, pd.DataFrame]:
        """The same for several symbols in one request.

        Raises:
            ValueError: naming the symbols that have none.
        """
        upper = [symbol.upper() for symbol in symbols]
        found = self.bars_now(upper, midnight(start), midnight(end + timedelta(days=1)), minutes=MINUTES[scale])
        if missing := [symbol for symbol in upper if not found.get(symbol)]:
            raise ValueError(f"no {scale.name} bars of {', '.join(missing)} from {start} to {end}")
        return {symbol: frame_of(BarColumns.of(symbol, found[symbol.upper()])) for symbol in symbols}

    def get_last_trading(self, symbol: str) -> datetime:
        """Return when a symbol traded last: the start of its newest minute, New York.

        Raises:
            ValueError: if the vendor has none.
        """
        facts = self.snapshots_now([symbol.upper()]).get(symbol.upper())
        bar = (facts.minute_bar or facts.daily_bar) if facts is not None else None
        if bar is None:
            raise ValueError(f"no trade of {symbol} is known")
        return as_datetime(bar.opened_at)

    def get_trading_day(self, symbol: str, now: datetime, offset: int) -> date:
        """Return the day that lies `offset` (of either sign) trading days before `now`; crypto trades on every day."""
        day, back = now.date(), abs(offset)
        if is_crypto(symbol):
            return day - timedelta(days=back)
        return previous_sessions(day, back)[0].day if back else day

    def trading_days_slice(self, symbol: str, slice: slice) -> slice:  # the original's name
        """Return a slice of days for one of places, which count trading days back from the symbol's last trade."""
        last = self.get_last_trading(symbol)
        ends = (slice.start, slice.stop)
        days = [self.get_trading_day(symbol, last, end) if isinstance(end, int) else end for end in ends]
        return type(slice)(*days)

    def num_trading_days(self, symbol: str, start: date | str, end: date | str) -> int:
        """Return how many days from `start` to `end`, both included, a symbol trades on; 0 if they are reversed."""
        first, last = as_day(start), as_day(end)
        if is_crypto(symbol):
            return max(0, (last - first).days + 1)
        return len(sessions(first, last))

    def num_trading_minutes(self, symbol: str, start: date | str, end: date | str) -> int:
        """Return how many minutes of those days it may trade in: of each all of crypto's, 16 hours of a share's."""
        return self.num_trading_days(symbol, start, end) * 60 * (24 if is_crypto(symbol) else 16)

    def get_max_data_points_per_load(self) -> int:
        """Return how many bars one page of the vendor's answer has."""
        return 10_000

    def data_concurrency_ranges(
        self, symbol: str, start: date | str, end: date | str, scale: TimeScale
    ) -> pd.DatetimeIndex:
        """Return the edges of as many equal parts of a time as it takes pages to load."""
        import pandas as pd

        count = self.num_trading_minutes if scale is TimeScale.minute else self.num_trading_days
        pages = math.ceil(count(symbol, start, end) / self.get_max_data_points_per_load())
        return pd.date_range(start, end, periods=pages + 1)

    def get_symbols(self) -> list[str]:
        """Return the symbols of all tradable US equities."""
        return sorted(self.assets_now())

    async def get_market_snapshot(self, filter_func: Callable[[SymbolSnapshot], bool]) -> list[SymbolSnapshot]:
        """Return the newest figures of all tradable symbols that `filter_func` lets pass."""
        return [facts for facts in self.snapshots_now(self.get_symbols()).values() if filter_func(facts)]


def is_crypto(symbol: str) -> bool:
    """Say whether a symbol is one of the original's crypto pairs, however it is written."""
    return symbol.upper().replace("/", "") in ("BTCUSD", "ETHUSD")


def as_day(day: date | str) -> date:
    """Return a day, which may be the beginning of a text."""
    return date.fromisoformat(day[:10]) if isinstance(day, str) else day


def frame_of(bars: BarColumns) -> pd.DataFrame:
    """Return bars as the original's frame: its eight columns, index New York, labelled by the start.

    `average` is the vendor's volume-weighted price of the bar, `vwap` the same figure summed over the New York day.
    """
    import pandas as pd

    index = pd.DatetimeIndex(pd.to_datetime(bars.opened_at, utc=True)).tz_convert(NEW_YORK)
    frame = pd.DataFrame({name: getattr(bars, name) for name in COLUMNS[:5]}, index=index, dtype=float)
    days = index.normalize()
    traded = (frame["volume"] * bars.average).groupby(days).cumsum()
    frame["vwap"] = traded / frame["volume"].groupby(days).cumsum()
    frame["average"] = bars.average
    frame["count"] = bars.count
    return frame
