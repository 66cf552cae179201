"""Polygon's market-data REST: aggregates, prints, quotes, the newest of each, snapshots. Nothing here lies ahead of the market.

Source: Polygon's reference of the REST API for stocks. Prints and quotes exist for the day that is played, aggregates for the
tape's whole past, those of seconds for the day alone. Windows are counted from New York's midnight, weeks begin on
Sunday, quarters in January. A page of aggregates holds whole windows, at most `limit` minutes, days or seconds of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from aiohttp import web

from liualgotrader.common.calendar import day_of, new_york, session_of
from liualgotrader.common.clock import HOUR, MINUTE, SECOND
from liualgotrader.common.events import Bar
from liualgotrader.simulator import polygon_shapes as shapes
from liualgotrader.simulator.day_history import Timeframe, rows_between
from liualgotrader.simulator.market_loop import WORLD, World
from liualgotrader.simulator.polygon_access import (
    Question,
    bad,
    day_in,
    instant_in,
    is_descending,
    leaves,
    limit_of,
    next_page,
    not_found,
    page,
    place_of,
    question_of,
    results,
    span_in,
)
from liualgotrader.simulator.wire import MIDNIGHT, count, midnight_of, words
from liualgotrader.tapes.minute_bars import sum_of

routes = web.RouteTableDef()

_LENGTHS = {"second": SECOND, "minute": MINUTE, "hour": HOUR}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_DAY, _WEEK = 1, 7
_DAYS = {"day": _DAY, "week": _WEEK}
_SUNDAY = date(1970, 1, 4).toordinal()  # from which days and weeks are counted
_MOST_WINDOWS = 10_000
_MOVERS, _LEAST_VOLUME = 20, 10_000  # of a list of gainers or losers
_STOCKS = "/v2/snapshot/locale/us/markets/stocks"


# --- aggregates


def window_of(timespan: str, multiplier: int) -> Callable[[int], int]:
    """Return what gives the beginning of the window that holds an instant.

    Raises:
        Refusal: if there is no such timespan.
    """

    def within_a_day(at: int) -> int:
        midnight, length = midnight_of(at), multiplier * _LENGTHS[timespan]
        return midnight + (at - midnight) // length * length

    def days(at: int) -> int:
        length = multiplier * _DAYS[timespan]
        ordinal = day_of(at).toordinal() - _SUNDAY
        return new_york(date.fromordinal(max(1, ordinal // length * length + _SUNDAY)), MIDNIGHT)

    def months(at: int) -> int:
        length, day = multiplier * _MONTHS[timespan], day_of(at)
        first = (day.year * 12 + day.month - 1) // length * length
        return new_york(date(max(1, first // 12), first % 12 + 1, 1), MIDNIGHT)

    if timespan in _LENGTHS:
        return within_a_day
    if timespan in _DAYS:
        return days
    if timespan in _MONTHS:
        return months
    raise bad(f"timespan is '{timespan}', but it must be one of {', '.join((*_LENGTHS, *_DAYS, *_MONTHS))}")


def base_bars(world: World, symbol: str, timespan: str, start: int, end: int, *, adjusted: bool) -> Sequence[Bar]:
    """Return the seconds, minutes or days that windows are made of, labelled by their beginning; both ends included."""
    if timespan == "second":
        return world.record.second_bars(symbol, start, min(end + 1, world.now - world.now % SECOND))
    unit = Timeframe(1, "Min" if timespan in _LENGTHS else "Day")
    return world.history.bars(symbol, unit, start, end, ("split",) if adjusted else ())


def is_adjusted(question: Question) -> bool:
    """Return whether splits are to be taken out of prices; they are unless the question says no."""
    return (question.get("adjusted") or "true").lower() != "false"


@routes.get("/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{first}/{last}")
async def aggregates(request: web.Request) -> web.Response:
    """Return the windows from that of `first` to that of `last`."""
    world, path, question = request.app[WORLD], request.match_info, question_of(request)
    multiplier, timespan = count(path["multiplier"]), path["timespan"]
    if not multiplier or multiplier > _MOST_WINDOWS:
        raise bad(f"multiplier is '{path['multiplier']}', but it must be a number from 1 to {_MOST_WINDOWS}")
    window = window_of(timespan, multiplier)
    first, last = instant_in(path["first"], "from"), instant_in(path["last"], "to", last=True)
    if first > last:
        raise bad("`to` must not lie before `from`")
    limit, descending = limit_of(question, 5000, 50_000), is_descending({"order": question.get("sort", "")})
    symbol, adjusted = path["ticker"], is_adjusted(question)
    bars = base_bars(world, symbol, timespan, window(first), min(last, world.now), adjusted=adjusted)
    windows = [(label, list(members)) for label, members in groupby(bars, key=lambda bar: window(bar.opened_at))]
    if (edge := place_of(question)) is not None:
        windows = [w for w in windows if (w[0] <= edge if descending else w[0] >= edge)]
    chosen = whole_windows(windows[::-1] if descending else windows, limit)
    rows = [shapes.aggregate_row(sum_of(members, label, members[-1].closed_at)) for label, members in chosen]
    following = windows[::-1][len(chosen) :] if descending else windows[len(chosen) :]
    return results(
        request,
        ticker=symbol,
        adjusted=adjusted,
        queryCount=sum(len(members) for _, members in chosen),
        resultsCount=len(rows),
        count=len(rows),
        **({"results": rows} if rows else {}),
        **(next_page(request, question, following[0][0]) if following else {}),
    )


def whole_windows(windows: Sequence[tuple[int, list[Bar]]], limit: int) -> Sequence[tuple[int, list[Bar]]]:
    """Return the windows at the front that have no more than `limit` bars together, at least one."""
    left = limit
    for number, (_, members) in enumerate(windows):
        left -= len(members)
        if left < 0:
            return windows[: max(1, number)]
    return windows


def day_bar(world: World, symbol: str, day: date, *, adjusted: bool = True) -> Bar | None:
    """Return the bar of a day, None if there is none."""
    midnight = new_york(day, MIDNIGHT)
    found = base_bars(world, symbol, "day", midnight, midnight, adjusted=adjusted)
    return found[-1] if found else None


def closing(bar: Bar) -> int:
    """Return when the session of a daily bar closes, by which Polygon labels it where it stands alone."""
    session = session_of(day_of(bar.opened_at))
    return session.closes_at if session is not None else bar.closed_at


@routes.get("/v2/aggs/grouped/locale/us/market/stocks/{day}")
async def grouped_daily(request: web.Request) -> web.Response:
    """Return the bar of every symbol that traded on a day."""
    world, question = request.app[WORLD], question_of(request)
    day, adjusted = day_in(request.match_info["day"], "date"), is_adjusted(question)
    bars = [bar for s in world.symbols.terms if (bar := day_bar(world, s, day, adjusted=adjusted)) is not None]
    rows = [shapes.aggregate_row(bar, closing(bar), T=bar.symbol) for bar in bars]
    counts = {"queryCount": len(rows), "resultsCount": len(rows), "count": len(rows)}
    return results(request, adjusted=adjusted, **counts, **({"results": rows} if rows else {}))


@routes.get("/v2/aggs/ticker/{ticker}/prev")
async def previous_close(request: web.Request) -> web.Response:
    """Return the bar of the session before."""
    world, symbol, question = request.app[WORLD], request.match_info["ticker"], question_of(request)
    bar, adjusted = world.history.previous_day(symbol), is_adjusted(question)
    if bar is not None and not adjusted:
        bar = day_bar(world, symbol, day_of(bar.opened_at), adjusted=False)
    rows = [] if bar is None else [shapes.aggregate_row(bar, closing(bar), T=symbol)]
    counts = {"queryCount": len(rows), "resultsCount": len(rows), "count": len(rows)}
    return results(request, ticker=symbol, adjusted=adjusted, **counts, **({"results": rows} if rows else {}))


@routes.get("/v1/open-close/{ticker}/{day}")
async def open_close(request: web.Request) -> web.Response:
    """Return a day's prices, today's with those before the open and after the close as far as they have been played."""
    world, symbol = request.app[WORLD], request.match_info["ticker"]
    day = day_in(request.match_info["day"], "date")
    bar = day_bar(world, symbol, day, adjusted=is_adjusted(question_of(request)))
    if bar is None:
        raise not_found("Data not found.")
    outside: dict[str, float] = {}
    if day == world.tape.day:
        minutes = world.record.minutes.bars(symbol, 0, world.now)
        early = [m.open for m in minutes if m.opened_at < world.tape.opens_at]
        late = [m.close for m in minutes if m.opened_at >= world.tape.closes_at]
        outside = ({"preMarket": early[0]} if early else {}) | ({"afterHours": late[-1]} if late else {})
    prices = {name: getattr(bar, name) for name in ("open", "high", "low", "close", "volume")}
    return results(request, **{"from": f"{day}", "symbol": symbol}, **prices, **outside)


# --- ticks


@routes.get("/v3/trades/{ticker}")
async def trades(request: web.Request) -> web.Response:
    """Return one page of today's prints, the newest first unless `order` says otherwise."""
    world, symbol = request.app[WORLD], request.match_info["ticker"]
    ticks, venue = world.record.trades(symbol), world.symbols.venue(symbol)
    places = rows_between(ticks.at, *span_in(question_of(request), "timestamp", world.now))

    def row(place: int) -> object:
        return shapes.trade_result(ticks.get(symbol, place), place + 1, venue)

    return page(request, places, row, default=1000, most=50_000, order="desc")


