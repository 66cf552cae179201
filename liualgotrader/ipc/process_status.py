"""One process's part of the session page: its life, its strategy calls, the work that the market waits for, and its clock."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from liualgotrader.common.clock import NEVER, Alarm, WallClock, machine_now
from liualgotrader.ipc.address import hold_socket, socket_address, wake_socket
from liualgotrader.ipc.session_page import Cell, Life, SessionPage

_LOOK_AGAIN = 0.05  # machine seconds; a lost wake-up costs this much, no more
_SETTLE_TURNS = 8  # turns of the loop after which a woken task, through wait_for and back, has reached its next await

MAKING = -1  # in place of the batch number while a strategy is made

# Written on every call of a strategy, so by plain index: an enum's arithmetic would cost more than the call.
_SLOT, _SYMBOL, _BATCH, _COUNT, _SINCE = (
    int(cell) for cell in (Cell.CALL_SLOT, Cell.CALL_SYMBOL, Cell.CALL_BATCH, Cell.CALL_COUNT, Cell.CALL_SINCE)
)


class MarketHold:
    """Makes the simulated market wait, while a `with` block runs or from `begin` to `end`.

    `count` is called with 1 when the wait begins and with -1 when it ends. A second `begin` or `end` changes nothing.
    """

    __slots__ = ("_began", "_count", "_counted", "_timer")

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self._began = self._counted = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float | None = None) -> MarketHold:
        """Hold the market until `end`, for `seconds` of machine time at most; return self."""
        if not self._began:
            self._began = self._counted = True
            self._count(1)
            if seconds is not None:
                self._timer = asyncio.get_running_loop().call_later(seconds, self._release)
        return self

    def end(self) -> None:
        """Let the market go on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._began = False
        self._release()

    def hold_while(self, needed: bool) -> None:
        """Begin or end."""
        if needed:
            self.begin()
        else:
            self.end()

    def __enter__(self) -> None:
        self.begin()

    def __exit__(self, *error: object) -> None:
        self.end()

    def _release(self) -> None:
        if self._counted:
            self._counted = False
            self._count(-1)


class ProcessStatus:
    """Writes one process's part of the page."""

    def __init__(self, page: SessionPage, name: str) -> None:
        self.page = page
        self.name = name
        self._row = page.process(name)
        self._cells = page.row(self._row)
        self._holds = 0
        self.calls = 0  # how many have begun; it tells one from the next
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
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

    def hold(self) -> MarketHold:
        """Return a hold of the market, for work that waits for something and will then act."""
        return MarketHold(self._count_hold)

    def _count_hold(self, change: int) -> None:
        self._holds += change
        self.page.put(self._row, Cell.BUSY, self._holds)
        if change < 0:
            self.done()

    def calling(self, slot: int, symbol_cell: int, batch: int) -> None:
        """State which strategy is called; the supervisor finds one that never returns by this."""
        row = self._cells
        self.calls += 1
        row[_SLOT], row[_SYMBOL], row[_BATCH], row[_COUNT] = slot, symbol_cell, batch, self.calls
        row[_SINCE] = machine_now()

    def returned(self) -> None:
        """State that the strategy answered."""
        self._cells[_SINCE] = 0

    @property
    def is_calling(self) -> bool:
        """Whether a call is being made at this moment; one that really waits is not."""
        return self._cells[_SINCE] != 0

    @property
    def is_making(self) -> bool:
        """Whether the newest call makes a strategy."""
        return self._cells[_BATCH] == MAKING

    def feed_handled(self, frames: int) -> None:
        """State how many frames of this market-data connection are handled, with all that follows from them sent."""
        self.page.put(self._row, Cell.FEED_HANDLED, frames)
        self.done()

    def updates_handled(self, sequence: int) -> None:
        """State the number of the newest order update handled, with all that follows from it sent."""
        self.page.put(self._row, Cell.UPDATES_HANDLED, sequence)
        self.done()

    def deadline(self, at: int) -> None:
        """State the next market instant this process waits for."""
        self.page.put(self._row, Cell.DEADLINE, at)
        self.done()

    def done(self) -> None:
        """Have a waiting simulated market look again; free of cost while it does not wait."""
        if self.page.waiting:
            with suppress(OSError):  # the market also looks by itself
                self._socket.sendto(b"!", self._hold_path)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class PageClock:
    """The clock of a session on the simulated market, which states its time on the page and wakes its processes.

    `sleep_until` and `call_at` state this process's next deadline on the page; the market does not move past it before
    the process has acted. Code that goes on waiting after a wake-up must hold the market (`status.hold()`) meanwhile.
    """

    def __init__(self, page: SessionPage, status: ProcessStatus) -> None:
        self._page, self._status = page, status
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
        loop = asyncio.get_running_loop()
        if self._socket is None:
            path = wake_socket(self._page.path, self._status.name)
            address = socket_address(path)
            path.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind(address)
            loop.add_reader(self._socket, self._woken)
            self._fallback = loop.call_later(_LOOK_AGAIN, self._look)
        alarm = _PageAlarm(act)
        heapq.heappush(self._waiting, (at, next(self._number), alarm))
        if at <= self.now():
            loop.call_soon(self._serve)
        self._state_deadline()
        return alarm

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of machine time."""
        await WallClock().sleep(seconds)

    def close(self) -> None:
        """Close the wake-up socket."""
        if self._socket is not None:
            with suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._fallback is not None:
            self._fallback.cancel()

    def _woken(self) -> None:
        assert self._socket is not None
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(16)
        self._serve()

    def _look(self) -> None:
        self._status.beat()
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
        self._status.deadline(self._waiting[0][0] if self._waiting else NEVER)


class _PageAlarm:
    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        self.act = None
