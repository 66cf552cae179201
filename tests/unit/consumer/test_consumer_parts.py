"""Numbers, outbox, intake, waiting calls and the background record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.clock import WallClock
from liualgotrader.common.errors import DatabaseUnavailable
from liualgotrader.common.orders import (
    CancelIntent,
    Declare,
    Intent,
    OrderIntent,
    OrderNews,
    OrderState,
    OrderType,
    Protect,
    Protection,
    ReplaceIntent,
    Side,
)
from liualgotrader.common.rows import SignalRow
from liualgotrader.common.trading_data import called
from liualgotrader.consumer.intake import Gate, Intake
from liualgotrader.consumer.numbers import OrderNumbers
from liualgotrader.consumer.outbox import Outbox
from liualgotrader.consumer.record import Keys, Recorder
from liualgotrader.consumer.waiting import Waits
from liualgotrader.engine.books import Book
from liualgotrader.engine.outputs import Waiting
from liualgotrader.transport.codec import decode_intents
from liualgotrader.transport.page import Cell, Life, SessionPage

ID = "liu-0b5e7a4e0000-0-{}"


def an_order(number: int) -> OrderIntent:
    return OrderIntent(ID.format(number), 0, "S", "A", Side.BUY, Decimal(1), OrderType.MARKET, 0, 0)


def told(client_id: str, state: OrderState) -> OrderNews:
    return OrderNews(1, 0, client_id, "A", Side.BUY, state, 0, Decimal(1), Decimal(0))


# --- numbers ---------------------------------------------------------------------------------------


def test_numbers_outlive_the_process_and_never_go_back(tmp_path: Path) -> None:
    numbers = OrderNumbers(tmp_path / "j" / "n", [0, 3])
    numbers.use(3, 5)
    numbers.use(3, 4)
    numbers.close()
    again = OrderNumbers(tmp_path / "j" / "n", [0, 3, 7])
    assert (again.highest(0), again.highest(3), again.highest(7)) == (0, 5, 0)
    again.close()


# --- outbox ----------------------------------------------------------------------------------------


class Wire:
    """A link's writing end with a gateway that can be there or not."""

    def __init__(self) -> None:
        self.connected = False
        self.room = True
        self.sent: list[Intent] = []
        self.acts: list[Callable[[], None]] = []

    def attach(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def on_connected(self, act: Callable[[], None]) -> None:
        self.acts.append(act)

    def on_room(self, act: Callable[[], None]) -> None: ...
    def send(self, payload: bytes) -> bool:
        if self.room:
            self.sent += decode_intents(payload)
        return self.room

    def put(self, payload: bytes, timeout: float | None = None) -> None: ...
    def qsize(self) -> int:
        return 0

    def close(self) -> None: ...

    def connect(self) -> list[Intent]:
        self.connected, self.sent = True, []
        for act in self.acts:
            act()
        return self.sent


class Hold:
    """Counts who holds the market."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def busy(self) -> Iterator[None]:
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def hold() -> Hold:
    return Hold()


@pytest.fixture
def outbox(wire: Wire, hold: Hold, tmp_path: Path) -> Outbox:
    numbers = OrderNumbers(tmp_path / "n", [0])
    return Outbox(wire, numbers, lambda: [Declare(0, "S", True, 9)], hold.busy)


def test_slots_are_declared_before_anything_else_and_the_market_is_held_meanwhile(
    outbox: Outbox, wire: Wire, hold: Hold
) -> None:
    outbox.add([an_order(1)])
    assert (wire.sent, hold.count) == ([], 1)
    assert wire.connect() == [Declare(0, "S", True, 9), an_order(1)]
    assert hold.count == 0


def test_what_finds_no_room_is_sent_later_in_order(outbox: Outbox, wire: Wire, hold: Hold) -> None:
    wire.connect()
    wire.room = False
    outbox.add([an_order(1)])
    outbox.add([an_order(2)])
    assert hold.count == 1
    wire.room = True
    outbox.flush()
    assert wire.sent[1:] == [an_order(1), an_order(2)] and hold.count == 0


@pytest.mark.parametrize(
    "intent, news, answered",
    [
        (an_order(1), told(ID.format(1), OrderState.WRITTEN), True),
        (an_order(1), told(ID.format(1), OrderState.REFUSED), True),
        (an_order(1), told(ID.format(2), OrderState.WRITTEN), False),
        (CancelIntent(ID.format(1), 0, 0), told(ID.format(1), OrderState.ACKNOWLEDGED), False),
        (CancelIntent(ID.format(1), 0, 0), told(ID.format(1), OrderState.PENDING_CANCEL), True),
        (CancelIntent(ID.format(1), 0, 0), told(ID.format(1), OrderState.FILLED), True),
        (ReplaceIntent(ID.format(1), 0, 0), told(ID.format(1), OrderState.ACKNOWLEDGED), False),
        (ReplaceIntent(ID.format(1), 0, 0), told(ID.format(1) + "-r1", OrderState.WRITTEN), True),
        (Protect(0, "A", 0, Decimal(1)), Protection(1, 0, "A", 0, Decimal(1)), True),
        (Protect(0, "A", 0, Decimal(1)), Protection(1, 0, "B", 0, Decimal(1)), False),
        (Protect(0, "A", 0, Decimal(2)), Protection(1, 0, "A", 0, Decimal(1)), False),  # echo of an older move
    ],
)
def test_an_intent_is_sent_again_until_news_answers_it(
    outbox: Outbox, wire: Wire, intent: Any, news: Any, answered: bool
) -> None:
    wire.connect()
    outbox.add([intent])
    outbox.heard([news])
    assert outbox.unanswered == (0 if answered else 1)
    assert wire.connect()[1:] == ([] if answered else [intent])


def test_only_the_newest_protection_of_a_position_is_kept(outbox: Outbox, wire: Wire) -> None:
    outbox.add([Protect(0, "A", 0, Decimal(1)), Protect(0, "A", 1, Decimal(2))])
    assert wire.connect()[1:] == [Protect(0, "A", 1, Decimal(2))]


# --- intake ----------------------------------------------------------------------------------------


class Pipe:
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

    def qsize(self) -> int:
        return 0

    def empty(self) -> bool:
        return True

    def close(self) -> None: ...


class Desk:
    """An intake on a page of its own, and what it was given to work on."""

    def __init__(self, folder: Path, *, simulated: bool) -> None:
        names = ["order_gateway", "producer", "scanners_runner", "consumer-0", "consumer-1", "consumer-2"]
        links = ["picks", *(f"{kind}-{i}" for i in range(3) for kind in ("market", "intents", "news"))]
        self.page = SessionPage.create(folder / "page", names, links)
        self.page.set_anchor(1000, 0, 0.0)
        self.page.set_waiting(True)
        for name in names:
            self.put(name, Cell.LIFE, Life.READY)
            self.put(name, Cell.DEADLINE, 2**62)
        self.work: list[tuple[list[bytes], list[bytes], bool]] = []
        self.hold = Hold()
        self.market, self.news = Pipe(self.page, "market-1"), Pipe(self.page, "news-1")
        gate = Gate(self.page, 1, simulated=simulated)
        self.intake = Intake(gate, self.market, self.news, self.take, self.hold.busy)
        self.intake.attach(asyncio.get_running_loop())

    def put(self, process: str, cell: Cell, value: int) -> None:
        self.page.put(self.page.process(process), cell, value)

    def take(self, news: Any, market: Any, timer: bool) -> None:
        self.work.append((list(news), list(market), timer))

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


async def test_a_process_that_is_down_is_not_waited_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, simulated=True)
    desk.put("producer", Cell.BUSY, 1)
    desk.put("producer", Cell.LIFE, Life.DOWN)
    desk.market.send(b"m1")
    await desk.turns()
    assert len(desk.work) == 1


# --- waiting ---------------------------------------------------------------------------------------


class Answers:
    def __init__(self, seconds: float = 5.0) -> None:
        self.got: asyncio.Queue[tuple[int, Any, BaseException | None]] = asyncio.Queue()
        self.waits = Waits(seconds, lambda *answer: self.got.put_nowait(answer))
        self.hold = Hold()
        self.book = Book(0, None, list)

    async def run(self, coroutine: Any) -> Any:
        done, found = self.waits.step(coroutine)
        if done:
            return found
        self.waits.go_on(Waiting(1, 0, "A", coroutine, found), self.book, self.hold.busy())
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
        return [first, called.get()]

    answers = Answers()
    assert await answers.run(slow()) == [[None, None], answers.book]


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


# --- record ----------------------------------------------------------------------------------------


class Ledger:
    """The part of a store that consumers write, on a server that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.rows: list[Any] = []
        self.keys: dict[str, str] = {}

    def _here(self) -> None:
        if self.away:
            raise DatabaseUnavailable("away")

    async def save_signals(self, signals: Any) -> None:
        self._here()
        self.rows += signals

    async def save_reject(self, batch_id: str, strategy: str, symbol: str, at: int) -> None:
        self._here()
        self.rows.append((strategy, symbol))

    async def key_save(self, key: str, value: str) -> None:
        self._here()
        self.keys[key] = value

    async def key_load(self, key: str) -> str | None:
        self._here()
        return self.keys.get(key)

    async def close(self) -> None: ...


class QuickClock(WallClock):
    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 100)


