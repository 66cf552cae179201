"""The producer's loop: frames come in, batches leave, picks change who gets what. It never waits for a consumer."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from liualgotrader.common.clock import MILLISECOND, machine_now
from liualgotrader.common.control import Operate, ToChild
from liualgotrader.common.events import Bar, MarketEvent, Pick
from liualgotrader.common.ports import Store
from liualgotrader.common.tlog import say
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.data.streaming_base import OnEvents, StreamHooks, StreamingAPI, event_types
from liualgotrader.producer.assignment import Assignment
from liualgotrader.producer.intake import Intake, patiently
from liualgotrader.producer.outbox import Outbox
from liualgotrader.producer.router import Router
from liualgotrader.producer.sampler import next_sample
from liualgotrader.transport.child import Child
from liualgotrader.transport.codec import decode_picks
from liualgotrader.transport.links import Reader, Writer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Doors:
    """The outside, as the producer opens it."""

    open_store: Callable[[], Awaitable[Store]]
    open_stream: Callable[[OnEvents, StreamHooks], StreamingAPI]


class Producer:
    """One producer process, from the first symbol to the supervisor's stop."""

    def __init__(self, child: Child, doors: Doors) -> None:
        plan = child.plan
        self._child, self._plan, self._doors = child, plan, doors
        tradeplan = TradePlan.from_dict(plan.tradeplan)
        self._events = event_types(_event_words(tradeplan))
        self._tick_homes = [name for name, table in tradeplan.strategies.items() if table.get("events")]
        epoch = machine_now()
        self._outboxes = [Outbox(epoch) for _ in range(plan.consumers)]
        self._links: list[Writer] = [child.writer(f"market-{i}") for i in range(plan.consumers)]
        self._router: Router
        self._stream: StreamingAPI
        self._intake: Intake
        self._picks_link: Reader
        self._frames = self._events_in = 0
        self._newest: MarketEvent | None = None
        self._received_at = 0
        self._flush_due = self._sample_due = False
        self._picks: asyncio.Queue[bytes] = asyncio.Queue()
        self._hold, self._holding = ExitStack(), False
        self._taken_picks = 0  # messages whose picks were sent on, and not yet counted as handled

    async def run(self) -> None:
        """Produce until the supervisor says stop."""
        child, plan = self._child, self._plan
        store = await patiently(self._doors.open_store, child.clock, child.notice)
        try:
            self._intake = Intake(plan.batch_id, store, child.clock, child.notice)
            assignment, picks = await self._intake.resume(plan.consumers)
            self._router = Router(plan.slots, self._outboxes, assignment, self._tick_homes)
            hooks = StreamHooks(
                connecting=self._connecting,
                lost=self._hold_market,
                notice=child.notice,
                headers={"X-LIU-Process": child.name} if plan.endpoints.loopback else {},
            )
            self._stream = self._doors.open_stream(self._frame, hooks)
            self._hold_market()
            await self._follow(picks)
            self._attach()
            picks_link = child.reader("picks")
            await self._live(picks_link, assignment)
        finally:
            await store.close()

    def counters(self) -> Mapping[str, float]:
        """Return the figures that the supervisor shows."""
        newest = self._newest
        at = 0 if newest is None else newest.closed_at if isinstance(newest, Bar) else newest.at
        lag = self._child.clock.age(at) / MILLISECOND if at else 0.0
        own = {
            "picks_refused": len(self._intake.refused),
            "events": self._events_in,
            "symbols": len(self._router.symbols),
            "feed_lag_ms": round(max(0.0, lag), 3),
        }
        return {**self._stream.counters(), **own, **self._router.counts()}

    # --- life --------------------------------------------------------------------------------------

    async def _live(self, picks_link: Reader, assignment: Assignment) -> None:
        child = self._child
        loop = asyncio.get_running_loop()
        self._picks_link = picks_link
        picks_link.attach(loop, self._picks.put_nowait)
        tasks = [
            asyncio.ensure_future(self._stream.run()),
            asyncio.ensure_future(self._take_picks(assignment)),
            asyncio.ensure_future(child.stopping.wait()),
        ]
        child.on_order(self._obey)
        child.report(self.counters)
        gc.collect()
        gc.freeze()
        child.ready()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            await self._end(tasks, picks_link)
        say(log, "producer_ended", events=self._events_in, dropped=sum(outbox.dropped for outbox in self._outboxes))

    async def _end(self, tasks: Sequence[asyncio.Future[Any]], picks_link: Reader) -> None:
        await self._stream.close()
        self._flush()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        picks_link.close()
        for link in self._links:
            link.close()

    def _attach(self) -> None:
        loop = asyncio.get_running_loop()
        for outbox, link in zip(self._outboxes, self._links, strict=True):
            link.on_connected(_then(outbox.begin, self._repeat_halts, self._flush_soon))
            link.on_room(_then(outbox.unblock, self._flush_soon))
            link.attach(loop)

    def _obey(self, order: ToChild) -> None:
        """Let symbols go that an operator or the supervisor names: `unpick`, with `symbols`."""
        if isinstance(order, Operate) and order.name == "unpick":
            for symbol in order.arguments.get("symbols", ()):
                self._router.let_go(str(symbol).upper(), self._child.clock.now())
                task = asyncio.ensure_future(self._stream.unsubscribe(str(symbol)))
                task.add_done_callback(lambda done: done.result())
            self._flush_soon()

    # --- frames ------------------------------------------------------------------------------------

    def _frame(self, events: list[MarketEvent], frames: int) -> None:
        """Take the events of one frame; what came within one turn of the loop leaves together at its end."""
        self._frames = frames
        if events:
            self._events_in += len(events)
            self._newest = events[-1]
            self._router.dispatch(events)
            if self._router.samples_wait and not self._sample_due:
                self._sample_later()
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._received_at = machine_now()
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send what waits; once all of it is on its way, state that the frames it came from are dealt with."""
        self._flush_due = False
        sent = True
        for outbox, link in zip(self._outboxes, self._links, strict=True):
            sent = outbox.flush(link.send, self._received_at) and sent
        if not sent:
            return
        self._child.seat.feed_handled(self._frames)
        if self._stream.settled:
            self._holding = False
            self._hold.close()
            while self._taken_picks:
                self._taken_picks -= 1
                self._picks_link.handled()

    def _connecting(self) -> None:
        self._hold_market()
        self._frames = 0
        self._child.seat.feed_connecting()

    def _hold_market(self) -> None:
        """Hold a simulated market from now on until the vendor carries everything that was asked for."""
        if not self._holding:
            self._holding = True
            self._hold.enter_context(self._child.seat.busy())

    def _repeat_halts(self) -> None:
        """Tell a consumer that was just reached what is halted; an earlier life of it may have known."""
        self._router.dispatch(self._stream.halted())

    def _sample_later(self) -> None:
        self._sample_due = True
        self._child.clock.call_at(next_sample(self._child.clock.now()), self._sample)

    def _sample(self) -> None:
        self._sample_due = False
        self._router.sample()
        self._received_at = machine_now()
        self._flush()

    # --- picks -------------------------------------------------------------------------------------

    async def _take_picks(self, assignment: Assignment) -> None:
        """Take picks in, message by message. A message is handled when the vendor carries its symbols."""
        while True:
            message = await self._picks.get()
            limit = self._plan.limits.max_symbols
            picks = await self._intake.take(decode_picks(message), self._router, assignment, limit)
            await self._follow(picks)
            self._taken_picks += 1
            self._flush_soon()

    async def _follow(self, picks: Sequence[Pick]) -> None:
        """Subscribe and route; the consumers hear of the picks with the next flush."""
        if picks:
            await self._stream.subscribe(list(dict.fromkeys(pick.symbol for pick in picks)), self._events)
        for pick in picks:
            self._router.accept(pick)


def _then(*acts: Callable[[], None]) -> Callable[[], None]:
    def all_of_them() -> None:
        for act in acts:
            act()

    return all_of_them


def _event_words(tradeplan: TradePlan) -> list[str]:
    """Return what the session subscribes to: the plan's `events` and those that single strategies ask for."""
    extra = [word for table in tradeplan.strategies.values() for word in table.get("events", ())]
    return list(dict.fromkeys([*tradeplan.events, *extra]))
