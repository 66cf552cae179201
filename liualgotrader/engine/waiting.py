"""A call of a strategy that really waits: what it takes for its task meanwhile, and what is left of it after the first step."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


class FirstStep:
    """What `asyncio.current_task()` is during the first step of a call; `task` is the real one, if the call waits.

    Time-outs and task groups that the strategy opens keep it, and cancel the call through it.
    """

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None

    def cancel(self, msg: object = None) -> bool:
        """Cancel the call."""
        return self.task.cancel(msg) if self.task is not None else False

    def uncancel(self) -> int:
        """Take one cancellation back."""
        return self.task.uncancel() if self.task is not None else 0

    def cancelling(self) -> int:
        """Return how many cancellations are pending."""
        return self.task.cancelling() if self.task is not None else 0

    def get_name(self) -> str:
        """Return the task's name."""
        return self.task.get_name() if self.task is not None else "strategy"

    def done(self) -> bool:
        """Whether the call has ended."""
        return self.task.done() if self.task is not None else False


class Remainder:
    """The rest of a coroutine whose first step has yielded `first`.

    Once `abandoned`, it ends with a cancellation even if the coroutine goes on waiting after it.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], first: Any) -> None:
        self._coroutine, self._first = coroutine, first
        self.abandoned = False

    async def result(self) -> tuple[Any, BaseException | None]:
        """Return the result, or what was raised: a strategy's sys.exit() must not end the loop."""
        try:
            return await self, None
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return None, error

    def __await__(self) -> Generator[Any, Any, Any]:
        pending = self._first
        while True:
            failed: BaseException | None = None
            sent: Any = None
            try:
                sent = yield pending
            except BaseException as error:
                failed = error
            try:
                pending = self._coroutine.send(sent) if failed is None else self._coroutine.throw(failed)
            except StopIteration as stop:
                return stop.value
            if failed is not None and self.abandoned:
                raise failed
