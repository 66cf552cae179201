"""Calls of strategies that really wait, and what a strategy changes for its whole process while it is called."""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from typing import Any

import pytest

from liualgotrader.common.clock import WallClock
from liualgotrader.common.interpreter import chance, own_context
from liualgotrader.consumer.strategy_calls import CallGuard, CallTimeout, TimedCallGuard, WaitingCalls
from liualgotrader.engine.outputs import WaitingCall
from tests.fakes.market_hold import Holds


class Answers:
    def __init__(self, seconds: float = 5.0) -> None:
        self.got: asyncio.Queue[tuple[int, Any, BaseException | None]] = asyncio.Queue()
        self.calls = WaitingCalls(seconds, lambda *answer: self.got.put_nowait(answer))
        self.hold = Holds()
        self.context = own_context("seed")

    async def run(self, coroutine: Any) -> Any:
        done, found = self.calls.step(coroutine)
        if done:
            return found
        self.calls.go_on(WaitingCall(1, 0, "A", coroutine, found), self.context, self.hold.hold())
        assert self.hold.count == 1
        _, result, error = await self.got.get()
        assert self.hold.count == 0
        if error is not None:
            raise error
        return result


async def test_a_call_that_does_not_wait_needs_no_task() -> None:
    async def quick() -> str:
        return "done"

    assert await Answers().run(quick()) == "done"


async def test_a_call_that_waits_goes_on_where_it_was() -> None:
    async def slow() -> list[Any]:
        first = await asyncio.gather(WallClock().sleep(0.001), WallClock().sleep(0.001))
        await WallClock().sleep(0)
        return [first, chance.get()]

    answers = Answers()
    assert await answers.run(slow()) == [[None, None], answers.context[chance]]


async def test_time_outs_of_the_strategy_work_across_the_first_wait() -> None:
    async def slow() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "never"

    assert await Answers().run(slow()) == "timed out"


async def test_an_error_after_a_wait_reaches_the_engine() -> None:
    async def slow() -> None:
        await WallClock().sleep(0.001)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await Answers().run(slow())


async def test_a_call_that_never_answers_ends_with_a_time_out() -> None:
    with pytest.raises(TimeoutError, match="no answer within"):
        await Answers(0.02).run(asyncio.Event().wait())


async def test_a_call_that_will_not_be_cancelled_is_answered_for_and_ends_with_the_others() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    answers = Answers(0.02)
    with pytest.raises(CallTimeout):
        await answers.run(stubborn())
    answers.calls.close()
    async with asyncio.timeout(60):
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)


async def test_a_call_may_clean_up_when_its_time_is_over() -> None:
    cleaned = asyncio.Event()

    async def careful() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await WallClock().sleep(0.001)
            cleaned.set()

    with pytest.raises(CallTimeout):
        await Answers(0.02).run(careful())
    async with asyncio.timeout(60):
        await cleaned.wait()


async def test_a_time_out_of_the_strategys_own_is_an_error_like_any_other() -> None:
    async def impatient() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError) as raised:
        await Answers().run(impatient())
    assert not isinstance(raised.value, CallTimeout)


async def test_a_call_that_cancels_itself_is_answered() -> None:
    async def gives_up() -> None:
        await WallClock().sleep(0)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError, match="from inside"):
        await Answers().run(gives_up())


async def test_nobody_hears_of_a_call_that_the_end_cuts_off() -> None:
    answers = Answers()
    coroutine = asyncio.Event().wait()
    _, first = answers.calls.step(coroutine)
    answers.calls.go_on(WaitingCall(1, 0, "A", coroutine, first), answers.context, answers.hold.hold())
    answers.calls.close()
    await WallClock().sleep(0.01)
    assert (answers.got.empty(), answers.hold.count) == (True, 0)


# --- settings that strategies share ------------------------------------------------------------


class Status:
    def calling(self, slot: int, cell: bytes, batch: int) -> None: ...
    def returned(self) -> None: ...


def guard(kind: type[CallGuard] = CallGuard) -> tuple[CallGuard, list[str]]:
    said: list[str] = []
    status: Any = Status()
    made = kind(status, said.append)
    made.begin({0: "Quiet", 1: "Loud", 2: "Late"})
    return made, said


def call(made: CallGuard, slot: int, *, harm: bool = False) -> None:
    made.calling(slot, "AAPL")
    if harm:
        warnings.filterwarnings("ignore", "harmful")  # a filter that no other test has set
        os.chdir("/")
    made.returned()


def test_the_strategy_that_changes_what_all_share_is_named_once_and_it_is_put_back() -> None:
    made, said = guard()
    before = [*warnings.filters], os.getcwd()
    for _ in range(3):
        for slot in (0, 1, 2):
            call(made, slot, harm=slot == 1)
            assert ([*warnings.filters], os.getcwd()) == before
        made.compare()
    assert said == [
        "strategy Loud has changed the warnings filters and the working directory for every strategy of its process;"
        " it was put back"
    ]


def test_one_that_begins_late_is_one_of_those_called_and_named_when_it_does_so_again() -> None:
    made, said = guard()
    before = [*warnings.filters]
    for _ in range(60):
        for slot in (0, 1, 2):
            call(made, slot)
        made.compare()
    for _ in range(2):
        call(made, 0)
        call(made, 2, harm=True)
        made.compare()
        assert [*warnings.filters] == before
    assert [text.partition(" has ")[0] for text in said] == ["one of the strategies Late, Quiet", "strategy Late"]


def test_what_nobody_was_called_for_may_be_anybodys() -> None:
    made, said = guard()
    os.chdir("/")
    made.compare()
    assert said[0].startswith("one of the strategies Late, Loud, Quiet has changed the working directory")


@pytest.mark.parity(78)
def test_how_long_each_call_took_is_logged_where_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        made, _ = guard(TimedCallGuard)
        call(made, 0)
        call(made, 2)
    lines = [record.getMessage().rpartition("=") for record in caplog.records]
    assert [line[0] for line in lines] == [
        f"strategy_call strategy={name} symbol=AAPL took_us" for name in ("Quiet", "Late")
    ]
    assert all(line[2].isdecimal() for line in lines)
