"""The ceiling of the design: receive, decode, shard, send on, decode again, look at the clock; nothing else.

One receiver (picows, typed msgpack) and its consumers, each in a process, joined by SEQPACKET sockets, with the
same fields and the same library settings as the product. There is no engine, no journal, no page and no plan.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
from msgspec.msgpack import Ext

from benchmarks.recorder import open_cells
from benchmarks.tape import SYMBOLS

CLIENT = "bare"  # how the feed server knows us
_SECOND, _SECONDS = 1_000_000_000, 0x3FFFFFFFF
_MOST_EVENTS = 512  # in one message
_BUFFER_BYTES = 4 * 1024 * 1024
_MESSAGE_BYTES = 128 * 1024
_MESSAGES_A_TURN = 64


class _Wire(msgspec.Struct, gc=False, tag_field="T"):
    pass


class _WireTrade(_Wire, tag="t"):
    S: str
    p: float
    s: float
    t: Ext


class _WireQuote(_Wire, tag="q"):
    S: str
    bp: float
    bs: float
    ap: float
    as_: float = msgspec.field(name="as")
    t: Ext = msgspec.field()


class _Success(_Wire, tag="success"):
    msg: str


class _Subscription(_Wire, tag="subscription"):
    pass


class Print(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="t"):
    """A trade on its way between our processes."""

    symbol: str
    at: int
    price: float
    size: float


class Offer(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="q"):
    """A quote on its way between our processes."""

    symbol: str
    at: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


_decode_frame: Callable[[bytes], list[Any]] = msgspec.msgpack.Decoder(
    list[_WireTrade | _WireQuote | _Success | _Subscription]
).decode
_decode_batch = msgspec.msgpack.Decoder(list[Print | Offer]).decode
_encode = msgspec.msgpack.Encoder().encode


class Outlet:
    """What waits for one consumer, and its socket."""

    def __init__(self, line: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.events: list[Print | Offer] = []
        self._line, self._loop = line, loop
        self._waiting: deque[bytes] = deque()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        line.setblocking(False)

    def flush(self) -> None:
        """Send all that came in this turn of the loop."""
        events, self.events = self.events, []
        for at in range(0, len(events), _MOST_EVENTS):
            self._waiting.append(_encode(events[at : at + _MOST_EVENTS]))
        self._send()

    def _send(self) -> None:
        try:
            while self._waiting:
                self._line.send(self._waiting[0])
                self._waiting.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._line.fileno(), self._send)
        else:
            self._loop.remove_writer(self._line.fileno())


def receive(port: int, lines: Sequence[socket.socket], control: Connection) -> None:
    """Run the receiver until `control` ends."""
    _run(_receive(port, lines, control))


async def _receive(port: int, lines: Sequence[socket.socket], control: Connection) -> None:
    import picows

    loop = asyncio.get_running_loop()
    outlets = [Outlet(line, loop) for line in lines]
    owner = {symbol: outlets[number % len(outlets)] for number, symbol in enumerate(SYMBOLS)}
    integer = int.from_bytes
    flushing = False

    def flush() -> None:
        nonlocal flushing
        flushing = False
        for outlet in outlets:
            if outlet.events:
                outlet.flush()

    class Listener(picows.WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, received: Any) -> None:
            nonlocal flushing
            for m in _decode_frame(received.get_payload_as_bytes()):
                kind = m.__class__
                if kind is _WireQuote:
                    both = integer(m.t.data, "big")
                    at = (both & _SECONDS) * _SECOND + (both >> 34)
                    owner[m.S].events.append(Offer(m.S, at, m.bp, m.bs, m.ap, m.as_))
                elif kind is _WireTrade:
                    both = integer(m.t.data, "big")
                    at = (both & _SECONDS) * _SECOND + (both >> 34)
                    owner[m.S].events.append(Print(m.S, at, m.p, m.s))
                else:
                    _answer(transport, m)
            if not flushing:
                flushing = True
                loop.call_soon(flush)

    def _answer(transport: Any, m: Any) -> None:
        if isinstance(m, _Success):
            known = m.msg == "authenticated"
            asked = {"action": "subscribe", "trades": SYMBOLS, "quotes": SYMBOLS}
            message = asked if known else {"action": "auth", "key": CLIENT, "secret": CLIENT}
            transport.send(picows.WSMsgType.BINARY, _encode(message))

    headers = {"Content-Type": "application/msgpack", "X-LIU-Process": CLIENT}
    transport, _ = await picows.ws_connect(Listener, f"ws://127.0.0.1:{port}/v2/sip", extra_headers=headers)
    await _until_ended(control)
    transport.disconnect(False)


def consume(line: socket.socket, folder: Path, control: Connection) -> None:
    """Run one consumer until `control` ends."""
    _run(_consume(line, folder, control))


async def _consume(line: socket.socket, folder: Path, control: Connection) -> None:
    line.setblocking(False)
    cells = open_cells(folder)
    now, capacity, place = time.time_ns, len(cells), 0

    def take() -> None:
        nonlocal place
        for _ in range(_MESSAGES_A_TURN):
            try:
                message = line.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return
            if not message:
                asyncio.get_running_loop().remove_reader(line.fileno())
                return
            for event in _decode_batch(message):
                cells[place] = now() - event.at
                place += 1
                if place == capacity:
                    place = 0

    asyncio.get_running_loop().add_reader(line.fileno(), take)
    await _until_ended(control)


async def _until_ended(control: Connection) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(control.fileno(), ended.set)
    os.set_blocking(control.fileno(), True)
    await ended.wait()
    loop.remove_reader(control.fileno())


def _run(body: Any) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body)
