"""Alpaca's market-data REST: history, latest, snapshots, reference tables. Nothing here lies ahead of the market.

Source: Alpaca market data API 1.1. Prints and quotes exist for the day that is played; bars for the tape's
whole past. The feeds `sip` and `iex` carry the same tape; what is newest comes from `delayed_sip` a quarter of an hour
late. `adjustment` takes out of the past what the tape's files know up to its day, nothing unless it is asked for.
"""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from aiohttp import web
from msgspec import UNSET

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import Counts
from liualgotrader.exchange.exchange_values import Refusal
from liualgotrader.simulator import shapes
from liualgotrader.simulator.asset_codes import EXCHANGE_LETTERS
from liualgotrader.simulator.day_history import rows_between, timeframe_of
from liualgotrader.simulator.market_loop import WORLD, World
from liualgotrader.simulator.order_requests import instant_in
from liualgotrader.simulator.stream_hubs import SIP_DELAY
from liualgotrader.simulator.wire import answer, count, midnight_of, words

BAD_REQUEST = (400, 40010000)
_DEFAULT_ROWS, _MOST_ROWS = 1000, 10_000
_FEEDS = ("sip", "iex")
_ADJUSTMENTS = {  # what each word takes out; no spin-off is known
    "raw": (),
    "split": ("split",),
    "dividend": ("dividend",),
    "spin-off": (),
    "all": ("split", "dividend"),
}
routes = web.RouteTableDef()


# --- history

Rows = tuple[Sequence[int], Callable[[int], object]]
"""The places of a symbol's rows, integers that ascend with time, and what makes the row at a place."""


@routes.get("/v2/stocks/{kind:bars|quotes|trades}")
@routes.get("/v2/stocks/{symbol}/{kind:bars|quotes|trades}")
async def history(request: web.Request) -> web.Response:
    """Return one page of the rows between `start` and `end`, both included."""
    world, query, kind = request.app[WORLD], request.query, request.match_info["kind"]
    _check_question(world, query)
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
    if (symbol := _only_symbol(request)) is not None:
        return answer({kind: found.get(symbol, []), "symbol": symbol, "next_page_token": following})
    return answer({kind: found, "next_page_token": following})


def _check_question(world: World, query: Mapping[str, str], feeds: Sequence[str] = _FEEDS) -> None:
    """Raise `Refusal` for a feed, a currency or a date of names that this market does not have."""
    if (feed := query.get("feed") or feeds[0]) not in feeds:
        raise Refusal(*BAD_REQUEST, f"invalid feed: {feed}; served here: {', '.join(feeds)}")
    if (currency := query.get("currency") or "USD") != "USD":
        raise Refusal(*BAD_REQUEST, f"invalid currency: {currency}; prices are in USD")
    if (asof := query.get("asof") or "-") not in ("-", day := world.tape.day.isoformat()):
        raise Refusal(*BAD_REQUEST, f"invalid asof: {asof}; symbols are known by their names of {day} alone")


def _only_symbol(request: web.Request) -> str | None:
    """Return the symbol of an address that is about one, None of any other."""
    named = request.match_info.get("symbol")
    return None if named is None else named.upper()


def _symbols(request: web.Request) -> list[str]:
    if (symbol := _only_symbol(request)) is not None:
        return [symbol]
    symbols = [s.upper() for s in words(request.query.get("symbols"))]
    if not symbols:
        raise Refusal(*BAD_REQUEST, "symbols is required")
    return symbols


def bar_rows(world: World, request: web.Request, start: int, end: int, symbol: str) -> Rows:
    """Return the bars of the timeframe that a request names. ValueError if there is no such timeframe."""
    timeframe = timeframe_of(request.query.get("timeframe") or "")
    kinds = words(request.query.get("adjustment")) or ["raw"]
    if not set(kinds) <= set(_ADJUSTMENTS):
        raise ValueError(f"invalid adjustment: {','.join(kinds)}")
    taken_out = {change for kind in kinds for change in _ADJUSTMENTS[kind]}
    bars = {bar.opened_at: bar for bar in world.history.bars(symbol, timeframe, start, end, taken_out)}
    return list(bars), lambda at: shapes.bar_row(bars[at])


