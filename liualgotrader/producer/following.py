"""Which symbols the session follows: those picked lately, and those that a consumer needs for what it holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from liualgotrader.common.clock import NEVER, Alarm, Clock
from liualgotrader.common.events import FromConsumer, Needs, Pick
from liualgotrader.common.tlog import say
from liualgotrader.common.types import WSEventType
from liualgotrader.data.streaming_base import StreamingAPI
from liualgotrader.producer.ageing import Ageing
from liualgotrader.producer.gaps import Gaps
from liualgotrader.producer.router import Router
from liualgotrader.producer.unpicked import Unpicked

log = logging.getLogger(__name__)


class Following:
    """Keeps routes and subscriptions in step. `review_due` is called at the instants when a symbol's time may be over.

    A change begins when the one before it has ended.
    """

    def __init__(
        self,
        router: Router,
        stream: StreamingAPI,
        events: Sequence[WSEventType],
        ageing: Ageing,
        unpicked: Unpicked,
        clock: Clock,
        review_due: Callable[[], None],
        gaps: Gaps,
    ) -> None:
        self._router, self._stream, self._events, self._gaps = router, stream, events, gaps
        self._ageing, self._unpicked, self._clock = ageing, unpicked, clock
        self._review_due = review_due
        self._turn = asyncio.Lock()
        self._alarm: Alarm | None = None
        self._alarm_at = NEVER
        self._takes_over = False
        self._met: set[str] = set()  # symbols that this producer has followed, or that an earlier one had picked
        self._gone: frozenset[str] = frozenset()  # symbols that an earlier one had let go
        self.unpicks = 0

    async def resume(self, picks: Sequence[Pick], *, takes_over: bool) -> None:
        """Follow what an earlier producer followed; how long it has not been picked is counted from now.

        `takes_over` says that there was one: a consumer may have symbols from it that nobody picked.
        """
        now = self._clock.now()
        self._takes_over = takes_over
        self._met = {pick.symbol for pick in picks}
        self._gone = frozenset(self._unpicked.symbols)
        for symbol in sorted(self._unpicked.symbols):
            self._router.gone(symbol, now)
        await self.follow(picks)
        self.picked_again(Pick(p.symbol, now, p.scanner, p.strategy) for p in picks)

    async def follow(self, picks: Sequence[Pick]) -> None:
        """Subscribe and route; the consumers hear of the picks with the next flush."""
        async with self._turn:
            symbols = list(dict.fromkeys(pick.symbol for pick in picks))
            fresh = [symbol for symbol in symbols if symbol not in self._router.symbols]
            old = self._from_before(symbol for symbol in fresh if symbol not in self._gone)
            self._gaps.asked((symbol for symbol in fresh if symbol not in old), self._clock.now())
            await self._subscribe(symbols)
            for pick in picks:
                self._router.accept(pick)

    def picked_again(self, picks: Iterable[Pick]) -> None:
        """Take note of when symbols that are followed were picked."""
        for pick in picks:
            if self._router.is_known(pick):
                self._ageing.picked(pick.symbol, pick.scanner, pick.at)
        self._set_alarm()

    async def hear(self, consumer: int, message: FromConsumer) -> None:
        """Take what a consumer needs or has rejected."""
        async with self._turn:
            if isinstance(message, Needs):
                followed = self._router.symbols
                free = self._router.need(consumer, message)
                fresh = sorted(self._router.symbols - followed)
                old = self._from_before(fresh)
                self._gaps.begun((symbol for symbol in fresh if symbol not in old), self._clock.now())
                await self._subscribe(fresh)
                for symbol in free:
                    self._ageing.needed(symbol, self._clock.now())
                await self._let_go([s for s in free if self._router.is_unwanted(s)], "rejected")
            else:
                await self._let_go(self._router.reject(message), "rejected")
        self._set_alarm()

    async def review(self) -> None:
        """Let go of every symbol that was not picked for too long and that no consumer needs."""
        async with self._turn:
            if self._router.knows_needs:
                await self._let_go(self._ageing.over(self._clock.now()), "not picked any more")
        self._alarm_at = NEVER
        self._set_alarm()

    def close(self) -> None:
        """Review nothing any more."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _from_before(self, fresh: Iterable[str]) -> set[str]:
        """Return the symbols that a consumer may have from the producer before, with a gap since that one's end."""
        old = set(fresh) - self._met if self._takes_over else set()
        self._met |= old
        self._gaps.begun(old, 0)
        return old

    async def _subscribe(self, symbols: Iterable[str]) -> None:
        wanted = list(symbols)
        if wanted:
            await self._stream.subscribe(wanted, self._events)

    async def _let_go(self, symbols: Iterable[str], why: str) -> None:
        gone = [symbol for symbol in symbols if self._router.let_go(symbol, self._clock.now())]
        self._unpicked.add(gone)
        for symbol in gone:
            self._ageing.forget(symbol)
            self.unpicks += 1
            say(log, "symbol_unpicked", symbol=symbol, because=why)
            await self._stream.unsubscribe(symbol)
        if gone:
            self._gaps.freed()

    def _set_alarm(self) -> None:
        now = self._clock.now()
        at = self._ageing.next_review(now)
        if at >= self._alarm_at:
            return  # it looks again then
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._clock.call_at(at, self._review_due)