@routes.get("/v3/quotes/{ticker}")
async def quotes(request: web.Request) -> web.Response:
    """Return one page of today's quotes, likewise."""
    world, symbol = request.app[WORLD], request.match_info["ticker"]
    ticks, venue = world.record.quotes(symbol), world.symbols.venue(symbol)
    places = rows_between(ticks.at, *span_in(question_of(request), "timestamp", world.now))

    def row(place: int) -> object:
        return shapes.quote_result(ticks.get(symbol, place), place + 1, venue)

    return page(request, places, row, default=1000, most=50_000, order="desc")


def newest_trade(world: World, symbol: str) -> dict[str, Any] | None:
    """Return the newest print that counts for the last price, None before the first one."""
    number = world.record.last_trade.get(symbol)
    if number is None:
        return None
    return shapes.last_trade(world.record.trades(symbol).get(symbol, number - 1), number, world.symbols.venue(symbol))


def newest_quote(world: World, symbol: str) -> dict[str, Any] | None:
    """Return the newest quote, None before the first one."""
    ticks = world.record.quotes(symbol)
    if not len(ticks):
        return None
    return shapes.last_quote(ticks.get(symbol, len(ticks) - 1), len(ticks), world.symbols.venue(symbol))


@routes.get("/v2/last/{kind:trade|nbbo}/{ticker}")
async def last(request: web.Request) -> web.Response:
    """Return the newest print or quote."""
    newest = newest_trade if request.match_info["kind"] == "trade" else newest_quote
    found = newest(request.app[WORLD], request.match_info["ticker"])
    if found is None:
        raise not_found("Ticker not found.")
    return results(request, results=found)


