"""Waiting for the stack: time moves only when the session page shows that nothing is under way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from liualgotrader.common.clock import NEVER
from liualgotrader.ipc.address import hold_socket, socket_address, wake_socket
from liualgotrader.ipc.session_page import Cell, Life, SessionPage

_LOOK_AGAIN_SECONDS = 0.002  # machine time; a lost "look again" costs this much, no more
_TAKING_PART = (Life.DOWN, Life.READY)


class Hold:
    """The market's side of a session page. Made inside a running loop.

    `absent` names processes of the page that should have a connection to the market and have none.
    """

    def __init__(self, page: SessionPage, absent: Callable[[], list[str]]) -> None:
        self._page = page
        self._absent = absent
        self._signal = asyncio.Event()
        self._woken: dict[str, int] = {}
        self._addresses = {name: socket_address(wake_socket(page.path, name)) for name in page.processes}
        self.reasons: list[str] = []  # what the market waits for at this moment
        self._wake = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._wake.setblocking(False)
        path = hold_socket(page.path)
        path.unlink(missing_ok=True)
        self._inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._inbox.setblocking(False)
        self._inbox.bind(socket_address(path))
        asyncio.get_running_loop().add_reader(self._inbox, self._look_again)

    def close(self) -> None:
        """Close the sockets."""
        asyncio.get_running_loop().remove_reader(self._inbox)
        self._inbox.close()
        self._wake.close()
        self._page.set_waiting(False)

    def _look_again(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self._inbox.recv(16)
        self._signal.set()

    # --- the page

    def next_deadline(self) -> int:
        """Return the earliest market instant that a process waits for, `NEVER` if none does."""
        lives, deadlines = self._page.column(Cell.LIFE), self._page.column(Cell.DEADLINE)
        return min((at for at, life in zip(deadlines, lives, strict=True) if life in _TAKING_PART), default=NEVER)

    def wake(self, market: int) -> bool:
        """Wake every process whose deadline has come, once for each deadline; return whether there were any."""
        page, any_due = self._page, False
        deadlines = page.column(Cell.DEADLINE)
        if min(deadlines, default=NEVER) > market:
            return False
        for row, name in enumerate(page.processes):
            deadline = deadlines[row]
            if deadline > market or page.get(row, Cell.LIFE) != Life.READY:
                continue
            any_due = True
            if self._woken.get(name) != deadline:
                self._woken[name] = deadline
                with suppress(OSError):  # it does not listen, or a message waits: it also looks by itself
                    self._wake.sendto(b"!", self._addresses[name])
        return any_due

    def under_way(self, market: int) -> list[str]:
        """Return what the market has to wait for at `market`; empty when all is quiet."""
        reasons = self._page.under_way(market)
        for name in self._absent():
            if self._page.get(self._page.process(name), Cell.LIFE) == Life.READY:
                reasons.append(f"{name} has lost its connection")
        if not reasons and not any(life in _TAKING_PART for life in self._page.column(Cell.LIFE)):
            reasons.append("no process takes part")  # before the first and after the last the market stands
        self.reasons = reasons
        return reasons

    async def until_quiet(self, market: int) -> None:
        """Return once nothing is under way at `market`."""
        loop = asyncio.get_running_loop()
        self._page.set_waiting(True)
        try:
            while True:
                self._signal.clear()
                if not self.under_way(market):
                    return
                fallback = loop.call_later(_LOOK_AGAIN_SECONDS, self._signal.set)
                await self._signal.wait()
                fallback.cancel()
        finally:
            self._page.set_waiting(False)
