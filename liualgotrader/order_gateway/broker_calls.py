"""Calls to the broker: each decision of the desk is one call, and its result one input."""

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
from liualgotrader.orders import (
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
_LOOK_SECONDS = 1.0  # machine time that a look for others' orders may delay taking back ours
_FAILURES = (OutsideError, BrokerRefused, BadData, TimeoutError)


class BrokerCalls:
    """Carries out commands; never raises for what the broker or the line to it does."""

    def __init__(
        self, broker: Broker, timeout_seconds: float, unreadable: Callable[[BadData], object] = lambda error: None
    ) -> None:
        self._broker, self._timeout, self._unreadable = broker, PATIENCE * timeout_seconds, unreadable

    async def run(self, command: BrokerCall) -> Input:
        """Return what the desk is to be told of the command's end."""
        match command:
            case Send(order):
                return await self._request(
                    BrokerRequest.SUBMIT, order.client_order_id, lambda: self._broker.submit(order)
                )
            case Cancel(name, broker_id, _):
                return await self._cancel(name, broker_id)
            case Replace(name, broker_id, _, terms):
                return await self._request(
                    BrokerRequest.REPLACE, name, lambda: self._broker.replace(broker_id, terms, name)
                )
            case LookUp(name, _):
                return await self._look_up(name)
            case Reconcile(since):
                return await self._snapshot(since)

    async def take_back(self, wanted: CancelAll) -> list[Answer]:
        """Return an answer for every order taken back: in bulk where nobody else's is open, else side by side."""
        taken: Collection[str] = ()
        if wanted.whole_account or await self._only_ours_are_open(wanted):
            with suppress(*_FAILURES):
                async with asyncio.timeout(self._timeout):
                    taken = await self._broker.cancel_all()
        rest = [c for c in wanted.cancels if c.broker_order_id not in taken]
        singles = (self._cancel(c.client_order_id, c.broker_order_id) for c in rest)
        done = [c.client_order_id for c in wanted.cancels if c.broker_order_id in taken]
        return [Answer(BrokerRequest.CANCEL, name, Outcome.ACCEPTED) for name in done] + await asyncio.gather(*singles)

    async def _only_ours_are_open(self, wanted: CancelAll) -> bool:
        """Ask, but not for long; where nobody answers, nothing in bulk is done."""
        exits = {c.broker_order_id for c in wanted.cancels}  # the broker's own ids stand on a bracket's exits
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                seen = await self._broker.orders(since=EVERY_OPEN_ORDER, open_only=True)
        except _FAILURES:
            return False
        return all(o.client_order_id.startswith(PREFIX) or o.broker_order_id in exits for o in seen)

    async def _cancel(self, name: str, broker_order_id: str) -> Answer:
        return await self._request(BrokerRequest.CANCEL, name, lambda: self._broker.cancel(broker_order_id))

    async def _request(
        self, request: BrokerRequest, name: str, call: Callable[[], Awaitable[BrokerOrder | None]]
    ) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                order = await call()
        except BrokerRefused as e:
            return Answer(request, name, Outcome.DECLINED, None, str(e), e.code)
        except (OutsideError, BadData, TimeoutError) as e:
            self._look_into(e)
            return Answer(request, name, Outcome.SILENCE, None, str(e) or "no answer in time")
        return Answer(request, name, Outcome.ACCEPTED, order)

    async def _look_up(self, name: str) -> OrderFound:
        try:
            async with asyncio.timeout(self._timeout):
                return OrderFound(name, True, await self._broker.order_by_client_id(name))
        except _FAILURES as error:
            self._look_into(error)
            return OrderFound(name, False)

    async def _snapshot(self, since: int) -> BrokerSnapshot:
        broker = self._broker
        try:
            async with asyncio.timeout(PATIENCE * self._timeout):
                positions, unread_positions = await self.usable(broker.positions())
                working, unread_working = await self.usable(broker.orders(since=EVERY_OPEN_ORDER, open_only=True))
                newest, unread_newest = await self.usable(broker.orders(since=since))
                executions, _ = await self.usable(broker.executions(since=since))
        except _FAILURES as error:
            self._look_into(error)
            return BrokerSnapshot(False)
        orders = {order.broker_order_id: order for order in (*working, *newest)}
        return BrokerSnapshot(
            True,
            tuple(orders.values()),
            tuple(executions),
            tuple(positions),
            await self._activities(since),
            tuple(dict.fromkeys((*unread_working, *unread_newest))),
            tuple(unread_positions),
        )

    async def _activities(self, since: int) -> tuple[BrokerActivity, ...]:
        """Return what moved the account otherwise: nothing waits for it, so a failure is no failure of the books."""
        try:
            async with asyncio.timeout(self._timeout):
                return tuple((await self.usable(self._broker.activities(since=since)))[0])
        except _FAILURES as error:
            warn(log, "activities_not_known", error=error)
            self._look_into(error)
            return ()

    async def usable(self, asked: Awaitable[Sequence[T]]) -> tuple[Sequence[T], Sequence[UnreadRow]]:
        """Return the rows of an answer that can be used, and what the others are about, once they have been named."""
        try:
            return await asked, ()
        except UnusableRows as error:
            for one in error.errors:
                self._unreadable(one)
            return error.good, error.bad

    def _look_into(self, error: Exception) -> None:
        """Have it said when the broker did answer, and its answer cannot be used."""
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
    """A queue of calls for every symbol. From `put` until a call and its consequences are done, the market is held."""

    def __init__(self, new_hold: Callable[[], MarketHold], *, most_at_once: int = MOST_AT_ONCE) -> None:
        self._new_hold = new_hold
        self._room = asyncio.Semaphore(most_at_once)
        self._waiting: dict[str, deque[tuple[Job, MarketHold]]] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self._closed = False

    def put_first(self, job: Job) -> None:
        """Call `job` now, whatever else is under way or waits."""
        if not self._closed:
            hold = self._new_hold().begin()
            self._start(job()).add_done_callback(lambda _: hold.end())

    def put(self, lane: str, job: Job) -> None:
        """Call `job` after all that was put into the same lane before it."""
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
                    async with self._room:
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
        """Whether nothing is under way."""
        return not self._tasks

    async def close(self) -> None:
        """Take nothing more, and give up what is under way."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
