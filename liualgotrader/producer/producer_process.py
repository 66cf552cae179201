"""The producer's loop: frames come in, batches leave, picks and needs decide who gets what. It waits for no consumer."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from liualgotrader.common.clock import MILLISECOND, machine_now
from liualgotrader.common.control import RequestAnswer, StartSlotsCommand, SupervisorCommand
from liualgotrader.common.events import Bar, MarketEvent, Needs
from liualgotrader.common.ports import Store
from liualgotrader.common.tlog import say, warn
from liualgotrader.data.streaming_base import LineTimings, OnEvents, StreamHooks, StreamingAPI, event_types
from liualgotrader.ipc.batch_codec import decode_needs, decode_picks
from liualgotrader.ipc.child_process import Child
from liualgotrader.ipc.links import Reader, Writer
from liualgotrader.producer.following import Ageing, Following, Gaps, PickIntake, Unpicked, retrying
from liualgotrader.producer.router import Assignment, EventOutbox, Router, next_sample

log = logging.getLogger(__name__)

_NEEDS_SECONDS = 10.0  # machine time that picks wait for consumers to say what they hold from before


@dataclass(frozen=True, slots=True)
class ProducerDependencies:
    """What a producer needs from outside; the entry point opens it."""

    open_store: Callable[[], Awaitable[Store]]
    open_stream: Callable[[OnEvents, StreamHooks], StreamingAPI]


class Producer:
    """One producer process, from the first symbol to the supervisor's stop."""

    def __init__(self, child: Child, dependencies: ProducerDependencies) -> None:
        plan = child.plan
        self._child, self._plan, self._dependencies = child, plan, dependencies
        tradeplan = self._tradeplan = plan.tradeplan
        self._words = [
            *tradeplan.events,
            *(word for table in tradeplan.strategies.values() for word in table.get("events", ())),
        ]
        if any(slot.run_all for slot in plan.slots):
            self._words.append("minute")  # their homes get samples of the ticks, of which no true minute can be built
        self._events = event_types(dict.fromkeys(self._words))
        self._tick_homes = [name for name, table in tradeplan.strategies.items() if table.get("events")]
        epoch = machine_now()
        self._outboxes = [EventOutbox(epoch) for _ in range(plan.consumers)]
        self._links: list[Writer] = [child.writer(f"market-{i}") for i in range(plan.consumers)]
        self._router: Router
        self._stream: StreamingAPI
        self._intake: PickIntake
        self._following: Following
        self._frames = self._events_in = 0
        self._newest: MarketEvent | None = None
        self._gaps = Gaps()
        self._received_at = 0
        self._flush_due = self._sample_due = False
        self._picks: asyncio.Queue[bytes] = asyncio.Queue()
        self._needs: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._needs_known = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()
        self._hold = child.status.hold()  # until the vendor carries everything that was asked for
        self._taken: list[Reader] = []  # one for each message acted on and not yet counted as handled

    async def run(self) -> None:
        """Produce until the supervisor says stop."""
        child, plan, hours = self._child, self._plan, self._plan.hours
        store = await retrying(self._dependencies.open_store, child.clock, child.notice)
        try:
            unpicked = Unpicked(Path(plan.journal_dir))
            self._intake = PickIntake(plan.batch_id, store, child.clock, child.notice, unpicked)
            assignment, picks = await self._intake.resume(plan.sharing_consumers)
            self._router = Router(plan.slots, self._outboxes, assignment, self._tick_homes)
            hooks = StreamHooks(
                connecting=self._connecting,
                lost=self._hold.begin,
                notice=child.notice,
                # Sessions that bypass the schedule run on days without any market data.
                data_expected=lambda: not hours.bypass and hours.opens_at <= child.clock.now() < hours.closes_at,
                headers={"X-LIU-Process": child.name} if plan.endpoints.loopback else {},
                timings=LineTimings(mute_seconds=plan.timings.feed_mute_seconds),
            )
            self._stream = self._dependencies.open_stream(self._frame, hooks)
            ageing = Ageing(self._tradeplan)
            self._following = Following(
                self._router, self._stream, self._events, ageing, unpicked, child.clock, self._review_due, self._gaps
            )
            self._hold.begin()
            await self._following.resume(picks, takes_over=bool(picks) or any(assignment.counts))
            for outbox, link in zip(self._outboxes, self._links, strict=True):
                link.on_connected(partial(self._begin, outbox))
                link.on_room(partial(self._resume, outbox))
                link.attach(asyncio.get_running_loop())
            await self._live(assignment)
        finally:
            await store.close()

    def counters(self) -> Mapping[str, float]:
        """Return the figures that the supervisor shows."""
        at = self._heard_until()
        lag = self._child.clock.age(at) / MILLISECOND if at else 0.0
        own = {
            "picks_refused": len(self._intake.refused),
            "unpicks": self._following.unpicks,
            "events": self._events_in,
            "symbols": len(self._router.symbols),
            "feed_lag_ms": round(max(0.0, lag), 3),
        }
        return {**self._stream.counters(), **own, **self._router.counts()}

    # --- life --------------------------------------------------------------------------------------

    async def _live(self, assignment: Assignment) -> None:
        child = self._child
        loop = asyncio.get_running_loop()

        def queue(index: int, payload: bytes) -> None:
            self._needs.put_nowait((index, payload))

        picks = child.reader("picks")
        needs = [child.reader(f"needs-{i}") for i in range(self._plan.consumers)]
        picks.attach(loop, self._picks.put_nowait)
        for index, reader in enumerate(needs):
            reader.attach(loop, partial(queue, index))
        tasks: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._stream.run()),
            asyncio.ensure_future(self._take_picks(picks, assignment)),
            asyncio.ensure_future(self._take_needs(needs, assignment)),
            asyncio.ensure_future(child.stopping.wait()),
        ]
        child.report(self.counters)
        child.on_command(partial(self._on_command, assignment))
        gc.collect()
        gc.freeze()
        child.ready()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            self._following.close()
            await self._stream.close()
            self._flush()
            ending = [*tasks, *self._background]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            for end in (picks, *needs, *self._links):
                end.close()
        say(log, "producer_ended", events=self._events_in, dropped=sum(outbox.dropped for outbox in self._outboxes))

    def _begin(self, outbox: EventOutbox) -> None:
        """Begin with a consumer that was just reached; an earlier process of it may have known what is halted."""
        outbox.begin()
        self._router.dispatch(self._stream.halted())
        self._flush_soon()

    def _resume(self, outbox: EventOutbox) -> None:
        outbox.unblock()
        self._flush_soon()

    # --- frames ------------------------------------------------------------------------------------

    def _frame(self, events: list[MarketEvent], frames: int) -> None:
        """Take the events of one frame; those of one turn of the loop leave together at its end."""
        self._frames = frames
        if self._gaps.due and self._stream.subscribed:
            self._router.dispatch(self._gaps.take(self._child.clock.now(), self._router.symbols, self._stream.symbols))
        if events:
            self._events_in += len(events)
            self._newest = events[-1]
            self._router.dispatch(events)
            if self._router.samples_wait and not self._sample_due:
                self._sample_due = True
                self._child.clock.call_at(next_sample(self._child.clock.now()), partial(self._flush, sample=True))
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._received_at = machine_now()
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self, *, sample: bool = False) -> None:
        """Send what waits, and what changed since the last sample if one is due; once sent, its frames count as handled."""
        if sample:
            self._sample_due, self._received_at = False, machine_now()
            self._router.sample()
        self._flush_due = False
        sent = True
        for outbox, link in zip(self._outboxes, self._links, strict=True):
            sent = outbox.flush(link.send, self._received_at) and sent
        if not sent:
            return
        self._child.status.feed_handled(self._frames)
        if self._stream.subscribed:
            self._hold.end()
            while self._taken:
                self._taken.pop().handled()

    def _connecting(self) -> None:
        self._hold.begin()
        self._gaps.lost(self._heard_until())
        self._frames = 0
        self._child.status.feed_handled(0)

    def _heard_until(self) -> int:
        """Return the instant of the newest market data, ns UTC, 0 if none has come yet."""
        newest = self._newest
        return 0 if newest is None else newest.closed_at if isinstance(newest, Bar) else newest.at

    # --- picks and needs ---------------------------------------------------------------------------

    async def _take_picks(self, reader: Reader, assignment: Assignment) -> None:
        """Take picks in, message by message. A message is handled when the vendor carries its symbols."""
        if not self._plan.account_is_new and not self._tradeplan.skip_existing:
            # What a consumer holds from an earlier session must be its own before it is picked.
            try:
                async with asyncio.timeout(_NEEDS_SECONDS):
                    await self._needs_known.wait()
            except TimeoutError:
                warn(log, "consumers_silent", seconds=_NEEDS_SECONDS)
        limit = self._plan.limits.max_symbols
        while True:
            picks = decode_picks(await self._picks.get())
            fresh = await self._intake.take(picks, self._router, assignment, limit)
            await self._following.follow(fresh)
            self._following.picked_again(picks)
            self._taken.append(reader)
            self._flush_soon()

    def _on_command(self, assignment: Assignment, command: SupervisorCommand) -> None:
        if isinstance(command, StartSlotsCommand):
            self._run_in_background(self._join(command, assignment))

    async def _join(self, command: StartSlotsCommand, assignment: Assignment) -> None:
        """Have one more strategy get what is picked for all or for it, unless it does already, and answer."""
        own_events = command.table.get("events", ())
        self._words += [*own_events, *("minute" for slot in command.slots if slot.run_all)]
        self._following.events = event_types(dict.fromkeys(self._words))
        picks = self._router.join(command.slots, ticks_at_home=bool(own_events))
        for symbol in dict.fromkeys(p.symbol for p in picks if self._router.needs_consumer(p.strategy)):
            if assignment.of(symbol) is None:
                await self._intake.store_consumer(symbol, assignment.assign(symbol))
        await self._following.follow(picks)
        self._flush_soon()
        self._child.send(RequestAnswer(command.ticket, "joined"))

    async def _take_needs(self, readers: Sequence[Reader], assignment: Assignment) -> None:
        """Take what consumers need, without waiting for the database: positions are concerned."""
        while True:
            index, payload = await self._needs.get()
            for message in decode_needs(payload):
                if isinstance(message, Needs):
                    for symbol in self._router.unassigned(message):
                        assignment.give(symbol, index)
                        self._run_in_background(self._intake.store_consumer(symbol, index))
                await self._following.take(index, message)
            if self._router.knows_needs:
                self._needs_known.set()
            self._taken.append(readers[index])
            self._flush_soon()

    def _review_due(self) -> None:
        hours = self._plan.hours
        if not hours.bypass and self._child.clock.now() >= hours.closes_at:
            return  # scanners have ended: that a symbol is not picked any more means nothing

        async def review() -> None:
            await self._following.review()
            self._flush()

        self._hold.begin()
        self._run_in_background(review())

    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._background.discard(task)
            if not task.cancelled():
                task.result()  # a bug ends the process

        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(ended)
