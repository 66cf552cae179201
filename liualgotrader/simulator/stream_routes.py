"""The websockets: the data stream `/v2/iex` and `/v2/sip`, and the order stream `/stream`.

Like the vendor's paper service the order stream sends binary frames that hold JSON; the option
`updates_frames = "text"` sends text as the live service does, and a handshake with
`Content-Type: application/msgpack` gets msgpack.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import WSMsgType, web

from liualgotrader.common.tlog import say
from liualgotrader.simulator.client_outbox import MAX_QUEUED_BYTES, ClientOutbox, converse, websocket
from liualgotrader.simulator.data_hub import Subscriber
from liualgotrader.simulator.stream_codec import JSON, MSGPACK, MSGPACK_TYPE, Codec, codec_for
from liualgotrader.simulator.subscriptions import KEY_HEADER, SECRET_HEADER, StreamSession, error
from liualgotrader.simulator.updates_hub import Listener
from liualgotrader.simulator.world import WORLD, World

log = logging.getLogger(__name__)

AUTH_SECONDS = 10.0  # machine time
PROCESS_HEADER = "X-LIU-Process"


def add_routes(app: web.Application) -> None:
    """Serve both streams; the two stock feeds carry the same tape."""
    app.router.add_get("/v2/iex", serve_data)
    app.router.add_get("/v2/sip", serve_data)
    app.router.add_get("/stream", serve_updates)


# --- the data stream


async def serve_data(request: web.Request) -> web.WebSocketResponse:
    """Serve one client of the data stream until the connection ends."""
    world, options = request.app[WORLD], request.app[WORLD].spec.options
    socket = websocket()
    await socket.prepare(request)
    codec = codec_for(request.headers.get("Content-Type", ""))
    limit = int(options.get("outgoing_limit_bytes", MAX_QUEUED_BYTES))
    outbox = ClientOutbox(socket, request.transport, binary=codec.binary, limit=limit)
    outbox.overflow_frame = codec.frame([codec.piece(error(407))])
    most = int(options.get("connection_limit", 0))
    session = StreamSession(
        world.keys,
        admit=lambda: not most or sum(s.session.authenticated for s in world.data.members) < most,
        symbol_limit=int(options.get("symbol_limit", 0)),
    )
    subscriber = Subscriber(session, codec, outbox, request.headers.get(PROCESS_HEADER, ""))
    world.data.join(subscriber)
    world.connections.add(outbox)
    try:
        subscriber.send(session.open(request.headers.get(KEY_HEADER), request.headers.get(SECRET_HEADER)))
        world.data.refresh(subscriber)
        await converse(outbox, _data_conversation(world, socket, subscriber))
    finally:
        world.data.leave(subscriber)
        world.connections.discard(outbox)
    return socket


async def _data_conversation(world: World, socket: web.WebSocketResponse, subscriber: Subscriber) -> None:
    session, outbox = subscriber.session, subscriber.outbox

    def expire() -> None:
        if not session.authenticated:
            subscriber.send(session.expire())
            outbox.close(session.close_code or 1008)

    expiry = asyncio.get_running_loop().call_later(AUTH_SECONDS, expire)
    try:
        async for message in socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            # A text frame is JSON and a binary one msgpack, whatever the handshake agreed on.
            subscriber.send(session.receive(_read(MSGPACK if message.type is WSMsgType.BINARY else JSON, message.data)))
            world.data.refresh(subscriber)
            if session.close_code is not None:
                outbox.close(session.close_code)
            if session.authenticated:
                expiry.cancel()
    finally:
        expiry.cancel()
    say(log, "data_stream_closed", process=subscriber.process or "outside")


def _read(codec: Codec, data: str | bytes) -> object:
    """Return a client's message, None if it cannot be read."""
    try:
        return codec.read(data.encode() if isinstance(data, str) else data)
    except ValueError:
        return None


# --- the order stream


async def serve_updates(request: web.Request) -> web.WebSocketResponse:
    """Serve one client of the order stream until the connection ends."""
    world = request.app[WORLD]
    socket = websocket()
    await socket.prepare(request)
    msgpack = request.headers.get("Content-Type", "").lower().startswith(MSGPACK_TYPE)
    binary = msgpack or world.spec.options.get("updates_frames", "binary") != "text"
    outbox = ClientOutbox(socket, request.transport, binary=binary)
    listener = Listener(world.keys, outbox, msgpack=msgpack)
    world.updates.join(listener)
    world.connections.add(outbox)
    try:
        await converse(outbox, _updates_conversation(world, socket, listener))
    finally:
        world.updates.leave(listener)
        world.connections.discard(outbox)
    return socket


async def _updates_conversation(world: World, socket: web.WebSocketResponse, listener: Listener) -> None:
    async for message in socket:
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            break
        listened = listener.listens
        is_msgpack = listener.msgpack and message.type is WSMsgType.BINARY
        listener.send(listener.receive(_read(MSGPACK if is_msgpack else JSON, message.data)))
        if listener.listens and not listened:
            world.updates.began_to_listen(listener)
    say(log, "order_stream_closed")
