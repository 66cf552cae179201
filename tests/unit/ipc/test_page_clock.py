"""The market clock of a session, and what holds the market."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from liualgotrader.common.clock import MINUTE, NEVER, SECOND, WallClock, machine_now
from liualgotrader.ipc.address import forget_address, hold_socket, wake_socket
from liualgotrader.ipc.process_status import PageClock, ProcessStatus
from liualgotrader.ipc.session_page import Cell, Life, SessionPage
from tests.fakes.session import HostedChild, make_plan

OPEN = 1_700_000_000 * SECOND


class Market:
    """The simulated market's side of the page: moves time only when all is quiet, and wakes who has a deadline."""

    def __init__(self, page: SessionPage) -> None:
        self.page = page
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(hold_socket(page.path)))
        self.socket.setblocking(False)

    def stand_at(self, at: int) -> None:
        self.page.set_anchor(at, machine_now(), 0.0)
        for name in self.page.processes:
            if self.page.get(self.page.process(name), Cell.DEADLINE) <= at:
                try:
                    self.socket.sendto(b"!", str(wake_socket(self.page.path, name)))
                except OSError:
                    continue

    async def quiet(self, at: int) -> None:
        async with asyncio.timeout(60):
            while self.page.under_way(at):
                await asyncio.sleep(0)

    def told(self) -> int:
        count = 0
        try:
            while self.socket.recv(8):
                count += 1
        except BlockingIOError:
            return count
        return count


@pytest.fixture
def page(tmp_path_factory: pytest.TempPathFactory) -> SessionPage:
    return SessionPage.create(tmp_path_factory.mktemp("s") / "page", ["consumer-0"], [])


@pytest.fixture
def market(page: SessionPage) -> Iterator[Market]:
    made = Market(page)
    yield made
    made.socket.close()


@pytest.fixture
def status(page: SessionPage) -> Iterator[ProcessStatus]:
    made = ProcessStatus(page, "consumer-0")
    made.arrive()
    made.ready()
    yield made
    made.close()


@pytest.fixture
async def clock(page: SessionPage, status: ProcessStatus) -> object:
    made = PageClock(page, status)
    yield made
    made.close()


@pytest.mark.parametrize("simulated, kind", [(True, PageClock), (False, WallClock)])
async def test_a_simulated_session_has_the_pages_clock_and_any_other_the_wall_clock(
    tmp_path: Path, simulated: bool, kind: type
) -> None:
    process = HostedChild("producer", make_plan(tmp_path, simulated_clock=simulated))
    assert isinstance(process.child.clock, kind)
    process.close()


async def test_the_clock_is_the_pages(clock: PageClock, market: Market) -> None:
    assert clock.now() == 0
    market.stand_at(OPEN)
    assert clock.now() == OPEN
    assert clock.age(OPEN + 1) == -1
    assert 0 <= clock.age(OPEN) < 5 * SECOND


async def test_a_sleeper_wakes_at_its_instant_and_not_before(clock: PageClock, market: Market) -> None:
    market.stand_at(OPEN)
    task = asyncio.create_task(clock.sleep_until(OPEN + MINUTE))
    await market.quiet(OPEN)
    market.stand_at(OPEN + MINUTE - 1)
    await market.quiet(OPEN + MINUTE - 1)
    assert not task.done()
    market.stand_at(OPEN + MINUTE)
    async with asyncio.timeout(60):
        await task


async def test_the_market_waits_until_a_woken_task_has_reached_its_next_await(
    clock: PageClock, market: Market, page: SessionPage
) -> None:
    acted: list[int] = []

    async def every_minute() -> None:
        for minute in (1, 2, 3):
            await asyncio.wait_for(clock.sleep_until(OPEN + minute * MINUTE), 60)
            acted.append(minute)

    market.stand_at(OPEN)
    task = asyncio.create_task(every_minute())
    await asyncio.sleep(0.01)
    for minute in (1, 2, 3):
        market.stand_at(OPEN + minute * MINUTE)
        await market.quiet(OPEN + minute * MINUTE)
        assert acted == list(range(1, minute + 1)), "the market moved past a deadline before it was served"
    await task
    assert page.get(0, Cell.DEADLINE) == NEVER


async def test_whoever_goes_on_waiting_after_a_wake_up_holds_the_market(
    clock: PageClock, market: Market, status: ProcessStatus, page: SessionPage
) -> None:
    gate = asyncio.Event()

    async def works() -> None:
        await clock.sleep_until(OPEN + MINUTE)
        with status.hold():
            await gate.wait()

    market.stand_at(OPEN)
    task = asyncio.create_task(works())
    await asyncio.sleep(0.01)
    market.stand_at(OPEN + MINUTE)
    for _ in range(50):
        assert page.under_way(OPEN + MINUTE)
        await asyncio.sleep(0.001)
    assert page.under_way(OPEN + MINUTE) == ["consumer-0 is busy"]
    gate.set()
    await market.quiet(OPEN + MINUTE)
    await task


