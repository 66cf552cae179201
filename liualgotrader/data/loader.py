"""`DataLoader`: bars of any symbol by position or by time, fetched when they are first asked for.

The index rules are those that strategies and notebooks of the original rely on, without its look-ahead: a time that lies between two bars means the earlier one, never the nearer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from liualgotrader.common.calendar import day_of
from liualgotrader.common.clock import DAY, HOUR, MINUTE, NEW_YORK, Clock, WallClock, as_datetime, instant
from liualgotrader.common.errors import DataUnavailable, DataUnusable
from liualgotrader.common.market_columns import BarColumns, between, day_numbers, joined, take
from liualgotrader.common.types import DataConnectorType, TimeScale
from liualgotrader.data.data_base import COLUMNS, MINUTES, SIMULATED, DataAPI, frame_of, midnight
from liualgotrader.data.market_fetch import VendorToStore
from liualgotrader.data.market_store import MarketStore

if TYPE_CHECKING:
    import pandas as pd

BarsAnswer = Callable[[Sequence[str], int, int], tuple[dict[str, BarColumns], Mapping[str, str]]]
LiveFrame = Callable[[str], "pd.DataFrame | None"]

_BARS_A_DAY = {TimeScale.minute: 390, TimeScale.day: 1}
_CALENDAR_DAYS_A_SESSION = 365 / 252
_FIRST_DAY = date(1998, 1, 1)
_A_YEAR = 366
_LOOK_BACK_DAYS = 7  # holds a session whatever the holidays


class RunClock(WallClock):
    """A clock whose market time is a backtest's. `asked` is the first later time that a loader was asked for by name.

    With `literal` such a question is answered, and what follows, as if that time had come: so a check finds out whether
    a strategy would act on it.
    """

    def __init__(self, now: Callable[[], int], *, literal: bool = False) -> None:
        self._market, self._literal, self._ahead = now, literal, 0
        self.asked: tuple[str, int, int] | None = None  # symbol, the time it was, and the one that was named

    def now(self) -> int:
        return max(self._market(), self._ahead)

    def note(self, symbol: str, at: int, *, as_end: bool = False) -> None:
        """Hear that `at` was named; the end of a span may be that of the day, which is not over."""
        now = self._market()
        if at > (midnight(day_of(now) + timedelta(days=1)) if as_end else now):
            self.asked = self.asked or (symbol, now, at)
            if self._literal:
                self._ahead = max(self._ahead, at + DAY)


class _UsualClock(WallClock):
    """The clock of loaders that are given none: the time of day, while a backtest runs its market's."""

    run: RunClock | None = None

    def now(self) -> int:
        return self.run.now() if self.run is not None else super().now()


_usual = _UsualClock()


@contextmanager
def loaders_follow(clock: RunClock) -> Iterator[None]:
    """While the block runs, let loaders that strategies make for themselves know nothing later than this clock."""
    _usual.run, before = clock, _usual.run
    try:
        yield
    finally:
        _usual.run = before


