"""`DataLoader`: bars of any symbol by position or by time, fetched when they are first asked for.

The index rules are those that strategies and notebooks of the original rely on, without its look-ahead: a time that lies between two bars means the earlier one, never the nearer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

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


class LiveBars(Protocol):
    """The newest bars of a symbol, which the caller's process has itself: `count` of them, opened `at`, ns UTC."""

    count: int
    at: np.ndarray[Any, np.dtype[np.int64]]

    def values(self, name: str) -> Any:
        """Return a column."""

    def series(self, name: str, span: slice) -> pd.Series[float]:
        """Return some places of a column by time."""

    def bars(self, place: int | slice) -> Any:
        """Return one bar as a series, or some as a frame."""


LiveSource = Callable[[str], LiveBars | None]

_BARS_A_DAY = {TimeScale.minute: 390, TimeScale.day: 1}
_CALENDAR_DAYS_A_SESSION = 365 / 252
_FIRST_DAY = date(1998, 1, 1)
_A_YEAR, _EVER = 366, 100_000  # days
_LONGEST_DAY = 25 * HOUR  # summer time ends
_LOOK_BACK_DAYS = 7  # holds a session whatever the holidays
_LOOKED_BACK = _LOOK_BACK_DAYS * DAY + _LONGEST_DAY

_ALONE = (
    "the market-data store has no bars of {}, and no keys of a vendor are set (APCA_API_KEY_ID and APCA_API_SECRET_KEY, POLYGON_API_KEY, or FINNHUB_API_KEY):"
    " `liu data import FOLDER` brings some"
)


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
        live: LiveSource | None = None,
        store: MarketStore | None = None,
    ) -> None:
        """Read through `store`, or where no `data_api` is given through the one in the data folder.

        What `data_api` brings of days that are over is kept in the store, and asked for no second time. Where no vendor's keys
        are set there is what the store has.
        """
        self.scale = scale
        self.concurrency = concurrency
        self.data: dict[str, SymbolData] = {}
        self._clock = clock or _usual
        self._live = live if scale is TimeScale.minute else None
        source, self._alone = type(data_api).__name__, False
        if data_api is None:
            data_api, source, store, self._alone = _configured(connector, store)
        self.data_api = data_api
        self._filling = None if store is None else VendorToStore(store, data_api, source)

    def __getitem__(self, symbol: str) -> SymbolData:
        if (found := self.data.get(symbol)) is not None:
            return found
        key = symbol.upper()
        if key not in self.data:
            self.data[key] = SymbolData(key, self.scale, self._bars, self._clock, self._live, whole=self._alone)
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
                if not self._alone:
                    self._filling.fetch(symbols, minutes * MINUTE, start, whole, now)
                    failed |= self._filling.failed
                for symbol in symbols:
                    bars = self._filling.store.read(symbol, minutes * MINUTE, start, whole, day_of(until))
                    found[symbol].append(between(_labelled(bars, self.scale), start, end))
                start = over
            if self._alone:
                failed |= {symbol: _ALONE.format(symbol) for symbol in symbols if not self._has(symbol, minutes)}
            elif start < end:
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

    def raw_bars(self, symbol: str, first: date, last: date) -> BarColumns:
        """Return the bars of whole days at the prices of their own days, whatever was split or paid since.

        Raises:
            ConfigError: the vendor has adjusted bars only.
            ValueError: the vendor did not answer, or said no.
        """
        key, minutes, now = symbol.upper(), MINUTES[self.scale], self._clock.now()
        start, end, over = midnight(first), midnight(last + timedelta(days=1)), midnight(day_of(now))
        parts = [BarColumns.of(key, ())]
        try:
            if self._filling is not None and start < over:
                if not self._alone:
                    self._filling.fetch([key], minutes * MINUTE, start, min(end, over), now)
                parts.append(self._filling.store.read(key, minutes * MINUTE, start, min(end, over)))
                start = over
            if start < end and not self._alone:
                newest = self.data_api.raw_bars_now([key], start, end, minutes=minutes)
                parts.append(BarColumns.of(key, newest.get(key, ())))
        except DataUnavailable as error:
            raise ValueError(str(error)) from error
        return joined(parts)

    def _has(self, symbol: str, minutes: int) -> bool:
        always = (0, WallClock().now())
        return self._filling is None or self._filling.store.missing(symbol, "bars", minutes * MINUTE, *always) != [
            always
        ]


