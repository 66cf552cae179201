"""A websocket that is kept open: frames in, frames out, a new connection when the old one ends or falls mute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
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


class FramesClient:
    """Keeps one websocket open while `run` runs."""

    def __init__(self, line: LineSettings, clock: Clock, rng: Random, library: str = "picows") -> None:
        self._line, self._clock, self._rng = line, clock, rng
        is_picows = library == "picows" and find_spec("picows") is not None  # Windows has none
        self._connect = _connect_picows if is_picows else _WebsocketsConnection.open
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
        from websockets.exceptions import WebSocketException

        line = self._line
        line.before_connecting()
        failures: tuple[type[Exception], ...] = (OSError, TimeoutError, WebSocketException)
        with suppress(ImportError):  # there is no picows on Windows
            from picows import WSError

            failures = (*failures, WSError)
        try:
            async with asyncio.timeout(line.timings.handshake_seconds):
                connection = await self._connect(line, self)
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

    # --- called by a library's connection

    def opened(self, connection: Connection) -> None:
        """Take a connection that is open, before any frame of it."""
        self._connection = connection
        self.connections += 1
        self.heard()
        say(log, "feed_connected", host=self._line.url.split("?")[0])

    def heard(self) -> None:
        """Record a sign of life."""
        self.heard_at = self._clock.machine()

    def take(self, payload: bytes) -> None:
        """Take a message."""
        self.heard_at = self._clock.machine()
        self._line.on_frame(payload)

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


async def _connect_picows(line: LineSettings, client: FramesClient) -> Connection:
    import picows

    whole, control = (picows.WSMsgType.BINARY, picows.WSMsgType.TEXT), picows.WSMsgType
    heard, take = client.heard, client.take

    class Listener(picows.WSListener):  # type: ignore[misc]
        """The connection, and what it hears."""

        transport: Any
        parts: list[bytes]

        def send(self, payload: bytes, *, text: bool) -> None:
            self.transport.send(whole[text], payload)

        def ping(self) -> None:
            self.transport.send_ping()

        def end(self) -> None:
            self.transport.disconnect(False)

        async def closed(self) -> str:
            await self.transport.wait_disconnected()
            return "the connection was closed"

        def on_ws_connected(self, transport: Any) -> None:
            self.transport, self.parts = transport, []
            client.opened(self)

        def on_ws_frame(self, transport: Any, received: Any) -> None:
            kind = received.msg_type
            if kind in whole and received.fin:
                take(received.get_payload_as_bytes())
            elif kind in whole or kind == control.CONTINUATION:
                self.parts.append(received.get_payload_as_bytes())
                heard()
                if received.fin:
                    payload, self.parts = b"".join(self.parts), []
                    take(payload)
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
    return listener  # type: ignore[no-any-return]


class _WebsocketsConnection:
    @classmethod
    async def open(cls, line: LineSettings, client: FramesClient) -> Connection:
        """Connect."""
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
        connection = cls(opened, client)
        client.opened(connection)
        return connection

    def __init__(self, opened: Any, client: FramesClient) -> None:
        self._opened, self._heard = opened, client.heard
        self._sending: set[asyncio.Task[None]] = set()
        self._reading = asyncio.create_task(self._read(client.take))

    def send(self, payload: bytes, *, text: bool) -> None:
        self._soon(self._opened.send(payload, text=text))

    def ping(self) -> None:
        async def answered() -> None:
            await (await self._opened.ping())
            self._heard()

        self._soon(answered())

    def end(self) -> None:
        self._opened.transport.abort()

    async def closed(self) -> str:
        return await asyncio.shield(self._reading)

    def _soon(self, sending: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        async def sent() -> None:
            with suppress(ConnectionClosed):  # the reader reports a connection that ends meanwhile
                await sending

        task = asyncio.ensure_future(sent())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _read(self, take: Callable[[bytes], None]) -> str:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                take(await self._opened.recv(decode=False))
        except ConnectionClosed as error:
            return f"the connection was closed: {error}"
