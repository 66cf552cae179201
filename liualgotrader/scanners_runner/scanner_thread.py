"""Runs a scanner's coroutine in a thread of its own, so that one that blocks delays no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any

_CANCEL_SECONDS = 0.5  # machine time that a cancelled scanner gets to end


@dataclass(frozen=True, slots=True)
class Returned:
    """What the scanner returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """What the scanner raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class ScannerTimedOut:
    """The scanner did not return in time and was left alone."""

    seconds: float


Outcome = Returned | Raised | ScannerTimedOut


class ScannerThread:
    """A thread with a loop of its own. A scanner that never returns keeps it; the next run gets a new one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(
        self, call: Callable[[], Coroutine[Any, Any, Any]], seconds: float, context: Context | None = None
    ) -> Outcome:
        """Return what became of one call, made in a copy of `context`, after `seconds` of machine time at most."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_serve, args=(self._loop,), name=f"scanner-{self._name}", daemon=True)
            thread.start()
        loop = self._loop
        begin = partial(asyncio.run_coroutine_threadsafe, _outcome(call), loop)
        answer = asyncio.wrap_future(begin() if context is None else context.run(begin))
        await asyncio.wait({answer}, timeout=seconds)
        if answer.done():
            return answer.result()
        answer.cancel()
        self._leave(loop)
        return ScannerTimedOut(seconds)

    def close(self) -> None:
        """End the thread once it is idle."""
        if self._loop is not None:
            self._leave(self._loop)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask the loop to end as soon as it turns."""
        loop.call_soon_threadsafe(loop.call_later, _CANCEL_SECONDS, loop.stop)
        self._loop = None


async def _outcome(call: Callable[[], Coroutine[Any, Any, Any]]) -> Outcome:
    try:
        return Returned(await call())
    except BaseException as error:  # a scanner's sys.exit(), or a cancelled task of its own, ends this run alone
        return Raised(error)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
