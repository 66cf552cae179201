"""Alpaca's trading REST: the account, its activities and history, assets, clock and calendar.

Source: Alpaca trading API 2.0.1.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from datetime import date, timedelta
from decimal import Decimal

import msgspec
from aiohttp import web

from liualgotrader.common.calendar import day_of, new_york, session_at_or_after, sessions
from liualgotrader.common.clock import HOUR, MINUTE, SECOND, as_datetime
from liualgotrader.common.errors import ConfigError
from liualgotrader.exchange.exchange_values import Activity, CashActivity, Refusal
from liualgotrader.simulator import shapes
from liualgotrader.simulator.market_loop import WORLD, World
from liualgotrader.simulator.order_requests import BAD_FIELD, body_of, count_in, instant_in, word_in
from liualgotrader.simulator.wire import MIDNIGHT, answer, failure, flag, midnight_of, new_york_text, words

_SWITCHES = ("no_shorting", "suspend_trade", "fractional_trading")
_TIMEFRAMES = {"1Min": MINUTE, "5Min": 5 * MINUTE, "15Min": 15 * MINUTE, "1H": HOUR, "1D": 24 * HOUR}
_SETTLEMENT_DAYS = 1  # T+1 since 2024-05-28
_PERIOD = re.compile(r"\d{1,4}[DWMAY]")
routes = web.RouteTableDef()
_FIRST_OF_CALENDAR, _LAST_OF_CALENDAR = date(1998, 1, 1), date(2050, 12, 24)


# --- account


@routes.get("/v2/account")
async def get_account(request: web.Request) -> web.Response:
    """Return the account's figures."""
    world = request.app[WORLD]
    return answer(shapes.account_body(world.exchange.account(world.account_id)))


@routes.get("/v2/account/configurations")
async def get_configuration(request: web.Request) -> web.Response:
    """Return what the account's owner may switch."""
    world = request.app[WORLD]
    return answer(shapes.configuration_body(world.exchange.settings(world.account_id)))


@routes.patch("/v2/account/configurations")
async def set_configuration(request: web.Request) -> web.Response:
    """Switch it; `null` and what is not named stay as they are."""
    world = request.app[WORLD]
    body, old = await body_of(request), world.exchange.settings(world.account_id)
    multiplier = str(body.get("max_margin_multiplier") or old.max_margin_multiplier)
    if multiplier not in ("1", "2", "4"):
        raise Refusal(*BAD_FIELD, f"invalid max_margin_multiplier: {multiplier}")
    named = {name: body[name] for name in _SWITCHES if body.get(name) is not None}
    for name, value in named.items():
        if not isinstance(value, bool):
            raise Refusal(*BAD_FIELD, f"{name} must be a boolean")
    settings = msgspec.structs.replace(old, max_margin_multiplier=int(multiplier), **named)
    world.exchange.configure(world.account_id, settings)
    return answer(shapes.configuration_body(settings))


@routes.get("/v2/account/portfolio/history")
async def portfolio_history(request: web.Request) -> web.Response:
    """Return equity over the day that is played; nothing is known of the days before, whatever the period."""
    world, query = request.app[WORLD], request.query
    timeframe = word_in(request, "timeframe", _TIMEFRAMES, "1D")
    hours = word_in(request, "intraday_reporting", ("market_hours", "extended_hours", "continuous"), "market_hours")
    word_in(request, "pnl_reset", ("per_day", "no_reset"), "per_day")
    if not _PERIOD.fullmatch(query.get("period") or "1M"):
        raise Refusal(*BAD_FIELD, f"invalid period: {query['period']}")
    start, last = instant_in(request, "start") or 0, instant_in(request, "date_end", last=True) or world.now
    end = min(instant_in(request, "end", last=True) or last, last, world.now)
    if timeframe != "1D" and hours == "market_hours" and not flag(query.get("extended_hours")):
        start, end = max(start, world.tape.opens_at), min(end, world.tape.closes_at)
    points = world.equity.points(start, end, _TIMEFRAMES[timeframe])
    base = world.exchange.account(world.account_id).last_equity
    gains = [equity - base for _, equity in points]
    return answer(
        {
            "timestamp": [second for second, _ in points],
            "equity": [float(round(equity, 2)) for _, equity in points],
            "profit_loss": [float(round(gain, 2)) for gain in gains],
            "profit_loss_pct": [float(round(gain / base, 6)) if base else 0.0 for gain in gains],
            "base_value": float(round(base, 2)),
            "base_value_asof": world.tape.day.isoformat(),
            "timeframe": timeframe,
            "cashflow": _cashflow(world, words(query.get("cashflow_types")), [second for second, _ in points]),
        }
    )


