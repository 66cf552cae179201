"""A link carries whole messages from one process to another and survives the death of either.

The reader listens on a named UNIX socket of the session's runtime folder (SEQPACKET: a message arrives
whole or not at all); the writer connects, and connects again after either side was restarted. Messages
are counted on the session page, so that a simulated market can see what is still under way. What was on
its way when a side died is lost; whoever may not lose it keeps it until it is answered.
"""

from __future__ import annotations

import asyncio
import queue
import select
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from liualgotrader.common.clock import SECOND, machine_now
from liualgotrader.ipc.address import socket_address
from liualgotrader.ipc.session_page import SessionPage

FRAME_BYTES = 128 * 1024  # the longest message
RECONNECT_SECONDS = 0.02  # machine time between two attempts to reach a reader

_BUFFER_BYTES = 4 * 1024 * 1024  # asked for; the kernel grants what net.core.wmem_max allows, at least 200 KiB
_HELLO = struct.Struct("<4sq")  # a mark, and how many messages were sent over the link so far
_MARK = b"liu1"
_MESSAGES_A_TURN = 64  # taken before the loop serves others

OnMessage = Callable[[bytes], None]


class Reader(Protocol):
    """The receiving end of a link."""

    def attach(self, loop: asyncio.AbstractEventLoop, on_message: OnMessage) -> None:
        """Call `on_message` in `loop` with every message, in order."""
        ...

    def handled(self) -> None:
        """State that everything that follows from one message has been sent on."""
        ...

    def get(self, timeout: float | None = None) -> bytes:
        """Wait for the next message, `timeout` machine seconds at most, without a loop.

        Raises:
            queue.Empty: none came in time.
        """
        ...

    def qsize(self) -> int:
        """Return how many messages were sent and not yet handled."""
        ...

    def empty(self) -> bool:
        """Say whether every message sent has been handled."""
        ...

    def close(self) -> None:
        """Receive nothing more."""
        ...


