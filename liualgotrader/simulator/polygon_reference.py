"""Polygon's reference routes: tickers, splits, dividends, conditions, exchanges, the market's status and its holidays.

Source: Polygon's reference of the REST API for stocks. Splits and dividends are those that the tape knows up to its day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from aiohttp import web

from liualgotrader.common.calendar import UNSCHEDULED_CLOSURES, UNSCHEDULED_HALF_DAYS, day_of, session_of
from liualgotrader.simulator import polygon_shapes as shapes
from liualgotrader.simulator.market_loop import WORLD, World
from liualgotrader.simulator.polygon_access import bad, leaves, not_found, page, question_of, results
from liualgotrader.simulator.polygon_routes import market_status
from liualgotrader.simulator.wire import answer, new_york_text
from liualgotrader.tapes.splits import Dividend, Split

routes = web.RouteTableDef()

_HOLIDAYS = {1: "Martin Luther King, Jr. Day", 2: "Washington's Birthday", 3: "Good Friday", 4: "Good Friday"}
_HOLIDAYS |= {5: "Memorial Day", 6: "Juneteenth", 7: "Independence Day", 9: "Labor Day", 11: "Thanksgiving"}
_HOLIDAYS |= {12: "Christmas"}
_NEW_YEAR = ((1, 1), (1, 2), (12, 31))
_EXACT = (("type", "type"), ("market", "market"), ("exchange", "primary_exchange"))
_UNANNOUNCED = UNSCHEDULED_CLOSURES | UNSCHEDULED_HALF_DAYS  # nobody knew of them a year before
_AHEAD = timedelta(days=365)
_TYPES = {"CS": "Common Stock", "ETF": "Exchange Traded Fund", "ADRC": "American Depository Receipt Common"}


@routes.get("/v3/reference/tickers")
async def tickers(request: web.Request) -> web.Response:
    """Return one page of the market's symbols; they are all active stocks."""
    world, question = request.app[WORLD], question_of(request)
    rows = [
        row
        for symbol, terms in world.symbols.terms.items()
        if leaves(question, "ticker", symbol)
        for row in [shapes.ticker_row(terms)]
        if all(question.get(name) in (None, "", row[field]) for name, field in _EXACT)
        if (question.get("search") or "").lower() in f"{symbol} {row['name']}".lower()
    ]
    if (question.get("active") or "true").lower() == "false":
        rows = []
    if (sort := question.get("sort") or "ticker") not in ("ticker", "name", "primary_exchange", "type"):
        raise bad(f"sort is '{sort}', but it must be ticker, name, primary_exchange or type")
    rows.sort(key=lambda row: (row[sort], row["ticker"]))
    return page(request, range(len(rows)), rows.__getitem__, default=100, most=1000)


@routes.get("/v3/reference/tickers/types")
async def types(request: web.Request) -> web.Response:
    """Return what the types of tickers mean."""
    rows = [
        {"code": code, "description": text, "asset_class": "stocks", "locale": "us"} for code, text in _TYPES.items()
    ]
    return results(request, count=len(rows), results=rows)


@routes.get("/v3/reference/tickers/{ticker}")
async def details(request: web.Request) -> web.Response:
    """Return what is known of a symbol: its name and its exchange, nothing of the company."""
    terms = request.app[WORLD].symbols.terms.get(request.match_info["ticker"])
    if terms is None:
        raise not_found("Ticker not found.")
    return results(request, results=shapes.ticker_row(terms) | {"ticker_root": terms.symbol})


def _of(symbol: str, change: Split | Dividend) -> dict[str, Any]:
    """Return a split or a cash dividend as it is listed."""
    kind = type(change).__name__.lower()
    row: dict[str, Any] = {"id": uuid5(NAMESPACE_URL, f"simulated-market/{kind}s/{symbol}/{change.day}").hex}
    if isinstance(change, Split):
        new, old = (change.ratio, 1) if change.ratio >= 1 else (1, round(1 / change.ratio, 6))
        row |= {"execution_date": f"{change.day}", "split_from": old, "split_to": new}
    else:
        row |= {"ex_dividend_date": f"{change.day}", "cash_amount": change.amount, "currency": "USD"}
        row |= {"dividend_type": "CD", "frequency": 4}
    return row | {"ticker": symbol}