# --- snapshots


def snapshot(world: World, symbol: str) -> dict[str, Any]:
    """Return the newest figures of a symbol; what there is nothing of yet is zero, as after the nightly clearing."""
    record = world.record
    today, before, minute = record.day_bar(symbol), world.history.previous_day(symbol), record.minutes.last_bar(symbol)
    trade, quote, day = newest_trade(world, symbol), newest_quote(world, symbol), record.running_day(symbol)
    empty = dict.fromkeys(["o", "h", "l", "c", "v", "vw"], 0)
    price, close = trade["p"] if trade else 0, before.close if before else 0
    change = price - close if price and close else 0
    volume = {"av": day.volume if day else 0}
    return {
        "ticker": symbol,
        "todaysChange": round(change, 6),
        "todaysChangePerc": round(100 * change / close, 6) if close else 0,
        "updated": max((tick["t"] for tick in (trade, quote) if tick), default=0),
        "day": _undated(today) if today else empty,
        "prevDay": _undated(before) if before else empty,
        "min": {**volume, **(shapes.aggregate_row(minute) if minute else {**empty, "t": 0, "n": 0})},
        "lastTrade": {name: trade[name] for name in "cipstx"} if trade else {"p": 0, "s": 0, "t": 0},
        "lastQuote": {name: quote[name] for name in "PSpst"} if quote else {"P": 0, "S": 0, "p": 0, "s": 0, "t": 0},
    }


