"""The same link over `multiprocessing.Queue`, for systems without SEQPACKET sockets (macOS, Windows).

The queue is inherited, not named: a reader killed while it takes a message dies holding the queue's lock,
so after the death of a process both ends get a fresh queue and start again.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import threading
from collections.abc import Callable
from multiprocessing.queues import Queue

from liualgotrader.ipc.links import FRAME_BYTES, RECONNECT_SECONDS, OnMessage
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


class QueueReader:
    """The receiving end; a thread waits at the queue, so that no loop ever does."""

    def __init__(
        self, messages: Queue[bytes], page: SessionPage, name: str, done: Callable[[], None] | None = None
    ) -> None:
        self._messages, self._page = messages, page
        self._link = page.link(name)
        self._done = done or (lambda: None)
        self._closed = threading.Event()

    def attach(self, loop: asyncio.AbstractEventLoop, on_message: OnMessage) -> None:
        """Call `on_message` in `loop` with every message, in order."""
        threading.Thread(target=self._watch, args=(loop, on_message), daemon=True, name="link").start()

    def handled(self) -> None:
        """State that everything that follows from one message has been sent on."""
        self._page.set_handled(self._link, self._page.handled(self._link) + 1)
        self._done()

    def get(self, timeout: float | None = None) -> bytes:
        """Wait for the next message, `timeout` machine seconds at most, without a loop.

        Raises:
            queue.Empty: none came in time.
        """
        return self._messages.get(timeout=timeout)

    def qsize(self) -> int:
        """Return how many messages were sent and not yet handled."""
        return max(0, self._page.sent(self._link) - self._page.handled(self._link))

    def empty(self) -> bool:
        """Say whether every message sent has been handled."""
        return self.qsize() == 0

    def close(self) -> None:
        """Receive nothing more."""
        self._closed.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, on_message: OnMessage) -> None:
        while not self._closed.is_set():
            try:
                message = self._messages.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            except (EOFError, OSError, ValueError):  # the queue was closed, or broken off by a death
                return
            try:
                loop.call_soon_threadsafe(self._deliver, on_message, message)
            except RuntimeError:  # the loop has ended
                return

    def _deliver(self, on_message: OnMessage, message: bytes) -> None:
        if not self._closed.is_set():
            on_message(message)


class QueueWriter:
    """The sending end; the queue's own thread does the writing."""

    def __init__(self, messages: Queue[bytes], page: SessionPage, name: str) -> None:
        self._messages, self._page = messages, page
        self._link = page.link(name)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look: asyncio.TimerHandle | None = None
        self._connected_acts: list[Callable[[], None]] = []
        self._room_acts: list[Callable[[], None]] = []
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether there is somebody to send to; a queue cannot tell, so it is as long as it is open."""
        return not self._closed

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; the reader counts as reached at once."""
        self._loop = loop
        for act in self._connected_acts:
            act()

    def on_connected(self, act: Callable[[], None]) -> None:
        """Call `act` when the reader is reached."""
        self._connected_acts.append(act)

    def on_room(self, act: Callable[[], None]) -> None:
        """Call `act` once there is room again after `send` said False for want of it."""
        self._room_acts.append(act)

    def send(self, payload: bytes) -> bool:
        """Send one message without waiting; False if the reader is too far behind."""
        try:
            self._put(payload, block=False)
        except queue.Full:
            self._watch_room()
            return False
        return True

    def put(self, payload: bytes, timeout: float | None = None) -> None:
        """Send one message, waiting `timeout` machine seconds at most, without a loop.

        Raises:
            queue.Full: it could not be sent in time.
        """
        self._put(payload, block=True, timeout=timeout)

    def qsize(self) -> int:
        """Return how many messages were sent and not yet handled."""
        return max(0, self._page.sent(self._link) - self._page.handled(self._link))

    def close(self) -> None:
        """Send nothing more; what the queue still holds is given up, so that nobody waits for a dead reader."""
        if self._closed:
            return
        self._closed = True
        if self._look is not None:
            self._look.cancel()
        self._messages.close()
        self._messages.cancel_join_thread()

    def _put(self, payload: bytes, *, block: bool, timeout: float | None = None) -> None:
        if not 0 < len(payload) <= FRAME_BYTES:
            raise ValueError(f"a message has 1 to {FRAME_BYTES} bytes, this one {len(payload)}; send it in parts")
        if self._closed:
            raise queue.Full
        sent = self._page.sent(self._link)
        self._page.set_sent(self._link, sent + 1)
        try:
            self._messages.put(payload, block=block, timeout=timeout)
        except queue.Full:
            self._page.set_sent(self._link, sent)
            raise

    def _watch_room(self) -> None:
        if self._loop is not None and self._look is None and not self._closed:
            self._look = self._loop.call_later(RECONNECT_SECONDS, self._roomy)

    def _roomy(self) -> None:
        """A queue cannot say when there is room, so the sender tries again."""
        self._look = None
        for act in self._room_acts:
            act()
