"""Websocket connections: the market never waits for a client, and a slow client is cut off."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from aiohttp import ClientError, WSCloseCode, WSMessage, WSMsgType, web

from liualgotrader.common.untrusted import MOST_BYTES

MAX_QUEUED_BYTES = 32 << 20
MAX_FRAME_BYTES = 1_000_000  # alpaca-py closes at 1 MiB
_CLOSE_SECONDS = 0.5


class ClientOutbox:
    """Frames in order, sent by a task of their own.

    `on_sent` is called with their number at the moment a frame is queued. A muted outbox swallows frames
    without counting them.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        *,
        binary: bool,
        limit: int = MAX_QUEUED_BYTES,
    ) -> None:
        self.binary = binary
        self.muted = False
        self.closing = False
        self._socket = socket
        self._transport = transport
        self._limit = limit
        self._frames: deque[bytes] = deque()
        self.queued_bytes = 0
        self._wake = asyncio.Event()
        self._close_code: int | None = None
        self._abort = False
        self.overflow_frame = b""  # sent to a client that does not keep up before it is cut off
        self.frames = 0  # how many were queued since the connection began
        self.on_sent: Callable[[int], None] | None = None

    def put(self, frame: bytes) -> bool:
        """Queue a frame and return whether it will be sent; one that exceeds the limit ends the connection."""
        if self.muted or self.closing:
            return False
        if self.queued_bytes + len(frame) > self._limit:
            self._frames.clear()
            self.queued_bytes = 0
            if self.overflow_frame:
                self._frames.append(self.overflow_frame)
            self.close(WSCloseCode.POLICY_VIOLATION)
            return False
        self._frames.append(frame)
        self.queued_bytes += len(frame)
        self.frames += 1
        if self.on_sent is not None:
            self.on_sent(self.frames)
        self._wake.set()
        return True

    def close(self, code: int = WSCloseCode.OK) -> None:
        """Send what waits, then close with `code`."""
        self.closing = True
        self._close_code = code
        self._wake.set()

    def abort(self) -> None:
        """Drop the connection as a broken network does, without a close frame."""
        self.closing = self._abort = True
        self._wake.set()

    async def run(self) -> None:
        """Send until the outbox is closed or the client is gone."""
        try:
            while not self._abort:
                while self._frames and not self._abort:
                    frame = self._frames.popleft()
                    if self.binary:
                        await self._socket.send_bytes(frame)
                    else:
                        await self._socket.send_str(frame.decode())
                    self.queued_bytes = max(self.queued_bytes - len(frame), 0)
                if self._close_code is not None:
                    break
                await self._wake.wait()
                self._wake.clear()
        except (ConnectionError, ClientError):
            self.closing = True

    async def converse(self, hear: Callable[[WSMessage], None]) -> None:
        """Send, and pass what the client says to `hear`, until either side ends the connection; then close it."""

        async def read() -> None:
            async for message in self._socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                hear(message)

        reader, sender = asyncio.create_task(read()), asyncio.create_task(self.run())
        try:
            await asyncio.wait((reader, sender), return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                self.close()  # the client is gone; what waits for it is lost
                reader.result()
        finally:
            self.closing = True
            reader.cancel()
            sender.cancel()
            await asyncio.wait((reader, sender))
        if not self._abort:
            await self._socket.close(code=self._close_code or WSCloseCode.OK)
        elif self._transport is not None:
            self._transport.abort()


class HasOutbox(Protocol):
    """One client of a stream."""

    @property
    def outbox(self) -> ClientOutbox:
        """What waits to be sent to it."""


Member = TypeVar("Member", bound=HasOutbox)


class Connections(Generic[Member]):
    """The clients of one stream."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.muted = False
        self.down = False  # nobody can connect

    def join(self, member: Member) -> None:
        """Add a new connection."""
        self.members.append(member)
        member.outbox.muted = self.muted

    def leave(self, member: Member) -> None:
        """Forget a connection."""
        if member in self.members:
            self.members.remove(member)

    def mute(self, *, muted: bool) -> None:
        """Send nothing any more although the connections stay, or send again."""
        self.muted = muted
        for member in self.members:
            member.outbox.muted = muted

    def close_all(self, code: int) -> None:
        """Close every connection in order."""
        for member in self.members:
            member.outbox.close(code)

    def drop_all(self) -> None:
        """Break every connection as a failing network does."""
        for member in self.members:
            member.outbox.abort()


def websocket() -> web.WebSocketResponse:
    """Return the server's end of a websocket. Frames are not deflated: here that costs time and saves nothing."""
    return web.WebSocketResponse(compress=False, timeout=_CLOSE_SECONDS, max_msg_size=2 * MOST_BYTES)


def frames_below_limit(pieces: list[bytes], limit: int = MAX_FRAME_BYTES) -> list[list[bytes]]:
    """Return the pieces in order, cut into groups whose sum stays below `limit` bytes."""
    groups: list[list[bytes]] = []
    size = limit
    for piece in pieces:
        if size + len(piece) + 1 > limit:
            groups.append([])
            size = 8  # the array's head
        groups[-1].append(piece)
        size += len(piece) + 1
    return groups
