"""A websocket that is kept open: frames in, frames out, a new connection when the old one ends or falls mute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from liualgotrader.common.clock import SECOND, Clock
from liualgotrader.common.endpoint_address import is_loopback
from liualgotrader.common.tlog import say, warn
from liualgotrader.data.streaming_base import LineTimings

log = logging.getLogger(__name__)

LIBRARIES = ("picows", "websockets")
_FRAME_BYTES = 64 * 1024 * 1024
_LOOKS_PER_LIMIT = 6  # how often the silence is measured within `mute_seconds`


@dataclass(frozen=True, slots=True)
class LineSettings:
    """Where to connect, how, and what to call.

    `on_frame` gets every text or binary message as bytes; `before_connecting` is called before each attempt.
    `is_mute` is asked a few times within `mute_seconds` whether a live connection brings nothing.
    """

    url: str
    on_frame: Callable[[bytes], None]
    before_connecting: Callable[[], None] = lambda: None
    on_closed: Callable[[str], None] = lambda reason: None
    is_mute: Callable[[], bool] = lambda: False
    headers: Mapping[str, str] = field(default_factory=dict)
    timings: LineTimings = field(default_factory=LineTimings)


class Connection(Protocol):
    """One open websocket of either library."""

    def send(self, payload: bytes, *, text: bool) -> None:
        """Send one message without waiting."""

    def ping(self) -> None:
        """Ask for a sign of life; the answer counts as any frame does."""

    def end(self) -> None:
        """Close at once."""

    async def closed(self) -> str:
        """Return, once the connection has ended, why; raise what `on_frame` raised."""


@dataclass(frozen=True, slots=True)
class _Callbacks:
    """What a library's connection calls: once it is open (before any frame), at signs of life, for each message."""

    opened: Callable[[Connection], None]
    heard: Callable[[], None]
    frame: Callable[[bytes], None]


class FramesClient:
    """Keeps one websocket open while `run` runs."""

    def __init__(self, line: LineSettings, clock: Clock, rng: Random, library: str = "picows") -> None:
        self._line, self._clock, self._rng = line, clock, rng
        self._connect = _connect_picows if library == "picows" else _connect_websockets
        self._connection: Connection | None = None
        self.heard_at = 0  # machine time of the newest sign of life
        self._failures = 0
        self._closing = False
        self.connections = 0

    @property
    def connected(self) -> bool:
        """Whether a connection is open."""
        return self._connection is not None

    def send(self, payload: bytes, *, text: bool = False) -> bool:
        """Send one message; False if no connection is open."""
        if self._connection is None:
            return False
        self._connection.send(payload, text=text)
        return True

    def accepted(self) -> None:
        """State that the other side accepted us: after the next break the first attempt comes at once."""
        self._failures = 0

    def reconnect(self) -> None:
        """End the present connection; the next one is made after the usual wait."""
        if self._connection is not None:
            self._connection.end()

    def close(self) -> None:
        """End for good; `run` returns."""
        self._closing = True
        self.reconnect()

    async def run(self) -> None:
        """Connect, and again each time the connection ends, until `close`."""
        while not self._closing:
            reason = await self._one_connection()
            if self._closing:
                return
            timings = self._line.timings
            self._failures += 1
            if self._failures == 1:  # after an accepted connection at once, then doubling, a random half off
                wait = self._rng.uniform(0.0, timings.first_wait_seconds)
            else:
                doubled = timings.first_wait_seconds * 2.0 ** min(self._failures - 1, 20)
                longest = min(timings.longest_wait_seconds, doubled)
                wait = self._rng.uniform(longest / 2, longest)
            warn(log, "feed_connection_ended", reason=reason, wait_seconds=f"{wait:.2f}")
            await self._clock.sleep(wait)

    async def _one_connection(self) -> str:
        """Return why a connection ended or could not be made."""
        line = self._line
        line.before_connecting()
        from websockets.exceptions import WebSocketException

        failures: tuple[type[Exception], ...] = (OSError, TimeoutError, WebSocketException)
        with suppress(ImportError):  # there is no picows on Windows
            from picows import WSError

            failures = (*failures, WSError)
        calls = _Callbacks(self._opened, self._heard, self._frame)
        try:
            async with asyncio.timeout(line.timings.handshake_seconds):
                connection = await self._connect(line, calls)
        except failures as error:
            self._connection = None
            return f"cannot connect: {type(error).__name__}: {error}"
        watch = asyncio.create_task(self._watch(connection))
        try:
            if self._closing:
                connection.end()
            reason = await connection.closed()
        finally:
            watch.cancel()
            self._connection = None
            connection.end()
        line.on_closed(reason)
        return reason

    def _opened(self, connection: Connection) -> None:
        self._connection = connection
        self.connections += 1
        self._heard()
        say(log, "feed_connected", host=self._line.url.split("?")[0])

    async def _watch(self, connection: Connection) -> None:
        """End the connection when no frame, or no market data, has come for too long; ping before that."""
        limit = self._line.timings.mute_seconds
        while True:
            await self._clock.sleep(limit / _LOOKS_PER_LIMIT)
            silence = (self._clock.machine() - self.heard_at) / SECOND
            if silence > limit:
                warn(log, "feed_mute", seconds=f"{silence:.1f}")
                connection.end()
                return
            if self._line.is_mute():
                connection.end()
                return
            if silence > limit / 3:
                connection.ping()

    def _heard(self) -> None:
        self.heard_at = self._clock.machine()

    def _frame(self, payload: bytes) -> None:
        self.heard_at = self._clock.machine()
        self._line.on_frame(payload)


