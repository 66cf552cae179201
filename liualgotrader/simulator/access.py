"""Who may come in, and how every refusal looks: keys, control token, request rate, unknown paths.

The request rate is counted in machine time. It is limited to 200 a minute, as at the vendor, only where
simulated time runs no faster than real time; in accelerated time a strategy's ordinary minute would exceed
it at once, so there it is off unless the option `requests_per_minute` sets one.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from liualgotrader.common.clock import SECOND, Clock
from liualgotrader.exchange.exchange_values import Refusal
from liualgotrader.simulator.data_stream import KEY_HEADER, SECRET_HEADER
from liualgotrader.simulator.faults import Fault
from liualgotrader.simulator.subscriptions import same_secret
from liualgotrader.simulator.wire import no, refused
from liualgotrader.simulator.world import WORLD, World

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CONTROL = "/_sim/"
TOKEN_HEADER = "X-LIU-Token"  # noqa: S105 - the header's name
VENDOR_RATE = 200
_MINUTE_SECONDS = 60
_WEBSOCKETS = ("/stream", "/v2/iex", "/v2/sip")
_TRADING = ("/v2/account", "/v2/orders", "/v2/positions", "/v2/assets", "/v2/clock", "/v2/calendar")
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
        from liualgotrader.common.clock import WallClock

        oldest = self._taken[0] if self._taken else self._clock.machine()
        wait = max(oldest + _MINUTE_SECONDS * SECOND - self._clock.machine(), 0)
        return {
            "X-RateLimit-Limit": str(self.per_minute),
            "X-RateLimit-Remaining": str(max(self.per_minute - len(self._taken), 0)),
            "X-RateLimit-Reset": str(-(-(WallClock().now() + wait) // SECOND)),
        }


RATE: web.AppKey[RequestRate] = web.AppKey("rate")


def rate_for(world: World) -> RequestRate | None:
    """Return the limit of trading requests, None where there is none."""
    default = VENDOR_RATE if 0 < world.spec.speed <= 1 else 0
    per_minute = int(world.spec.options.get("requests_per_minute", default))
    return RequestRate(world.clock, per_minute) if per_minute else None


@web.middleware
async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who may come in, and turn every refusal, and a bug of ours, into the vendor's JSON."""
    stopped = _stopped(request)
    if stopped is not None:
        return stopped
    try:
        response = await _answer(request, handler)
    except Refusal as refusal:
        response = refused(refusal)
    except web.HTTPException as e:
        code, message = _HTTP_CODES.get(e.status, (e.status * 100_000, e.reason))
        response = no(e.status, code, message)
    except Exception:
        if request.path in _WEBSOCKETS:
            raise  # the answer was the handshake
        log.exception("a request to %s could not be answered", request.path)
        response = no(500, 50010000, "internal server error")
    rate = request.app.get(RATE)
    if rate is not None and request.path.startswith(_TRADING):
        response.headers.update(rate.headers())
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the handler's answer, or what befalls the request on purpose instead."""
    world = request.app[WORLD]
    fault = world.faults.next_for(request.method) if request.path.startswith(_TRADING) else None
    if fault is None:
        return await handler(request)
    response = await handler(request) if fault.executes else no(500, 50010000, "internal server error")
    if not fault.answers:
        await world.closing.wait()
    return no(504, 50410000, "request timed out") if fault is Fault.TIMEOUT_504_AFTER else response


def _stopped(request: web.Request) -> web.Response | None:
    world = request.app[WORLD]
    if request.path.startswith(CONTROL):
        return _stopped_at_control(request, world)
    if request.path in _WEBSOCKETS:
        return None  # these authenticate by message
    if not world.keys.match(request.headers.get(KEY_HEADER), request.headers.get(SECRET_HEADER)):
        return no(401, 40110000, "request is not authorized")
    rate = request.app.get(RATE)
    if rate is not None and request.path.startswith(_TRADING) and not rate.take():
        response = no(429, 42910000, "rate limit exceeded")
        response.headers.update(rate.headers())
        return response
    return None


def _stopped_at_control(request: web.Request, world: World) -> web.Response | None:
    try:
        host, origin = urlsplit(f"//{request.host}").hostname, urlsplit(request.headers.get("Origin") or "")
    except ValueError:
        return no(403, 40310000, "this host name or origin is not served")
    if host not in _LOOPBACK_NAMES:
        return no(403, 40310000, "this host name is not served")
    if "Origin" in request.headers and origin.netloc != request.host:
        return no(403, 40310000, "this origin is not served")
    if not same_secret(request.headers.get(TOKEN_HEADER, ""), world.token):
        return no(401, 40110000, "the control token is missing or wrong; it lies beside the session page")
    return None
