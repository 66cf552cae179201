"""Calls of strategies that really wait: begun without a task, gone on with in one."""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import Any

from liualgotrader.common.trading_data import CalledBook, called
from liualgotrader.engine.outputs import Waiting

Answered = Callable[[int, Any, BaseException | None], None]


class StandIn:
    """What `asyncio.current_task()` is during the first step of a call; becomes the real task if one is needed.

    Time-outs and task groups that the strategy opens remember it, and cancel the call through it.
    """

    def __init__(self) -> None:
        self.real: asyncio.Task[Any] | None = None

    def cancel(self, msg: object = None) -> bool:
        """Cancel the call."""
        return self.real.cancel(msg) if self.real is not None else False

    def uncancel(self) -> int:
        """Take one cancellation back."""
        return self.real.uncancel() if self.real is not None else 0

    def cancelling(self) -> int:
        """Return how many cancellations are pending."""
        return self.real.cancelling() if self.real is not None else 0

    def get_name(self) -> str:
        """Return the task's name."""
        return self.real.get_name() if self.real is not None else "strategy"

    def done(self) -> bool:
        """Whether the call has ended."""
        return self.real.done() if self.real is not None else False


class Waits:
    """Steps coroutines and runs those that wait; `answered` hears of each answer, in the loop, outside any task."""

    def __init__(self, seconds: float, answered: Answered) -> None:
        self._seconds, self._answered = seconds, answered
        self._begun: dict[Coroutine[Any, Any, Any], StandIn] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def step(self, coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
        """Run a coroutine to its first real wait."""
        loop = asyncio.get_running_loop()
        around = asyncio.current_task()
        if around is not None:
            _leave_task(loop, around)
        stand_in = StandIn()
        _enter_task(loop, stand_in)  # type: ignore[arg-type]
        try:
            first = coroutine.send(None)
        except StopIteration as stop:
            return True, stop.value
        finally:
            _leave_task(loop, stand_in)  # type: ignore[arg-type]
            if around is not None:
                _enter_task(loop, around)
        self._begun[coroutine] = stand_in
        return False, first

    def go_on(self, waiting: Waiting, book: CalledBook, hold: AbstractContextManager[None]) -> None:
        """Run the rest of a call in a task that is given `seconds` of machine time; `hold` is kept meanwhile."""
        hold.__enter__()
        context = copy_context()
        context.run(called.set, book)
        rest = _rest(waiting.rest, waiting.first)
        task = asyncio.get_running_loop().create_task(_awaited(rest), context=context)
        self._begun.pop(waiting.rest).real = task
        self._tasks.add(task)
        timer = asyncio.get_running_loop().call_later(self._seconds, task.cancel)
        task.add_done_callback(lambda done: self._done(waiting.ticket, done, timer, hold))

    def close(self) -> None:
        """End every call that still waits; nobody hears of it."""
        self._closed = True
        for task in self._tasks:
            task.cancel()

    def _done(
        self, ticket: int, task: asyncio.Task[Any], timer: asyncio.TimerHandle, hold: AbstractContextManager[None]
    ) -> None:
        timer.cancel()
        self._tasks.discard(task)
        if task.cancelled():
            if not self._closed:
                self._answered(ticket, None, TimeoutError(f"no answer within {self._seconds:g} s"))
        else:
            result, error = task.result()
            self._answered(ticket, result, error)
        hold.__exit__(None, None, None)


class _rest:
    """The rest of a coroutine whose first step has yielded `first`."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], first: Any) -> None:
        self._coroutine, self._first = coroutine, first

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


async def _awaited(rest: _rest) -> tuple[Any, BaseException | None]:
    """Return the result, or what was raised: a strategy's sys.exit() must not end the loop that waits for it."""
    try:
        return await rest, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error