class Writer(Protocol):
    """The sending end of a link."""

    @property
    def connected(self) -> bool:
        """Whether there is somebody to send to."""
        ...

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to reach the reader, and go on as often as it takes."""
        ...

    def on_connected(self, act: Callable[[], None]) -> None:
        """Call `act` each time a reader was reached; the first messages sent from there arrive first."""
        ...

    def on_room(self, act: Callable[[], None]) -> None:
        """Call `act` once there is room again after `send` said False for want of it."""
        ...

    def send(self, payload: bytes) -> bool:
        """Send one message without waiting; False if nobody is there or the reader is too far behind."""
        ...

    def put(self, payload: bytes, timeout: float | None = None) -> None:
        """Send one message, waiting `timeout` machine seconds at most, without a loop.

        Raises:
            queue.Full: it could not be sent in time.
        """
        ...

    def qsize(self) -> int:
        """Return how many messages were sent and not yet handled."""
        ...

    def close(self) -> None:
        """Send nothing more."""
        ...


class LinkReader:
    """The receiving end: listens at `path`, serves one writer after another.

    `done` is called after each `handled()`; a process of a session passes `status.done`, so that a waiting
    market looks again at once.
    """

    def __init__(self, path: Path, page: SessionPage, name: str, done: Callable[[], None] | None = None) -> None:
        self._path, self._page = path, page
        self._link = page.link(name)
        self._done = done or (lambda: None)
        self._listener: socket.socket | None = None
        self._writer: socket.socket | None = None
        self._greeted = False
        self._pending = 0  # messages handed out and not yet handled
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_message: OnMessage | None = None
        self._early: list[bytes] = []

    def open(self) -> None:
        """Begin to listen; the address appears only when somebody listens there."""
        if self._listener is not None:
            return
        fresh = self._path.with_suffix(".new")
        address = socket_address(fresh)
        fresh.unlink(missing_ok=True)
        listener = _new_socket()
        try:
            listener.bind(address)
            listener.listen(8)
            fresh.replace(self._path)
        except BaseException:
            listener.close()
            raise
        self._listener = listener

    def attach(self, loop: asyncio.AbstractEventLoop, on_message: OnMessage) -> None:
        """Call `on_message` in `loop` with every message, in order."""
        self.open()
        assert self._listener is not None
        self._loop, self._on_message = loop, on_message
        loop.add_reader(self._listener.fileno(), self._accept)
        if self._writer is not None:
            loop.add_reader(self._writer.fileno(), self._take_some)
        while self._early:
            on_message(self._early.pop(0))

    def handled(self) -> None:
        """State that everything that follows from one message has been sent on."""
        self._pending -= 1
        self._page.set_handled(self._link, self._page.handled(self._link) + 1)
        self._done()

    def get(self, timeout: float | None = None) -> bytes:
        """Wait for the next message, `timeout` machine seconds at most, without a loop.

        Raises:
            queue.Empty: none came in time.
        """
        self.open()
        until = None if timeout is None else machine_now() + int(timeout * SECOND)
        while not self._early:
            ready = _wait([self._listener, self._writer], select.POLLIN, _left(until))
            if not ready:
                raise queue.Empty
            if self._writer is not None and self._writer.fileno() in ready:
                self._take_one()
            else:
                self._accept()
        return self._early.pop(0)

    def qsize(self) -> int:
        """Return how many messages were sent and not yet handled."""
        return max(0, self._page.sent(self._link) - self._page.handled(self._link))

    def empty(self) -> bool:
        """Say whether every message sent has been handled."""
        return self.qsize() == 0

    def close(self) -> None:
        """Receive nothing more, and give the address up."""
        self._drop_writer()
        if self._listener is not None:
            self._unwatch(self._listener)
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        """Serve a new writer, after all that the one before it had sent."""
        assert self._listener is not None
        try:
            writer, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        while self._take_one():
            pass
        self._drop_writer()
        writer.setblocking(False)
        self._writer, self._greeted = writer, False
        if self._loop is not None:
            self._loop.add_reader(writer.fileno(), self._take_some)

    def _take_some(self) -> None:
        for _ in range(_MESSAGES_A_TURN):
            if not self._take_one():
                return

    def _take_one(self) -> bool:
        """Take one message of the present writer; False if there is none."""
        if self._writer is None:
            return False
        try:
            message = self._writer.recv(FRAME_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            message = b""
        if not message:  # the writer is gone
            self._drop_writer()
            return False
        if self._greeted:
            self._hand_out(message)
        else:
            self._greet(message)
        return True

    def _greet(self, message: bytes) -> None:
        """Begin to count where this writer counts: what was lost on the way to us is nobody's work any more."""
        mark, sent = _HELLO.unpack(message) if len(message) == _HELLO.size else (b"", 0)
        if mark != _MARK:
            self._drop_writer()
            return
        self._greeted = True
        self._page.set_handled(self._link, sent - self._pending)
        self._done()

    def _hand_out(self, message: bytes) -> None:
        self._pending += 1
        if self._on_message is None:
            self._early.append(message)
        else:
            self._on_message(message)

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._unwatch(self._writer)
            self._writer.close()
            self._writer = None

    def _unwatch(self, watched: socket.socket) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(watched.fileno())