class DataLoader:
    """Bars by symbol: `loader["AAPL"].close[-1]`, `loader.AAPL[-90:]`, `loader["AAPL"]["2024-03-08 09:45:00"]`.

    Symbols fold their case. `concurrency` is accepted for the original's sake; requests for several
    symbols are one request anyhow.
    """

    def __init__(
        self,
        scale: TimeScale = TimeScale.minute,
        connector: DataConnectorType | None = None,
        concurrency: int | None = 0,
        *,
        data_api: DataAPI | None = None,
        clock: Clock | None = None,
        live: LiveFrame | None = None,
        store: MarketStore | None = None,
    ) -> None:
        """Read through `store`, or where no `data_api` is given through the one in the data folder.

        What `data_api` brings of days that are over is kept in the store, and asked for no second time.
        """
        self.scale = scale
        self.concurrency = concurrency
        self.data: dict[str, SymbolData] = {}
        self._clock = clock or _usual
        self._live = live if scale is TimeScale.minute else None
        source = type(data_api).__name__
        if data_api is None:
            data_api, source, store = _configured(connector, store)
        self.data_api = data_api
        self._filling = None if store is None else VendorToStore(store, data_api, source)

    def __getitem__(self, symbol: str) -> SymbolData:
        key = symbol.upper()
        if key not in self.data:
            self.data[key] = SymbolData(key, self.scale, self._bars, self._clock, self._live)
        return self.data[key]

    def __getattr__(self, symbol: str) -> SymbolData:
        if symbol.startswith("_"):
            raise AttributeError(symbol)
        return self[symbol]

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def keys(self) -> list[str]:
        """Return the symbols that have been asked for."""
        return list(self.data)

    def exist(self, symbol: str) -> bool:
        """Say whether the symbol has been asked for."""
        return symbol.upper() in self.data

    def pre_fetch(self, symbols: Sequence[str], start: date | str, end: date | str) -> None:
        """Load whole days of several symbols in one request, `end` included, replacing what was loaded of them.

        A symbol whose bars in the answer cannot be true is passed over: it is asked for again when it is used.

        Raises:
            ValueError: the vendor did not answer, or said no.
        """
        first, last = _as_day(start), _as_day(end)
        if symbols and (run := _run_of(self._clock)):
            run.note(symbols[0].upper(), midnight(last + timedelta(days=1)), as_end=True)
        now = self._clock.now()
        stop = min(midnight(last + timedelta(days=1)), now)
        found, _ = self._bars([symbol.upper() for symbol in symbols], midnight(first), stop)
        for symbol, bars in found.items():
            self.data.pop(symbol, None)
            self[symbol].adopt(frame_of(bars), midnight(first), _known_until(self.scale, stop, now))

    def _bars(self, symbols: Sequence[str], start: int, end: int) -> tuple[dict[str, BarColumns], Mapping[str, str]]:
        """Return the bars with start <= opened_at < end that are known for good, and why there are none of a symbol.

        Some vendors show the minute that is being traded, as far as it has come. A day's bar is shown as it is.

        Raises:
            ValueError: the vendor did not answer, or said no.
        """
        until, minutes = self._clock.now(), MINUTES[self.scale]
        in_run = self._clock is _usual and _usual.run is not None
        now = WallClock().now() if in_run else until  # by which a day is over for vendor and store
        failed: dict[str, str] = {}
        found = {symbol: [BarColumns.of(symbol, ())] for symbol in symbols}
        try:
            if self._filling is not None and start < (over := midnight(day_of(now))):
                whole = min(over, midnight(day_of(end - 1) + timedelta(days=1)))
                self._filling.fetch(symbols, minutes * MINUTE, start, whole, now)
                failed |= self._filling.failed
                for symbol in symbols:
                    bars = self._filling.store.read(symbol, minutes * MINUTE, start, whole, day_of(until))
                    found[symbol].append(between(_labelled(bars, self.scale), start, end))
                start = over
            if start < end:
                newest = self.data_api.bars_now(symbols, start, end, minutes=minutes)
                for symbol in symbols:
                    found[symbol].append(BarColumns.of(symbol, newest.get(symbol, ())))
        except DataUnusable as error:
            failed |= {symbol: str(why) for symbol, why in error.bad.items()}
            for symbol, bars in error.good.items():
                found[symbol].append(BarColumns.of(symbol, bars))
        except DataUnavailable as error:
            raise ValueError(str(error)) from error
        every = {symbol: joined(parts) for symbol, parts in found.items() if symbol not in failed}
        if self.scale is TimeScale.minute or in_run:
            every = {symbol: take(bars, bars.closed_at <= until) for symbol, bars in every.items()}
        return every, failed


