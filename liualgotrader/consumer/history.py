"""Loads the history of symbols that are new or were cut off, off the loop and several at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from liualgotrader.common.clock import Clock
from liualgotrader.common.errors import DataRefused, DataUnavailable, LiuError
from liualgotrader.common.events import Bar
from liualgotrader.common.ports import DataAPI
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.tlog import warn

log = logging.getLogger(__name__)

Loaded = Callable[[str, Sequence[Bar]], None]

_AT_ONCE = 50  # symbols of one request
_TRIES = 3
_NAMED = 5  # symbols in a notice
_PAUSE_SECONDS = 0.5  # machine time before the second try, twice as long before the third
_GAP_SECONDS = 5.0  # machine time for which a strategy is kept from a symbol that it may hold


class History:
    """Asks the data provider for minute bars; `loaded` gets each symbol's, none if there are none to be had.

    The market is held while a symbol waits for its history. `tell` says to a person what there is none of.
    """

    def __init__(
        self,
        data: DataAPI,
        hours: Hours,
        sessions: int,
        clock: Clock,
        loaded: Loaded,
        busy: Callable[[], AbstractContextManager[None]],
        tell: Callable[[str, str], None] = lambda level, text: None,
    ) -> None:
        self._tell = tell
        self._missing: list[str] = []
        self._data, self._clock, self._loaded, self._busy = data, clock, loaded, busy
        opens = [opens_at for opens_at, _ in hours.previous[: max(0, sessions)]]
        self._start = min([*opens, hours.opens_at])
        self._wanted: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self.failures = 0

    def want(self, symbol: str, since: int = 0) -> None:
        """Have bars from `since` (0: from where history begins) loaded soon, with those of others asked for now."""
        self._wanted[symbol] = min(since, self._wanted.get(symbol, since))
        if self._task is None:
            hold = self._busy()
            hold.__enter__()
            self._task = asyncio.get_running_loop().create_task(self._load_all())
            self._task.add_done_callback(lambda _: hold.__exit__(None, None, None))

    async def _load_all(self) -> None:
        try:
            while self._wanted:
                some = dict(list(self._wanted.items())[:_AT_ONCE])
                for symbol in some:  # who wants one of them again meanwhile gets it again
                    del self._wanted[symbol]
                now = self._clock.now()
                found = await self._load(list(some), min(some.values()), now)
                self._tell_missing()
                for symbol in some:
                    self._loaded(symbol, [bar for bar in found.get(symbol, ()) if bar.closed_at <= now])
        finally:
            self._task = None

    async def _load(self, symbols: Sequence[str], since: int, now: int) -> Mapping[str, Sequence[Bar]]:
        try:
            async with asyncio.timeout(_GAP_SECONDS if since else None):
                return await self._load_patiently(symbols, max(self._start, since), now)
        except TimeoutError:
            self._give_up(symbols, f"no answer in {_GAP_SECONDS:g} s")
        return {}

    async def _load_patiently(self, symbols: Sequence[str], start: int, now: int) -> Mapping[str, Sequence[Bar]]:
        pause = _PAUSE_SECONDS
        for tries_left in range(_TRIES - 1, -1, -1):
            try:
                return await self._data.bars(symbols, start, now, minutes=1)
            except DataRefused as error:
                return await self._load_halves(symbols, start, now, error)
            except DataUnavailable as error:
                if tries_left:
                    await self._clock.sleep(pause)
                    pause *= 2
                    continue
                self._give_up(symbols, error)
            except LiuError as error:
                self._give_up(symbols, error)
                break
        return {}

    async def _load_halves(
        self, symbols: Sequence[str], start: int, now: int, error: DataRefused
    ) -> Mapping[str, Sequence[Bar]]:
        """Ask for each half of what was refused as a whole: one wrong symbol must not cost the others theirs."""
        if len(symbols) == 1:
            self._give_up(symbols, error)
            return {}
        middle = len(symbols) // 2
        first = await self._load_patiently(symbols[:middle], start, now)
        return {**first, **await self._load_patiently(symbols[middle:], start, now)}

    def _give_up(self, symbols: Sequence[str], error: object) -> None:
        self.failures += len(symbols)
        named = ",".join(symbols)
        warn(log, "history_missing", symbols=named, error=error)
        self._missing += symbols

    def _tell_missing(self) -> None:
        """Say to a person, once per request, which symbols begin without their past."""
        missing, self._missing = self._missing, []
        if missing:
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            self._tell("WARNING", f"no history of {', '.join(missing[:_NAMED])}{more}; their bars begin now")

    async def close(self) -> None:
        """Load nothing more."""
        self._wanted.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
