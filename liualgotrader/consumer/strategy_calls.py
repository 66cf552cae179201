"""What happens around each call of a strategy: the page shows it, shared settings are guarded, and a call may really wait."""

from __future__ import annotations

import asyncio
import logging
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any

from liualgotrader.common.clock import MICROSECOND, machine_now
from liualgotrader.common.folder_imports import forget_plain_names
from liualgotrader.common.interpreter import WATCHED, InterpreterState, listed
from liualgotrader.common.tlog import say
from liualgotrader.engine.outputs import WaitingCall
from liualgotrader.engine.waiting import FirstStep, Remainder
from liualgotrader.ipc.process_status import MarketHold, ProcessStatus
from liualgotrader.ipc.session_page import symbol_cell

log = logging.getLogger(__name__)

_NO_SLOT = -1
# The first calls of each strategy after which shared settings are compared, so that it is known who changed them.
_WATCHED_CALLS = 50

Answered = Callable[[int, Any, BaseException | None], None]


class CallGuard:
    """Puts each strategy call on the session page, and guards what strategies of a process share.

    The interpreter's settings are compared after each of a strategy's first calls and after every batch (`compare`), and
    put back; `notify` gets one sentence that names the strategy.
    """

    def __init__(self, status: ProcessStatus, notify: Callable[[str], None]) -> None:
        self._status, self._notify = status, notify
        self._cells: dict[str, int] = {}
        self._names: Mapping[int, str] = {}
        self._watched: dict[int, int] = {}  # slot -> calls after which settings are still compared
        self._called: set[int] = set()
        self._slot = _NO_SLOT
        self._kept = InterpreterState(())
        self._notified: set[str] = set()
        self.batch = 0

    def begin(self, names: Mapping[int, str]) -> None:
        """Take the settings of this moment as the right ones; `names` are the strategies by slot."""
        self._names = names
        self._watched = dict.fromkeys(names, _WATCHED_CALLS)
        self._kept = InterpreterState(WATCHED)

    def calling(self, slot: int, symbol: str) -> None:
        """State the call that begins."""
        if slot != self._slot:
            self._slot = slot
            self._called.add(slot)
        cell = self._cells.get(symbol)
        if cell is None:
            cell = self._cells[symbol] = symbol_cell(symbol)
        self._status.calling(slot, cell, self.batch)

    def returned(self) -> None:
        """State that it ended."""
        self._status.returned()
        slot = self._slot
        if self._watched and slot in self._watched:
            self.compare()
            self._watched[slot] -= 1
            if not self._watched[slot]:
                del self._watched[slot]

    def compare(self) -> None:
        """Put back what was changed since the last comparison, and say which strategy did it."""
        forget_plain_names()
        if changed := self._kept.put_back():
            self._blame(listed(changed))
        self._called.clear()
        self._slot = _NO_SLOT

    def _blame(self, changed: str) -> None:
        names = sorted({self._names[slot] for slot in self._called or self._names if slot in self._names})
        whose = f"strategy {names[0]}" if len(names) == 1 else f"one of the strategies {', '.join(names)}"
        if len(names) > 1:
            self._watched = dict.fromkeys(self._names, _WATCHED_CALLS)
        sentence = f"{whose} has changed {changed} for every strategy of its process; it was put back"
        if sentence not in self._notified:
            self._notified.add(sentence)
            self._notify(sentence)


class TimedCallGuard(CallGuard):
    """Logs how long each call took as well: until it returned, or first waited."""

    _began_at = 0
    _symbol = ""

    def calling(self, slot: int, symbol: str) -> None:
        super().calling(slot, symbol)
        self._symbol, self._began_at = symbol, machine_now()

    def returned(self) -> None:
        took, name = machine_now() - self._began_at, self._names.get(self._slot, "")
        super().returned()
        say(log, "strategy_call", strategy=name, symbol=self._symbol, took_us=took // MICROSECOND)


class CallTimeout(TimeoutError):
    """A call that waited has used up its time."""


class WaitingCalls:
    """Begins calls without a task and runs those that wait in one.

    `answered` gets each result or error, in the loop, outside any task.
    """

    def __init__(self, seconds: float, answered: Answered) -> None:
        self._seconds, self._answered = seconds, answered
        self._begun: dict[Coroutine[Any, Any, Any], FirstStep] = {}
        self._tasks: dict[asyncio.Task[Any], Remainder] = {}
        self._closed = False

    def step(self, coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
        """Run a coroutine to its first real wait."""
        loop = asyncio.get_running_loop()
        around = asyncio.current_task()
        if around is not None:
            _leave_task(loop, around)
        first_step = FirstStep()
        _enter_task(loop, first_step)  # type: ignore[arg-type]
        try:
            first = coroutine.send(None)
        except StopIteration as stop:
            return True, stop.value
        finally:
            _leave_task(loop, first_step)  # type: ignore[arg-type]
            if around is not None:
                _enter_task(loop, around)
        self._begun[coroutine] = first_step
        return False, first

    def go_on(self, waiting: WaitingCall, context: Context, hold: MarketHold) -> None:
        """Run the rest of a call in a task, in `context`, for `seconds` of machine time at most; the market is held meanwhile.

        After that the answer is `CallTimeout`, whatever the call does with its cancellation.
        """
        hold.begin()
        loop = asyncio.get_running_loop()
        remainder = Remainder(waiting.rest, waiting.first)
        task = loop.create_task(remainder.result(), context=context)
        self._begun.pop(waiting.rest).task = task
        self._tasks[task] = remainder
        is_answered = False

        def answer(result: Any, error: BaseException | None) -> None:
            nonlocal is_answered
            if not is_answered:
                is_answered = True
                self._answered(waiting.ticket, result, error)
                hold.end()

        def give_up() -> None:
            task.cancel()
            if not self._closed:
                answer(None, CallTimeout(f"no answer within {self._seconds:g} s"))

        def done(task: asyncio.Task[Any]) -> None:
            timer.cancel()
            del self._tasks[task]
            if self._closed:
                hold.end()
            elif task.cancelled():
                answer(None, asyncio.CancelledError("the call was cancelled from inside"))
            else:
                answer(*task.result())

        timer = loop.call_later(self._seconds, give_up)
        task.add_done_callback(done)

    def close(self) -> None:
        """End every call that still waits; none is answered."""
        self._closed = True
        for task, remainder in self._tasks.items():
            remainder.abandoned = True
            task.cancel()