class SymbolData:
    """One symbol's bars: rows by index, columns by name, and a pandas frame underneath (`symbol_data`)."""

    def __init__(self, symbol: str, scale: TimeScale, bars: BarsAnswer, clock: Clock, live: LiveFrame | None) -> None:
        self.symbol, self.scale = symbol, scale
        self._bars, self._clock, self._live_frame = bars, clock, live
        self._frame = frame_of(BarColumns.of(symbol, ()))
        self._covered: tuple[int, int] | None = None
        self._is_whole = False  # there is nothing before what is covered

    # --- what users call ---------------------------------------------------------------------------

    @property
    def symbol_data(self) -> pd.DataFrame:
        """All bars loaded so far, oldest first; columns open, high, low, close, volume, vwap, average, count."""
        return self._joined()

    @property
    def loc(self) -> Any:
        """Pandas' `.loc` on the loaded bars; assigning a row of eight values appends or overwrites a bar."""
        return _Loc(self)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str) and key in COLUMNS:
            return getattr(self, key)
        if isinstance(key, slice):
            return self._slice(key)
        if isinstance(key, int):
            self._ensure_count(-key if key < 0 else 1)
            frame = self._joined()
            if not -len(frame) <= key < len(frame):
                raise IndexError(f"{self.symbol} has {len(frame)} bars, asked for number {key}")
            return frame.iloc[key]
        at = self._asked_for(key)
        frame = self._until(at)
        if frame.empty:
            raise ValueError(f"{self.symbol} has no bar at or before {key}")
        return frame.iloc[-1]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in COLUMNS:
            return Column(self, name)
        return getattr(self._joined(), name)

    def __len__(self) -> int:
        return len(self._joined())

    # --- index rules -------------------------------------------------------------------------------

    def _slice(self, key: slice) -> pd.DataFrame:
        start, stop = key.start, key.stop
        if isinstance(stop, int) and stop >= 0:
            self._ensure_count(1)
            return self._joined().iloc[start : stop + 1]  # both ends belong to a slice
        if stop is None or isinstance(stop, int):
            behind = 0 if stop is None else -stop - 1
            self._ensure_count((-start if isinstance(start, int) and start < 0 else 1) + behind)
            frame = self._joined()
            frame = frame.iloc[: len(frame) - behind] if behind else frame
        else:
            frame = self._until(self._asked_for(stop, as_end=True))
        if start is None:
            return frame
        if isinstance(start, int):
            if start < 0 and 0 < len(frame) < -start:  # fetch further back, ending where the frame ends
                end = frame.index[-1]
                self._reach_back(-start, lambda: int((self._joined().index <= end).sum()), instant(end.to_pydatetime()))
                joined = self._joined()
                frame = joined[joined.index <= end]
            return frame.iloc[start:]
        at = self._asked_for(start)
        self._ensure(at, self._clock.now() if frame.empty else instant(frame.index[-1].to_pydatetime()))
        joined = self._joined()
        if frame.empty:
            return joined[:0]
        rows: pd.DataFrame = joined[(joined.index >= as_datetime(at)) & (joined.index <= frame.index[-1])]
        return rows

    def _until(self, at: int) -> pd.DataFrame:
        """Return the bars at or before `at`, at least one if the vendor has any shortly before it."""
        live = self._live_rows()
        if live is None or instant(live.index[0].to_pydatetime()) > at:
            self._ensure(at - _LOOK_BACK_DAYS * 24 * HOUR, at)
        frame = self._joined()
        return frame[frame.index <= as_datetime(at)]

    def _asked_for(self, key: Any, *, as_end: bool = False) -> int:
        at = self._moment(key)
        if run := _run_of(self._clock):
            run.note(self.symbol, at, as_end=as_end)
        return at

    def _moment(self, key: Any) -> int:
        if isinstance(key, str):
            key = datetime.fromisoformat(key)
        if isinstance(key, datetime):
            to_python = getattr(key, "to_pydatetime", None)
            moment: datetime = to_python() if to_python else key
            return instant(moment if moment.tzinfo else moment.replace(tzinfo=NEW_YORK))
        if isinstance(key, date):
            return midnight(key)
        raise TypeError(f"{self.symbol}: bars are found by number, time or slice, not by {type(key).__name__}")

    # --- fetching ----------------------------------------------------------------------------------

    def adopt(self, frame: pd.DataFrame, start: int, stop: int) -> None:
        """Take `frame` as all there is from `start` to `stop`."""
        self._frame, self._covered = frame, (start, stop)

    def _ensure_count(self, count: int) -> None:
        live = self._live_rows()
        if live is not None and len(live) >= count:
            return
        now = self._clock.now()
        self._ensure(now - _LOOK_BACK_DAYS * 24 * HOUR, now)
        self._reach_back(count, lambda: len(self._joined()), now)
        if self._joined().empty:
            raise ValueError(f"no {self.scale.name} bars of {self.symbol}; is the symbol right?")

    def _reach_back(self, count: int, have: Callable[[], int], end: int) -> None:
        """Have `count` bars if the vendor does; where two steps back bring nothing there is nothing, for good."""
        least = 0
        while not self._is_whole and self._covered is not None and self._covered[0] > midnight(_FIRST_DAY):
            before = have()
            if before >= count:
                return
            sessions = (count - before) / _BARS_A_DAY[self.scale] + 1
            days = max(int(sessions * _CALENDAR_DAYS_A_SESSION) + _LOOK_BACK_DAYS, least)
            self._ensure(midnight(max(as_datetime(self._covered[0]).date() - timedelta(days=days), _FIRST_DAY)), end)
            if have() == before:
                self._is_whole, least = least > 0, _A_YEAR
            else:
                least = 0

    def _ensure(self, start: int, stop: int) -> None:
        """Have all bars from the day of `start` up to `stop`; nothing that was fetched is fetched again."""
        first = midnight(max(as_datetime(start).date(), _FIRST_DAY))
        stop = min(stop, self._clock.now())
        live = self._live_rows()
        if live is not None:  # from there on the consumer's own bars are all there are
            joined = instant(live.index[0].to_pydatetime())
            if start >= joined:
                return
            stop = min(stop, joined)
        if self._covered is None:
            if stop > first:
                self._fetch(first, stop)
            return
        if first < self._covered[0]:
            self._fetch(first, self._covered[0])
        if stop >= self._covered[1] + MINUTES[self.scale] * MINUTE:
            self._fetch(midnight(as_datetime(self._covered[1]).date()), stop)

    def _fetch(self, start: int, stop: int) -> None:
        import pandas as pd

        now = self._clock.now()
        found, failed = self._bars([self.symbol], start, stop + 1)
        if failed:
            raise ValueError(failed[self.symbol])
        frame, stop = frame_of(found[self.symbol]), _known_until(self.scale, stop, now)
        if self._clock is _usual and _usual.run is not None and self.scale is TimeScale.day:
            stop = min(stop, midnight(day_of(now)))  # the day's bar comes at its close
        joined = pd.concat([self._frame, frame]) if len(self._frame) else frame
        self._frame = joined[~joined.index.duplicated(keep="last")].sort_index()
        low, high = self._covered or (start, stop)
        self._covered = (min(low, start), max(high, stop))

    def _joined(self) -> pd.DataFrame:
        """The loaded bars, with the consumer's own newest ones on top where it has the symbol."""
        import pandas as pd

        live = self._live_rows()
        if live is None:
            return self._frame
        older = self._frame[self._frame.index < live.index[0]]
        return pd.concat([older, live]) if len(older) else live

    def _live_rows(self) -> pd.DataFrame | None:
        live = self._live_frame(self.symbol) if self._live_frame else None
        return None if live is None or live.empty else live


