"""Calls to the broker: each command of the desk is one call, and its result one input."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import TypeVar

from liualgotrader.common.errors import BadData, BrokerRefused, OutsideError, UnusableRows
from liualgotrader.common.order_id import PREFIX
from liualgotrader.common.orders import BrokerActivity, BrokerOrder, UnreadRow
from liualgotrader.common.ports import Broker
from liualgotrader.common.tlog import warn
from liualgotrader.ipc.process_status import MarketHold
from liualgotrader.orders.desk_messages import (
    Answer,
    BrokerCall,
    BrokerRequest,
    BrokerSnapshot,
    Cancel,
    CancelAll,
    Input,
    LookUp,
    OrderFound,
    Outcome,
    Reconcile,
    Replace,
    Send,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 4  # times the broker's own time-out; an adapter that has not ended by then has hung
EVERY_OPEN_ORDER = 1  # ns UTC: since ever
_LOOK_SECONDS = 1.0  # machine time that a look for others' orders may delay cancelling ours
_FAILURES = (OutsideError, BrokerRefused, BadData, TimeoutError)


class BrokerCalls:
    """Carries out commands; never raises for what the broker or the line to it does."""

    def __init__(
        self, broker: Broker, timeout_seconds: float, unreadable: Callable[[BadData], object] = lambda error: None
    ) -> None:
        self._broker, self._timeout, self._unreadable = broker, PATIENCE * timeout_seconds, unreadable

    async def run(self, command: BrokerCall) -> Input:
        """Carry out a command and return its result as the desk's next input."""
        broker = self._broker
        match command:
            case Send(order):
                return await self._request(BrokerRequest.SUBMIT, order.client_order_id, broker.submit(order))
            case Cancel():
                return await self._cancel(command)
            case Replace(name, broker_id, _, terms):
                return await self._request(BrokerRequest.REPLACE, name, broker.replace(broker_id, terms, name))
            case LookUp(name, _):
                try:
                    async with asyncio.timeout(self._timeout):
                        return OrderFound(name, True, await broker.order_by_client_id(name))
                except _FAILURES as error:
                    self._report_unusable(error)
                    return OrderFound(name, False)
            case Reconcile(since):
                return await self._snapshot(since)

    async def cancel_all(self, wanted: CancelAll) -> list[Answer]:
        """Return an answer for every order cancelled: in bulk where only ours are open, else side by side."""
        # A bracket's exits are ours too: their client ids are the broker's.
        ours = {c.broker_order_id for c in wanted.cancels}
        cancelled: Collection[str] = ()
        with suppress(*_FAILURES):
            others: list[BrokerOrder] = []
            if not wanted.whole_account:
                async with asyncio.timeout(_LOOK_SECONDS):
                    seen = await self._broker.orders(since=EVERY_OPEN_ORDER, open_only=True)
                others = [o for o in seen if not (o.client_order_id.startswith(PREFIX) or o.broker_order_id in ours)]
            if not others:
                async with asyncio.timeout(self._timeout):
                    cancelled = await self._broker.cancel_all()
        done = [c.client_order_id for c in wanted.cancels if c.broker_order_id in cancelled]
        singles = [self._cancel(c) for c in wanted.cancels if c.broker_order_id not in cancelled]
        return [Answer(BrokerRequest.CANCEL, name, Outcome.ACCEPTED) for name in done] + await asyncio.gather(*singles)

    async def _cancel(self, cancel: Cancel) -> Answer:
        call = self._broker.cancel(cancel.broker_order_id)
        return await self._request(BrokerRequest.CANCEL, cancel.client_order_id, call)

    async def _request(self, request: BrokerRequest, name: str, call: Awaitable[BrokerOrder | None]) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                order = await call
        except BrokerRefused as e:
            return Answer(request, name, Outcome.DECLINED, None, str(e), e.code)
        except (OutsideError, BadData, TimeoutError) as e:
            self._report_unusable(e)
            return Answer(request, name, Outcome.SILENCE, None, str(e) or "no answer in time")
        return Answer(request, name, Outcome.ACCEPTED, order)

    async def _snapshot(self, since: int) -> BrokerSnapshot:
        broker = self._broker
        try:
            async with asyncio.timeout(PATIENCE * self._timeout):
                positions, unread_positions = await self.usable(broker.positions())
                working, unread_working = await self.usable(broker.orders(since=EVERY_OPEN_ORDER, open_only=True))
                newest, unread_newest = await self.usable(broker.orders(since=since))
                executions, _ = await self.usable(broker.executions(since=since))
        except _FAILURES as error:
            self._report_unusable(error)
            return BrokerSnapshot(False)
        activities: Sequence[BrokerActivity] = ()
        try:  # nothing waits for them: a failure is none of the comparison
            async with asyncio.timeout(self._timeout):
                activities, _ = await self.usable(broker.activities(since=since))
        except _FAILURES as error:
            warn(log, "activities_not_known", error=error)
            self._report_unusable(error)
        return BrokerSnapshot(
            True,
            tuple({order.broker_order_id: order for order in (*working, *newest)}.values()),
            tuple(executions),
            tuple(positions),
            tuple(activities),
            tuple(dict.fromkeys((*unread_working, *unread_newest))),
            tuple(unread_positions),
        )

    async def usable(self, asked: Awaitable[Sequence[T]]) -> tuple[Sequence[T], Sequence[UnreadRow]]:
        """Return the rows of an answer that can be used, and what the others are about; report each of those."""
        try:
            return await asked, ()
        except UnusableRows as error:
            for one in error.errors:
                self._unreadable(one)
            return error.good, error.bad

    def _report_unusable(self, error: Exception) -> None:
        """Report an answer that cannot be used."""
        if isinstance(error, BadData):
            self._unreadable(error)


