"""The original's decorators, at their address."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from liualgotrader.common.clock import SECOND, machine_now
from liualgotrader.common.tlog import tlog


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


def trace(carrier: Any = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that leaves a function as it is; the original sent spans to OpenTelemetry."""
    return lambda func: func