def _listed(request: web.Request, place: int, dated: str) -> web.Response:
    """Return one page of splits or dividends, the newest first unless `order` says otherwise."""
    world, question = request.app[WORLD], question_of(request)
    symbols = [symbol for symbol in world.symbols.terms if leaves(question, "ticker", symbol)]
    every = [_of(symbol, change) for symbol in symbols for change in world.history.actions(symbol)[place]]
    rows = sorted((r for r in every if leaves(question, dated, r[dated])), key=lambda r: (r[dated], r["ticker"]))
    return page(request, range(len(rows)), rows.__getitem__, default=10, most=1000, order="desc")


@routes.get("/v3/reference/splits")
async def splits(request: web.Request) -> web.Response:
    """Return one page of splits."""
    return _listed(request, 0, "execution_date")


@routes.get("/v3/reference/dividends")
async def dividends(request: web.Request) -> web.Response:
    """Return one page of dividends."""
    return _listed(request, 1, "ex_dividend_date")


@routes.get("/v3/reference/conditions")
async def conditions(request: web.Request) -> web.Response:
    """Return the sale conditions that the market's prints have."""
    question = question_of(request)
    rows = [shapes.condition_row(condition) for condition in shapes.CONDITIONS]
    wanted = [row for row in rows if question.get("id") in (None, "", str(row["id"]))]
    if (question.get("asset_class") or "stocks") != "stocks" or (question.get("data_type") or "trade") != "trade":
        wanted = []
    return page(request, range(len(wanted)), wanted.__getitem__, default=10, most=1000)


@routes.get("/v3/reference/exchanges")
async def exchanges(request: web.Request) -> web.Response:
    """Return the exchanges that the market's symbols trade on."""
    rows = [shapes.exchange_row(exchange) for exchange in shapes.EXCHANGES]
    if (request.query.get("asset_class") or "stocks") != "stocks" or (request.query.get("locale") or "us") != "us":
        rows = []
    return results(request, count=len(rows), results=rows)


@routes.get("/v1/marketstatus/now")
async def status(request: web.Request) -> web.Response:
    """Return whether the market is open at its own time."""
    world = request.app[WORLD]
    word = market_status(world)
    before = word == "extended-hours" and world.now < world.tape.opens_at
    body = {
        "market": word,
        "earlyHours": before,
        "afterHours": word == "extended-hours" and not before,
        "serverTime": new_york_text(world.now),
        "exchanges": dict.fromkeys(("nyse", "nasdaq", "otc"), word),
        "currencies": {"fx": "closed", "crypto": "closed"},  # the simulated market has none
    }
    return results(request, **body)


@routes.get("/v1/marketstatus/upcoming")
async def holidays(request: web.Request) -> web.Response:
    """Return the holidays and half days of the coming year: a bare list."""
    return answer(coming_holidays(request.app[WORLD]))


def coming_holidays(world: World) -> Sequence[dict[str, str]]:
    """Return each holiday and half day after today, once for each exchange."""
    today = day_of(world.now)
    found: list[dict[str, str]] = []
    for day in (today + timedelta(days=n) for n in range(1, _AHEAD.days + 1)):
        session = session_of(day)
        if day.weekday() > 4 or day in _UNANNOUNCED or (session is not None and session.minutes == 390):
            continue
        hours = {"status": "closed"}
        if session is not None:
            opens, closes = (new_york_text(at) for at in (session.opens_at, session.closes_at))
            hours = {"status": "early-close", "open": opens, "close": closes}
        found += [{"date": f"{day}", "exchange": e, "name": holiday_name(day), **hours} for e in ("NYSE", "NASDAQ")]
    return found


def holiday_name(day: date) -> str:
    """Return what a day without a whole session is named after."""
    return "New Years Day" if (day.month, day.day) in _NEW_YEAR else _HOLIDAYS.get(day.month, "Holiday")
