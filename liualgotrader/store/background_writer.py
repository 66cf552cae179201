"""Write rows in the background, again and again while the database is away."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from liualgotrader.common.clock import SECOND, Clock
from liualgotrader.common.errors import DatabaseUnavailable
from liualgotrader.common.ports import Store
from liualgotrader.common.tlog import say, warn

log = logging.getLogger(__name__)

OpenStore = Callable[[], Awaitable[Store]]


class BackgroundWriter(ABC):
    """Writes what waits in a task of its own. The pause after a failed attempt doubles each time.

    Only an unavailable database is tried again; any other error ends the task (see `failed`).
    """

    def __init__(self, open_store: OpenStore, clock: Clock, *, first_pause: float, longest_pause: float) -> None:
        self._open_store, self._clock = open_store, clock
        self._first_pause, self._longest_pause = first_pause, longest_pause  # machine seconds
        self._store: Store | None = None
        self._opening = asyncio.Lock()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away_since = 0  # machine time; 0 while the database answers

    @property
    @abstractmethod
    def waiting(self) -> int:
        """How many rows are not written yet."""

    @abstractmethod
    async def write_some(self) -> None:
        """Write the oldest rows that wait; they are forgotten only once they are written."""

    async def after_write(self) -> None:  # noqa: B027
        """Act on a write that succeeded; the next one begins after it."""

    def after_failure(self, seconds_away: float) -> None:  # noqa: B027
        """Act on a database that has been unavailable for this long."""

    @property
    def is_down(self) -> bool:
        """Whether the database could not be reached when it was last tried."""
        return bool(self._away_since)

    def start(self) -> None:
        """Begin to write; needs a running loop."""
        self._task = asyncio.get_running_loop().create_task(self._write_on())

    def failed(self) -> BaseException | None:
        """Return what ended the writing for good, None while it goes on."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _opened(self) -> Store:
        async with self._opening:
            if self._store is None:
                self._store = await self._open_store()
        return self._store

    async def _write_on(self) -> None:
        pause = self._first_pause
        while True:
            self._wake.clear()
            try:
                await self.write_some()
            except DatabaseUnavailable as error:
                now = self._clock.machine()
                if not self._away_since:
                    self._away_since = now
                    warn(log, "database_away", error=error, rows_waiting=self.waiting)
                self.after_failure((now - self._away_since) / SECOND)
                await self._clock.sleep(pause)
                pause = min(2 * pause, self._longest_pause)
                continue
            if self._away_since:
                seconds = (self._clock.machine() - self._away_since) / SECOND
                say(log, "database_back", after_seconds=f"{seconds:.1f}")
            self._away_since, pause = 0, self._first_pause
            await self.after_write()
            if not self.waiting:
                await self._wake.wait()
