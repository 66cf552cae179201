"""Alpaca's trading REST: orders and positions.

Source: Alpaca trading API 2.0.1. A request is checked at the market's present time and takes effect one
latency later; what it causes at once is on the order stream before the answer is.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from liualgotrader.exchange.exchange_values import HeldPosition, OrderView, Refusal
from liualgotrader.simulator import order_requests as form
from liualgotrader.simulator.market_loop import MARKET, WORLD, World
from liualgotrader.simulator.shapes import order_body, position_body
from liualgotrader.simulator.wire import answer, flag, words

routes = web.RouteTableDef()
MOST_ORDERS = 500
EVERY_ORDER = 10**9
_CANCELS_LOOK_SECONDS = 0.005
_CANCELS_WAIT_LOOKS = 400


# --- orders


@routes.post("/v2/orders")
async def submit_order(request: web.Request) -> web.Response:
    """Accept an order."""
    world = request.app[WORLD]
    order = world.submit(form.order_request(await form.body_of(request)))
    world.send_updates()
    return answer(order_body(order))


@routes.get("/v2/orders")
async def list_orders(request: web.Request) -> web.Response:
    """Return orders by submission time, the newest first unless `direction=asc`."""
    world, query = request.app[WORLD], request.query
    limit = form.count_in(request, "limit", 50, MOST_ORDERS)
    nested = flag(query.get("nested"))
    edges = ("after_order_id", "before_order_id")
    found = world.exchange.orders(
        world.account_id,
        status=form.word_in(request, "status", ("open", "closed", "all"), "open"),
        after=form.instant_in(request, "after"),
        until=form.instant_in(request, "until"),
        symbols=[s.upper() for s in words(query.get("symbols"))],
        side=form.word_in(request, "side", ("", "buy", "sell")) or None,
        limit=EVERY_ORDER if any(query.get(name) for name in edges) else limit,
        direction=form.word_in(request, "direction", ("asc", "desc"), "desc"),
        nested=nested,
    )
    after, before = (
        _submission(world.exchange.order(world.account_id, query[name])) if query.get(name) else None for name in edges
    )
    if after or before:  # equal times go by client id
        found = [
            order
            for order in found
            if (not after or _submission(order) > after) and (not before or _submission(order) < before)
        ][:limit]
    return answer([order_body(order, nested=nested) for order in found])


def _submission(order: OrderView) -> tuple[int, str]:
    return order.submitted_at, order.client_order_id


@routes.get("/v2/orders/{order_id}")
async def get_order(request: web.Request) -> web.Response:
    """Return one order; its legs if `nested`."""
    world = request.app[WORLD]
    order = world.exchange.order(world.account_id, request.match_info["order_id"])
    return answer(order_body(order, nested=flag(request.query.get("nested"))))


@routes.get("/v2/orders:by_client_order_id")
async def order_by_client_id(request: web.Request) -> web.Response:
    """Return the order with the caller's own id."""
    world = request.app[WORLD]
    client_order_id = request.query.get("client_order_id", "")
    return answer(order_body(world.exchange.order_by_client_id(world.account_id, client_order_id)))


@routes.patch("/v2/orders/{order_id}")
async def replace_order(request: web.Request) -> web.Response:
    """Ask for other terms; the answer is the new order."""
    world = request.app[WORLD]
    changes = form.replacement(await form.body_of(request))
    order = world.exchange.replace(world.account_id, request.match_info["order_id"], world.now, changes)
    world.send_updates()
    return answer(order_body(order))


@routes.delete("/v2/orders/{order_id}")
async def cancel_order(request: web.Request) -> web.Response:
    """Ask for cancellation."""
    world = request.app[WORLD]
    world.exchange.cancel(world.account_id, request.match_info["order_id"], world.now)
    world.send_updates()
    return web.Response(status=204)


@routes.delete("/v2/orders")
async def cancel_all_orders(request: web.Request) -> web.Response:
    """Ask for cancellation of every open order."""
    world = request.app[WORLD]
    results = world.exchange.cancel_all(world.account_id, world.now)
    world.send_updates()
    return answer([{"id": r.order_id, "status": r.status} for r in results], 207)


# --- positions


@routes.get("/v2/positions")
async def list_positions(request: web.Request) -> web.Response:
    """Return what the account holds."""
    world = request.app[WORLD]
    return answer([position_body(p) for p in world.exchange.positions(world.account_id)])


@routes.get("/v2/positions/{symbol}")
async def get_position(request: web.Request) -> web.Response:
    """Return one position, by symbol or asset id."""
    world = request.app[WORLD]
    return answer(position_body(_position(world, request)))


@routes.delete("/v2/positions/{symbol}")
async def close_position(request: web.Request) -> web.Response:
    """Send a market order that closes a position, or `qty` or `percentage` of it."""
    world, query = request.app[WORLD], request.query
    order = form.closing_order(_position(world, request), query.get("qty"), query.get("percentage"))
    view = world.submit(order)
    world.send_updates()
    return answer(order_body(view))


@routes.delete("/v2/positions")
async def close_all_positions(request: web.Request) -> web.Response:
    """Send a market order for every position, after asking for cancellation of all orders if `cancel_orders`.

    Cancellations need market time to take effect. Where time does not wait for requests they are waited for (2 s
    of machine time at most); in a held session they cannot be, so shares that orders hold are answered with 403.
    """
    world = request.app[WORLD]
    if flag(request.query.get("cancel_orders")):
        world.exchange.cancel_all(world.account_id, world.now)
        world.send_updates()
        for _ in range(0 if request.app[MARKET].held else _CANCELS_WAIT_LOOKS):
            if not world.exchange.orders(world.account_id, status="open", limit=1):
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(world.closing.wait(), _CANCELS_LOOK_SECONDS)
    results: list[dict[str, object]] = []
    for position in world.exchange.positions(world.account_id):
        try:
            order = world.submit(form.closing_order(position, None, None))
        except Refusal as refusal:
            error = {"code": refusal.code, "message": refusal.message, "symbol": position.symbol, **refusal.extra}
            results.append({"symbol": position.symbol, "status": refusal.status, "body": error})
        else:
            results.append({"symbol": position.symbol, "status": 200, "body": order_body(order)})
    world.send_updates()
    return answer(results, 207)


def _position(world: World, request: web.Request) -> HeldPosition:
    return world.exchange.position(world.account_id, world.symbols.symbol(request.match_info["symbol"]))
