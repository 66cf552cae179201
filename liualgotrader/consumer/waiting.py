"""Calls of strategies that really wait: begun without a task, gone on with in one."""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from functools import partial
from typing import Any

from liualgotrader.engine.outputs import WaitingCall
from liualgotrader.ipc.process_status import MarketHold


class CallTimeout(TimeoutError):
    """A call that waited has used up its time."""


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
        self._tasks: dict[asyncio.Task[Any], _rest] = {}
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

    def go_on(self, waiting: WaitingCall, context: Context, hold: MarketHold) -> None:
        """Run the rest of a call in a task, in `context`, that is given `seconds` of machine time; `hold` is kept meanwhile.

        When they are over the answer is `CallTimeout`, whatever the call does with its cancellation.
        """
        hold.begin()
        loop = asyncio.get_running_loop()
        rest = _rest(waiting.rest, waiting.first)
        task = loop.create_task(_awaited(rest), context=context)
        self._begun.pop(waiting.rest).real = task
        self._tasks[task] = rest
        answer = _Once(partial(self._answered, waiting.ticket), hold)
        timer = loop.call_later(self._seconds, self._give_up, task, answer)
        task.add_done_callback(lambda done: self._done(done, timer, answer))

    def close(self) -> None:
        """End every call that still waits; nobody hears of it."""
        self._closed = True
        for task, rest in self._tasks.items():
            rest.abandoned = True
            task.cancel()

    def _give_up(self, task: asyncio.Task[Any], answer: _Once) -> None:
        task.cancel()
        if not self._closed:
            answer(None, CallTimeout(f"no answer within {self._seconds:g} s"))

    def _done(self, task: asyncio.Task[Any], timer: asyncio.TimerHandle, answer: _Once) -> None:
        timer.cancel()
        del self._tasks[task]
        if self._closed:
            answer.drop()
        elif task.cancelled():
            answer(None, asyncio.CancelledError("the call was cancelled from inside"))
        else:
            answer(*task.result())


class _Once:
    """Passes the first answer on and ends the hold; further ones are too late."""

    def __init__(self, tell: Callable[[Any, BaseException | None], None], hold: MarketHold) -> None:
        self._tell, self._hold = tell, hold
        self._is_over = False

    def __call__(self, result: Any, error: BaseException | None) -> None:
        if not self._is_over:
            self._tell(result, error)
            self.drop()

    def drop(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._hold.end()


class _rest:
    """The rest of a coroutine whose first step has yielded `first`.

    Once `abandoned`, it ends with a cancellation even if the coroutine goes on waiting after it.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], first: Any) -> None:
        self._coroutine, self._first = coroutine, first
        self.abandoned = False

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


async def _awaited(rest: _rest) -> tuple[Any, BaseException | None]:
    """Return the result, or what was raised: a strategy's sys.exit() must not end the loop that waits for it."""
    try:
        return await rest, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error
