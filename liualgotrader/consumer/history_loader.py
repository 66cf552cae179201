"""Loads the history of symbols that are new or were cut off, off the loop and several at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from liualgotrader.common.clock import SECOND, Alarm, Clock
from liualgotrader.common.errors import BadData, DataRefused, DataUnavailable, DataUnusable, LiuError
from liualgotrader.common.events import Bar
from liualgotrader.common.ports import MarketHistory
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.tlog import say, some_of, warn
from liualgotrader.ipc.process_status import MarketHold

log = logging.getLogger(__name__)

Loaded = Callable[[str, Sequence[Bar]], None]

_AT_ONCE = 50  # symbols of one request
_TRIES = 3
_NAMED = 5  # symbols in a notice
_PAUSE_SECONDS = 0.5  # machine time before the second try, twice as long before the third
_AGAIN_SECONDS, _LONGEST_AGAIN_SECONDS = 5, 300  # market time until what could not be used is asked for again
_GAP_SECONDS = 5.0  # machine time for which a strategy is kept from a symbol that it may hold


class HistoryLoader:
    """Asks the data vendor for minute bars; `loaded` gets each symbol's, an empty list if there are none.

    The market is held while history is asked for. A symbol whose answer cannot be used waits and is asked for again
    later, alone; one that may be `held`, or was cut off, goes on meanwhile with what it has. `notify` gets a sentence
    about the symbols without history.
    """

    def __init__(
        self,
        data: MarketHistory,
        hours: Hours,
        sessions: int,
        clock: Clock,
        loaded: Loaded,
        new_hold: Callable[[], MarketHold],
        notify: Callable[[str, str], None] = lambda level, text: None,
        held: Callable[[str], bool] = lambda symbol: False,
    ) -> None:
        self._notify, self._held = notify, held
        self._unusable: dict[str, BadData] = {}  # of the present answer
        self._bad: dict[str, int] = {}  # symbol -> how often in a row its answer could not be used
        self._notified: set[str] = set()
        self._retries: dict[str, Alarm] = {}
        self._missing: list[str] = []
        self._data, self._clock, self._loaded, self._new_hold = data, clock, loaded, new_hold
        opens = [opens_at for opens_at, _ in hours.previous[: max(0, sessions)]]
        self._start = min([*opens, hours.opens_at])
        self._wanted: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def want(self, symbol: str, since: int = 0) -> None:
        """Have bars from `since` (0: from where history begins) loaded soon, with those of others asked for now."""
        self._wanted[symbol] = min(since, self._wanted.get(symbol, since))
        if self._task is None:
            hold = self._new_hold().begin()
            self._task = asyncio.get_running_loop().create_task(self._load_all())
            self._task.add_done_callback(lambda _: hold.end())

    async def _load_all(self) -> None:
        try:
            while self._wanted:
                again = next((symbol for symbol in self._wanted if symbol in self._bad), None)
                some = dict(list(self._wanted.items())[:_AT_ONCE]) if again is None else {again: self._wanted[again]}
                for symbol in some:  # one that is wanted again meanwhile is loaded again
                    del self._wanted[symbol]
                now = self._clock.now()
                found = await self._load(list(some), min(some.values()), now)
                if self._missing:
                    self._notify("WARNING", f"no history of {some_of(self._missing, _NAMED)}; their bars begin now")
                    self._missing.clear()
                for symbol, since in some.items():
                    if symbol not in self._unusable:
                        self._bad.pop(symbol, None)
                    if symbol not in self._unusable or since or self._held(symbol):
                        bars = [bar for bar in found.get(symbol, ()) if bar.closed_at <= now]
                        say(log, "history_loaded", symbol=symbol, bars=len(bars))
                        self._loaded(symbol, bars)
                self._ask_again(some)
        finally:
            self._task = None

    def _ask_again(self, asked: Mapping[str, int]) -> None:
        """Ask later for what could not be used, and report once for each symbol why."""
        unusable, self._unusable = self._unusable, {}
        by_reason: dict[str, list[str]] = {}

        def ask(symbol: str) -> None:
            del self._retries[symbol]
            self.want(symbol, asked[symbol])

        for symbol, error in unusable.items():
            times = self._bad.get(symbol, 0)
            self._bad[symbol] = times + 1
            warn(log, "history_unusable", symbol=symbol, times=times + 1, error=error)
            if symbol in self._retries:
                self._retries[symbol].cancel()
            pause = min(_AGAIN_SECONDS * 2**times, _LONGEST_AGAIN_SECONDS)
            self._retries[symbol] = self._clock.call_at(self._clock.now() + pause * SECOND, partial(ask, symbol))
            if symbol not in self._notified:
                self._notified.add(symbol)
                by_reason.setdefault(str(error), []).append(symbol)
        for reason, symbols in by_reason.items():
            self._notify(
                "WARNING", f"{reason}; the history of {some_of(symbols, _NAMED)} is not used, and is asked for again"
            )

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
            except DataUnusable as error:
                self._unusable |= error.bad
                return error.good
            except DataRefused as error:
                if len(symbols) == 1:
                    self._give_up(symbols, error)
                    break
                # One wrong symbol must not cost the others their history.
                middle = len(symbols) // 2
                first = await self._load_patiently(symbols[:middle], start, now)
                return {**first, **await self._load_patiently(symbols[middle:], start, now)}
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

    def _give_up(self, symbols: Sequence[str], error: object) -> None:
        warn(log, "history_missing", symbols=",".join(symbols), error=error)
        self._missing += symbols

    async def close(self) -> None:
        """Load nothing more."""
        self._wanted.clear()
        for alarm in self._retries.values():
            alarm.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