class SymbolData:
    """One symbol's bars: rows by index, columns by name, and a pandas frame underneath (`symbol_data`)."""

    def __init__(
        self,
        symbol: str,
        scale: TimeScale,
        bars: BarsAnswer,
        clock: Clock,
        live: LiveSource | None,
        *,
        whole: bool = False,
    ) -> None:
        """Read what is asked for, or with `whole` all there is as soon as a number of bars is."""
        self.symbol, self.scale = symbol, scale
        self._bars, self._clock, self._live_source = bars, clock, live
        self._frame = frame_of(BarColumns.of(symbol, ()))
        self._covered: tuple[int, int] | None = None
        self._is_whole, self._all_at_once = False, whole  # whether there is nothing before what is covered
        self._period = MINUTES[scale] * MINUTE
        self._read: _Rows | None = None

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
        rows, place = self.locate(key)
        return rows.bars(place)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in COLUMNS:
            self.__dict__[name] = column = Column(self, name)  # found there from now on
            return column
        return getattr(self._joined(), name)

    def __len__(self) -> int:
        return len(self._joined())

    def rows(self) -> _Rows:
        """Return the loaded bars in the form that they are read in."""
        frame, read = self._frame if self._live_source is None else self._joined(), self._read
        if read is None or read.frame is not frame or read.index is not frame.index:
            read = self._read = _Rows(frame)
        return read

    # --- index rules -------------------------------------------------------------------------------

    def locate(self, key: Any) -> tuple[_Rows | LiveBars, int | slice]:
        """Return the loaded bars, or of those that the process has itself all that it takes, and which of them a key means, after having loaded what it takes.

        Raises:
            IndexError: there is no bar of that number.
            ValueError: there is none at or before that time, or the vendor did not answer.
        """
        if (live := self._live_rows()) is not None and (place := self._within(live, key)) is not None:
            return live, place
        if isinstance(key, slice):
            span = self._span(key)
            return self.rows(), span
        if isinstance(key, int):
            if (rows := self._at_hand()) is None or not -rows.count <= key < rows.count:
                self._ensure_count(-key if key < 0 else 1)
                rows = self.rows()
            if not -rows.count <= key < rows.count:
                raise IndexError(f"{self.symbol} has {rows.count} bars, asked for number {key}")
            return rows, key
        if not (end := self._until(self._asked_for(key))):
            raise ValueError(f"{self.symbol} has no bar at or before {key}")
        return self.rows(), end - 1

    def _within(self, live: LiveBars, key: Any) -> int | slice | None:
        """Return the place of a key among the process's own bars, None if it may mean older ones too."""
        if not isinstance(key, slice):
            if isinstance(key, int):
                return live.count + key if -live.count <= key < 0 else None
            at = self._asked_for(key)
            return int(live.at.searchsorted(at, "right")) - 1 if at >= live.at[0] else None
        start, stop = key.start, key.stop
        to_the_last = stop is None or (isinstance(stop, int) and stop == -1)
        if isinstance(start, int):
            return slice(live.count + start, live.count) if to_the_last and -live.count <= start < 0 else None
        if start is None or (isinstance(stop, int) and not to_the_last):
            return None
        end = live.count if to_the_last else int(live.at.searchsorted(self._asked_for(stop, as_end=True), "right"))
        at = self._asked_for(start)
        return slice(int(live.at.searchsorted(at)), end) if at >= live.at[0] else None

    def _at_hand(self) -> _Rows | None:
        """Return the loaded bars if they are all that there are by now; None: find out."""
        read, covered, frame = self._read, self._covered, self._frame
        if read is None or covered is None or self._live_source is not None:
            return None
        now = self._clock.now()
        is_whole = covered[0] <= now - _LOOKED_BACK and now < covered[1] + self._period
        return read if is_whole and read.frame is frame and read.index is frame.index else None

    def _span(self, key: slice) -> slice:
        start, stop = key.start, key.stop
        if stop is None and isinstance(start, int) and (at_hand := self._at_hand()) and -start <= at_hand.count:
            return slice(start, None)
        if isinstance(stop, int) and stop >= 0:
            self._ensure_count(1)
            end = min(stop + 1, len(self))  # both ends belong to a slice
            if start is None or isinstance(start, int):
                return slice(start, end)
        elif stop is None or isinstance(stop, int):
            behind = 0 if stop is None else -stop - 1
            self._ensure_count((-start if isinstance(start, int) and start < 0 else 1) + behind)
            end = max(0, len(self) - behind)
        else:
            end = self._until(self._asked_for(stop, as_end=True))
        if start is None:
            return slice(0, end)
        if isinstance(start, int):
            if start < 0 and 0 < end < -start:  # fetch further back, ending where the bars end
                last = int(self.rows().at[end - 1])
                self._reach_back(-start, lambda: self.rows().count_until(last), last)
                end = self.rows().count_until(last)
            return slice(max(0, end + start) if start < 0 else start, end)
        at, before = self._asked_for(start), self.rows()
        if not end:
            self._ensure(at, self._clock.now())
            return slice(0, 0)
        last = int(before.at[end - 1])
        self._ensure(at, last)
        rows = self.rows()
        return slice(rows.count_until(at - 1), end if rows is before else rows.count_until(last))

    def _until(self, at: int) -> int:
        """Return how many bars are at or before `at`: at least one if the vendor has any shortly before it."""
        live = self._live_rows()
        if live is None or int(live.at[0]) > at:
            self._ensure(at - _LOOK_BACK_DAYS * DAY, at)
        return self.rows().count_until(at)

    def _asked_for(self, key: Any, *, as_end: bool = False) -> int:
        at = self._moment(key)
        if run := _run_of(self._clock):
            run.note(self.symbol, at, as_end=as_end)
        return at

    def _moment(self, key: Any) -> int:
        if isinstance(key, str):
            key = datetime.fromisoformat(key)
        if isinstance(key, datetime):
            if key.tzinfo is not None and (nanoseconds := getattr(key, "value", None)) is not None:
                return int(nanoseconds)  # pandas' own
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
        if live is not None and live.count >= count:
            return
        now = self._clock.now()
        self._ensure(now - _LOOK_BACK_DAYS * DAY, now)
        if live is None and len(self._frame) >= count > 0:
            return
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
            days = _EVER if self._all_at_once else days
            self._ensure(midnight(max(as_datetime(self._covered[0]).date() - timedelta(days=days), _FIRST_DAY)), end)
            if have() == before:
                self._is_whole, least = least > 0, _A_YEAR
            else:
                least = 0

    def _ensure(self, start: int, stop: int) -> None:
        """Have all bars from the day of `start` up to `stop`; nothing that was fetched is fetched again."""
        if self._live_source is None and self._covered is not None:
            low, high = self._covered
            if low <= start - _LONGEST_DAY and stop < high + self._period:
                return
        first = midnight(max(as_datetime(start).date(), _FIRST_DAY))
        stop = min(stop, self._clock.now())
        live = self._live_rows()
        if live is not None:  # from there on the consumer's own bars are all there are
            joined = int(live.at[0])
            if start >= joined:
                return
            stop = min(stop, joined)
        if self._covered is None:
            if stop > first:
                self._fetch(first, stop)
            return
        if first < self._covered[0]:
            self._fetch(first, self._covered[0])
        if stop >= self._covered[1] + self._period:
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
        live = self._live_rows()
        if live is None:
            return self._frame
        import pandas as pd

        own: pd.DataFrame = live.bars(slice(None))
        older = self._frame[self._frame.index < own.index[0]]
        return pd.concat([older, own]) if len(older) else own

    def _live_rows(self) -> LiveBars | None:
        live = self._live_source(self.symbol) if self._live_source else None
        return live if live is not None and live.count else None


