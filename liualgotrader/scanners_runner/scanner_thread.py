"""Runs a scanner's coroutine in a thread of its own, so that one that blocks delays no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, NamedTuple

_CANCEL_SECONDS = 0.5  # machine time that a cancelled scanner gets to end


class ScannerOutcome(NamedTuple):
    """What a scanner returned, or what it raised."""

    value: Any = None
    error: BaseException | None = None


class ScannerThread:
    """A thread with a loop of its own. A scanner that never returns keeps it; the next run gets a new one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(
        self, call: Callable[[], Coroutine[Any, Any, Any]], seconds: float, context: Context | None = None
    ) -> ScannerOutcome | None:
        """Return what became of one call, made in a copy of `context`; None if it takes more than `seconds` (machine)."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_serve, args=(self._loop,), name=f"scanner-{self._name}", daemon=True)
            thread.start()
        loop = self._loop

        async def outcome() -> ScannerOutcome:
            try:
                return ScannerOutcome(await call())
            except BaseException as error:  # a scanner's sys.exit(), or a task of its own that was cancelled
                return ScannerOutcome(error=error)

        begin = partial(asyncio.run_coroutine_threadsafe, outcome(), loop)
        answer = asyncio.wrap_future(begin() if context is None else context.run(begin))
        await asyncio.wait({answer}, timeout=seconds)
        if answer.done():
            return answer.result()
        answer.cancel()
        self._leave(loop)
        return None

    def close(self) -> None:
        """End the thread once it is idle."""
        if self._loop is not None:
            self._leave(self._loop)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask the loop to end as soon as it turns."""
        loop.call_soon_threadsafe(loop.call_later, _CANCEL_SECONDS, loop.stop)
        self._loop = None


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
