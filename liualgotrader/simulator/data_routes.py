"""Alpaca's market-data REST: history, latest, snapshots, reference tables. Nothing here lies ahead of the market.

Source: Alpaca market data API 1.1. Prints and quotes exist for the day that is played; bars for the tape's
whole past. `feed`, `adjustment`, `asof` and `currency` are accepted and change nothing: there is one feed,
and the tape's bars before its day are at the day's prices: adjusted for splits, not for dividends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from liualgotrader.common.events import Bar
from liualgotrader.exchange.exchange_values import Refusal
from liualgotrader.simulator.asset_codes import EXCHANGE_LETTERS
from liualgotrader.simulator.day_history import rows_between
from liualgotrader.simulator.market_shapes import (
    QUOTE_CONDITIONS,
    TRADE_CONDITIONS,
    BarRow,
    QuoteRow,
    TradePrint,
    bar_row,
    day_label,
    quote_row,
    trade_row,
)
from liualgotrader.simulator.order_requests import instant_in
from liualgotrader.simulator.paging import Rows, page
from liualgotrader.simulator.timeframes import Timeframe, timeframe_of
from liualgotrader.simulator.wire import answer, count, midnight_of, words
from liualgotrader.simulator.world import WORLD, World

BAD_REQUEST = (400, 40010000)
_DEFAULT_ROWS, _MOST_ROWS = 1000, 10_000


def add_routes(app: web.Application) -> None:
    """Serve market data."""
    route = app.router
    for kind, rows_of in (("bars", bar_rows), ("quotes", quote_rows), ("trades", trade_rows)):
        route.add_get(f"/v2/stocks/{kind}", _history_route(kind, rows_of))
    for kind, newest in (("bars", latest_bar), ("quotes", latest_quote), ("trades", latest_trade)):
        route.add_get(f"/v2/stocks/{kind}/latest", _latest_route(kind, newest))
    route.add_get("/v2/stocks/snapshots", snapshots)
    route.add_get("/v2/stocks/meta/conditions/{kind}", conditions)
    route.add_get("/v2/stocks/meta/exchanges", exchanges)


# --- history

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RowsOf = Callable[[World, web.Request, int, int], Callable[[str], Rows]]


def _history_route(kind: str, rows_of: RowsOf) -> Handler:
    async def history(request: web.Request) -> web.Response:
        world, query = request.app[WORLD], request.query
        start = instant_in(request, "start")
        end = instant_in(request, "end", last=True)
        first = midnight_of(world.now) if start is None else start
        last = world.now if end is None else min(end, world.now)
        sort = query.get("sort") or "asc"
        if sort not in ("asc", "desc"):
            raise Refusal(*BAD_REQUEST, f"invalid sort: {sort}")
        try:
            found, token = page(
                _symbols(request),
                rows_of(world, request, first, last),
                limit=_limit(request),
                descending=sort == "desc",
                token=query.get("page_token") or None,
            )
        except ValueError as e:
            raise Refusal(*BAD_REQUEST, str(e)) from e
        return answer({kind: found, "next_page_token": token})

    return history


def _symbols(request: web.Request) -> list[str]:
    symbols = [s.upper() for s in words(request.query.get("symbols"))]
    if not symbols:
        raise Refusal(*BAD_REQUEST, "symbols is required")
    return symbols


def _limit(request: web.Request) -> int:
    text = request.query.get("limit")
    if not text:
        return _DEFAULT_ROWS
    found = count(text)
    if found is None or not 1 <= found <= _MOST_ROWS:
        raise Refusal(*BAD_REQUEST, f"limit must be between 1 and {_MOST_ROWS}")
    return found


class _Bars:
    """Bars by their label."""

    def __init__(self, bars: Sequence[Bar]) -> None:
        self._bars = {b.opened_at: b for b in bars}

    def places(self) -> list[int]:
        return list(self._bars)

    def row(self, place: int) -> BarRow:
        return bar_row(self._bars[place])


def bar_rows(world: World, request: web.Request, start: int, end: int) -> Callable[[str], Rows]:
    """Return the bars of the timeframe that a request names. ValueError if there is no such timeframe."""
    timeframe: Timeframe = timeframe_of(request.query.get("timeframe") or "")
    return lambda symbol: _Bars(world.history.bars(symbol, timeframe, start, end))


class _Ticks:
    """Ticks by their place in the day."""

    def __init__(self, places: range, row: Callable[[int], object]) -> None:
        self._places, self.row = places, row

    def places(self) -> range:
        return self._places


def trade_rows(world: World, request: web.Request, start: int, end: int) -> Callable[[str], Rows]:
    """Return today's prints."""

    def rows_of(symbol: str) -> Rows:
        ticks, venue = world.record.trades(symbol), world.symbols.venue(symbol)
        return _Ticks(rows_between(ticks.at, start, end), lambda i: trade_row(ticks.get(symbol, i), i + 1, venue))

    return rows_of


