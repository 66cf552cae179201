"""Calls to the broker: of one symbol one after the other, of different symbols side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from liualgotrader.ipc.process_status import MarketHold

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
