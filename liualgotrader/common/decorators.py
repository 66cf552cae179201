"""The original's decorators, at their address."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from liualgotrader.common import config
from liualgotrader.common.clock import MICROSECOND, SECOND, machine_now
from liualgotrader.common.tlog import say, tlog

log = logging.getLogger(__name__)

_SPAN = "span"  # a carrier's key of the path that it was made in


def timeit(func: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Log when a function begins, and the seconds that it took. As in the original, the result is awaited either way."""

    @functools.wraps(func)
    async def timed(*args: Any, **named: Any) -> Any:
        tlog(f"{func.__name__} started", "timeit")
        began = machine_now()
        result = func(*args, **named)
        if inspect.isawaitable(result):
            result = await result
        tlog(f"{func.__name__} took {(machine_now() - began) / SECOND:.3f} seconds", "timeit")
        return result

    return timed


def trace(carrier: dict[str, str] | None = None) -> Callable[[Callable[..., Any]], Callable[..., Awaitable[Any]]]:
    """Return a decorator that logs a span per call if `LIU_TRACE_ENABLED` is 1: its path and the time it took.

    A function that takes a `carrier` is given one; what it traces with that stands below it in the path. As in the
    original, the result is awaited either way.
    """

    def decorated(func: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        takes_carrier = "carrier" in inspect.signature(func).parameters

        @functools.wraps(func)
        async def traced(*args: Any, **named: Any) -> Any:
            if not config.trace_enabled:
                result = func(*args, **named)
                return await result if inspect.isawaitable(result) else result
            above = (carrier or {}).get(_SPAN)
            path = f"{above}>{func.__name__}" if above else func.__name__
            if takes_carrier:
                named["carrier"] = {_SPAN: path}
            began = machine_now()
            try:
                result = func(*args, **named)
                return await result if inspect.isawaitable(result) else result
            finally:
                say(log, "span", path=path, took_us=(machine_now() - began) // MICROSECOND)

        return traced

    return decorated
