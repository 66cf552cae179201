"""What Polygon's routes share: who may ask, how answers and refusals read, and how an answer goes on on the next page.

Polygon's key of the simulated market is the account's secret key, so that one pair opens all of it.
"""

from __future__ import annotations

import base64
import logging
import operator
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import NAMESPACE_URL, uuid5

from aiohttp import web

from liualgotrader.common.clock import MILLISECOND
from liualgotrader.exchange.exchange_values import Refusal
from liualgotrader.simulator.access import POLYGON_STREAM, RequestRate, is_polygons
from liualgotrader.simulator.market_loop import WORLD, World
from liualgotrader.simulator.subscriptions import same_secret
from liualgotrader.simulator.wire import answer, count, parse_instant

log = logging.getLogger(__name__)

FREE_PLAN_REQUESTS = 5  # a minute
_PAID = ("/v2/last/", "/v2/snapshot/", "/v3/snapshot", "/v3/trades/", "/v3/quotes/")
_PLACE = "_place"  # of the next page, in a cursor
_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "": operator.eq,
    ".gte": operator.ge,
    ".gt": operator.gt,
    ".lte": operator.le,
    ".lt": operator.lt,
    ".any_of": lambda value, wanted: value in wanted.split(","),
}
_ISO_DATE = len("2024-03-08")

POLYGON_RATE: web.AppKey[RequestRate] = web.AppKey("polygon_rate")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Question = Mapping[str, str]


def is_key(world: World, given: object) -> bool:
    """Return whether this is Polygon's key, in constant time."""
    return same_secret(str(given), world.keys.secret_key)


