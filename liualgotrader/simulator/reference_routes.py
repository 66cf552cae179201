"""What a client may ask besides prices and orders: splits and dividends, the day's movers, news, and what is not served.

Source: Alpaca market data API 1.1 and trading API 2.0.1. Splits and dividends are those that the tape's files know up to
its day. There is no news. Options are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from aiohttp import web

from liualgotrader.common.calendar import day_of
from liualgotrader.common.clock import DAY
from liualgotrader.exchange.exchange_values import Refusal
from liualgotrader.simulator.market_loop import WORLD, World
from liualgotrader.simulator.order_requests import BAD_FIELD, count_in, instant_in, word_in
from liualgotrader.simulator.wire import answer, failure, rfc3339, words
from liualgotrader.tapes.splits import Dividend, Split

routes = web.RouteTableDef()
_KINDS = (  # as a request names them; an answer has an s at the end
    *("forward_split", "reverse_split", "unit_split", "stock_dividend", "cash_dividend", "spin_off", "cash_merger"),
    *("stock_merger", "stock_and_cash_merger", "redemption", "name_change", "worthless_removal", "rights_distribution"),
)
_ANNOUNCED = ("dividend", "merger", "spinoff", "split")
_LONGEST_SEARCH = 90 * DAY
_NO_OPTIONS = (501, 50110000, "options are not traded on this simulated market, stocks are")


# --- splits and dividends


def _id(symbol: str, change: Split | Dividend) -> str:
    return str(uuid5(NAMESPACE_URL, f"simulated-market/actions/{symbol}/{type(change).__name__}/{change.day}"))


def _kind(change: Split | Dividend) -> str:
    if isinstance(change, Dividend):
        return "cash_dividend"
    return "forward_split" if change.ratio > 1 else "reverse_split"


def _rates(split: Split) -> dict[str, float]:
    """Return how many new shares come for how many old ones."""
    new, old = (split.ratio, 1.0) if split.ratio > 1 else (1.0, round(1 / split.ratio, 9))
    return {"new_rate": new, "old_rate": old}


def _changes(world: World, symbols: list[str], first: date, last: date) -> Iterator[tuple[str, Split | Dividend]]:
    """Yield the splits and dividends from one day to another, both included, by symbol."""
    for symbol in symbols or world.symbols.terms:
        splits, dividends = world.history.actions(symbol)
        changes: list[Split | Dividend] = [*splits, *dividends]
        yield from ((symbol, change) for change in changes if first <= change.day <= last)


@routes.get("/v1/corporate-actions")
async def corporate_actions(request: web.Request) -> web.Response:
    """Return splits and cash dividends by their ex-date; a page ends after `limit` of them. CUSIPs are not known."""
    world, query = request.app[WORLD], request.query
    kinds, ids, limit = words(query.get("types")), words(query.get("ids")), count_in(request, "limit", 100, 1000)
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        raise Refusal(400, 40010000, f"invalid types: {', '.join(unknown)}")
    descending = word_in(request, "sort", ("asc", "desc"), "asc") == "desc"
    first, last = (_day(request, name, world) for name in ("start", "end"))
    symbols = [s.upper() for s in words(query.get("symbols"))]
    wanted = [
        (symbol, change)
        for symbol, change in _changes(world, symbols, *((date.min, date.max) if ids else (first, last)))
        if (not kinds or _kind(change) in kinds) and (not ids or _id(symbol, change) in ids) and not query.get("cusips")
    ]
    wanted.sort(key=lambda one: (one[1].day, one[0], _kind(one[1])), reverse=descending)
    edge = count_in(request, "page_token", 0, max(len(wanted), 1))
    found: dict[str, list[dict[str, Any]]] = {}
    for symbol, change in wanted[edge : edge + limit]:
        found.setdefault(f"{_kind(change)}s", []).append(_action(symbol, change))
    following = str(edge + limit) if edge + limit < len(wanted) else None
    return answer({"corporate_actions": found, "next_page_token": following})


def _day(request: web.Request, name: str, world: World) -> date:
    at = instant_in(request, name)
    return world.tape.day if at is None else day_of(at)


def _action(symbol: str, change: Split | Dividend) -> dict[str, Any]:
    day = change.day.isoformat()
    body: dict[str, Any] = {"id": _id(symbol, change), "symbol": symbol, "process_date": day, "ex_date": day}
    if isinstance(change, Dividend):
        return {**body, "cusip": "", "rate": change.amount, "special": False, "foreign": False}
    names = ("cusip",) if change.ratio > 1 else ("old_cusip", "new_cusip")
    return {**body, **_rates(change), **dict.fromkeys(names, "")}


@routes.get("/v2/corporate_actions/announcements")
async def announcements(request: web.Request) -> web.Response:
    """Return the same as the older endpoint does, from `since` to `until`, at most 90 days."""
    world, query = request.app[WORLD], request.query
    kinds, since, until = words(query.get("ca_types")), instant_in(request, "since"), instant_in(request, "until")
    if not kinds or since is None or until is None:
        raise Refusal(*BAD_FIELD, "ca_types, since and until are required")
    if unknown := [kind for kind in kinds if kind not in _ANNOUNCED]:
        raise Refusal(*BAD_FIELD, f"invalid ca_types: {', '.join(unknown)}")
    if not 0 <= until - since <= _LONGEST_SEARCH:
        raise Refusal(*BAD_FIELD, "until must lie up to 90 days after since")
    symbols = [s.upper() for s in words(query.get("symbol"))]
    found = [] if query.get("cusip") else _changes(world, symbols, day_of(since), day_of(until))
    rows = [_announcement(symbol, change) for symbol, change in found]
    return answer([row for row in rows if row["ca_type"] in kinds])


@routes.get("/v2/corporate_actions/announcements/{id}")
async def announcement(request: web.Request) -> web.Response:
    """Return one of them."""
    name = request.match_info["id"]
    for symbol, change in _changes(request.app[WORLD], [], date.min, date.max):
        if _id(symbol, change) == name:
            return answer(_announcement(symbol, change))
    return failure(404, 40410000, f"announcement not found for {name}")


def _announcement(symbol: str, change: Split | Dividend) -> dict[str, Any]:
    day, is_split = change.day.isoformat(), isinstance(change, Split)
    return {
        "id": _id(symbol, change),
        "corporate_action_id": _id(symbol, change),
        "ca_type": "split" if is_split else "dividend",
        "ca_sub_type": "cash" if not isinstance(change, Split) else _SPLIT_WORDS[change.ratio > 1],
        "initiating_symbol": symbol,
        "initiating_original_cusip": "",
        "target_symbol": symbol,
        "target_original_cusip": "",
        "declaration_date": None,
        "ex_date": day,
        "record_date": None,
        "payable_date": None,
        "cash": str(change.amount) if isinstance(change, Dividend) else "0",
        **({name: str(rate) for name, rate in _rates(change).items()} if isinstance(change, Split) else _ONE_TO_ONE),
    }


_SPLIT_WORDS = {True: "stock_split", False: "reverse_split"}
_ONE_TO_ONE = {"old_rate": "1", "new_rate": "1"}


# --- the day's movers


@routes.get("/v1beta1/screener/stocks/most-actives")
async def most_actives(request: web.Request) -> web.Response:
    """Return the symbols with the largest volume, or number of trades, of today so far."""
    world = request.app[WORLD]
    by, top = word_in(request, "by", ("volume", "trades"), "volume"), count_in(request, "top", 10, 100)
    days = [bar for symbol in world.symbols.terms if (bar := world.record.day_bar(symbol)) is not None]
    days.sort(key=lambda bar: (-(bar.volume if by == "volume" else bar.count), bar.symbol))
    rows = [{"symbol": bar.symbol, "volume": bar.volume, "trade_count": bar.count} for bar in days[:top]]
    return answer({"most_actives": rows, "last_updated": rfc3339(world.now)})


@routes.get("/v1beta1/screener/{market:stocks|crypto}/movers")
async def movers(request: web.Request) -> web.Response:
    """Return the symbols that have risen and fallen most since the close before, in percent."""
    world, market = request.app[WORLD], request.match_info["market"]
    if market == "crypto":
        return failure(501, 50110000, "crypto is not traded on this simulated market, stocks are")
    top = count_in(request, "top", 10, 50)
    rows = [row for symbol in world.symbols.terms if (row := _move(world, symbol)) is not None]
    rows.sort(key=lambda row: (-row["percent_change"], row["symbol"]))
    gainers = [row for row in rows if row["percent_change"] > 0][:top]
    losers = [row for row in reversed(rows) if row["percent_change"] < 0][:top]
    return answer({"gainers": gainers, "losers": losers, "market_type": market, "last_updated": rfc3339(world.now)})


def _move(world: World, symbol: str) -> dict[str, Any] | None:
    number, before = world.record.last_trade.get(symbol), world.history.previous_day(symbol)
    if number is None or before is None or before.close <= 0:
        return None
    price = world.record.trades(symbol).price[number - 1]
    change = price - before.close
    percent = round(change / before.close * 100, 2)
    return {"symbol": symbol, "price": price, "change": round(change, 4), "percent_change": percent}


# --- what there is nothing of


@routes.get("/v1beta1/news")
async def news(request: web.Request) -> web.Response:
    """Return none: a tape carries no news."""
    return answer({"news": [], "next_page_token": None})


@routes.get("/v2/options/contracts")
@routes.get("/v2/options/contracts/{symbol}")
@routes.post("/v2/positions/{symbol}/exercise")
async def options(request: web.Request) -> web.Response:
    """Refuse what is about options."""
    return failure(*_NO_OPTIONS)
