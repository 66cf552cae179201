"""Alpaca's market-data REST: history, latest, snapshots, reference tables. Nothing here lies ahead of the market.

Source: Alpaca market data API 1.1. Prints and quotes exist for the day that is played; bars for the tape's
whole past. `feed`, `adjustment`, `asof` and `currency` are accepted and change nothing: there is one feed,
and the tape's bars before its day are at the day's prices: adjusted for splits, not for dividends.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import partial

from aiohttp import web

from liualgotrader.exchange.exchange_values import Refusal
from liualgotrader.simulator import shapes
from liualgotrader.simulator.asset_codes import EXCHANGE_LETTERS
from liualgotrader.simulator.day_history import rows_between, timeframe_of
from liualgotrader.simulator.market_loop import WORLD, World
from liualgotrader.simulator.order_requests import instant_in
from liualgotrader.simulator.wire import answer, count, midnight_of, words

BAD_REQUEST = (400, 40010000)
_DEFAULT_ROWS, _MOST_ROWS = 1000, 10_000
routes = web.RouteTableDef()


# --- history

Rows = tuple[Sequence[int], Callable[[int], object]]
"""The places of a symbol's rows, integers that ascend with time, and what makes the row at a place."""


@routes.get("/v2/stocks/{kind:bars|quotes|trades}")
async def history(request: web.Request) -> web.Response:
    """Return one page of the rows between `start` and `end`, both included."""
    world, query, kind = request.app[WORLD], request.query, request.match_info["kind"]
    start, end = instant_in(request, "start"), instant_in(request, "end", last=True)
    first = midnight_of(world.now) if start is None else start
    last = world.now if end is None else min(end, world.now)
    sort = query.get("sort") or "asc"
    if sort not in ("asc", "desc"):
        raise Refusal(*BAD_REQUEST, f"invalid sort: {sort}")
    limit = count(query.get("limit") or str(_DEFAULT_ROWS))
    if limit is None or not 1 <= limit <= _MOST_ROWS:
        raise Refusal(*BAD_REQUEST, f"limit must be between 1 and {_MOST_ROWS}")
    try:
        rows = {"bars": bar_rows, "quotes": quote_rows, "trades": trade_rows}[kind]
        rows_of = partial(rows, world, request, first, last)
        token = query.get("page_token") or None
        found, following = page(_symbols(request), rows_of, limit=limit, descending=sort == "desc", token=token)
    except ValueError as e:
        raise Refusal(*BAD_REQUEST, str(e)) from e
    return answer({kind: found, "next_page_token": following})


@routes.get("/v1/corporate-actions")
async def corporate_actions(request: web.Request) -> web.Response:
    """Return none: the bars of the tape's past are at the prices of its day."""
    return answer({"corporate_actions": {}, "next_page_token": None})


def _symbols(request: web.Request) -> list[str]:
    symbols = [s.upper() for s in words(request.query.get("symbols"))]
    if not symbols:
        raise Refusal(*BAD_REQUEST, "symbols is required")
    return symbols


def bar_rows(world: World, request: web.Request, start: int, end: int, symbol: str) -> Rows:
    """Return the bars of the timeframe that a request names. ValueError if there is no such timeframe."""
    timeframe = timeframe_of(request.query.get("timeframe") or "")
    bars = {bar.opened_at: bar for bar in world.history.bars(symbol, timeframe, start, end)}
    return list(bars), lambda at: shapes.bar_row(bars[at])


def trade_rows(world: World, request: web.Request, start: int, end: int, symbol: str) -> Rows:
    """Return today's prints."""
    ticks, venue = world.record.trades(symbol), world.symbols.venue(symbol)
    return rows_between(ticks.at, start, end), lambda i: shapes.trade_row(ticks.get(symbol, i), i + 1, venue)


def quote_rows(world: World, request: web.Request, start: int, end: int, symbol: str) -> Rows:
    """Return today's quotes."""
    ticks, venue = world.record.quotes(symbol), world.symbols.venue(symbol)
    return rows_between(ticks.at, start, end), lambda i: shapes.quote_row(ticks.get(symbol, i), venue)


