"""Requests to the data vendor from inside a strategy's call: made once and given up soon, as the process waits for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from liualgotrader.common.clock import SECOND, machine_now
from liualgotrader.common.errors import DataUnavailable, DataUnusable
from liualgotrader.common.events import Bar
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.common.tlog import say, some_of, warn
from liualgotrader.data.data_base import DataAPI

log = logging.getLogger(__name__)

_WORKERS = 4  # a thread whose request was given up is busy until its vendor's time-out
_SHOWN = 3  # symbols named in an error

T = TypeVar("T")


class Calls(Protocol):
    """Which call of a strategy is being made."""

    @property
    def calls(self) -> int: ...
    @property
    def is_calling(self) -> bool: ...
    @property
    def is_making(self) -> bool: ...


class Fetches(DataAPI):
    """The vendor as strategies reach it. The requests of one call may take `seconds` of machine time together.

    While a strategy is made no market waits for it: there each request has `making_seconds`. A request made after the
    call has really waited has `seconds` for itself.
    """

    def __init__(self, data: DataAPI, calls: Calls, *, seconds: float, making_seconds: float) -> None:
        self._data, self._calls = data, calls
        self._seconds, self._making_seconds = seconds, making_seconds
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="strategy-fetch")
        self._call = -1
        self._spent = 0.0  # seconds, in the present call
        self._in_burst = 0
        self.asked = 0
        self.failed = 0
        self.days: dict[str, dict[int, Bar]] = {}  # daily bars that came, by symbol and start

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        """Return bars as `DataAPI.bars_now` does, or raise DataUnavailable once the time is over."""
        found = self._within(
            lambda: self._data.bars_now(symbols, start, end, minutes=minutes), f"bars of {some_of(symbols, _SHOWN)}"
        )
        for symbol, bars in found.items() if minutes != 1 else ():
            self.days.setdefault(symbol, {}).update((bar.opened_at, bar) for bar in bars)
        return found

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        """Return the newest figures of those symbols that have any; the same."""
        return self._within(lambda: self._data.snapshots_now(symbols), f"figures of {some_of(symbols, _SHOWN)}")

    def assets_now(self) -> Mapping[str, Asset]:
        """Return active, tradable US equities by symbol; the same."""
        return self._within(self._data.assets_now, "the list of assets")

    def close(self) -> None:
        """Make no more requests."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _within(self, ask: Callable[[], T], about: str) -> T:
        calls, begun = self._calls, machine_now()
        limit = self._making_seconds if calls.is_making else self._seconds
        if calls.calls != self._call or calls.is_making or not calls.is_calling:
            self._call, self._spent = calls.calls, 0.0
        left = limit - self._spent
        self.asked += 1
        try:
            if left <= 0:
                raise TimeoutError
            answer = self._threads.submit(ask)
            try:
                found = answer.result(left)
            finally:
                answer.cancel()
        except TimeoutError:
            raise self._failure(f"no answer within the {limit:g} s that a call has for such questions", about) from None
        except DataUnusable as error:  # the caller gets what is good of it
            self._failure(str(error), about)
            raise
        except DataUnavailable as error:
            raise self._failure(str(error), about) from error
        finally:
            self._spent += (machine_now() - begun) / SECOND
        if self._in_burst:
            say(log, "fetches_answered_again", failed=self._in_burst)
            self._in_burst = 0
        return found

    def _failure(self, why: str, about: str) -> DataUnavailable:
        self.failed += 1
        self._in_burst += 1
        if self._in_burst == 1:
            warn(log, "fetch_failed", about=about, because=why)
        return DataUnavailable(f"the data vendor returned no {about}: {why}")
