"""A small server that speaks the vendor's market-data protocol, and misbehaves as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec.msgpack import Ext
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from liualgotrader.common.clock import MILLISECOND, SECOND, WallClock, machine_now
from liualgotrader.common.session_plan import Endpoints

KEY, SECRET = "the-key", "the-secret"
CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")


def timestamp(at: int) -> Ext:
    """Return ns UTC as a msgpack Timestamp 64, by the msgpack specification."""
    seconds, ns = divmod(at, 1_000_000_000)
    return Ext(-1, ((ns << 34) | seconds).to_bytes(8, "big"))


class TurnsClock(WallClock):
    """Machine time of which no more than 5 ms pass between two turns of the loop, however long it was left standing.

    Who serves and who listens share the loop: on a busy machine neither is late for the other.
    """

    def __init__(self) -> None:
        self._real = self._passed = machine_now()

    def machine(self) -> int:
        real = machine_now()
        self._passed += min(real - self._real, 5 * MILLISECOND)
        self._real = real
        return self._passed

    async def sleep(self, seconds: float) -> None:
        end = self.machine() + round(seconds * SECOND)
        while self.machine() < end:
            await asyncio.sleep(0.001)


class VendorStream:
    """The vendor. `symbol_limit` refuses more symbols, `auth_error` every key, `greet` off stays silent."""

    def __init__(self) -> None:
        self.symbol_limit = 10_000
        self.auth_error = 0
        self.greet = True
        self.answer_pings = True
        self.carried: dict[str, set[str]] = {channel: set() for channel in CHANNELS}
        self.requests: list[dict[str, Any]] = []
        self.handshakes: list[dict[str, str]] = []
        self.changed = asyncio.Event()
        self._open: set[ServerConnection] = set()
        self._server: Server | None = None

    @property
    def endpoints(self) -> Endpoints:
        """What an adapter has to know to come here."""
        assert self._server is not None
        port = next(iter(self._server.sockets)).getsockname()[1]
        return Endpoints("", "", f"ws://127.0.0.1:{port}/v2/sip", "", loopback=True)

    async def push(self, *messages: dict[str, Any]) -> None:
        """Send one frame to everybody."""
        for connection in self._open:
            await self._say(connection, *messages)

    async def push_raw(self, payload: bytes | str | Iterable[bytes]) -> None:
        """Send these very bytes; several parts go as one fragmented message."""
        for connection in self._open:
            await connection.send(payload)

    def cut(self) -> None:
        """End all connections without a word."""
        for connection in list(self._open):
            connection.transport.abort()

    async def until(self, true: Any, seconds: float = 60.0) -> None:
        """Return once `true()`, asked whenever something happens here and every few milliseconds."""
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.002)

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.handshakes.append({name.lower(): value for name, value in connection.request.headers.raw_items()})
        self._open.add(connection)
        self.carried = {channel: set() for channel in CHANNELS}
        try:
            if self.greet:
                await self._say(connection, {"T": "success", "msg": "connected"})
            async for message in connection:
                await self._answer(connection, self._read(message))
        except ConnectionClosed:
            pass
        finally:
            self._open.discard(connection)

    async def _answer(self, connection: ServerConnection, request: dict[str, Any]) -> None:
        self.requests.append(request)
        match request.pop("action"):
            case "auth" if self.auth_error or (request["key"], request["secret"]) != (KEY, SECRET):
                await self._say(connection, {"T": "error", "code": self.auth_error or 402, "msg": "auth failed"})
                if self.auth_error not in (0, 409):
                    await connection.close()
            case "auth":
                await self._say(connection, {"T": "success", "msg": "authenticated"})
            case "subscribe":
                wished = {c: self.carried[c] | set(request.get(c, ())) for c in CHANNELS}
                if len(set().union(*wished.values())) > self.symbol_limit:
                    await self._say(connection, {"T": "error", "code": 405, "msg": "symbol limit exceeded"})
                    return
                self.carried = wished
                await self._say_carried(connection)
            case "unsubscribe":
                self.carried = {c: self.carried[c] - set(request.get(c, ())) for c in CHANNELS}
                await self._say_carried(connection)

    async def _say_carried(self, connection: ServerConnection) -> None:
        lists = {channel: sorted(symbols) for channel, symbols in self.carried.items()}
        await self._say(connection, {"T": "subscription", **lists, "corrections": [], "cancelErrors": []})

    async def _say(self, connection: ServerConnection, *messages: dict[str, Any]) -> None:
        if "msgpack" in self.handshakes[-1].get("content-type", ""):
            await connection.send(msgspec.msgpack.encode(messages))
        else:
            await connection.send(msgspec.json.encode(messages).decode())

    def _read(self, message: bytes | str) -> dict[str, Any]:
        read: dict[str, Any] = (
            msgspec.json.decode(message) if isinstance(message, str) else msgspec.msgpack.decode(message)
        )
        return read


@asynccontextmanager
async def vendor() -> AsyncIterator[VendorStream]:
    """Serve on a free port of this machine."""
    stream = VendorStream()
    async with serve(stream._serve, "127.0.0.1", 0, ping_interval=None, close_timeout=0.2) as server:
        stream._server = server
        yield stream
