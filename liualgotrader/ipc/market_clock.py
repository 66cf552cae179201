"""The market clock as the session page states it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import socket
from collections.abc import Callable
from contextlib import suppress

from liualgotrader.common.clock import NEVER, Alarm, WallClock, machine_now
from liualgotrader.ipc.address import socket_address, wake_socket
from liualgotrader.ipc.process_status import ProcessStatus
from liualgotrader.ipc.session_page import SessionPage

_LOOK_AGAIN = 0.05  # machine seconds; a lost wake-up costs this much, no more
_SETTLE_TURNS = 8  # turns of the loop after which a woken task, through wait_for and back, has reached its next await


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
        """Close the wake-up socket."""
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
        path = wake_socket(self._page.path, self._status.name)
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
