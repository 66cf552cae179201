"""The producer's loop: frames come in, batches leave, picks and needs change who gets what. It never waits for a consumer."""

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
from liualgotrader.common.events import Bar, MarketEvent, Needs
from liualgotrader.common.ports import Store
from liualgotrader.common.tlog import say, warn
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.data.streaming_base import LineTimings, OnEvents, StreamHooks, StreamingAPI, event_types
from liualgotrader.ipc.batch_codec import decode_needs, decode_picks
from liualgotrader.ipc.child_process import Child
from liualgotrader.ipc.links import Reader, Writer
from liualgotrader.producer.ageing import Ageing
from liualgotrader.producer.assignment import Assignment
from liualgotrader.producer.event_outbox import EventOutbox
from liualgotrader.producer.following import Following
from liualgotrader.producer.gaps import Gaps
from liualgotrader.producer.pick_intake import PickIntake, patiently
from liualgotrader.producer.router import Router
from liualgotrader.producer.sampler import next_sample
from liualgotrader.producer.unpicked import Unpicked

log = logging.getLogger(__name__)

_NEEDS_SECONDS = 10.0  # machine time that picks wait for consumers to say what they hold from before


@dataclass(frozen=True, slots=True)
class ProducerDependencies:
    """The outside, as the producer opens it."""

    open_store: Callable[[], Awaitable[Store]]
    open_stream: Callable[[OnEvents, StreamHooks], StreamingAPI]