def _undated(bar: Bar) -> dict[str, Any]:
    row = shapes.aggregate_row(bar)
    return {name: row[name] for name in ("o", "h", "l", "c", "v", "vw")}


@routes.get(f"{_STOCKS}/tickers")
async def all_snapshots(request: web.Request) -> web.Response:
    """Return the snapshots of the named symbols, of all if none is named; symbols that there are not are left out."""
    world, named = request.app[WORLD], words(request.query.get("tickers"))
    found = [snapshot(world, symbol) for symbol in named or world.symbols.terms if symbol in world.symbols.terms]
    return results(request, count=len(found), tickers=found)


@routes.get(f"{_STOCKS}/tickers/{{ticker}}")
async def one_snapshot(request: web.Request) -> web.Response:
    """Return the snapshot of a symbol."""
    world, symbol = request.app[WORLD], request.match_info["ticker"]
    if symbol not in world.symbols.terms:
        raise not_found("NotFound")
    return results(request, ticker=snapshot(world, symbol))


@routes.get(f"{_STOCKS}/{{direction:gainers|losers}}")
async def movers(request: web.Request) -> web.Response:
    """Return the symbols that rose or fell most since the close before; at most twenty, and none of little volume."""
    world, sign = request.app[WORLD], 1 if request.match_info["direction"] == "gainers" else -1
    every = (snapshot(world, symbol) for symbol in world.symbols.terms)
    moved = [s for s in every if sign * s["todaysChangePerc"] > 0 and s["min"]["av"] >= _LEAST_VOLUME]
    moved.sort(key=lambda s: (-sign * s["todaysChangePerc"], s["ticker"]))
    return results(request, tickers=moved[:_MOVERS])


@routes.get("/v3/snapshot")
async def universal_snapshots(request: web.Request) -> web.Response:
    """Return snapshots in the newer form; a named symbol that there is not comes with its error."""
    world, question = request.app[WORLD], question_of(request)
    if (kind := question.get("type") or "stocks") != "stocks":
        raise bad(f"type is '{kind}', but the simulated market has stocks only")
    named = sorted(words(question.get("ticker.any_of")))
    symbols = named or [symbol for symbol in world.symbols.terms if leaves(question, "ticker", symbol)]
    return page(request, range(len(symbols)), lambda i: universal(world, symbols[i]), default=10, most=250)


def universal(world: World, symbol: str) -> dict[str, Any]:
    """Return one snapshot in the newer form."""
    if symbol not in world.symbols.terms:
        return {"ticker": symbol, "error": "NOT_FOUND", "message": "Ticker not found."}
    old, terms = snapshot(world, symbol), world.symbols.terms[symbol]
    day, trade, quote = old["day"], old["lastTrade"], old["lastQuote"]
    live = {"timeframe": "REAL-TIME"}
    return {
        "ticker": symbol,
        "type": "stocks",
        "name": terms.name or symbol,
        "market_status": market_status(world),
        "session": {
            "change": old["todaysChange"],
            "change_percent": old["todaysChangePerc"],
            "price": trade["p"],
            "previous_close": old["prevDay"]["c"],
            **{name: day[name[0]] for name in ("open", "high", "low", "close", "volume")},
        },
        "last_trade": {
            "price": trade["p"],
            "size": trade["s"],
            "last_updated": trade["t"],
            **{name: trade[letter] for letter, name in (("i", "id"), ("x", "exchange")) if letter in trade},
            **live,
        },
        "last_quote": {
            **{"bid": quote["p"], "bid_size": quote["s"], "ask": quote["P"], "ask_size": quote["S"]},
            "midpoint": round((quote["p"] + quote["P"]) / 2, 6),
            "last_updated": quote["t"],
            **live,
        },
    }


def market_status(world: World) -> str:
    """Return `open`, `extended-hours` or `closed`."""
    session = session_of(day_of(world.now))
    if session is None or not session.pre_opens_at <= world.now < session.post_closes_at:
        return "closed"
    return "open" if session.is_open(world.now) else "extended-hours"