class Column:
    """One column of a symbol: indexable like the rows; called, the whole series; else pandas' own methods."""

    def __init__(self, symbol: SymbolData, name: str) -> None:
        self._symbol, self._name = symbol, name

    def __getitem__(self, key: Any) -> Any:
        return self._symbol[key][self._name]

    def __call__(self) -> pd.Series[float]:
        series: pd.Series[float] = self._symbol.symbol_data[self._name]
        return series

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self(), name)

    def __len__(self) -> int:
        return len(self())


class _Loc:
    def __init__(self, symbol: SymbolData) -> None:
        self._symbol = symbol

    def __getitem__(self, key: Any) -> Any:
        return self._symbol.symbol_data.loc[key]

    def __setitem__(self, key: Any, values: Sequence[float]) -> None:
        frame = self._symbol._frame
        frame.loc[key] = list(values)
        self._symbol._frame = frame.sort_index()


def _run_of(clock: Clock) -> RunClock | None:
    return clock if isinstance(clock, RunClock) else _usual.run if clock is _usual else None


def _known_until(scale: TimeScale, stop: int, now: int) -> int:
    """Return until when, up to `stop`, no other bars can come."""
    return min(stop, now - now % MINUTE) if scale is TimeScale.minute else stop


def _labelled(bars: BarColumns, scale: TimeScale) -> BarColumns:
    """Return bars of the store as vendors label them: a day's by its midnight."""
    if scale is TimeScale.minute:
        return bars
    midnights = [midnight(date.fromordinal(day)) for day in day_numbers(bars.opened_at).tolist()]
    return replace(bars, opened_at=np.array(midnights, np.int64))


def _as_day(day: date | str) -> date:
    return date.fromisoformat(day) if isinstance(day, str) else day


def _configured(
    connector: DataConnectorType | None, store: MarketStore | None
) -> tuple[DataAPI, str, MarketStore | None]:
    """Return vendor, source and store of the environment, for notebooks and scripts; nothing simulated is stored."""
    from liualgotrader.common.config import Settings
    from liualgotrader.data.data_factory import configured_data

    settings = Settings.resolve()
    api, source = configured_data(settings, connector.name if connector else "")
    if store is None and source != SIMULATED:
        store = MarketStore(settings.home_path / "market")
    return api, source, store