def a_recorder(ledger: Ledger) -> Recorder:
    async def opened() -> Any:
        return ledger

    recorder = Recorder("b", opened, QuickClock())
    recorder.start()
    return recorder


def signal(n: int) -> SignalRow:
    return SignalRow("b", 0, "A", n, {}, "sent")


async def test_rows_are_written_once_although_the_server_was_away() -> None:
    ledger = Ledger()
    ledger.away = True
    recorder = a_recorder(ledger)
    for n in range(3):
        recorder.signal(signal(n))
    recorder.reject("S", "A", 1)
    await WallClock().sleep(0.03)
    ledger.away = False
    while recorder.waiting:
        await WallClock().sleep(0.005)
    await recorder.close(1.0)
    assert ledger.rows == [("S", "A"), signal(0), signal(1), signal(2)]


async def test_what_is_left_is_written_at_the_end() -> None:
    ledger = Ledger()
    recorder = a_recorder(ledger)
    recorder.signal(signal(1))
    await recorder.close(1.0)
    assert ledger.rows == [signal(1)]


async def test_a_value_is_read_back_at_once_and_from_the_server_when_another_wrote_it() -> None:
    ledger = Ledger()
    recorder = a_recorder(ledger)
    keys = Keys(recorder)
    await keys.save("k", "mine")
    assert await keys.load("k") == "mine"
    while recorder.waiting:
        await WallClock().sleep(0.005)
    ledger.keys["k"] = "theirs"
    assert await keys.load("k") == "theirs"
    ledger.away = True
    assert await keys.load("k") == "theirs"
    assert await keys.load("other") is None
    ledger.away = False
    await recorder.close(1.0)