def trade_rows(world: World, request: web.Request, start: int, end: int, symbol: str) -> Rows:
    """Return today's prints."""
    ticks, venue, changed = world.record.trades(symbol), world.symbols.venue(symbol), world.record.changed

    def row(place: int) -> shapes.TradePrint:
        found = shapes.trade_row(ticks.get(symbol, place), place + 1, venue)
        found.u = changed.get((symbol, place + 1), UNSET)
        return found

    return rows_between(ticks.at, start, end), row


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
@routes.get("/v2/stocks/{symbol}/{kind:bars|quotes|trades}/latest")
async def latest(request: web.Request) -> web.Response:
    """Return the newest row of each symbol that has one; of the feed `delayed_sip` as it was a quarter of an hour ago."""
    world, kind = request.app[WORLD], request.match_info["kind"]
    _check_question(world, request.query, (*_FEEDS, "delayed_sip"))
    at = world.now - (SIP_DELAY if request.query.get("feed") == "delayed_sip" else 0)
    newest = {"bars": latest_bar, "quotes": latest_quote, "trades": latest_trade}[kind]
    rows = {symbol: row for symbol in _symbols(request) if (row := newest(world, symbol, at)) is not None}
    if (symbol := _only_symbol(request)) is None:
        return answer({kind: rows})
    if not rows:
        raise Refusal.not_found(f"no {kind[:-1]} found for {symbol}")
    return answer({"symbol": symbol, kind[:-1]: rows[symbol]})


def latest_bar(world: World, symbol: str, at: int) -> shapes.BarRow | None:
    """Return the newest minute bar of today that had closed."""
    bars = world.record.minutes.bars(symbol, 0, at - MINUTE + 1)
    return shapes.bar_row(bars[-1]) if bars else None


def latest_quote(world: World, symbol: str, at: int) -> shapes.QuoteRow | None:
    """Return the newest quote of today."""
    ticks = world.record.quotes(symbol)
    row = bisect_right(ticks.at, at) - 1
    return None if row < 0 else shapes.quote_row(ticks.get(symbol, row), world.symbols.venue(symbol))


def latest_trade(world: World, symbol: str, at: int) -> shapes.TradePrint | None:
    """Return the newest print of today that counts for the last price."""
    ticks, number = world.record.trades(symbol), world.record.last_trade.get(symbol, 0)
    if number and ticks.at[number - 1] > at:
        earlier = range(bisect_right(ticks.at, at), 0, -1)
        number = next((n for n in earlier if ticks.flags[n - 1] & int(Counts.LAST)), 0)
    return shapes.trade_row(ticks.get(symbol, number - 1), number, world.symbols.venue(symbol)) if number else None


@routes.get("/v2/stocks/snapshots")
@routes.get("/v2/stocks/{symbol}/snapshot")
async def snapshots(request: web.Request) -> web.Response:
    """Return the newest figures of each symbol; null for symbols that the market does not have."""
    world = request.app[WORLD]
    _check_question(world, request.query)
    found: dict[str, dict[str, object] | None] = dict.fromkeys(_symbols(request))
    for symbol in found:
        if symbol in world.symbols.terms:
            today, yesterday = world.record.day_bar(symbol), world.history.previous_day(symbol)
            found[symbol] = {
                "latestTrade": latest_trade(world, symbol, world.now),
                "latestQuote": latest_quote(world, symbol, world.now),
                "minuteBar": latest_bar(world, symbol, world.now),
                "dailyBar": today and shapes.bar_row(today, shapes.day_label(today)),
                "prevDailyBar": yesterday and shapes.bar_row(yesterday, shapes.day_label(yesterday)),
            }
    if (only := _only_symbol(request)) is None:
        return answer(found)
    if (snapshot := found[only]) is None:
        raise Refusal.not_found(f"no snapshot found for {only}")
    return answer({"symbol": only, **snapshot})


@routes.get("/v2/stocks/auctions")
async def auctions(request: web.Request) -> web.Response:
    """Return the prints of today's auctions between `start` and `end`; none of symbols in whose prints they are not marked."""
    world = request.app[WORLD]
    _check_question(world, request.query)
    start, end = instant_in(request, "start") or 0, instant_in(request, "end", last=True) or world.now
    found: dict[str, list[object]] = {}
    for symbol in _symbols(request):
        ticks = world.record.trades(symbol)
        prints = {
            kind: [ticks.get(symbol, row) for row in rows_between(ticks.at, start, end) if ticks.flags[row] & int(mark)]
            for kind, mark in (("o", Counts.OPENING_CROSS), ("c", Counts.CLOSING_CROSS))
        }
        if any(prints.values()):
            letter = world.symbols.venue(symbol).letter
            rows = {kind: [shapes.auction_print(one, letter) for one in some] for kind, some in prints.items()}
            found[symbol] = [{"d": world.tape.day.isoformat(), **rows}]
    return answer({"auctions": found, "next_page_token": None})


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
