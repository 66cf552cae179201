"""Alpaca's watchlists: named lists of symbols, kept as long as the market runs.

Source: Alpaca trading API 2.0.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from aiohttp import web

from liualgotrader.exchange.exchange_values import Refusal
from liualgotrader.simulator import shapes
from liualgotrader.simulator.market_loop import WORLD, World
from liualgotrader.simulator.order_requests import BAD_FIELD, body_of, text_in
from liualgotrader.simulator.wire import answer, rfc3339

routes = web.RouteTableDef()
_LONGEST_NAME = 64
_MOST_LISTS = 1000


@dataclass(slots=True)
class Watchlist:
    """One list: a name that no other one has, and symbols in the order in which they came."""

    id: str
    name: str
    symbols: list[str]
    created_at: int
    updated_at: int


LISTS: web.AppKey[dict[str, Watchlist]] = web.AppKey("watchlists")  # by id


@routes.get("/v2/watchlists")
async def list_watchlists(request: web.Request) -> web.Response:
    """Return all lists without their assets."""
    return answer([_body(request.app[WORLD], one) for one in request.app[LISTS].values()])


@routes.post("/v2/watchlists")
async def create_watchlist(request: web.Request) -> web.Response:
    """Make a list."""
    world, lists, body = request.app[WORLD], request.app[LISTS], await body_of(request)
    name, symbols = _name(lists, body), _symbols(world, body)
    if len(lists) >= _MOST_LISTS:
        raise Refusal(*BAD_FIELD, f"there are {_MOST_LISTS} watchlists already; delete one")
    made = Watchlist(str(uuid5(NAMESPACE_URL, f"watchlists/{name}/{world.now}")), name, symbols, world.now, world.now)
    lists[made.id] = made
    return _answer(world, made)


@routes.get("/v2/watchlists/{id}")
@routes.get("/v2/watchlists:by_name")
async def get_watchlist(request: web.Request) -> web.Response:
    """Return one list with its assets."""
    return _answer(request.app[WORLD], _found(request))


@routes.put("/v2/watchlists/{id}")
@routes.put("/v2/watchlists:by_name")
async def update_watchlist(request: web.Request) -> web.Response:
    """Give a list another name or other symbols; what is not named stays as it is."""
    world, one, body = request.app[WORLD], _found(request), await body_of(request)
    name = _name(request.app[LISTS], body) if body.get("name") not in (None, one.name) else one.name
    symbols = _symbols(world, body) if body.get("symbols") is not None else one.symbols
    one.name, one.symbols, one.updated_at = name, symbols, world.now
    return _answer(world, one)


@routes.post("/v2/watchlists/{id}")
@routes.post("/v2/watchlists:by_name")
async def add_to_watchlist(request: web.Request) -> web.Response:
    """Put a symbol at the end of a list."""
    world, one, body = request.app[WORLD], _found(request), await body_of(request)
    symbol = _symbols(world, {"symbols": [text_in(body, "symbol")]})[0]
    if symbol in one.symbols:
        raise Refusal(*BAD_FIELD, f"duplicate symbol: {symbol}")
    one.symbols, one.updated_at = [*one.symbols, symbol], world.now
    return _answer(world, one)


@routes.delete("/v2/watchlists/{id}/{symbol}")
async def remove_from_watchlist(request: web.Request) -> web.Response:
    """Take a symbol off a list."""
    world, one = request.app[WORLD], _found(request)
    symbol = world.symbols.symbol(request.match_info["symbol"])
    if symbol not in one.symbols:
        raise Refusal.not_found(f"asset not found for {symbol} in the watchlist")
    one.symbols, one.updated_at = [s for s in one.symbols if s != symbol], world.now
    return _answer(world, one)


@routes.delete("/v2/watchlists/{id}")
@routes.delete("/v2/watchlists:by_name")
async def delete_watchlist(request: web.Request) -> web.Response:
    """Forget a list."""
    del request.app[LISTS][_found(request).id]
    return web.Response(status=204)


def _found(request: web.Request) -> Watchlist:
    lists, name = request.app[LISTS], request.query.get("name", "")
    one = lists.get(request.match_info.get("id", "")) or next((x for x in lists.values() if x.name == name), None)
    if one is None:
        raise Refusal.not_found("watchlist not found")
    return one


def _name(lists: dict[str, Watchlist], body: dict[str, Any]) -> str:
    name = text_in(body, "name") or ""
    if not 0 < len(name) <= _LONGEST_NAME:
        raise Refusal(*BAD_FIELD, f"name must be 1 to {_LONGEST_NAME} characters")
    if any(one.name == name for one in lists.values()):
        raise Refusal(*BAD_FIELD, "watchlist name must be unique")
    return name


def _symbols(world: World, body: dict[str, Any]) -> list[str]:
    named = body.get("symbols") or []
    if not isinstance(named, list) or not all(isinstance(s, str) for s in named):
        raise Refusal(*BAD_FIELD, "symbols must be a list of strings")
    symbols = [world.symbols.symbol(s) for s in named]
    for symbol in symbols:
        if symbol not in world.symbols.terms:
            raise Refusal.invalid(f'asset "{symbol}" not found')
    return list(dict.fromkeys(symbols))


def _body(world: World, one: Watchlist) -> dict[str, Any]:
    return {
        "id": one.id,
        "account_id": shapes.account_uuid(world.account_id),
        "name": one.name,
        "created_at": rfc3339(one.created_at),
        "updated_at": rfc3339(one.updated_at),
    }


def _answer(world: World, one: Watchlist) -> web.Response:
    """Return a list with its assets."""
    assets = [shapes.asset_body(world.symbols.terms[symbol]) for symbol in one.symbols]
    return answer({**_body(world, one), "assets": assets})
