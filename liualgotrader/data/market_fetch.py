"""Fill the market-data store from a vendor: only what is missing is asked for, and only days that are over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from liualgotrader.common.calendar import day_of, sessions
from liualgotrader.common.clock import DAY, MINUTE
from liualgotrader.common.errors import DataRefused, DataUnusable
from liualgotrader.common.events import Bar
from liualgotrader.common.market_columns import BarColumns, day_numbers, take
from liualgotrader.data.data_base import DataAPI, midnight
from liualgotrader.data.market_store import MarketStore, Span
from liualgotrader.tapes.splits import Dividend

_BARS_A_REQUEST = 200_000
_MINUTES_A_DAY = 960  # from 04:00 to 20:00
_SYMBOLS_A_REQUEST = 100
_LOOK_BACK = 15 * DAY  # holds the last close before any day

Request = tuple[Sequence[str], Span]


class VendorToStore:
    """One vendor's raw bars, splits and dividends on their way into the store; `failed` says of whom there are none, and why."""

    def __init__(self, store: MarketStore, api: DataAPI, source: str) -> None:
        self.store, self._api, self._source = store, api, source
        self.failed: dict[str, str] = {}

    def fetch(
        self,
        symbols: Sequence[str],
        period: int,
        start: int,
        end: int,
        now: int,
        following: Callable[[Sequence[Request]], Iterable[Request]] = iter,
    ) -> None:
        """Store the bars of MINUTE or DAY with start <= opened_at < end, as far as their days are over at `now`.

        What a request brought stays stored whatever happens to the next one. `following` shows the progress.

        Raises:
            DataUnavailable: the vendor did not answer.
            OutsideError: a file of the store is damaged, or the disk does not take it.
        """
        over = midnight(day_of(now))
        end = min(end, over)
        spans: dict[Span, list[str]] = {}
        for symbol in symbols:
            for span in self.store.missing(symbol, "bars", period, start, end) if start < end else ():
                for part in _parts(span, period):
                    spans.setdefault(part, []).append(symbol)
        requests: list[Request] = []
        for span, wanted in sorted(spans.items()):
            size = _symbols_at_once(span, period)
            requests += [(wanted[i : i + size], span) for i in range(0, len(wanted), size)]
        for some, span in following(requests):
            self._bars(some, period, span)
        for symbol in symbols:
            if symbol not in self.failed and start < end:
                self._actions(symbol, start, over)

    def _bars(self, symbols: Sequence[str], period: int, span: Span) -> None:
        try:
            found = self._api.raw_bars_now(symbols, *span, minutes=period // MINUTE)
        except DataUnusable as error:
            found = error.good
            self.failed |= {symbol: str(why) for symbol, why in error.bad.items()}
            symbols = [symbol for symbol in symbols if symbol not in error.bad]
        except DataRefused as error:
            if len(symbols) == 1:
                self.failed[symbols[0]] = str(error)
                return
            for symbol in symbols:  # one of them may be the reason
                self._bars([symbol], period, span)
            return
        for symbol in symbols:
            bars = stored_form(symbol, period, found.get(symbol, ()))
            self.store.write(symbol, period, bars, [span], self._source)

    def _actions(self, symbol: str, start: int, end: int) -> None:
        for span in self.store.missing(symbol, "actions", 0, start, end):
            try:
                splits, cash = self._api.actions_now(symbol, *span)
            except (DataUnusable, DataRefused) as error:
                self.failed[symbol] = str(error)
                return
            dividends = []
            for day, amount in cash:
                close = self._close_before(symbol, day)
                if not amount < close:
                    self.failed[symbol] = f"no close above its dividend of {amount:g} on {day} is known"
                    return
                dividends.append(Dividend(day, amount, close))
            self.store.write_actions(symbol, splits, dividends, [span], self._source)

    def _close_before(self, symbol: str, day: date) -> float:
        """Return the raw close before a day, 0.0 if there is none; the days before it are fetched for that."""
        end = midnight(day)
        for span in self.store.missing(symbol, "bars", DAY, end - _LOOK_BACK, end):
            self._bars([symbol], DAY, span)
        close = self.store.read(symbol, DAY, end - _LOOK_BACK, end).close
        return float(close[-1]) if len(close) else 0.0


def _parts(span: Span, period: int) -> Iterator[Span]:
    """Yield a span in parts that one symbol can be asked for at once."""
    step = _BARS_A_REQUEST // _MINUTES_A_DAY * DAY if period == MINUTE else span[1] - span[0]
    for start in range(span[0], span[1], step):
        yield start, min(start + step, span[1])


def _symbols_at_once(span: Span, period: int) -> int:
    days = (span[1] - span[0]) // DAY + 1
    return max(1, min(_SYMBOLS_A_REQUEST, _BARS_A_REQUEST // (days * (_MINUTES_A_DAY if period == MINUTE else 1))))


def stored_form(symbol: str, period: int, bars: Sequence[Bar]) -> BarColumns:
    """Return a vendor's bars as the store has them: a daily bar spans its session, days without one have none."""
    columns = BarColumns.of(symbol, bars)
    if period != DAY or not len(columns.open) or "/" in symbol:
        return columns
    days = day_numbers(columns.opened_at)
    first, last = (date.fromordinal(int(day)) for day in days[[0, -1]])
    spans = {session.day.toordinal(): session for session in sessions(first, last)}
    kept = np.flatnonzero([day in spans for day in days.tolist()])
    columns, days = take(columns, kept), days[kept]
    opened = np.array([spans[day].opens_at for day in days.tolist()], np.int64)
    closed = np.array([spans[day].closes_at for day in days.tolist()], np.int64)
    return replace(columns, opened_at=opened, closed_at=closed)