async def _connect_picows(line: LineSettings, calls: _Callbacks) -> Connection:
    try:
        import picows
    except ImportError:  # Windows
        return await _connect_websockets(line, calls)
    whole, control = (picows.WSMsgType.TEXT, picows.WSMsgType.BINARY), picows.WSMsgType
    heard, frame = calls.heard, calls.frame

    class Listener(picows.WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.parts: list[bytes] = []
            self.connection: _PicowsConnection

        def on_ws_connected(self, transport: Any) -> None:
            self.connection = _PicowsConnection(transport, whole)
            calls.opened(self.connection)

        def on_ws_frame(self, transport: Any, received: Any) -> None:
            kind = received.msg_type
            if kind in whole and received.fin:
                frame(received.get_payload_as_bytes())
            elif kind in whole or kind == control.CONTINUATION:
                self.parts.append(received.get_payload_as_bytes())
                heard()
                if received.fin:
                    payload, self.parts = b"".join(self.parts), []
                    frame(payload)
            elif kind == control.CLOSE:
                transport.send_close(received.get_close_code(), received.get_close_message())
                transport.disconnect()
            else:  # ping (answered by the library) and pong
                heard()

    _, listener = await picows.ws_connect(
        Listener,
        line.url,
        extra_headers=dict(line.headers),
        websocket_handshake_timeout=line.timings.handshake_seconds,
        max_frame_size=_FRAME_BYTES,
        max_redirects=0,
    )
    if listener is None:  # what picows gives for a line that was reset while the handshake was on its way
        raise ConnectionResetError("the connection was reset during the handshake")
    return listener.connection  # type: ignore[no-any-return]


class _PicowsConnection:
    def __init__(self, transport: Any, kinds: tuple[Any, Any]) -> None:
        self._transport = transport
        self._text, self._binary = kinds

    def send(self, payload: bytes, *, text: bool) -> None:
        self._transport.send(self._text if text else self._binary, payload)

    def ping(self) -> None:
        self._transport.send_ping()

    def end(self) -> None:
        self._transport.disconnect(False)

    async def closed(self) -> str:
        await self._transport.wait_disconnected()
        return "the connection was closed"


async def _connect_websockets(line: LineSettings, calls: _Callbacks) -> Connection:
    from websockets.asyncio.client import connect

    class NoRedirect(connect):
        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    opened = await NoRedirect(
        line.url,
        additional_headers=dict(line.headers),
        max_size=_FRAME_BYTES,
        open_timeout=line.timings.handshake_seconds,
        ping_interval=None,
        close_timeout=1,
        proxy=None if is_loopback(line.url) else True,
    )
    connection = _WebsocketsConnection(opened, calls)
    calls.opened(connection)
    return connection


class _WebsocketsConnection:
    def __init__(self, opened: Any, calls: _Callbacks) -> None:
        self._opened, self._heard = opened, calls.heard
        self._sending: set[asyncio.Task[None]] = set()
        self._reading = asyncio.create_task(self._read(calls.frame))

    def send(self, payload: bytes, *, text: bool) -> None:
        self._soon(self._opened.send(payload, text=text))

    def ping(self) -> None:
        self._soon(self._ping())

    def end(self) -> None:
        self._opened.transport.abort()

    async def closed(self) -> str:
        return await asyncio.shield(self._reading)

    def _soon(self, sending: Any) -> None:
        task = asyncio.ensure_future(self._quietly(sending))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _quietly(self, sending: Any) -> None:
        """Send; its reader reports a connection that ends meanwhile."""
        from websockets.exceptions import ConnectionClosed

        try:
            await sending
        except ConnectionClosed:
            return

    async def _ping(self) -> None:
        await (await self._opened.ping())
        self._heard()

    async def _read(self, frame: Callable[[bytes], None]) -> str:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                frame(await self._opened.recv(decode=False))
        except ConnectionClosed as error:
            return f"the connection was closed: {error}"
