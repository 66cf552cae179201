"""The order in which a consumer takes its inputs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.clock import WallClock
from liualgotrader.consumer.event_intake import EventIntake, Gate
from liualgotrader.ipc.links import Reader
from liualgotrader.ipc.session_page import Cell, Life, SessionPage
from tests.fakes.market_hold import Holds


class Pipe(Reader):
    """A link's reading end."""

    def __init__(self, page: SessionPage, name: str) -> None:
        self.page, self.link = page, page.link(name)

    def attach(self, loop: asyncio.AbstractEventLoop, on_message: Callable[[bytes], None]) -> None:
        self.deliver = on_message

    def send(self, payload: bytes) -> None:
        self.page.set_sent(self.link, self.page.sent(self.link) + 1)
        self.deliver(payload)

    def handled(self) -> None:
        self.page.set_handled(self.link, self.page.handled(self.link) + 1)

    def get(self, timeout: float | None = None) -> bytes:
        raise NotImplementedError

    def close(self) -> None: ...


class Desk:
    """An intake on a page of its own, and what it was given to work on."""

    def __init__(self, folder: Path, *, simulated: bool) -> None:
        names = ["order_gateway", "producer", "scanners_runner", "consumer-0", "consumer-1", "consumer-2"]
        links = ["picks", *(f"{kind}-{i}" for i in range(3) for kind in ("market", "intents", "news"))]
        self.page = SessionPage.create(folder / "page", names, links)
        if simulated:
            self.page.set_anchor(1000, 0, 0.0)
        self.page.set_waiting(True)
        for name in names:
            self.put(name, Cell.LIFE, Life.READY)
            self.put(name, Cell.DEADLINE, 2**62)
        self.work: list[tuple[list[bytes], list[bytes], bool]] = []
        self.answers: list[str] = []
        self.hold = Holds()
        self.market, self.news = Pipe(self.page, "market-1"), Pipe(self.page, "news-1")
        gate = Gate(self.page, 1)
        self.rebuilds = False
        self.intake = EventIntake(
            gate, self.market, self.news, self.take, self.hold.hold(), rebuilds=lambda: self.rebuilds
        )
        self.intake.attach(asyncio.get_running_loop())

    def put(self, process: str, cell: Cell, value: int) -> None:
        self.page.put(self.page.process(process), cell, value)

    def take(self, news: Any, answers: Any, market: Any, timer: bool) -> None:
        for answer in answers:
            answer()
        self.work.append((list(news), list(market), timer))

    def answer(self, name: str, order: int = 0) -> None:
        self.intake.answered(lambda: self.answers.append(name), order)

    async def turns(self, seconds: float = 0.02) -> None:
        await WallClock().sleep(seconds)


async def test_news_goes_before_market_data_and_both_before_timers(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=False)
    desk.intake.alarm()
    desk.market.send(b"m1")
    desk.news.send(b"n1")
    desk.market.send(b"m2")
    assert desk.hold.count == 1
    await desk.turns()
    assert desk.work == [([b"n1"], [b"m1", b"m2"], True)]
    assert desk.hold.count == 0
    assert (desk.page.handled(desk.market.link), desk.page.handled(desk.news.link)) == (2, 1)


@pytest.mark.parametrize(
    "process, cell, other, quiet",
    [
        ("producer", Cell.BUSY, 1, 0),
        ("order_gateway", Cell.UPDATES_SENT, 3, 0),
        ("producer", Cell.FEED_SENT, 2, 0),
        ("scanners_runner", Cell.DEADLINE, 900, 2000),
    ],
)
async def test_while_the_market_stands_all_of_its_instant_is_gathered_first(
    tmp_path: Path, process: str, cell: Cell, other: int, quiet: int
) -> None:
    desk = Desk(tmp_path, simulated=True)
    desk.put(process, cell, other)
    desk.market.send(b"m1")
    await desk.turns()
    assert desk.work == []
    desk.news.send(b"n1")
    desk.put(process, cell, quiet)
    await desk.turns()
    assert desk.work == [([b"n1"], [b"m1"], False)]


async def test_news_that_tells_a_consumer_its_books_waits_for_no_pick(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=True)
    desk.page.set_sent(desk.page.link("picks"), 1)  # the producer takes it once every consumer has said what it holds
    desk.rebuilds = True
    desk.market.send(b"m1")
    desk.news.send(b"n1")
    await desk.turns()
    assert desk.work == [([b"n1"], [], False)]
    desk.rebuilds = False
    desk.news.send(b"n2")
    await desk.turns()
    assert desk.work == [([b"n1"], [], False)]
    desk.page.set_handled(desk.page.link("picks"), 1)
    await desk.turns()
    assert desk.work[1:] == [([b"n2"], [b"m1"], False)]