def _cashflow(world: World, kinds: list[str], seconds: list[int]) -> dict[str, list[float]]:
    """Return by kind how much cash moved up to each point and after the one before; `ALL` are all kinds."""
    found: dict[str, list[float]] = {}
    for moved in world.exchange.cash_activities(world.account_id) if seconds else ():
        if moved.activity_type in kinds or "ALL" in kinds:
            amounts = found.setdefault(moved.activity_type, [0.0] * len(seconds))
            place = min(bisect_left(seconds, moved.at // SECOND), len(seconds) - 1)
            amounts[place] = float(round(Decimal(str(amounts[place])) + moved.amount, 2))
    return found


@routes.get("/v2/account/activities")
@routes.get("/v2/account/activities/{activity_type}")
async def list_activities(request: web.Request) -> web.Response:
    """Return fills and what moved cash; the newest first unless `direction=asc`. The id of the last one is the next `page_token`."""
    world, query = request.app[WORLD], request.query
    size = count_in(request, "page_size", 100, 100)
    direction = word_in(request, "direction", ("asc", "desc"), "desc")
    day = instant_in(request, "date")
    if day is None:
        after, until = instant_in(request, "after"), instant_in(request, "until")
    else:
        first = midnight_of(day)
        after, until = first - 1, new_york(day_of(first) + timedelta(days=1), MIDNIGHT)
    fills = world.exchange.activities(world.account_id, after=after, until=until)
    cash = world.exchange.cash_activities(world.account_id, after=after, until=until)
    every: list[Activity | CashActivity] = [*fills, *cash]
    named = request.match_info.get("activity_type")
    types = {named} if named else set(words(query.get("activity_types")))
    category = word_in(request, "category", ("", "trade_activity", "non_trade_activity")) or None
    if types:
        every = [a for a in every if a.activity_type in types]
    elif category is not None:
        every = [a for a in every if (category == "trade_activity") is (a.activity_type == "FILL")]
    every.sort(key=lambda a: a.at)
    if direction == "desc":
        every.reverse()
    ids = [activity.id for activity in every]
    token = query.get("page_token") or None
    if token is not None and token not in ids:
        raise Refusal(*BAD_FIELD, f"invalid page_token: {token}; it is the id of the last activity of the page before")
    first = 0 if token is None else ids.index(token) + 1
    return answer([shapes.activity_body(a) for a in every[first : first + size]])


# --- assets


@routes.get("/v2/assets")
async def list_assets(request: web.Request) -> web.Response:
    """Return what can be traded."""
    world, query = request.app[WORLD], request.query
    if query.get("status", "active") != "active" or query.get("asset_class", "us_equity") != "us_equity":
        return answer([])
    if words(query.get("attributes")):
        return answer([])
    exchange = query.get("exchange")
    return answer([shapes.asset_body(t) for t in world.symbols.terms.values() if exchange in (None, "", t.exchange)])


@routes.get("/v2/assets/{symbol}")
async def get_asset(request: web.Request) -> web.Response:
    """Return one asset, by symbol or id."""
    world = request.app[WORLD]
    name = request.match_info["symbol"]
    terms = world.symbols.terms.get(world.symbols.symbol(name))
    return failure(404, 40410000, f"asset not found for {name}") if terms is None else answer(shapes.asset_body(terms))


# --- time


@routes.get("/v2/clock")
async def get_clock(request: web.Request) -> web.Response:
    """Return the market's time, and when the exchange opens and closes next."""
    now = request.app[WORLD].now
    current = session_at_or_after(now)
    is_open = current.is_open(now)
    following = session_at_or_after(current.closes_at) if is_open else current
    return answer(
        {
            "timestamp": new_york_text(now),
            "is_open": is_open,
            "next_open": new_york_text(following.opens_at),
            "next_close": new_york_text(current.closes_at),
        }
    )


@routes.get("/v2/calendar")
async def get_calendar(request: web.Request) -> web.Response:
    """Return the sessions from `start` to `end`, both included."""
    start, end = _day(request, "start", _FIRST_OF_CALENDAR), _day(request, "end", _LAST_OF_CALENDAR)
    try:
        found = sessions(start, end + timedelta(days=7)) if start <= end else []
    except ConfigError as e:
        raise Refusal(*BAD_FIELD, str(e)) from e
    return answer(
        [
            {
                "date": session.day.isoformat(),
                "open": f"{as_datetime(session.opens_at):%H:%M}",
                "close": f"{as_datetime(session.closes_at):%H:%M}",
                "session_open": f"{as_datetime(session.pre_opens_at):%H%M}",
                "session_close": f"{as_datetime(session.post_closes_at):%H%M}",
                "settlement_date": found[min(place + _SETTLEMENT_DAYS, len(found) - 1)].day.isoformat(),
            }
            for place, session in enumerate(found)
            if session.day <= end
        ]
    )


def _day(request: web.Request, name: str, bound: date) -> date:
    """Return a date, within what the calendar knows."""
    text = request.query.get(name)
    if not text:
        return bound
    try:
        day = date.fromisoformat(text[:10])
    except ValueError as e:
        raise Refusal(*BAD_FIELD, f"invalid {name}: {text}") from e
    return min(max(day, _FIRST_OF_CALENDAR), _LAST_OF_CALENDAR)