def quote_rows(world: World, request: web.Request, start: int, end: int) -> Callable[[str], Rows]:
    """Return today's quotes."""

    def rows_of(symbol: str) -> Rows:
        ticks, venue = world.record.quotes(symbol), world.symbols.venue(symbol)
        return _Ticks(rows_between(ticks.at, start, end), lambda i: quote_row(ticks.get(symbol, i), venue))

    return rows_of


# --- latest


def _latest_route(kind: str, newest: Callable[[World, str], object]) -> Handler:
    async def latest(request: web.Request) -> web.Response:
        world = request.app[WORLD]
        found = {symbol: newest(world, symbol) for symbol in _symbols(request)}
        return answer({kind: {symbol: row for symbol, row in found.items() if row is not None}})

    return latest


def latest_bar(world: World, symbol: str) -> BarRow | None:
    """Return the newest closed minute bar of today."""
    bar = world.history.last_minute(symbol)
    return None if bar is None else bar_row(bar)


def latest_quote(world: World, symbol: str) -> QuoteRow | None:
    """Return the newest quote of today."""
    ticks = world.record.quotes(symbol)
    return quote_row(ticks.get(symbol, len(ticks) - 1), world.symbols.venue(symbol)) if len(ticks) else None


def latest_trade(world: World, symbol: str) -> TradePrint | None:
    """Return the newest print of today that counts for the last price."""
    number = world.record.last_trade(symbol)
    if number is None:
        return None
    return trade_row(world.record.trades(symbol).get(symbol, number - 1), number, world.symbols.venue(symbol))


async def snapshots(request: web.Request) -> web.Response:
    """Return the newest figures of each symbol; null for symbols that the market does not have."""
    world = request.app[WORLD]
    return answer({s: _snapshot(world, s) if s in world.symbols else None for s in _symbols(request)})


def _snapshot(world: World, symbol: str) -> dict[str, object]:
    return {
        "latestTrade": latest_trade(world, symbol),
        "latestQuote": latest_quote(world, symbol),
        "minuteBar": latest_bar(world, symbol),
        "dailyBar": _day_row(world.history.today(symbol)),
        "prevDailyBar": _day_row(world.history.previous_day(symbol)),
    }


def _day_row(bar: Bar | None) -> BarRow | None:
    return None if bar is None else bar_row(bar, day_label(bar))


# --- reference


async def conditions(request: web.Request) -> web.Response:
    """Return what the condition codes of prints or quotes mean."""
    tables = {"trade": TRADE_CONDITIONS, "quote": QUOTE_CONDITIONS}
    table = tables.get(request.match_info["kind"])
    if table is None:
        raise Refusal(*BAD_REQUEST, "invalid ticktype: trade or quote is expected")
    return answer(table)


async def exchanges(request: web.Request) -> web.Response:
    """Return what the exchange letters mean."""
    return answer(EXCHANGE_LETTERS)