async def usable_but(needed: Callable[[UnreadRow], bool], asked: Awaitable[Sequence[T]]) -> Sequence[T]:
    """Return the rows of an answer that can be used.

    Raises:
        UnusableRows: if one of the others is needed.
    """
    try:
        return await asked
    except UnusableRows as error:
        if any(needed(row) for row in error.bad):
            raise
        return error.good


Job = Callable[[], Awaitable[None]]

MOST_AT_ONCE = 8


class Lanes:
    """A queue of calls for each symbol. The market is held from `put` until a call and what follows from it are done."""

    def __init__(self, new_hold: Callable[[], MarketHold], *, most_at_once: int = MOST_AT_ONCE) -> None:
        self._new_hold = new_hold
        self._slots = asyncio.Semaphore(most_at_once)
        self._waiting: dict[str, deque[tuple[Job, MarketHold]]] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self._closed = False

    def put_first(self, job: Job) -> None:
        """Call `job` now, whatever else runs or waits."""
        if not self._closed:
            hold = self._new_hold().begin()
            self._start(job()).add_done_callback(lambda _: hold.end())

    def put(self, lane: str, job: Job) -> None:
        """Call `job` after all others of the same lane."""
        if self._closed:
            return
        hold = self._new_hold().begin()
        queue = self._waiting.get(lane)
        if queue is not None:
            queue.append((job, hold))
            return
        self._waiting[lane] = deque([(job, hold)])
        self._start(self._serve(lane))

    def _start(self, serving: Awaitable[None]) -> asyncio.Future[None]:
        task = asyncio.ensure_future(serving)
        self._tasks.add(task)
        task.add_done_callback(self._served)
        return task

    async def _serve(self, lane: str) -> None:
        queue = self._waiting[lane]
        try:
            while queue:
                job, hold = queue.popleft()
                with hold:
                    async with self._slots:
                        await job()
        finally:
            del self._waiting[lane]
            for _, hold in queue:
                hold.end()

    def _served(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            loop = task.get_loop()
            loop.call_exception_handler({"message": "a call to the broker ended by a bug", "exception": error})

    @property
    def idle(self) -> bool:
        """Whether no call runs or waits."""
        return not self._tasks

    async def close(self) -> None:
        """Take no more calls and cancel those that run."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
