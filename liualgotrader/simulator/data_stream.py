"""The data websocket `/v2/iex` and `/v2/sip`: handshake, time-out, and one conversation a connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiohttp import WSMsgType, web

from liualgotrader.common.tlog import say
from liualgotrader.simulator.client_outbox import MAX_QUEUED_BYTES, ClientOutbox, converse, transport_of, websocket
from liualgotrader.simulator.data_hub import Subscriber
from liualgotrader.simulator.stream_codec import MSGPACK_TYPE, Codec, codec_for
from liualgotrader.simulator.subscriptions import StreamSession, error
from liualgotrader.simulator.world import WORLD, World

log = logging.getLogger(__name__)

AUTH_SECONDS = 10.0  # machine time
PROCESS_HEADER = "X-LIU-Process"
KEY_HEADER, SECRET_HEADER = "APCA-API-KEY-ID", "APCA-API-SECRET-KEY"


def add_routes(app: web.Application) -> None:
    """Serve the two stock feeds; both carry the same tape."""
    app.router.add_get("/v2/iex", serve)
    app.router.add_get("/v2/sip", serve)


async def serve(request: web.Request) -> web.WebSocketResponse:
    """Talk to one client of the data stream until it goes away."""
    world = request.app[WORLD]
    socket = websocket()
    await socket.prepare(request)
    codec = codec_for(request.headers.get("Content-Type", ""))
    limit = int(world.spec.options.get("outgoing_limit_bytes", MAX_QUEUED_BYTES))
    outbox = ClientOutbox(socket, transport_of(request), binary=codec.binary, limit=limit)
    outbox.refuse_slow_client_with(codec.frame([codec.piece(error(407))]))
    session = StreamSession(world.keys, admit=_admission(world), symbol_limit=_option(world, "symbol_limit"))
    subscriber = Subscriber(session, codec, outbox, request.headers.get(PROCESS_HEADER, ""))
    world.data.join(subscriber)
    world.connections.add(outbox)
    try:
        subscriber.send(session.open(request.headers.get(KEY_HEADER), request.headers.get(SECRET_HEADER)))
        world.data.heard_from(subscriber)
        await converse(outbox, _converse(world, socket, subscriber))
    finally:
        world.data.leave(subscriber)
        world.connections.discard(outbox)
    return socket


def _admission(world: World) -> Callable[[], bool]:
    limit = _option(world, "connection_limit")

    def admit() -> bool:
        used = sum(s.session.authenticated for s in world.data.subscribers)
        return not limit or used < limit

    return admit


def _option(world: World, name: str) -> int:
    return int(world.spec.options.get(name, 0))


async def _converse(world: World, socket: web.WebSocketResponse, subscriber: Subscriber) -> None:
    session, outbox = subscriber.session, subscriber.outbox
    expiry = asyncio.get_running_loop().call_later(AUTH_SECONDS, _expire, subscriber)
    try:
        async for message in socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            subscriber.send(session.receive(_read(subscriber.codec, message.data)))
            world.data.heard_from(subscriber)
            if session.close_code is not None:
                outbox.close(session.close_code)
            if session.authenticated:
                expiry.cancel()
    finally:
        expiry.cancel()
    say(log, "data_stream_closed", process=subscriber.process or "outside")


def _read(codec: Codec, data: str | bytes) -> object:
    """Return what a client said, None if it cannot be read; a text frame is JSON whatever was agreed."""
    try:
        if isinstance(data, str):
            return codec_for("").read(data.encode())
        return codec.read(data) if codec.binary else codec_for(MSGPACK_TYPE).read(data)
    except ValueError:
        return None


def _expire(subscriber: Subscriber) -> None:
    if not subscriber.session.authenticated:
        subscriber.send(subscriber.session.expire())
        subscriber.outbox.close(subscriber.session.close_code or 1008)
