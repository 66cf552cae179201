"""Our own routes under `/_sim`: clock, status, and control of time, cash and faults.

They need the token from the runtime folder (`X-LIU-Token`) and refuse a foreign Host or Origin.
"""

from __future__ import annotations

from aiohttp import web

from liualgotrader.common.clock import machine_now
from liualgotrader.exchange.exchange_values import Refusal
from liualgotrader.simulator.faults import DROP_WEBSOCKETS, MUTES, NAMES
from liualgotrader.simulator.market_loop import MARKET, WORLD
from liualgotrader.simulator.order_requests import BAD_FIELD, body_of, number_of, text_in
from liualgotrader.simulator.shapes import activity_body
from liualgotrader.simulator.wire import answer, failure, rfc3339

routes = web.RouteTableDef()


@routes.get("/_sim/clock")
async def clock(request: web.Request) -> web.Response:
    """Return market = market0 + speed * (machine - machine0), ns, for processes that cannot map the page."""
    world, anchor = request.app[WORLD], request.app[MARKET].anchor()
    return answer(
        {
            "market": world.now,
            "market0": anchor.market0,
            "machine0": anchor.machine0,
            "speed": anchor.speed,
            "machine": machine_now(),
        }
    )


@routes.get("/_sim/status")
async def status(request: web.Request) -> web.Response:
    """Return the market's figures as they stand."""
    world, market = request.app[WORLD], request.app[MARKET]
    figures = {
        "market": world.now,
        "time": rfc3339(world.now),
        "standing": market.is_standing,
        "ended": market.ended.is_set(),
        "waiting_for": market.waiting_for,
        "events": world.record.events,
        "orders": world.orders_taken,
        "data_connections": len(world.data.members),
        "order_streams": len(world.updates.members),
        "faults": world.faults.pending(),
        "muted": world.data.muted or world.updates.muted,
    }
    return answer(figures)


@routes.post("/_sim/stop")
async def stop(request: web.Request) -> web.StreamResponse:
    """Stop the market."""
    request.app[MARKET].stop()
    return await status(request)


@routes.post("/_sim/resume")
async def resume(request: web.Request) -> web.StreamResponse:
    """Let the market go on."""
    request.app[MARKET].resume()
    return await status(request)


@routes.post("/_sim/run_until")
async def run_until(request: web.Request) -> web.StreamResponse:
    """Let the market go on to `{"at": ns}`, stand there, and answer then."""
    at = (await body_of(request)).get("at")
    if not isinstance(at, int):
        raise Refusal(*BAD_FIELD, "at must be an instant in ns")
    await request.app[MARKET].run_until(at)
    return await status(request)


@routes.post("/_sim/activities")
async def move_cash(request: web.Request) -> web.Response:
    """Let cash come in or go out: `{"activity_type": "CSW", "amount": "-6000"}`, also with `symbol` and `description`."""
    world, body = request.app[WORLD], await body_of(request)
    kind, amount = text_in(body, "activity_type") or "", number_of(body, "amount")
    if amount is None or not kind.isalpha() or kind == "FILL":
        raise Refusal(*BAD_FIELD, "activity_type must be a word such as CSD, CSW, DIV or FEE, and amount a number")
    moved = world.exchange.move_cash(
        world.account_id,
        kind,
        amount,
        world.now,
        symbol=text_in(body, "symbol") or "",
        description=text_in(body, "description") or "",
    )
    return answer(activity_body(moved))


@routes.post("/_sim/faults/{name}")
async def fault(request: web.Request) -> web.StreamResponse:
    """Switch a fault: `{"count": n}` for request faults, `{"on": bool}` for mutes, nothing for the others."""
    world, name = request.app[WORLD], request.match_info["name"]
    body = await body_of(request)
    if name not in NAMES:
        return failure(404, 40410000, f"no fault named {name}; there are {', '.join(NAMES)}")
    if name in MUTES:
        on = body.get("on", True) is True
        if name != "mute_updates":
            world.data.mute(muted=on)
        if name != "mute_data":
            world.updates.mute(muted=on)
    elif name == DROP_WEBSOCKETS:
        world.data.drop_all()
        world.updates.drop_all()
    else:
        count = body.get("count", 1)
        if not isinstance(count, int):
            raise Refusal(*BAD_FIELD, "count must be a number")
        world.faults.add(name, count)
    return await status(request)
