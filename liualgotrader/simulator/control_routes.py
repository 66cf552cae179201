"""Our own routes under `/_sim`: clock, status, and control of time, cash and faults.

They need the token from the runtime folder (`X-LIU-Token`) and refuse a foreign Host or Origin.
"""

from __future__ import annotations

from aiohttp import web

from liualgotrader.common.clock import machine_now
from liualgotrader.common.money import ZERO
from liualgotrader.exchange.exchange_values import Refusal
from liualgotrader.simulator.faults import DROP_WEBSOCKETS, MUTES, NAMES
from liualgotrader.simulator.market_loop import MARKET, WORLD
from liualgotrader.simulator.order_requests import BAD_FIELD, body_of, number_of, text_in
from liualgotrader.simulator.shapes import activity_body, conditions_of
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


@routes.post("/_sim/corrections")
async def correct(request: web.Request) -> web.Response:
    """Correct a print: `{"symbol": "ABC", "id": 7, "price": 10.5, "size": 100}`, or cancel it where `size` is missing or 0.

    Clients get the correction and the updated bar of its minute; what has traded at the print stays.
    """
    world, body = request.app[WORLD], await body_of(request)
    symbol, number = text_in(body, "symbol") or "", body.get("id")
    ticks = world.record.trades(symbol)
    if not isinstance(number, int) or not 1 <= number <= len(ticks):
        raise Refusal(*BAD_FIELD, f"id must be that of a print of {symbol} that has been: 1 to {len(ticks)}")
    price, size = number_of(body, "price"), number_of(body, "size") or ZERO
    if size < 0 or (size and (price is None or price <= 0)):
        raise Refusal(*BAD_FIELD, "price must be above 0, and size 0 or more")
    old, letter = ticks.get(symbol, number - 1), world.symbols.venue(symbol).letter
    bar = world.record.correct(symbol, number, float(price or 0), float(size))
    new = ticks.get(symbol, number - 1)
    was, now = ({"i": number, "p": t.price, "s": t.size, "c": conditions_of(t.flags, t.size)} for t in (old, new))
    if size:
        prints = {f"o{name}": value for name, value in was.items()} | {f"c{name}": value for name, value in now.items()}
        world.data.notice("trades", "c", symbol, world.now, x=letter, **prints)
    else:
        world.data.notice("trades", "x", symbol, world.now, x=letter, i=number, p=old.price, s=old.size, a="C")
    if bar is not None:
        world.data.updated_bar(bar)
    world.data.flush(world.now)
    return answer({"symbol": symbol, "id": number})


@routes.post("/_sim/lulds")
async def set_price_band(request: web.Request) -> web.Response:
    """Tell clients a price band: `{"symbol": "ABC", "up": 10.5, "down": 9.5}`; it binds no order."""
    world, body = request.app[WORLD], await body_of(request)
    symbol, up, down = text_in(body, "symbol") or "", number_of(body, "up"), number_of(body, "down")
    if symbol not in world.symbols.terms or up is None or down is None or not 0 < down < up:
        raise Refusal(*BAD_FIELD, "symbol must be one of the market's, and down above 0 and below up")
    indicator = text_in(body, "indicator") or "B"
    world.data.notice("lulds", "l", symbol, world.now, u=float(up), d=float(down), i=indicator)
    world.data.flush(world.now)
    return answer({"symbol": symbol})


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
        world.practice.hub.drop_all()
    else:
        count = body.get("count", 1)
        if not isinstance(count, int):
            raise Refusal(*BAD_FIELD, "count must be a number")
        world.faults.add(name, count)
    return await status(request)
