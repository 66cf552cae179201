"""A link carries whole messages from one process to another and survives the death of either.

The reader listens on a named UNIX socket of the session's runtime folder (SEQPACKET: a message arrives whole or not at
all). The writer connects, and connects again after either side was restarted. Messages are counted on the session page,
so that a simulated market can see what is under way. What was on its way when a side died is lost: a sender that may
not lose a message keeps it until it is answered.
"""

from __future__ import annotations

import asyncio
import queue
import select
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

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


class _LinkEnd(ABC):
    """One end of the link `name` of a session page."""

    def __init__(self, page: SessionPage, name: str) -> None:
        self._page = page
        self._link = page.link(name)

    def qsize(self) -> int:
        """Return how many messages were sent and not yet handled."""
        return max(0, self._page.sent(self._link) - self._page.handled(self._link))

    @abstractmethod
    def close(self) -> None:
        """Receive or send nothing more."""


class Reader(_LinkEnd):
    """The receiving end of a link.

    `done` is called after each `handled()`; a process of a session passes `status.done`, so that a waiting market looks
    again at once.
    """

    def __init__(self, page: SessionPage, name: str, done: Callable[[], None] | None = None) -> None:
        super().__init__(page, name)
        self._done = done or (lambda: None)

    @abstractmethod
    def attach(self, loop: asyncio.AbstractEventLoop, on_message: OnMessage) -> None:
        """Call `on_message` in `loop` with every message, in order."""

    @abstractmethod
    def get(self, timeout: float | None = None) -> bytes:
        """Wait for the next message, `timeout` machine seconds at most, without a loop.

        Raises:
            queue.Empty: none came in time.
        """

    def handled(self) -> None:
        """State that everything that follows from one message has been sent on."""
        self._page.set_handled(self._link, self._page.handled(self._link) + 1)
        self._done()

    def empty(self) -> bool:
        """Say whether every message sent has been handled."""
        return self.qsize() == 0


class Writer(_LinkEnd):
    """The sending end of a link."""

    def __init__(self, page: SessionPage, name: str) -> None:
        super().__init__(page, name)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connected_acts: list[Callable[[], None]] = []
        self._room_acts: list[Callable[[], None]] = []

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether a reader can be sent to."""

    @abstractmethod
    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reach the reader from now on, as often as it is lost."""

    @abstractmethod
    def send(self, payload: bytes) -> bool:
        """Send one message without waiting; False if no reader is there or it is too far behind."""

    @abstractmethod
    def put(self, payload: bytes, timeout: float | None = None) -> None:
        """Send one message, waiting `timeout` machine seconds at most, without a loop.

        Raises:
            queue.Full: it could not be sent in time.
        """

    def on_connected(self, act: Callable[[], None]) -> None:
        """Call `act` each time a reader was reached; the first messages sent from there arrive first."""
        self._connected_acts.append(act)

    def on_room(self, act: Callable[[], None]) -> None:
        """Call `act` once there is room again after `send` returned False for want of it."""
        self._room_acts.append(act)


class LinkReader(Reader):
    """Listens at `path` and serves one writer after another."""

    def __init__(self, path: Path, page: SessionPage, name: str, done: Callable[[], None] | None = None) -> None:
        super().__init__(page, name, done)
        self._path = path
        self._listener: socket.socket | None = None
        self._writer: socket.socket | None = None
        self._greeted = False
        self._pending = 0  # messages handed out and not yet handled
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_message: OnMessage | None = None
        self._early: list[bytes] = []

    def open(self) -> socket.socket:
        """Begin to listen and return the socket; the address appears only once it can be connected to."""
        if self._listener is not None:
            return self._listener
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
        return listener

    def attach(self, loop: asyncio.AbstractEventLoop, on_message: OnMessage) -> None:
        self._loop, self._on_message = loop, on_message
        loop.add_reader(self.open().fileno(), self._accept)
        if self._writer is not None:
            loop.add_reader(self._writer.fileno(), self._take_some)
        while self._early:
            on_message(self._early.pop(0))

    def handled(self) -> None:
        self._pending -= 1
        super().handled()

    def get(self, timeout: float | None = None) -> bytes:
        listener = self.open()
        until = None if timeout is None else machine_now() + int(timeout * SECOND)
        while not self._early:
            ready = _wait([listener, self._writer], select.POLLIN, _seconds_left(until))
            if not ready:
                raise queue.Empty
            if self._writer is not None and self._writer.fileno() in ready:
                self._take_one()
            else:
                self._accept()
        return self._early.pop(0)

    def close(self) -> None:
        self._drop_writer()
        if self._listener is not None:
            self._unwatch(self._listener)
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        """Serve a new writer, after all that the one before it had sent."""
        if self._listener is None:
            return
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
            self._pending += 1
            (self._on_message or self._early.append)(message)
            return True
        mark, sent = _HELLO.unpack(message) if len(message) == _HELLO.size else (b"", 0)
        if mark == _MARK:
            self._greeted = True  # we count where this writer counts: what was lost on its way here counts as handled
            self._page.set_handled(self._link, sent - self._pending)
            self._done()
        else:
            self._drop_writer()
        return True

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._unwatch(self._writer)
            self._writer.close()
            self._writer = None

    def _unwatch(self, watched: socket.socket) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(watched.fileno())