class _Rows:
    """A frame of bars with what reading it takes at hand."""

    __slots__ = ("_columns", "at", "count", "frame", "index")

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame, self.index = frame, frame.index
        self.at: np.ndarray[Any, np.dtype[np.int64]] = frame.index.as_unit("ns").asi8  # type: ignore[attr-defined]
        self.count = len(self.at)
        self._columns: dict[str, tuple[Any, Callable[[slice], pd.Series[float]]]] = {}

    def count_until(self, at: int) -> int:
        """Return how many bars there are at or before `at`."""
        return int(self.at.searchsorted(at, "right"))

    def values(self, name: str) -> Any:
        """Return a column's values, those of the frame itself."""
        return (self._columns.get(name) or self._column(name))[0]

    def series(self, name: str, span: slice) -> pd.Series[float]:
        """Return some places of a column by time."""
        return (self._columns.get(name) or self._column(name))[1](span)

    def bars(self, place: int | slice) -> Any:
        """Return one bar as a series, or some as a frame."""
        return self.frame.iloc[place]

    def _column(self, name: str) -> tuple[Any, Callable[[slice], pd.Series[float]]]:
        import pandas as pd

        values = self.frame[name].to_numpy()
        series: Any = pd.Series(values, index=self.index, name=name, copy=False)
        # What `.iloc` calls for a slice, without its checks: the span is one of places.
        self._columns[name] = values, getattr(series, "_slice", series.iloc.__getitem__)
        return self._columns[name]


class Column:
    """One column of a symbol: indexable like the rows; called, the whole series; else pandas' own methods."""

    def __init__(self, symbol: SymbolData, name: str) -> None:
        self._symbol, self._name = symbol, name

    def __getitem__(self, key: Any) -> Any:
        rows, place = self._symbol.locate(key)
        return rows.series(self._name, place) if isinstance(place, slice) else rows.values(self._name)[place]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        values = self._symbol.rows().values(self._name)
        return np.array(values, dtype=dtype, copy=copy)

    def __iter__(self) -> Iterator[float]:
        return iter(self())

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
) -> tuple[DataAPI, str, MarketStore | None, bool]:
    """Return vendor, source and store of the environment, for notebooks and scripts, and whether the vendor cannot be asked.

    Nothing simulated is stored.
    """
    from liualgotrader.common.config import Settings
    from liualgotrader.data.data_factory import configured_data, lacks_key

    settings = Settings.resolve()
    name = connector.name if connector else ""
    api, source = configured_data(settings, name)
    if store is None and source != SIMULATED:
        store = MarketStore(settings.home_path / "market")
    return api, source, store, source != SIMULATED and lacks_key(settings, name)
