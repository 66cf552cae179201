"""Decides which requests are served, and answers every refusal as the vendor does.

The request rate is counted in machine time. It is limited to 200 a minute, as at the vendor, only where
simulated time runs no faster than real time; in accelerated time a strategy's ordinary minute would exceed
it at once, so there it is off unless the option `requests_per_minute` sets one.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import BasicAuth, web

from liualgotrader.common.clock import SECOND, Clock, WallClock
from liualgotrader.exchange.exchange_values import Refusal
from liualgotrader.simulator.faults import Fault
from liualgotrader.simulator.market_loop import WORLD
from liualgotrader.simulator.subscriptions import KEY_HEADER, SECRET_HEADER, same_secret
from liualgotrader.simulator.wire import failure

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CONTROL = "/_sim/"
TOKEN_HEADER = "X-LIU-Token"  # noqa: S105 - the header's name
VENDOR_RATE = 200
_MINUTE_SECONDS = 60
LONGEST_ADDRESS = 32 << 10  # bytes of path and query
_WEBSOCKETS = ("/stream", "/v2/iex", "/v2/sip", "/v2/delayed_sip", "/v2/test")
_TRADING = (
    *("/v2/account", "/v2/orders", "/v2/positions", "/v2/assets", "/v2/clock", "/v2/calendar"),
    *("/v2/watchlists", "/v2/corporate_actions", "/v2/options"),
    "/v1/trading/accounts/",
)
POLYGON_STREAM = "/stocks"
_POLYGON = (
    *("/v1/", "/v2/aggs/", "/v2/last/", "/v2/snapshot/", "/v2/reference/", "/v3/", "/vX/", "/stocks/"),
    *("/benzinga/", "/etf-global/", "/fed/", "/futures/", "/tmx/"),
)
_BROKER_API = ("/v1/trading/", "/v1/accounts/", "/v1/events/", "/v1/clock", "/v1/calendar", "/v1/assets")
_NOT_POLYGON = ("/v1/corporate-actions", *_BROKER_API)
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_HTTP_CODES = {404: (40410000, "endpoint not found."), 405: (40510000, "method not allowed.")}


class RequestRate:
    """Requests of the last minute of machine time."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._taken: deque[int] = deque()

    def take(self) -> bool:
        """Count a request and return whether it is within the limit."""
        now = self._clock.machine()
        while self._taken and self._taken[0] <= now - _MINUTE_SECONDS * SECOND:
            self._taken.popleft()
        if len(self._taken) >= self.per_minute:
            return False
        self._taken.append(now)
        return True

    def headers(self) -> dict[str, str]:
        """Return the vendor's headers; the reset is in epoch seconds as the vendor's are, by the wall clock."""
        oldest = self._taken[0] if self._taken else self._clock.machine()
        wait = max(oldest + _MINUTE_SECONDS * SECOND - self._clock.machine(), 0)
        return {
            "X-RateLimit-Limit": str(self.per_minute),
            "X-RateLimit-Remaining": str(max(self.per_minute - len(self._taken), 0)),
            "X-RateLimit-Reset": str(-(-(WallClock().now() + wait) // SECOND)),
        }


RATE: web.AppKey[RequestRate] = web.AppKey("rate")


@web.middleware
async def check_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pass on requests that are allowed, and answer every refusal, and a bug of ours, with the vendor's JSON."""
    if is_polygons(request.path):
        return await handler(request)  # to its own check
    rate = request.app.get(RATE) if request.path.startswith(_TRADING) else None
    if (refused := _refusal(request)) is not None:
        return refused
    if len(request.raw_path) > LONGEST_ADDRESS:
        return failure(
            414, 41410000, f"the address is longer than {LONGEST_ADDRESS} bytes; ask for fewer symbols at once"
        )
    response: web.StreamResponse
    if rate is not None and not rate.take():
        response = failure(429, 42910000, "rate limit exceeded")
    else:
        try:
            response = await handler(request)
        except Refusal as refusal:
            response = failure(refusal.status, refusal.code, refusal.message, **refusal.extra)
        except web.HTTPException as e:
            code, message = _HTTP_CODES.get(e.status, (e.status * 100_000, e.reason))
            response = failure(e.status, code, message)
        except Exception:
            if request.path in _WEBSOCKETS:
                raise  # the answer was the handshake
            log.exception("a request to %s could not be answered", request.path)
            response = failure(500, 50010000, "internal server error")
    if rate is not None:
        response.headers.update(rate.headers())
    return response


def is_polygons(path: str) -> bool:
    """Return whether a path lies where Polygon's do; some of Alpaca's look like one."""
    return path == POLYGON_STREAM or (path.startswith(_POLYGON) and not path.startswith(_NOT_POLYGON))


def _refusal(request: web.Request) -> web.Response | None:
    """Return the answer to a request without the right credentials, None for one with them."""
    world, headers = request.app[WORLD], request.headers
    if not request.path.startswith(CONTROL):  # websockets authenticate by message, and an unknown one is no secret
        is_unknown = request.match_info.http_exception is not None and "Sec-WebSocket-Key" in headers
        if request.path in _WEBSOCKETS or is_unknown or world.keys.match(*_credentials(request)):
            return None
        return failure(401, 40110000, "request is not authorized")
    try:
        host, origin = urlsplit(f"//{request.host}").hostname, urlsplit(headers.get("Origin") or "")
    except ValueError:
        return failure(403, 40310000, "this host name or origin is not served")
    if host not in _LOOPBACK_NAMES:
        return failure(403, 40310000, "this host name is not served")
    if "Origin" in headers and origin.netloc != request.host:
        return failure(403, 40310000, "this origin is not served")
    if not same_secret(headers.get(TOKEN_HEADER, ""), world.token):
        return failure(401, 40110000, "the control token is missing or wrong; it lies beside the session page")
    return None


def _credentials(request: web.Request) -> tuple[str | None, str | None]:
    """Return key and secret as the request states them: in two headers, as name and password, or the secret as a token."""
    headers, authorization = request.headers, request.headers.get("Authorization", "")
    if not authorization and not request.path.startswith(_BROKER_API):
        return headers.get(KEY_HEADER), headers.get(SECRET_HEADER)
    if authorization.startswith("Bearer "):
        return request.app[WORLD].keys.key_id, authorization.removeprefix("Bearer ")
    try:
        given = BasicAuth.decode(authorization)
    except ValueError:
        return None, None
    return given.login, given.password


@web.middleware
async def apply_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the handler's answer, unless a fault is set for the request."""
    world = request.app[WORLD]
    fault = world.faults.next_for(request.method) if request.path.startswith(_TRADING) else None
    if fault is None:
        return await handler(request)
    executes = fault in (Fault.TIMEOUT_504_AFTER, Fault.NEVER_AFTER)
    response = await handler(request) if executes else failure(500, 50010000, "internal server error")
    if fault in (Fault.NEVER, Fault.NEVER_AFTER):
        await world.closing.wait()
    return failure(504, 50410000, "request timed out") if fault is Fault.TIMEOUT_504_AFTER else response