class LinkWriter:
    """The sending end: connects to the reader at `path` and, when that is gone, to the next one there."""

    def __init__(self, path: Path, page: SessionPage, name: str) -> None:
        self._path, self._page = path, page
        self._link = page.link(name)
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._again: asyncio.TimerHandle | None = None
        self._connected_acts: list[Callable[[], None]] = []
        self._room_acts: list[Callable[[], None]] = []
        self._waiting_for_room = False

    @property
    def connected(self) -> bool:
        """Whether there is somebody to send to."""
        return self._socket is not None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to reach the reader, every 20 ms of machine time until it is there."""
        self._loop = loop
        self._reach()

    def on_connected(self, act: Callable[[], None]) -> None:
        """Call `act` each time a reader was reached; the first messages sent from there arrive first."""
        self._connected_acts.append(act)

    def on_room(self, act: Callable[[], None]) -> None:
        """Call `act` once there is room again after `send` said False for want of it."""
        self._room_acts.append(act)

    def send(self, payload: bytes) -> bool:
        """Send one message without waiting; False if nobody is there or the reader is too far behind."""
        if not 0 < len(payload) <= FRAME_BYTES:
            raise ValueError(f"a message has 1 to {FRAME_BYTES} bytes, this one {len(payload)}; send it in parts")
        if self._socket is None:
            return False
        sent = self._page.sent(self._link)
        self._page.set_sent(self._link, sent + 1)
        try:
            self._socket.send(payload)
        except BlockingIOError:
            self._page.set_sent(self._link, sent)
            self._watch_room()
            return False
        except OSError:
            self._page.set_sent(self._link, sent)
            self._lose()
            return False
        return True

    def put(self, payload: bytes, timeout: float | None = None) -> None:
        """Send one message, waiting `timeout` machine seconds at most, without a loop.

        Raises:
            queue.Full: it could not be sent in time.
        """
        until = None if timeout is None else machine_now() + int(timeout * SECOND)
        while True:
            if (self._socket is not None or self._connect()) and self.send(payload):
                return
            if until is not None and machine_now() >= until:
                raise queue.Full
            left = _left(until)
            _wait([self._socket], select.POLLOUT, RECONNECT_SECONDS if left is None else min(RECONNECT_SECONDS, left))

    def qsize(self) -> int:
        """Return how many messages were sent and not yet handled."""
        return max(0, self._page.sent(self._link) - self._page.handled(self._link))

    def close(self) -> None:
        """Send nothing more."""
        if self._again is not None:
            self._again.cancel()
        self._forget_socket()
        self._loop = None

    def _reach(self) -> None:
        assert self._loop is not None
        if self._socket is not None or self._connect():
            assert self._socket is not None
            self._loop.add_reader(self._socket.fileno(), self._lose)
            for act in self._connected_acts:
                act()
        else:
            self._again = self._loop.call_later(RECONNECT_SECONDS, self._reach)

    def _connect(self) -> bool:
        address = socket_address(self._path)
        candidate = _new_socket()
        try:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            candidate.connect(address)
            candidate.send(_HELLO.pack(_MARK, self._page.sent(self._link)))
        except OSError:
            candidate.close()
            return False
        self._socket = candidate
        return True

    def _lose(self) -> None:
        """The reader is gone (it never sends, so that its socket only ever says that)."""
        self._forget_socket()
        if self._loop is not None:
            self._again = self._loop.call_later(RECONNECT_SECONDS, self._reach)

    def _forget_socket(self) -> None:
        if self._socket is None:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
        self._waiting_for_room = False
        self._socket.close()
        self._socket = None

    def _watch_room(self) -> None:
        if self._loop is not None and self._socket is not None and not self._waiting_for_room:
            self._waiting_for_room = True
            self._loop.add_writer(self._socket.fileno(), self._roomy)

    def _roomy(self) -> None:
        assert self._loop is not None
        if self._socket is None:
            return
        self._loop.remove_writer(self._socket.fileno())
        self._waiting_for_room = False
        for act in self._room_acts:
            act()


def _new_socket() -> socket.socket:
    fresh = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fresh.setblocking(False)
    return fresh


def _wait(watched: Sequence[socket.socket | None], what: int, seconds: float | None) -> set[int]:
    """Return the descriptors that are ready, after `seconds` at most (None: however long it takes)."""
    poll = select.poll()
    for one in watched:
        if one is not None:
            poll.register(one, what)
    return {fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000)}


def _left(until: int | None) -> float | None:
    """Return the machine seconds until an instant, None for no limit."""
    return None if until is None else max(0.0, (until - machine_now()) / SECOND)
