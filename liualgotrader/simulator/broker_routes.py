"""Alpaca's Broker API about the market's one account: orders, positions, activities, and the events of its orders.

The handlers are those of the trading API. Source: Alpaca Broker API 1.1: trading for an account, account activities,
trade events (server-sent).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from liualgotrader.common.tlog import say
from liualgotrader.simulator import account_routes, trading_routes
from liualgotrader.simulator.client_outbox import ClientOutbox
from liualgotrader.simulator.market_loop import WORLD
from liualgotrader.simulator.shapes import account_uuid
from liualgotrader.simulator.stream_hubs import Listener
from liualgotrader.simulator.wire import answer, failure

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ACTIVITIES = "/account/activities"
_OF_THE_FIRM = ("/v2/clock", "/v2/calendar", "/v2/assets")  # the same whichever account is asked about
routes = web.RouteTableDef()


def of_account(handler: Handler) -> Handler:
    """Return the handler for requests that name the market's account, in the path or the query."""

    async def checked(request: web.Request) -> web.StreamResponse:
        named = request.match_info.get("account_id") or request.query.get("account_id")
        if named != account_uuid(request.app[WORLD].account_id):
            return failure(404, 40410000, f"account not found for {named}")
        return await handler(request)

    return checked


async def list_activities(request: web.Request) -> web.Response:
    """Return the account's activities, with the account that each is of."""
    told: Any = await account_routes.list_activities(request)
    whose = {"account_id": account_uuid(request.app[WORLD].account_id)}
    rows = msgspec.json.decode(told.body)
    return answer([{**row, **whose} for row in rows])


for route in (*trading_routes.routes, *account_routes.routes):
    if isinstance(route, web.RouteDef):
        path, handler = route.path, route.handler
        if path.startswith(_OF_THE_FIRM):
            routes.route(route.method, path.replace("/v2", "/v1", 1))(handler)
        elif path.startswith(f"/v2{ACTIVITIES}"):
            routes.get(path.replace(f"/v2{ACTIVITIES}", "/v1/accounts/activities", 1))(of_account(list_activities))
        else:
            routes.route(route.method, path.replace("/v2", "/v1/trading/accounts/{account_id}", 1))(of_account(handler))


class EventSocket:
    """What an outbox sends through: an answer that goes on, where it expects a websocket."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response

    async def send_bytes(self, frame: bytes) -> None:
        """Send a frame."""
        await self._response.write(frame)


class EventListener(Listener):
    """One connection of the events, in their form: the update and whose it is, as a line of data."""

    account_id = ""

    def send(self, message: object) -> bool:
        """Queue an update."""
        assert isinstance(message, dict)
        body: dict[str, Any] = {"account_id": self.account_id, **message["data"]}
        return self.outbox.put(b"data: " + msgspec.json.encode(body) + b"\n\n")


@routes.get("/v1/events/trades")
async def serve_events(request: web.Request) -> web.StreamResponse:
    """Send what happens to orders from now on, until the connection ends."""
    world, response = request.app[WORLD], web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    socket: Any = EventSocket(response)
    listener = EventListener(world.keys, ClientOutbox(socket, request.transport, binary=True))
    listener.listens, listener.account_id = True, account_uuid(world.account_id)
    await response.prepare(request)
    world.updates.join(listener)
    world.updates.began_to_listen(listener)
    listener.outbox.put(b":listening\n\n")
    try:
        await listener.outbox.run()
    finally:
        world.updates.leave(listener)
        say(log, "event_stream_closed")
    return response