async def test_a_cancelled_alarm_is_not_called_and_is_no_deadline(
    clock: PageClock, market: Market, page: SessionPage
) -> None:
    called: list[str] = []
    market.stand_at(OPEN)
    alarm = clock.call_at(OPEN + 1, lambda: called.append("cancelled"))
    clock.call_at(OPEN + 2, lambda: called.append("kept"))
    alarm.cancel()
    market.stand_at(OPEN + 2)
    await market.quiet(OPEN + 2)
    assert called == ["kept"]
    assert page.get(0, Cell.DEADLINE) == NEVER


async def test_alarms_of_one_instant_ring_in_the_order_they_were_set(clock: PageClock, market: Market) -> None:
    called: list[int] = []
    market.stand_at(OPEN)
    for number in range(5):
        clock.call_at(OPEN + 1, partial(called.append, number))
    clock.call_at(OPEN, lambda: called.append(-1))
    market.stand_at(OPEN + 1)
    await market.quiet(OPEN + 1)
    assert called == [-1, 0, 1, 2, 3, 4]


async def test_an_alarm_whose_time_has_come_rings_without_a_wake_up(clock: PageClock, market: Market) -> None:
    market.stand_at(OPEN)
    rang = asyncio.Event()
    clock.call_at(OPEN - MINUTE, rang.set)
    async with asyncio.timeout(60):
        await rang.wait()


async def test_a_lost_wake_up_costs_some_milliseconds_only(clock: PageClock, market: Market, page: SessionPage) -> None:
    market.stand_at(OPEN)
    rang = asyncio.Event()
    clock.call_at(OPEN + 1, rang.set)
    page.set_anchor(OPEN + 1, machine_now(), 0.0)  # and nobody is woken
    async with asyncio.timeout(60):
        await rang.wait()


async def test_after_a_restart_the_clock_goes_on_under_the_same_name(page: SessionPage, market: Market) -> None:
    market.stand_at(OPEN)
    for attempt in (1, 2):
        status = ProcessStatus(page, "consumer-0")
        status.arrive()
        status.ready()
        clock = PageClock(page, status)
        rang = asyncio.Event()
        clock.call_at(OPEN + attempt, rang.set)
        market.stand_at(OPEN + attempt)
        async with asyncio.timeout(60):
            await rang.wait()
        if attempt == 2:  # the first one is killed: its socket file stays behind
            clock.close()
        else:
            clock._fallback.cancel()
            asyncio.get_running_loop().remove_reader(clock._socket)  # type: ignore[arg-type]
            clock._socket.close()
        status.close()


def test_an_arriving_process_starts_with_a_clean_row(page: SessionPage) -> None:
    for cell in (Cell.BUSY, Cell.CALL_SINCE, Cell.FEED_HANDLED):
        page.put(0, cell, 9)
    page.put(0, Cell.FEED_SENT, 9)
    status = ProcessStatus(page, "consumer-0")
    status.arrive()
    assert [page.get(0, cell) for cell in (Cell.BUSY, Cell.CALL_SINCE, Cell.FEED_HANDLED)] == [0, 0, 0]
    assert page.under_way(0) == ["consumer-0 is not up"]
    status.ready()
    assert page.under_way(0) == ["consumer-0 has market data to take"]
    status.leave()
    assert page.get(0, Cell.LIFE) == Life.FINISHED
    status.close()


def test_a_waiting_market_is_told_when_work_ends(status: ProcessStatus, market: Market, page: SessionPage) -> None:
    with status.hold():
        pass
    assert market.told() == 0, "nobody waits"
    page.set_waiting(True)
    with status.hold(), status.hold():
        pass
    status.feed_handled(3)
    status.updates_handled(2)
    assert market.told() == 4


def test_a_call_into_a_strategy_stands_on_the_page_until_it_returns(status: ProcessStatus, page: SessionPage) -> None:
    status.calling(3, 77, 12)
    since = page.get(0, Cell.CALL_SINCE)
    assert [page.get(0, c) for c in (Cell.CALL_SLOT, Cell.CALL_SYMBOL, Cell.CALL_BATCH, Cell.CALL_COUNT)] == [
        3,
        77,
        12,
        1,
    ]
    assert 0 < since <= machine_now()
    status.returned()
    assert page.get(0, Cell.CALL_SINCE) == 0


async def test_a_clock_is_woken_in_a_folder_too_deep_for_sockets_as_well(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    page = SessionPage.create(deep / "page", ["consumer-0"], [])
    status = ProcessStatus(page, "consumer-0")
    clock = PageClock(page, status)
    clock.call_at(1, lambda: None)
    assert wake_socket(page.path, "consumer-0").is_socket()
    clock.close()
    status.close()
    forget_address(deep)
