"""The websockets: the data stream of each feed, and the order stream `/stream`.

Like the vendor's paper service the order stream sends binary frames that hold JSON; the option
`updates_frames = "text"` sends text as the live service does, and a handshake with
`Content-Type: application/msgpack` gets msgpack.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import WSMessage, WSMsgType, web

from liualgotrader.common.tlog import say
from liualgotrader.simulator import subscriptions as protocol
from liualgotrader.simulator.client_outbox import MAX_QUEUED_BYTES, ClientOutbox, websocket
from liualgotrader.simulator.market_loop import WORLD
from liualgotrader.simulator.stream_hubs import SIP_DELAY, Listener, Subscriber

log = logging.getLogger(__name__)

AUTH_SECONDS = 10.0  # machine time
PROCESS_HEADER = "X-LIU-Process"
_DOWN = "the fault script lets nobody connect"


routes = web.RouteTableDef()


def _read(message: WSMessage, *, msgpack: bool) -> object:
    """Return what a client says, None if it cannot be read."""
    codec = protocol.MSGPACK if msgpack and message.type is WSMsgType.BINARY else protocol.JSON
    try:
        return codec.read(message.data.encode() if isinstance(message.data, str) else message.data)
    except ValueError:
        return None


@routes.get("/v2/{feed:iex|sip|delayed_sip|test}")
async def serve_data(request: web.Request) -> web.WebSocketResponse:
    """Serve one client of the data stream until the connection ends.

    `iex` and `sip` carry the same tape, `delayed_sip` a quarter of an hour later, `test` a symbol of its own.
    """
    world, options, headers = request.app[WORLD], request.app[WORLD].spec.options, request.headers
    if world.data.down:
        raise web.HTTPServiceUnavailable(reason=_DOWN)
    socket = websocket()
    await socket.prepare(request)
    codec = protocol.codec_for(headers.get("Content-Type", ""))
    limit = int(options.get("outgoing_limit_bytes", MAX_QUEUED_BYTES))
    outbox = ClientOutbox(socket, request.transport, binary=codec.binary, limit=limit)
    outbox.overflow_frame = codec.frame([codec.piece(protocol.error(407))])
    feed = request.match_info["feed"]
    hub = world.practice.hub if feed == "test" else world.data
    most = int(options.get("connection_limit", 0))
    session = protocol.StreamSession(
        world.keys,
        admit=lambda: (
            not most or sum(s.session.authenticated for s in hub.members if s.codec in protocol.CODECS) < most
        ),
        symbol_limit=int(options.get("symbol_limit", 0)),
    )
    process = headers.get(PROCESS_HEADER, "") if feed in ("iex", "sip") else ""
    subscriber = Subscriber(session, codec, outbox, process, SIP_DELAY if feed == "delayed_sip" else 0)

    def expire() -> None:
        if not session.authenticated:
            subscriber.send(session.expire())

    def hear(message: WSMessage) -> None:
        # A text frame is JSON and a binary one msgpack, whatever the handshake agreed on.
        subscriber.send(session.receive(_read(message, msgpack=True)))
        hub.refresh(subscriber)

    hub.join(subscriber)
    expiry = asyncio.get_running_loop().call_later(AUTH_SECONDS, expire)
    try:
        subscriber.send(session.open(headers.get(protocol.KEY_HEADER), headers.get(protocol.SECRET_HEADER)))
        hub.refresh(subscriber)
        await outbox.converse(hear)
    finally:
        expiry.cancel()
        hub.leave(subscriber)
        say(log, "data_stream_closed", process=subscriber.process or "outside")
    return socket


@routes.get("/stream")
async def serve_updates(request: web.Request) -> web.WebSocketResponse:
    """Serve one client of the order stream until the connection ends."""
    world = request.app[WORLD]
    if world.updates.down:
        raise web.HTTPServiceUnavailable(reason=_DOWN)
    socket = websocket()
    await socket.prepare(request)
    msgpack = protocol.codec_for(request.headers.get("Content-Type", "")) is protocol.MSGPACK
    binary = msgpack or world.spec.options.get("updates_frames", "binary") != "text"
    outbox = ClientOutbox(socket, request.transport, binary=binary)
    listener = Listener(world.keys, outbox, msgpack=msgpack)

    def hear(message: WSMessage) -> None:
        listened = listener.listens
        listener.send(listener.receive(_read(message, msgpack=msgpack)))
        if listener.listens and not listened:
            world.updates.began_to_listen(listener)

    world.updates.join(listener)
    try:
        await outbox.converse(hear)
    finally:
        world.updates.leave(listener)
        say(log, "order_stream_closed")
    return socket
