"""The same link over `multiprocessing.Queue`, for systems without SEQPACKET sockets (macOS, Windows).

The queue is inherited, not named. A reader killed while it takes a message dies holding the queue's lock, so after the
death of a process both ends get a fresh queue and start again.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import threading
from collections.abc import Callable
from multiprocessing.queues import Queue

from liualgotrader.ipc.links import FRAME_BYTES, RECONNECT_SECONDS, OnMessage, Reader, Writer, wrong_length
from liualgotrader.ipc.session_page import SessionPage

_ROOM = 256  # messages that may wait; the buffer of a queue is otherwise without end
_LOOK_SECONDS = 0.2  # machine time after which a waiting thread sees that its link was closed


def new_queue(page: SessionPage, name: str) -> Queue[bytes]:
    """Return a fresh queue for one link, to be handed to both processes when they are started (again).

    What an earlier queue of the link held is lost with it and counts as handled.
    """
    link = page.link(name)
    page.set_handled(link, page.sent(link))
    return multiprocessing.get_context("spawn").Queue(_ROOM)


class QueueReader(Reader):
    """Takes messages in a thread, so that no loop ever waits at the queue."""

    def __init__(
        self, messages: Queue[bytes], page: SessionPage, name: str, done: Callable[[], None] | None = None
    ) -> None:
        super().__init__(page, name, done)
        self._messages = messages
        self._closed = threading.Event()

    def attach(self, loop: asyncio.AbstractEventLoop, on_message: OnMessage) -> None:
        threading.Thread(target=self._watch, args=(loop, on_message), daemon=True, name="link").start()

    def get(self, timeout: float | None = None) -> bytes:
        return self._messages.get(timeout=timeout)

    def close(self) -> None:
        self._closed.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, on_message: OnMessage) -> None:
        def deliver(message: bytes) -> None:
            if not self._closed.is_set():
                on_message(message)

        while not self._closed.is_set():
            try:
                message = self._messages.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            except (EOFError, OSError, ValueError):  # the queue was closed, or broken off by a death
                return
            try:
                loop.call_soon_threadsafe(deliver, message)
            except RuntimeError:  # the loop has ended
                return


class QueueWriter(Writer):
    """Leaves the writing to the queue's own thread."""

    def __init__(self, messages: Queue[bytes], page: SessionPage, name: str) -> None:
        super().__init__(page, name)
        self._messages = messages
        self._room_check: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether the queue is open; it cannot tell whether a reader is there."""
        return not self._closed

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; the reader counts as reached at once."""
        self._loop = loop
        for act in self._connected_acts:
            act()

    def send(self, payload: bytes) -> bool:
        try:
            self._put(payload, block=False)
        except queue.Full:
            if self._loop is not None and self._room_check is None and not self._closed:
                self._room_check = self._loop.call_later(RECONNECT_SECONDS, self._has_room)
            return False
        return True

    def put(self, payload: bytes, timeout: float | None = None) -> None:
        self._put(payload, block=True, timeout=timeout)

    def close(self) -> None:
        """Send nothing more; what the queue still holds is given up, so that a dead reader is not waited for."""
        if self._closed:
            return
        self._closed = True
        if self._room_check is not None:
            self._room_check.cancel()
        self._messages.close()
        self._messages.cancel_join_thread()

    def _put(self, payload: bytes, *, block: bool, timeout: float | None = None) -> None:
        if not 0 < len(payload) <= FRAME_BYTES:
            raise wrong_length(payload)
        if self._closed:
            raise queue.Full
        sent = self._page.sent(self._link)
        self._page.set_sent(self._link, sent + 1)
        try:
            self._messages.put(payload, block=block, timeout=timeout)
        except queue.Full:
            self._page.set_sent(self._link, sent)
            raise

    def _has_room(self) -> None:
        """Have the sender try again: a queue cannot say when there is room."""
        self._room_check = None
        for act in self._room_acts:
            act()
