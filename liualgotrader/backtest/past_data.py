"""What strategies and scanners of a backtest may ask for: the run's own bars as far as they have closed, and a loop."""

from __future__ import annotations

import asyncio
from asyncio.events import _get_running_loop, _set_running_loop
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from liualgotrader.common.calendar import day_of
from liualgotrader.common.clock import DAY
from liualgotrader.common.events import Bar
from liualgotrader.common.market_columns import BarColumns, Ints, between, day_numbers, take, utc_day_numbers
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.data.data_base import DataAPI
from liualgotrader.engine.waiting import FirstStep, Remainder

KnownBars = BarColumns | Callable[[], BarColumns]
"""Bars of a symbol, or what makes them when they are asked for."""


class PastData(DataAPI):
    """The run's bars as a vendor's history at the instant that `now` returns: nothing of what closes later.

    It is a `MarketHistory` as well, for scanners.
    """

    def __init__(
        self,
        bars: Mapping[str, KnownBars],
        now: Callable[[], int],
        daily: Mapping[str, BarColumns] | None = None,
        *,
        utc: bool = False,
    ) -> None:
        """Take daily bars of before a symbol's first bar from `daily`. Days are those of New York, or of `utc`."""
        self._bars, self.now, self._daily = dict(bars), now, daily or {}
        self._day_numbers = utc_day_numbers if utc else day_numbers
        self._day_of: Callable[[int], object] = (lambda at: at // DAY) if utc else day_of
        self._days: dict[str, tuple[Ints, list[Bar]]] = {}  # of a symbol: where each day begins, and its bar

    def __contains__(self, symbol: str) -> bool:
        """Return whether there are bars of a symbol."""
        return symbol in self._bars

    def restate(self, symbol: str, bars: KnownBars) -> None:
        """Go on with a symbol's bars at other prices."""
        self._bars[symbol] = bars
        self._days.pop(symbol, None)

    def _known(self, symbol: str) -> BarColumns:
        if not isinstance(bars := self._bars[symbol], BarColumns):
            bars = self._bars[symbol] = bars()
        return bars

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        found = ((symbol, self._past(symbol, start, end)) for symbol in symbols if symbol in self)
        if minutes == 1:
            return {symbol: bars.bars() for symbol, bars in found}
        return {symbol: [*self._earlier(symbol, start, end), *self._by_day(bars).bars()] for symbol, bars in found}

    def _earlier(self, symbol: str, start: int, end: int) -> list[Bar]:
        """Return the daily bars that are known of days before the first of the run's own."""
        if (known := self._daily.get(symbol)) is None:
            return []
        first = self._day_numbers(self._known(symbol).opened_at[:1])
        return between(take(known, self._day_numbers(known.opened_at) < first), start, end).bars()

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        return {symbol: found for symbol in symbols if (found := self._snapshot(symbol)) is not None}

    def assets_now(self) -> Mapping[str, Asset]:
        return {symbol: Asset(symbol, symbol, "NYSE") for symbol in self._bars}

    async def bars(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        return self.bars_now(symbols, start, end, minutes=minutes)

    async def snapshots(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        return self.snapshots_now(symbols)

    async def tradable_symbols(self) -> Mapping[str, Asset]:
        return self.assets_now()

    async def close(self) -> None:
        """There is no connection."""

    def _past(self, symbol: str, start: int, end: int) -> BarColumns:
        bars = self._known(symbol)
        first, last = np.searchsorted(bars.opened_at, (start, end)).tolist()
        closed = int(np.searchsorted(bars.closed_at, self.now(), side="right"))
        return take(bars, slice(first, max(first, min(last, closed))))

    def _snapshot(self, symbol: str) -> SymbolSnapshot | None:
        bars = self._known(symbol) if symbol in self else None
        if bars is None or not (closed := int(np.searchsorted(bars.closed_at, self.now(), side="right"))):
            return None
        if symbol not in self._days:
            self._days[symbol] = self._day_starts(bars), self._by_day(bars).bars()
        starts, days = self._days[symbol]
        newest = int(np.searchsorted(starts, closed)) - 1  # of the days that have a closed bar
        today = by_day(take(bars, slice(int(starts[newest]), closed)), np.zeros(1, np.int64)).bars()[0]
        day_before = days[newest - 1] if newest else None
        last = take(bars, slice(closed - 1, closed)).bars()[0]
        if self._day_of(last.opened_at) != self._day_of(self.now()):
            return SymbolSnapshot(symbol, last.close, last, None, today)
        return SymbolSnapshot(symbol, last.close, last, today, day_before)

    def _by_day(self, bars: BarColumns) -> BarColumns:
        return by_day(bars, self._day_starts(bars))

    def _day_starts(self, bars: BarColumns) -> Ints:
        """Return the row of each day's first bar."""
        return np.flatnonzero(np.diff(self._day_numbers(bars.opened_at), prepend=0))


def by_day(bars: BarColumns, first: Ints) -> BarColumns:
    """Return bars put together by day; `first` has the row of each day's first bar. A day's bar spans its first to its last."""
    if not len(bars.opened_at):
        return bars
    last = np.append(first[1:], len(bars.opened_at)) - 1
    volume = np.add.reduceat(bars.volume, first)
    traded = np.add.reduceat(bars.volume * bars.average, first)
    close = bars.close[last]
    average = np.divide(traded, volume, out=close.copy(), where=volume > 0)
    return BarColumns(
        bars.symbol,
        bars.opened_at[first],
        bars.closed_at[last],
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        close,
        volume,
        average,
        np.add.reduceat(bars.count, first),
    )


class OwnLoop:
    """An event loop for coroutines of strategies, each run to its end; other loops of the thread stand still meanwhile.

    It counts as running from `with` on, so that the first step of a coroutine, which mostly is all of it, costs no task.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._outer: asyncio.AbstractEventLoop | None = None
        self._first_step = FirstStep()

    def __enter__(self) -> OwnLoop:
        self._outer = _get_running_loop()
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        _set_running_loop(self._outer)

    def step(self, coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
        """Run a coroutine to its end and return that it has ended, and its result."""
        try:
            first = coroutine.send(None)
        except StopIteration as stop:
            return True, stop.value
        self._end()
        try:
            task = self._loop.create_task(Remainder(coroutine, first).result())
            self._first_step.task = task
            result, error = self._loop.run_until_complete(task)
        finally:
            self._first_step.task = None
            self._begin()
        if error is not None:
            raise error
        return True, result

    def _begin(self) -> None:
        _set_running_loop(self._loop)
        _enter_task(self._loop, self._first_step)  # type: ignore[arg-type]

    def _end(self) -> None:
        _leave_task(self._loop, self._first_step)  # type: ignore[arg-type]
        _set_running_loop(None)


@contextmanager
def loops_aside() -> Iterator[None]:
    """While the block runs, no event loop counts as running in this thread, so that one may run where a notebook's does."""
    outer = _get_running_loop()
    _set_running_loop(None)
    try:
        yield
    finally:
        _set_running_loop(outer)