async def test_a_message_that_is_still_on_its_way_is_waited_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=True)
    desk.page.set_sent(desk.news.link, 1)
    desk.market.send(b"m1")
    await desk.turns()
    assert desk.work == []
    desk.news.deliver(b"n1")
    await desk.turns()
    assert desk.work == [([b"n1"], [b"m1"], False)]


@pytest.mark.parametrize("link", ["market-0", "news-0"])
async def test_while_the_market_stands_consumers_act_one_after_another(tmp_path: Path, link: str) -> None:
    desk = Desk(tmp_path, simulated=True)
    desk.page.set_sent(desk.page.link(link), 1)
    desk.market.send(b"m1")
    await desk.turns()
    assert desk.work == []
    desk.page.set_handled(desk.page.link(link), 1)
    await desk.turns()
    assert len(desk.work) == 1


@pytest.mark.parametrize(
    "process, cell", [("consumer-0", Cell.BUSY), ("consumer-2", Cell.ACTING)], ids=["earlier", "later"]
)
async def test_what_another_consumer_has_begun_is_waited_for(tmp_path: Path, process: str, cell: Cell) -> None:
    desk = Desk(tmp_path, simulated=True)
    desk.put(process, cell, 1)
    desk.market.send(b"m1")
    await desk.turns()
    assert desk.work == []
    desk.put(process, cell, 0)
    await desk.turns()
    assert len(desk.work) == 1


async def test_a_later_consumer_that_only_has_work_is_not_waited_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=True)
    desk.page.set_sent(desk.page.link("market-2"), 1)
    desk.put("consumer-2", Cell.BUSY, 1)
    desk.market.send(b"m1")
    await desk.turns()
    assert len(desk.work) == 1
    assert desk.page.get(desk.page.process("consumer-1"), Cell.ACTING) == 0


async def test_a_market_that_runs_by_itself_is_not_waited_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=True)
    desk.page.set_anchor(1000, 0, 10.0)
    desk.put("producer", Cell.BUSY, 1)
    desk.market.send(b"m1")
    await desk.turns()
    assert len(desk.work) == 1


async def test_answers_are_acted_on_together_in_the_order_in_which_they_were_asked_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=True)
    first, second = desk.intake.expecting(), desk.intake.expecting()
    with first:
        with second:
            desk.news.send(b"n1")
            desk.answer("second", 2)
        await desk.turns()
        assert (desk.work, desk.answers, desk.hold.count) == ([], [], 1)
        desk.answer("first", 1)
    await desk.turns()
    assert (desk.work, desk.answers, desk.hold.count) == ([([b"n1"], [], False)], ["first", "second"], 0)


async def test_an_answer_waits_for_the_consumers_turn(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=True)
    desk.put("consumer-0", Cell.BUSY, 1)
    with desk.intake.expecting():
        desk.answer("one", 1)
    await desk.turns()
    assert (desk.answers, desk.hold.count) == ([], 1)
    desk.put("consumer-0", Cell.BUSY, 0)
    await desk.turns()
    assert (desk.answers, desk.hold.count) == (["one"], 0)


async def test_where_nothing_is_held_an_answer_is_taken_as_it_comes(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=False)
    with desk.intake.expecting():
        desk.market.send(b"m1")
        desk.answer("one", 2)
        await desk.turns()
        assert desk.work == [([], [b"m1"], False)]
        assert desk.answers == ["one"]
        assert desk.hold.count == 1
    assert desk.hold.count == 0


async def test_what_is_expected_in_vain_holds_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=True)
    with desk.intake.expecting():
        assert desk.hold.count == 1
    assert desk.hold.count == 0


async def test_a_closed_intake_holds_nothing_and_takes_no_answer(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=True)
    desk.intake.alarm()
    with desk.intake.expecting():
        desk.intake.close()
        desk.answer("late", 1)
    await desk.turns()
    assert (desk.work, desk.answers, desk.hold.count) == ([], [], 0)


@pytest.mark.slow
async def test_nobody_is_waited_for_without_end_but_whoever_gets_on_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liualgotrader.consumer.event_intake._PATIENCE_SECONDS", 0.8)
    desk = Desk(tmp_path, simulated=True)
    desk.put("consumer-0", Cell.BUSY, 1)
    desk.market.send(b"m1")
    for count in range(10):
        await desk.turns(0.1)
        desk.page.set_handled(desk.page.link("market-0"), count)
        desk.page.set_sent(desk.page.link("market-0"), count)
        desk.put("consumer-0", Cell.BEAT, count)
    assert desk.work == []
    async with asyncio.timeout(60):
        while not desk.work:
            await desk.turns(0.05)
    assert len(desk.work) == 1


async def test_a_process_that_is_down_is_not_waited_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=True)
    desk.put("producer", Cell.BUSY, 1)
    desk.put("producer", Cell.LIFE, Life.DOWN)
    desk.market.send(b"m1")
    await desk.turns()
    assert len(desk.work) == 1
