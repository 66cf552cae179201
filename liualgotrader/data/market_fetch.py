"""Fill the market-data store from a vendor: only what is missing is asked for, and only days that are over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TypeVar

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

T = TypeVar("T")

Request = tuple[Sequence[str], Span]


class VendorToStore:
    """One vendor's raw bars, splits and dividends on their way into the store; `failed` says of whom there are none, and why."""

    def __init__(self, store: MarketStore, api: DataAPI, source: str) -> None:
        self.store, self._api, self._source = store, api, source
        self.failed: dict[str, str] = {}

    def fetch(
        self,
        wanted: Sequence[str],
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
        over, self.failed = midnight(day_of(now)), {}
        for symbols, span in following(self._requests(wanted, "bars", period, start, min(end, over))):
            self._bars(symbols, period, span)
        for symbols, span in self._requests(wanted, "actions", 0, start, over if start < end else start):
            self._actions([symbol for symbol in symbols if symbol not in self.failed], span)

    def _requests(self, symbols: Sequence[str], kind: str, period: int, start: int, end: int) -> list[Request]:
        """Return what is missing, as questions about as many symbols and days as one answer can hold."""
        step = _BARS_A_REQUEST // _MINUTES_A_DAY * DAY if period == MINUTE else max(1, end - start)
        spans: dict[Span, list[str]] = {}
        for symbol in symbols:
            for first, last in self.store.missing(symbol, kind, period, start, end) if start < end else ():
                for at in range(first, last, step):
                    spans.setdefault((at, min(at + step, last)), []).append(symbol)
        requests: list[Request] = []
        for (first, last), named in sorted(spans.items()):
            rows = ((last - first) // DAY + 1) * (_MINUTES_A_DAY if period == MINUTE else 1)
            size = max(1, min(_SYMBOLS_A_REQUEST, _BARS_A_REQUEST // rows))
            requests += [(named[i : i + size], (first, last)) for i in range(0, len(named), size)]
        return requests

    def _bars(self, symbols: Sequence[str], period: int, span: Span) -> None:
        found = self._answers(symbols, lambda some: self._api.raw_bars_now(some, *span, minutes=period // MINUTE))
        for symbol, bars in found.items():
            self.store.write(symbol, period, stored_form(symbol, period, bars or ()), [span], self._source)

    def _actions(self, symbols: Sequence[str], span: Span) -> None:
        found = self._answers(symbols, lambda some: self._api.actions_now(some, *span))
        for symbol, changes in found.items():
            splits, cash = changes or ((), ())
            closes = {day: self._close_before(symbol, day) for day, _ in cash}
            if wrong := next((one for one in cash if not one[1] < closes[one[0]]), None):
                self.failed[symbol] = f"no close above its dividend of {wrong[1]:g} on {wrong[0]} is known"
            else:
                dividends = [Dividend(day, amount, closes[day]) for day, amount in cash]
                self.store.write_actions(symbol, splits, dividends, [span], self._source)

    def _answers(self, symbols: Sequence[str], ask: Callable[[Sequence[str]], Mapping[str, T]]) -> dict[str, T | None]:
        """Return what the vendor answers about each symbol; those that it has no usable answer about are in `failed`."""
        try:
            found = ask(symbols) if symbols else {}
        except DataUnusable as error:
            found = error.good
            self.failed |= {symbol: str(why) for symbol, why in error.bad.items()}
            symbols = [symbol for symbol in symbols if symbol not in error.bad]
        except DataRefused as error:
            if len(symbols) > 1:  # one of them may be the reason
                return {symbol: got for one in symbols for symbol, got in self._answers([one], ask).items()}
            self.failed[symbols[0]] = str(error)
            return {}
        return {symbol: found.get(symbol) for symbol in symbols}

    def _close_before(self, symbol: str, day: date) -> float:
        """Return the raw close before a day, 0.0 if there is none; the days before it are fetched for that."""
        end = midnight(day)
        for span in self.store.missing(symbol, "bars", DAY, end - _LOOK_BACK, end):
            self._bars([symbol], DAY, span)
        close = self.store.read(symbol, DAY, end - _LOOK_BACK, end).close
        return float(close[-1]) if len(close) else 0.0


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