class LinkWriter(Writer):
    """Connects to the reader at `path` and, when that is gone, to the next one there."""

    def __init__(self, path: Path, page: SessionPage, name: str) -> None:
        super().__init__(page, name)
        self._path = path
        self._socket: socket.socket | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._waiting_for_room = False

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reach(loop)

    def send(self, payload: bytes) -> bool:
        if not 0 < len(payload) <= FRAME_BYTES:
            raise wrong_length(payload)
        if self._socket is None:
            return False
        sent = self._page.sent(self._link)
        self._page.set_sent(self._link, sent + 1)
        try:
            self._socket.send(payload)
        except BlockingIOError:
            self._page.set_sent(self._link, sent)
            if self._loop is not None and not self._waiting_for_room:
                self._waiting_for_room = True
                self._loop.add_writer(self._socket.fileno(), self._has_room)
            return False
        except OSError:
            self._page.set_sent(self._link, sent)
            self._lose()
            return False
        return True

    def put(self, payload: bytes, timeout: float | None = None) -> None:
        until = None if timeout is None else machine_now() + int(timeout * SECOND)
        while True:
            if (self._socket is not None or self._connect()) and self.send(payload):
                return
            if until is not None and machine_now() >= until:
                raise queue.Full
            left = _seconds_left(until)
            _wait([self._socket], select.POLLOUT, RECONNECT_SECONDS if left is None else min(RECONNECT_SECONDS, left))

    def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._forget_socket()
        self._loop = None

    def _reach(self, loop: asyncio.AbstractEventLoop) -> None:
        connected = self._socket or self._connect()
        if connected is None:
            self._retry = loop.call_later(RECONNECT_SECONDS, self._reach, loop)
            return
        loop.add_reader(connected.fileno(), self._lose)
        for act in self._connected_acts:
            act()

    def _connect(self) -> socket.socket | None:
        address = socket_address(self._path)
        candidate = _new_socket()
        try:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            candidate.connect(address)
            candidate.send(_HELLO.pack(_MARK, self._page.sent(self._link)))
        except OSError:
            candidate.close()
            return None
        self._socket = candidate
        return candidate

    def _lose(self) -> None:
        """Look for the next reader: this one never sends, so that its socket is only ready when it is gone."""
        self._forget_socket()
        if self._loop is not None:
            self._retry = self._loop.call_later(RECONNECT_SECONDS, self._reach, self._loop)

    def _forget_socket(self) -> None:
        if self._socket is None:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
        self._waiting_for_room = False
        self._socket.close()
        self._socket = None

    def _has_room(self) -> None:
        if self._loop is None or self._socket is None:
            return
        self._loop.remove_writer(self._socket.fileno())
        self._waiting_for_room = False
        for act in self._room_acts:
            act()


def wrong_length(payload: bytes) -> ValueError:
    """Return the error for a message that is empty or too long."""
    return ValueError(f"a message has 1 to {FRAME_BYTES} bytes, this one {len(payload)}; send it in parts")


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


def _seconds_left(until: int | None) -> float | None:
    return None if until is None else max(0.0, (until - machine_now()) / SECOND)