@web.middleware
async def check_polygon(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pass on requests to Polygon's routes that are allowed, and answer every refusal, and a bug of ours, with its JSON."""
    world, path = request.app[WORLD], request.path
    if not is_polygons(path) or path == POLYGON_STREAM:  # the stream asks for the key itself
        return await handler(request)
    given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.query.get("apiKey", "")
    if not is_key(world, given):
        return failure(request, 401, "Unknown API Key")
    rate = request.app.get(POLYGON_RATE)
    if rate is not None and not rate.take():
        return failure(request, 429, "You've exceeded the maximum requests per minute, please wait.")
    if is_free(world) and path.startswith(_PAID):
        return failure(request, 403, "You are not entitled to this data. Please upgrade your plan.")
    try:
        return await handler(request)
    except Refusal as refusal:
        return failure(request, refusal.status, refusal.message)
    except web.HTTPException as e:
        unknown = f"the simulated market does not serve {request.method} {path}"
        return failure(request, e.status, unknown if e.status in (404, 405) else e.reason)
    except Exception:
        log.exception("a request to %s could not be answered", path)
        return failure(request, 500, "internal server error")


def is_free(world: World) -> bool:
    """Return whether the key is one of the free plan's, which has neither ticks nor snapshots nor a stream."""
    return world.spec.options.get("polygon_plan") == "free"


def failure(request: web.Request, status: int, text: str) -> web.Response:
    """Return the vendor's error body; which word and field it has depends on the status."""
    word = {403: "NOT_AUTHORIZED", 404: "NOT_FOUND"}.get(status, "ERROR")
    field = "error" if word == "ERROR" else "message"
    return answer({"status": word, "request_id": request_id(request), field: text}, status)


def request_id(request: web.Request) -> str:
    """Return the id of a request: the same for the same question, so that a replay gives the same bytes."""
    asked = urlencode({name: value for name, value in request.query.items() if name != "apiKey"})
    return uuid5(NAMESPACE_URL, f"{request.path}?{asked}").hex


def results(request: web.Request, **body: Any) -> web.Response:
    """Return an answer in the vendor's envelope."""
    return answer({"status": "OK", "request_id": request_id(request), **body})


# --- questions


def bad(text: str) -> Refusal:
    """Return the refusal of a question that cannot be answered."""
    return Refusal(400, 0, text)


def not_found(text: str) -> Refusal:
    """Return the refusal of a question about something that there is not."""
    return Refusal(404, 0, text)


def question_of(request: web.Request) -> Question:
    """Return a question's parameters; those of a following page stand in its cursor."""
    cursor = request.query.get("cursor")
    if not cursor:
        return {name: value for name, value in request.query.items() if name != _PLACE}
    try:
        question = dict(parse_qsl(base64.urlsafe_b64decode(cursor.encode()).decode(), strict_parsing=True))
        int(question[_PLACE])
    except (ValueError, KeyError):
        raise bad("the cursor is none of ours: take it from next_url") from None
    return question


def next_page(request: web.Request, question: Question, place: int) -> dict[str, str]:
    """Return where an answer goes on: the same path, and a cursor that holds all of the question but the key."""
    kept = {name: value for name, value in question.items() if name != "apiKey"} | {_PLACE: str(place)}
    cursor = base64.urlsafe_b64encode(urlencode(kept).encode()).decode()
    return {"next_url": f"{request.scheme}://{request.host}{request.rel_url.raw_path}?{urlencode({'cursor': cursor})}"}


def is_descending(question: Question, default: str = "asc") -> bool:
    """Return whether the newest or last come first, as `order` says (aggregates call it `sort`)."""
    order = question.get("order") or default
    if order not in ("asc", "desc"):
        raise bad(f"order is '{order}', but it must be asc or desc")
    return order == "desc"


def limit_of(question: Question, default: int, most: int) -> int:
    """Return how many rows a page may have."""
    text = question.get("limit")
    limit = count(text) if text else default
    if limit is None or not 1 <= limit <= most:
        raise bad(f"limit is '{text}', but it must be a number from 1 to {most}")
    return limit


def place_of(question: Question) -> int | None:
    """Return where a following page begins, None for the first page."""
    text = question.get(_PLACE)
    return None if text is None else int(text)


def page(
    request: web.Request,
    places: Sequence[int],
    row: Callable[[int], object],
    *,
    default: int,
    most: int,
    order: str = "asc",
) -> web.Response:
    """Return one page of rows; `places` ascend, and do not move when new rows come, so none is lost at an edge."""
    question = question_of(request)
    limit, descending, edge = limit_of(question, default, most), is_descending(question, order), place_of(question)
    wanted = places[::-1] if descending else places
    if edge is not None:
        wanted = [p for p in wanted if (p <= edge if descending else p >= edge)]
    more = next_page(request, question, wanted[limit]) if len(wanted) > limit else {}
    return results(request, results=[row(place) for place in wanted[:limit]], **more)


def day_in(text: str, name: str) -> date:
    """Return a date."""
    try:
        return date.fromisoformat(text if len(text) == _ISO_DATE else "")
    except ValueError:
        raise bad(f"{name} is '{text}', but it must be a date like 2024-03-08") from None


def instant_in(text: str, name: str, unit: int = MILLISECOND, *, last: bool = False) -> int:
    """Return the ns UTC of a date (its end if `last`) or of a count of units since 1970 (to its end if `last`)."""
    number = count(text)
    if number is not None and number < 2**63 // unit:
        return number * unit + (unit - 1 if last else 0)
    if len(text) == _ISO_DATE:
        day_in(text, name)
        return parse_instant(text, last=last)
    raise bad(f"{name} is '{text}', but it must be a date like 2024-03-08 or a timestamp")


def span_in(question: Question, name: str, latest: int) -> tuple[int, int]:
    """Return the first and last instant that a parameter and its comparisons (`.gte`, `.lt`, …) leave; in ns."""
    first, last = 0, latest
    for suffix, text in ((s, question.get(f"{name}{s}")) for s in ("", ".gte", ".gt", ".lte", ".lt")):
        if not text:
            continue
        begin, end = (instant_in(text, name, 1, last=at_end) for at_end in (False, True))
        if suffix in ("", ".gte"):
            first = max(first, begin)
        if suffix in ("", ".lte"):
            last = min(last, end)
        if suffix == ".gt":
            first = max(first, end + 1)
        if suffix == ".lt":
            last = min(last, begin - 1)
    return first, last


def leaves(question: Question, name: str, value: str) -> bool:
    """Return whether a parameter and its comparisons leave a text."""
    return all(
        holds(value, wanted) for suffix, holds in _COMPARISONS.items() if (wanted := question.get(f"{name}{suffix}"))
    )
