"""Polygon's websocket `/stocks`: prints (T), quotes (Q), aggregates of seconds (A) and of minutes (AM).

Source: Polygon's reference of the websocket for stocks; observed answers for the texts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

import msgspec
from aiohttp import WSCloseCode, WSMessage, web

from liualgotrader.common.clock import MILLISECOND
from liualgotrader.common.events import is_symbol
from liualgotrader.common.tlog import say
from liualgotrader.common.untrusted import read_message
from liualgotrader.simulator.access import POLYGON_STREAM
from liualgotrader.simulator.client_outbox import MAX_QUEUED_BYTES, ClientOutbox, websocket
from liualgotrader.simulator.day_history import DayRecord
from liualgotrader.simulator.market_loop import WORLD
from liualgotrader.simulator.polygon_access import is_free, is_key
from liualgotrader.simulator.polygon_shapes import PolygonShapes
from liualgotrader.simulator.stream_hubs import Subscriber
from liualgotrader.simulator.stream_routes import AUTH_SECONDS, PROCESS_HEADER
from liualgotrader.simulator.subscriptions import EVERYTHING, Codec, Reply

log = logging.getLogger(__name__)

POLYGON: web.AppKey[Codec] = web.AppKey("polygon")
_CHANNELS = {"T": "trades", "Q": "quotes", "A": "seconds", "AM": "bars"}
routes = web.RouteTableDef()


def codec_of(record: DayRecord) -> Codec:
    """Return the stream's language: text frames of JSON, instants in milliseconds."""
    return Codec(
        binary=False,
        instant=lambda at: at // MILLISECOND,
        piece=msgspec.json.Encoder().encode,
        frame=lambda pieces: b"[" + b",".join(pieces) + b"]",
        read=read_message,
        shapes=PolygonShapes(record),
    )


def status(word: str, text: str) -> Reply:
    """Return a status message."""
    return {"ev": "status", "status": word, "message": text}


class PolygonSession:
    """One client's side of the stream. `symbols` are its subscriptions by channel of the hub.

    `accept` says whether a key opens the stream; `admit` whether one more authenticated connection is allowed.
    """

    def __init__(self, accept: Callable[[object], bool], admit: Callable[[], bool], *, free: bool = False) -> None:
        self.authenticated = False
        self.close_code: int | None = None
        self.symbols: dict[str, set[str]] = {channel: set() for channel in _CHANNELS.values()}
        self._accept, self._admit, self._free = accept, admit, free

    def receive(self, message: object) -> list[Reply]:
        """Return the answers to one message; `close_code` is set where the connection has to end."""
        action, params = (message.get("action"), message.get("params")) if isinstance(message, dict) else ("", "")
        if action == "auth":
            return self._authenticate(params)
        if action not in ("subscribe", "unsubscribe") or not isinstance(params, str):
            return [status("error", "expected an action auth, subscribe or unsubscribe, and params in a text")]
        if not self.authenticated:
            return [status("auth_required", "authenticate first")]
        return [self._turn(action, name.strip()) for name in params.split(",") if name.strip()]

    def expire(self) -> list[Reply]:
        """Return the answer to a client that has not authenticated in time."""
        return self._end("auth_timeout", "authentication timed out")

    def _authenticate(self, key: object) -> list[Reply]:
        if self.authenticated:
            return [status("error", "already authenticated")]
        if not self._accept(key):
            return self._end("auth_failed", "authentication failed")
        if self._free:
            return self._end("auth_failed", "Your plan doesn't include websocket access.")
        if not self._admit():
            return self._end("max_connections", "Maximum number of websocket connections exceeded.")
        self.authenticated = True
        return [status("auth_success", "authenticated")]

    def _turn(self, action: str, name: str) -> Reply:
        """Return the answer to one name such as `T.AAPL` or `AM.*`."""
        prefix, _, symbol = name.partition(".")
        channel = _CHANNELS.get(prefix)
        if channel is None or not (symbol == EVERYTHING or is_symbol(symbol)):
            shown = name[:40] if name.isprintable() else "a name that cannot be shown"
            return status("error", f"{shown} is not served; there are T, Q, A and AM of a symbol or of *")
        if action == "subscribe":
            self.symbols[channel].add(symbol)
            return status("success", f"subscribed to: {name}")
        self.symbols[channel].discard(symbol)
        return status("success", f"unsubscribed to: {name}")

    def _end(self, word: str, text: str) -> list[Reply]:
        self.close_code = WSCloseCode.POLICY_VIOLATION
        return [status(word, text)]


def _said(message: WSMessage) -> object:
    data: str | bytes = message.data
    try:
        return read_message(data.encode() if isinstance(data, str) else data)
    except ValueError:
        return None


def authenticated(members: Iterable[Subscriber]) -> int:
    """Return how many of these are authenticated connections of Polygon's."""
    return sum(isinstance(m.session, PolygonSession) and m.session.authenticated for m in members)


@routes.get(POLYGON_STREAM)
async def serve_stocks(request: web.Request) -> web.WebSocketResponse:
    """Serve one client until the connection ends."""
    world, options, codec = request.app[WORLD], request.app[WORLD].spec.options, request.app[POLYGON]
    socket = websocket()
    await socket.prepare(request)
    limit = int(options.get("outgoing_limit_bytes", MAX_QUEUED_BYTES))
    outbox = ClientOutbox(socket, request.transport, binary=False, limit=limit)
    slow = status("slow_consumer", "the connection does not keep up with its messages")
    outbox.overflow_frame = codec.frame([codec.piece(slow)])
    most = int(options.get("connection_limit", 0))
    session = PolygonSession(
        lambda key: is_key(world, key),
        lambda: not most or authenticated(world.data.members) < most,
        free=is_free(world),
    )
    subscriber = Subscriber(session, codec, outbox, request.headers.get(PROCESS_HEADER, ""))

    def expire() -> None:
        if not session.authenticated:
            subscriber.send(session.expire())

    def hear(message: WSMessage) -> None:
        subscriber.send(session.receive(_said(message)))
        world.data.refresh(subscriber)

    world.data.join(subscriber)
    expiry = asyncio.get_running_loop().call_later(AUTH_SECONDS, expire)
    try:
        subscriber.send([status("connected", "Connected Successfully")])
        await outbox.converse(hear)
    finally:
        expiry.cancel()
        world.data.leave(subscriber)
        say(log, "polygon_stream_closed", process=subscriber.process or "outside")
    return socket
