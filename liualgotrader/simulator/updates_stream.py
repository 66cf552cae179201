"""The order stream `/stream`: authenticate, listen, and trade_updates as they happen.

Like the vendor's paper service it sends binary frames that hold JSON; the option `updates_frames = "text"`
sends text as the live service does, and a handshake with `Content-Type: application/msgpack` gets msgpack.
"""

from __future__ import annotations

import logging

from aiohttp import WSMsgType, web

from liualgotrader.common.tlog import say
from liualgotrader.simulator.client_outbox import ClientOutbox, converse, transport_of, websocket
from liualgotrader.simulator.stream_codec import JSON, MSGPACK, MSGPACK_TYPE
from liualgotrader.simulator.updates_hub import Listener
from liualgotrader.simulator.world import WORLD, World

log = logging.getLogger(__name__)


def add_routes(app: web.Application) -> None:
    """Serve the order stream."""
    app.router.add_get("/stream", serve)


async def serve(request: web.Request) -> web.WebSocketResponse:
    """Talk to one client of the order stream until it goes away."""
    world = request.app[WORLD]
    socket = websocket()
    await socket.prepare(request)
    msgpack = request.headers.get("Content-Type", "").lower().startswith(MSGPACK_TYPE)
    binary = msgpack or world.spec.options.get("updates_frames", "binary") != "text"
    outbox = ClientOutbox(socket, transport_of(request), binary=binary)
    listener = Listener(world.keys, outbox, msgpack=msgpack)
    world.updates.join(listener)
    world.connections.add(outbox)
    try:
        await converse(outbox, _converse(world, socket, listener))
    finally:
        world.updates.leave(listener)
        world.connections.discard(outbox)
    return socket


async def _converse(world: World, socket: web.WebSocketResponse, listener: Listener) -> None:
    async for message in socket:
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            break
        listened = listener.listens
        listener.send(listener.receive(_read(message.data, msgpack=listener.msgpack)))
        if listener.listens and not listened:
            world.updates.began_to_listen(listener)
    say(log, "order_stream_closed")


def _read(data: str | bytes, *, msgpack: bool) -> object:
    try:
        if msgpack and isinstance(data, bytes):
            return MSGPACK.read(data)
        return JSON.read(data.encode() if isinstance(data, str) else data)
    except ValueError:
        return None