def page(
    symbols: Sequence[str], rows_of: Callable[[str], Rows], *, limit: int, descending: bool, token: str | None
) -> tuple[dict[str, list[object]], str | None]:
    """Return one page as rows by symbol, and the token of the next one, None if there is none.

    Rows are ordered by symbol, then time, `limit` in all. A token names a symbol and the place in it where the next
    page begins. Places do not move when new rows come, so no row is lost or repeated at a page's edge, equal times
    included.

    Raises:
        ValueError: if the token is none of ours.
    """
    first_symbol, first_place = "", None
    if token:
        try:
            first_symbol, _, place_text = base64.urlsafe_b64decode(token.encode()).decode().rpartition("|")
            first_place = int(place_text)
        except ValueError as e:
            raise ValueError("invalid page_token") from e
    found: dict[str, list[object]] = {}
    left = limit
    for symbol in sorted(set(symbols)):
        if symbol < first_symbol:
            continue
        places, row = rows_of(symbol)
        wanted = places[::-1] if descending else places
        if symbol == first_symbol and first_place is not None:
            edge = first_place
            wanted = [p for p in wanted if (p <= edge if descending else p >= edge)]
        if wanted and left:
            found[symbol] = [row(place) for place in wanted[:left]]
        if len(wanted) > left:
            return found, base64.urlsafe_b64encode(f"{symbol}|{wanted[left]}".encode()).decode()
        left -= len(wanted)
    return found, None


# --- latest


@routes.get("/v2/stocks/{kind:bars|quotes|trades}/latest")
async def latest(request: web.Request) -> web.Response:
    """Return the newest row of each symbol that has one."""
    world, kind = request.app[WORLD], request.match_info["kind"]
    newest = {"bars": latest_bar, "quotes": latest_quote, "trades": latest_trade}[kind]
    rows = {symbol: newest(world, symbol) for symbol in _symbols(request)}
    return answer({kind: {symbol: row for symbol, row in rows.items() if row is not None}})


def latest_bar(world: World, symbol: str) -> shapes.BarRow | None:
    """Return the newest closed minute bar of today."""
    bar = world.record.minutes.last_bar(symbol)
    return None if bar is None else shapes.bar_row(bar)


def latest_quote(world: World, symbol: str) -> shapes.QuoteRow | None:
    """Return the newest quote of today."""
    ticks = world.record.quotes(symbol)
    return shapes.quote_row(ticks.get(symbol, len(ticks) - 1), world.symbols.venue(symbol)) if len(ticks) else None


def latest_trade(world: World, symbol: str) -> shapes.TradePrint | None:
    """Return the newest print of today that counts for the last price."""
    number = world.record.last_trade.get(symbol)
    if number is None:
        return None
    return shapes.trade_row(world.record.trades(symbol).get(symbol, number - 1), number, world.symbols.venue(symbol))


@routes.get("/v2/stocks/snapshots")
async def snapshots(request: web.Request) -> web.Response:
    """Return the newest figures of each symbol; null for symbols that the market does not have."""
    world = request.app[WORLD]
    found: dict[str, object] = dict.fromkeys(_symbols(request))
    for symbol in found:
        if symbol in world.symbols.terms:
            today, yesterday = world.record.day_bar(symbol), world.history.previous_day(symbol)
            found[symbol] = {
                "latestTrade": latest_trade(world, symbol),
                "latestQuote": latest_quote(world, symbol),
                "minuteBar": latest_bar(world, symbol),
                "dailyBar": today and shapes.bar_row(today, shapes.day_label(today)),
                "prevDailyBar": yesterday and shapes.bar_row(yesterday, shapes.day_label(yesterday)),
            }
    return answer(found)


# --- reference


@routes.get("/v2/stocks/meta/conditions/{kind}")
async def conditions(request: web.Request) -> web.Response:
    """Return what the condition codes of prints or quotes mean."""
    table = {"trade": shapes.TRADE_CONDITIONS, "quote": shapes.QUOTE_CONDITIONS}.get(request.match_info["kind"])
    if table is None:
        raise Refusal(*BAD_REQUEST, "invalid ticktype: trade or quote is expected")
    return answer(table)


@routes.get("/v2/stocks/meta/exchanges")
async def exchanges(request: web.Request) -> web.Response:
    """Return what the exchange letters mean."""
    return answer(EXCHANGE_LETTERS)