class Producer:
    """One producer process, from the first symbol to the supervisor's stop."""

    def __init__(self, child: Child, dependencies: ProducerDependencies) -> None:
        plan = child.plan
        self._child, self._plan, self._dependencies = child, plan, dependencies
        tradeplan = self._tradeplan = plan.tradeplan
        self._events = event_types(_event_words(tradeplan, homes=any(slot.run_all for slot in plan.slots)))
        self._tick_homes = [name for name, table in tradeplan.strategies.items() if table.get("events")]
        epoch = machine_now()
        self._outboxes = [EventOutbox(epoch) for _ in range(plan.consumers)]
        self._links: list[Writer] = [child.writer(f"market-{i}") for i in range(plan.consumers)]
        self._router: Router
        self._stream: StreamingAPI
        self._intake: PickIntake
        self._following: Following
        self._readers: list[Reader] = []
        self._frames = self._events_in = 0
        self._newest: MarketEvent | None = None
        self._gaps = Gaps()
        self._received_at = 0
        self._flush_due = self._sample_due = False
        self._picks: asyncio.Queue[bytes] = asyncio.Queue()
        self._needs: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._needs_known = asyncio.Event()
        self._aside: set[asyncio.Task[None]] = set()
        self._hold = child.status.hold()  # until the vendor carries everything that was asked for
        self._taken: list[Reader] = []  # one for each message that was acted on and is not yet counted as handled

    async def run(self) -> None:
        """Produce until the supervisor says stop."""
        child, plan = self._child, self._plan
        store = await patiently(self._dependencies.open_store, child.clock, child.notice)
        try:
            unpicked = Unpicked(Path(plan.journal_dir))
            self._intake = PickIntake(plan.batch_id, store, child.clock, child.notice, unpicked)
            assignment, picks = await self._intake.resume(plan.sharing_consumers)
            self._router = Router(plan.slots, self._outboxes, assignment, self._tick_homes)
            hooks = StreamHooks(
                connecting=self._connecting,
                lost=self._hold.begin,
                notice=child.notice,
                data_expected=self._market_is_open,
                headers={"X-LIU-Process": child.name} if plan.endpoints.loopback else {},
                timings=LineTimings(mute_seconds=plan.timings.feed_mute_seconds),
            )
            self._stream = self._dependencies.open_stream(self._frame, hooks)
            ageing = Ageing(self._tradeplan)
            self._following = Following(
                self._router, self._stream, self._events, ageing, unpicked, child.clock, self._review_due, self._gaps
            )
            self._hold.begin()
            await self._following.resume(picks, takes_over=bool(picks) or any(assignment.counts()))
            self._attach()
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
        picks = child.reader("picks")
        needs = [child.reader(f"needs-{i}") for i in range(self._plan.consumers)]
        self._readers = [picks, *needs]
        picks.attach(loop, self._picks.put_nowait)
        for index, reader in enumerate(needs):
            reader.attach(loop, partial(self._queue_needs, index))
        tasks = [
            asyncio.ensure_future(self._stream.run()),
            asyncio.ensure_future(self._take_picks(picks, assignment)),
            asyncio.ensure_future(self._take_needs(needs, assignment)),
            asyncio.ensure_future(child.stopping.wait()),
        ]
        child.report(self.counters)
        gc.collect()
        gc.freeze()
        child.ready()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            await self._end(tasks)
        say(log, "producer_ended", events=self._events_in, dropped=sum(outbox.dropped for outbox in self._outboxes))

    async def _end(self, tasks: Sequence[asyncio.Future[Any]]) -> None:
        self._following.close()
        await self._stream.close()
        self._flush()
        ending = [*tasks, *self._aside]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for reader in self._readers:
            reader.close()
        for link in self._links:
            link.close()

    def _attach(self) -> None:
        loop = asyncio.get_running_loop()
        for outbox, link in zip(self._outboxes, self._links, strict=True):
            link.on_connected(_then(outbox.begin, self._repeat_halts, self._flush_soon))
            link.on_room(_then(outbox.unblock, self._flush_soon))
            link.attach(loop)

    # --- frames ------------------------------------------------------------------------------------

    def _frame(self, events: list[MarketEvent], frames: int) -> None:
        """Take the events of one frame; what came within one turn of the loop leaves together at its end."""
        self._frames = frames
        if self._gaps.due and self._stream.settled:
            gaps = self._gaps.tell(self._child.clock.now(), self._router.symbols, self._stream.symbols)
            self._router.dispatch(gaps)
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
        self._child.status.feed_handled(self._frames)
        if self._stream.settled:
            self._hold.end()
            while self._taken:
                self._taken.pop().handled()

    def _connecting(self) -> None:
        self._hold.begin()
        self._gaps.lost(self._heard_until())
        self._frames = 0
        self._child.status.feed_connecting()

    def _market_is_open(self) -> bool:
        """Whether market data is to be expected; sessions that bypass the schedule run on days without any."""
        hours = self._plan.hours
        return not hours.bypass and hours.opens_at <= self._child.clock.now() < hours.closes_at

    def _heard_until(self) -> int:
        """Return the instant of the newest market data, ns UTC, 0 if none has come yet."""
        newest = self._newest
        return 0 if newest is None else newest.closed_at if isinstance(newest, Bar) else newest.at

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

    # --- picks and needs ---------------------------------------------------------------------------

    async def _take_picks(self, reader: Reader, assignment: Assignment) -> None:
        """Take picks in, message by message. A message is handled when the vendor carries its symbols."""
        if self._may_hold_from_before():
            await self._until_needs_known()
        limit = self._plan.limits.max_symbols
        while True:
            picks = decode_picks(await self._picks.get())
            fresh = await self._intake.take(picks, self._router, assignment, limit)
            await self._following.follow(fresh)
            self._following.picked_again(picks)
            self._taken.append(reader)
            self._flush_soon()

    def _may_hold_from_before(self) -> bool:
        """Whether a consumer may hold what an earlier session left, so that a symbol is its own before it is picked."""
        return not self._plan.account_is_new and not self._tradeplan.skip_existing

    async def _until_needs_known(self) -> None:
        try:
            async with asyncio.timeout(_NEEDS_SECONDS):
                await self._needs_known.wait()
        except TimeoutError:
            warn(log, "consumers_silent", seconds=_NEEDS_SECONDS)

    def _queue_needs(self, index: int, payload: bytes) -> None:
        self._needs.put_nowait((index, payload))

    async def _take_needs(self, readers: Sequence[Reader], assignment: Assignment) -> None:
        """Take what consumers need, at once whatever the database does: it is about positions."""
        while True:
            index, payload = await self._needs.get()
            for message in decode_needs(payload):
                if isinstance(message, Needs):
                    for symbol in self._router.unassigned(message):
                        assignment.give(symbol, index)
                        self._do_aside(self._intake.keep_assigned(symbol, index))
                await self._following.hear(index, message)
            if self._router.knows_needs:
                self._needs_known.set()
            self._taken.append(readers[index])
            self._flush_soon()

    def _review_due(self) -> None:
        hours = self._plan.hours
        if not hours.bypass and self._child.clock.now() >= hours.closes_at:
            return  # scanners have ended: that nobody picks any more says nothing
        self._hold.begin()
        self._do_aside(self._review())

    async def _review(self) -> None:
        await self._following.review()
        self._flush()

    def _do_aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._aside.add(task)
        task.add_done_callback(self._done_aside)

    def _done_aside(self, task: asyncio.Task[None]) -> None:
        self._aside.discard(task)
        if not task.cancelled():
            task.result()  # a bug of ours ends the process


def _then(*acts: Callable[[], None]) -> Callable[[], None]:
    def all_of_them() -> None:
        for act in acts:
            act()

    return all_of_them


def _event_words(tradeplan: TradePlan, *, homes: bool) -> list[str]:
    """Return what the session subscribes to: the plan's `events`, what single strategies ask for, and homes' minutes.

    The home of a `run_all` strategy gets samples of the ticks, of which no true minute can be made.
    """
    extra = [word for table in tradeplan.strategies.values() for word in table.get("events", ())]
    return list(dict.fromkeys([*tradeplan.events, *extra, *(["minute"] if homes else [])]))
