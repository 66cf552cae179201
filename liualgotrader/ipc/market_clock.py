"""A process's seat at the session page: the market clock as the page states it, and what the market must wait for."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from liualgotrader.common.clock import NEVER, Alarm, Clock, WallClock, machine_now
from liualgotrader.ipc.address import socket_address
from liualgotrader.ipc.session_page import Cell, Life, SessionPage

MAKING = -1  # stands in place of the batch while a strategy is made
_LOOK_AGAIN = 0.05  # machine seconds; a lost wake-up costs this much, no more
_SETTLE_TURNS = 8  # turns of the loop after which a woken task, through wait_for and back, has reached its next await

# Written on every call of a strategy, so by plain index: an enum's arithmetic would cost more than the call.
_SLOT, _SYMBOL, _BATCH, _COUNT, _SINCE = (
    int(cell) for cell in (Cell.CALL_SLOT, Cell.CALL_SYMBOL, Cell.CALL_BATCH, Cell.CALL_COUNT, Cell.CALL_SINCE)
)


class ProcessStatus:
    """One process's part of the page: its life, its busy count, and the call it is making."""

    def __init__(self, page: SessionPage, name: str) -> None:
        self.page = page
        self.name = name
        self._row = page.process(name)
        self._cells = page.row(self._row)
        self._busy = 0
        self._calls = 0
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.setblocking(False)
        self._hold_path = socket_address(hold_socket(page.path))

    def arrive(self) -> None:
        """State that this process starts: not ready, nothing under way, and no frame or update handled yet."""
        page, row = self.page, self._row
        page.put(row, Cell.LIFE, Life.DOWN)
        page.put(row, Cell.PID, os.getpid())
        for cell in (Cell.BUSY, Cell.CALL_SINCE, Cell.FEED_HANDLED, Cell.ACTING):
            page.put(row, cell, 0)
        page.put(row, Cell.DEADLINE, NEVER)
        self.beat()

    def ready(self) -> None:
        """State that this process takes part from now on."""
        self.page.put(self._row, Cell.LIFE, Life.READY)
        self.done()

    def leave(self) -> None:
        """State that this process ended on purpose; the market goes on without it."""
        self.page.put(self._row, Cell.LIFE, Life.FINISHED)
        self.done()

    def beat(self) -> None:
        """State that the loop turns."""
        self.page.put(self._row, Cell.BEAT, machine_now())

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Hold the market while the block runs; use it round anything that waits and will then act."""
        self._busy += 1
        self.page.put(self._row, Cell.BUSY, self._busy)
        try:
            yield
        finally:
            self._busy -= 1
            self.page.put(self._row, Cell.BUSY, self._busy)
            self.done()

    def calling(self, slot: int, symbol_cell: int, batch: int) -> None:
        """State which strategy is being called (ruling: a strategy that never answers is found by this)."""
        row = self._cells
        self._calls += 1
        row[_SLOT], row[_SYMBOL], row[_BATCH], row[_COUNT] = slot, symbol_cell, batch, self._calls
        row[_SINCE] = machine_now()

    def making(self, slot: int) -> None:
        """State which strategy is being made; that may take longer than a call."""
        self.calling(slot, 0, MAKING)

    def returned(self) -> None:
        """State that the strategy answered."""
        self._cells[_SINCE] = 0

    @property
    def calls(self) -> int:
        """How many calls have begun; it tells one from the next."""
        return self._calls

    @property
    def is_calling(self) -> bool:
        """Whether a call is being made at this moment; one that really waits is not."""
        return self._cells[_SINCE] != 0

    @property
    def is_making(self) -> bool:
        """Whether the newest call makes a strategy."""
        return self._cells[_BATCH] == MAKING

    def feed_connecting(self) -> None:
        """State that a new market-data connection is about to be made: its frames are counted from 0."""
        self.page.put(self._row, Cell.FEED_HANDLED, 0)

    def feed_handled(self, frames: int) -> None:
        """State how many frames of the present connection have been dealt with, consequences sent."""
        self.page.put(self._row, Cell.FEED_HANDLED, frames)
        self.done()

    def updates_handled(self, sequence: int) -> None:
        """State the number of the newest order update dealt with, consequences sent."""
        self.page.put(self._row, Cell.UPDATES_HANDLED, sequence)
        self.done()

    def deadline(self, at: int) -> None:
        """State the next market instant this process waits for."""
        self.page.put(self._row, Cell.DEADLINE, at)
        self.done()

    def done(self) -> None:
        """Tell a waiting simulated market to look again; costs nothing while it does not wait."""
        if self.page.waiting:
            with suppress(OSError):  # nobody listens, or is listening already: it looks by itself as well
                self._told.sendto(b"!", self._hold_path)

    def close(self) -> None:
        """Let go of the socket."""
        self._told.close()


class PageClock:
    """The clock of a session on the simulated market: its time stands on the page, and it wakes us.

    `sleep_until` and `call_at` state our next deadline on the page; the market does not move past it
    before we have acted. Whoever goes on waiting after a wake-up must hold `seat.busy()` meanwhile.
    """

    def __init__(self, page: SessionPage, seat: ProcessStatus) -> None:
        self._page, self._seat = page, seat
        self._waiting: list[tuple[int, int, _PageAlarm]] = []
        self._number = itertools.count()
        self._socket: socket.socket | None = None
        self._fallback: asyncio.TimerHandle | None = None
        self._settling = 0

    def now(self) -> int:
        """Return the market's time, ns UTC; 0 before the simulated market has stated it."""
        anchor = self._page.anchor()
        return anchor.market(machine_now()) if anchor else 0

    def machine(self) -> int:
        """Return machine time, ns of CLOCK_MONOTONIC."""
        return machine_now()

    def age(self, at: int) -> int:
        """Return the machine time since the market clock passed `at`; negative if it has not."""
        passed = self._page.passed_at(at)
        return machine_now() - passed if passed != NEVER else -1

    @property
    def stands(self) -> bool:
        """Whether the market stands until we have done our work: nothing grows old meanwhile."""
        anchor = self._page.anchor()
        return anchor is not None and anchor.speed == 0

    async def sleep_until(self, at: int) -> None:
        """Return once the market clock has reached `at`."""
        reached = asyncio.Event()
        alarm = self.call_at(at, reached.set)
        try:
            await reached.wait()
        finally:
            alarm.cancel()

    def call_at(self, at: int, act: Callable[[], None]) -> Alarm:
        """Call `act` in the running loop once the market clock has reached `at`."""
        self._listen()
        alarm = _PageAlarm(act)
        heapq.heappush(self._waiting, (at, next(self._number), alarm))
        if at <= self.now():
            asyncio.get_running_loop().call_soon(self._serve)
        self._state_deadline()
        return alarm

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of machine time."""
        await WallClock().sleep(seconds)

    def close(self) -> None:
        """Let go of the wake-up socket."""
        if self._socket is not None:
            with suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._fallback is not None:
            self._fallback.cancel()

    def _listen(self) -> None:
        if self._socket is not None:
            return
        path = wake_socket(self._page.path, self._seat.name)
        address = socket_address(path)
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(address)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._woken)
        self._fallback = loop.call_later(_LOOK_AGAIN, self._look)

    def _woken(self) -> None:
        assert self._socket is not None
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(16)
        self._serve()

    def _look(self) -> None:
        self._seat.beat()
        self._serve()
        self._fallback = asyncio.get_running_loop().call_later(_LOOK_AGAIN, self._look)

    def _serve(self) -> None:
        now = self.now()
        served = False
        while self._waiting and (self._waiting[0][0] <= now or self._waiting[0][2].act is None):
            _, _, alarm = heapq.heappop(self._waiting)
            if alarm.act is not None:
                alarm.act()
                served = True
        if served:
            self._settling += 1
            self._settle(_SETTLE_TURNS)

    def _settle(self, turns: int) -> None:
        """State the next deadline once the tasks that were just woken have got going."""
        if turns:
            asyncio.get_running_loop().call_soon(self._settle, turns - 1)
        else:
            self._settling -= 1
            self._state_deadline()

    def _state_deadline(self) -> None:
        if self._settling:
            return
        while self._waiting and self._waiting[0][2].act is None:
            heapq.heappop(self._waiting)
        self._seat.deadline(self._waiting[0][0] if self._waiting else NEVER)


class _PageAlarm:
    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        self.act = None


def hold_socket(page: Path) -> Path:
    """Return where the simulated market listens for "look again"."""
    return page.with_name("hold.sock")


def wake_socket(page: Path, process: str) -> Path:
    """Return where a process listens for "your time has come"."""
    return page.with_name(f"wake-{process}.sock")


def market_stands(clock: Clock) -> bool:
    """Say whether the market waits for us at this moment; outside a simulation it never does."""
    return isinstance(clock, PageClock) and clock.stands


def clock_for(page: SessionPage, seat: ProcessStatus, *, simulated: bool) -> Clock:
    """Return the clock that a process of this session uses."""
    return PageClock(page, seat) if simulated else WallClock()
