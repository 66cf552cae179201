"""A real consumer process over real links; the test plays producer, gateway and supervisor."""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil
import pytest

from liualgotrader.common.clock import HOUR, MINUTE, SECOND, WallClock, machine_now
from liualgotrader.common.control import (
    Counters,
    ProcessReport,
    Ready,
    SlotEnded,
    StopCommand,
    StopSlotCommand,
    SupervisorCommand,
)
from liualgotrader.common.events import Bar, BarSource, EventBatch, FeedEvent, Needs, Pick, Rejected, TradeTick
from liualgotrader.common.orders import (
    CaughtUp,
    Declare,
    Fill,
    Intent,
    News,
    OrderIntent,
    OrderNews,
    OrderState,
    Protection,
    Side,
)
from liualgotrader.common.rows import AlgoRunRow, BatchRow
from liualgotrader.common.session_plan import Endpoints, Hours, SessionPlan, SlotPlan, write_plan
from liualgotrader.common.tradeplan import Timings, TradePlan
from liualgotrader.data.recorded_series import read_series
from liualgotrader.ipc.batch_codec import decode_intents, decode_needs, encode_batch, encode_news
from liualgotrader.ipc.links import LinkReader, LinkWriter
from liualgotrader.ipc.session_page import SessionPage
from liualgotrader.store.store_factory import open_store
from tests.fakes.consumer_process import HISTORY_BARS, run

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

BATCH = "0b5e7a4e-0000-4000-8000-000000000000"
WAIT = 60.0
T = TypeVar("T")

STRATEGIES = """
import asyncio
from liualgotrader.common import trading_data
from liualgotrader.strategies.base import Strategy, StrategyType

class Buyer(Strategy):
    async def run(self, symbol, shortable, position, now, minute_history, portfolio_value=None, **more):
        if symbol == "BAD":
            raise ValueError("no good")
        if symbol == "NOT":
            return False, {"reject": True}
        trading_data.stop_prices[symbol] = 9.0
        trading_data.buy_indicators[symbol] = {"bars": len(minute_history), "short": shortable, "held": position}
        return True, {"side": "buy", "qty": "10", "type": "market"}

class Patient(Strategy):
    async def run(self, symbol, shortable, position, now, minute_history, **more):
        async with asyncio.timeout(60):
            await asyncio.sleep(0.02)
        before = await self.get_global_var("seen") or ""
        await self.set_global_var("seen", before + symbol)
        return True, {"side": "sell", "qty": 1, "type": "market"}

class Asking(Strategy):
    def __init__(self, batch_id, data_loader):
        super().__init__("Asking", StrategyType.DAY_TRADE, batch_id, [], data_loader=data_loader)

    async def run(self, symbol, shortable, position, now, minute_history, **more):
        known = self.data_loader[symbol].close[-1]
        return True, {"side": "buy", "qty": round(self.data_loader["ELSEWHERE"].close[-1]), "type": "market"}

class Noting(Strategy):
    def on_trade(self, ctx, trade):
        ctx.record("price", trade.price)

class Never(Strategy):
    async def run(self, symbol, shortable, position, now, minute_history, **more):
        await asyncio.Event().wait()

class Broken(Strategy):
    def __init__(self, batch_id):
        raise RuntimeError("cannot")
"""


class Session:
    """The supervisor's, the producer's and the gateway's chair."""

    def __init__(self, folder: Path, strategies: tuple[str, ...], answer_seconds: float) -> None:
        (folder / "mine.py").write_text(STRATEGIES)
        now = WallClock().now()
        self.plan = SessionPlan(
            batch_id=BATCH,
            environment="SIMULATED",
            account_is_new=True,
            hours=Hours("2024-03-08", now - HOUR, now + HOUR, now + HOUR, now + 2 * HOUR),
            simulated_clock=False,
            endpoints=Endpoints("", "", "", "", loopback=True),
            run_dir=str(folder),
            journal_dir=str(folder / "journal"),
            log_dir=str(folder / "logs"),
            consumers=1,
            slots=tuple(SlotPlan(n, name, 0, n + 1) for n, name in enumerate(strategies)),
            tradeplan=TradePlan(strategies={name: {"filename": "mine.py"} for name in strategies}, events=("trade",)),
            tradeplan_dir=str(folder),
            seed=1,
            timings=Timings(strategy_answer_seconds=answer_seconds, strategy_fetch_seconds=1.0),
        )
        write_plan(self.plan)
        self.page = SessionPage.create(self.plan.page_path, self.plan.process_names(), self.plan.link_names())
        self.market = LinkWriter(self.plan.link_path("market-0"), self.page, "market-0")
        self.news_link = LinkWriter(self.plan.link_path("news-0"), self.page, "news-0")
        self.intents = self.listen()
        self.needs = self.listen_for_needs()
        self.taken: list[Intent] = []
        self.seq = 0
        self.batches = 0
        self.heard: list[ProcessReport] = []

    def listen(self) -> LinkReader:
        reader = LinkReader(self.plan.link_path("intents-0"), self.page, "intents-0")
        reader.open()
        return reader

    def listen_for_needs(self) -> LinkReader:
        reader = LinkReader(self.plan.link_path("needs-0"), self.page, "needs-0")
        reader.open()
        return reader

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.control, theirs = context.Pipe()
        self.process = context.Process(target=run, args=(self.plan.run_dir, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.wait_for(Ready)

    def wait_for(self, kind: type[T], fits: Callable[[T], bool] = lambda one: True) -> T:
        until = machine_now() + round(WAIT * SECOND)
        while machine_now() < until:
            if self.control.poll(0.2):
                message = msgspec.msgpack.decode(self.control.recv_bytes(), type=ProcessReport)
                self.heard.append(message)
                if isinstance(message, kind) and fits(message):
                    return message
        raise AssertionError(f"no {kind.__name__} in {WAIT} s; log:\n{self.log}")

    def tell(self, message: SupervisorCommand) -> None:
        self.control.send_bytes(msgspec.msgpack.encode(message))

    def send(self, *events: FeedEvent) -> None:
        self.batches += 1
        self.market.put(encode_batch(EventBatch(1, self.batches, machine_now(), list(events))), WAIT)

    def trade(self, symbol: str = "AAPL", price: float = 10.0, ago: int = 0) -> None:
        self.send(TradeTick(symbol, WallClock().now() - ago, price, 100.0))

    def pick(self, symbol: str = "AAPL") -> None:
        self.send(Pick(symbol, WallClock().now(), "scanner"))
        self.wait_for_log(f"history_loaded symbol={symbol}")

    def told(self, kind: type[T]) -> T:
        """Return the next message of a kind that tells the producer something."""
        while True:
            messages = decode_needs(self.needs.get(WAIT))
            self.needs.handled()
            for message in messages:
                if isinstance(message, kind):
                    return message

    def news(self, *news: News) -> None:
        self.news_link.put(encode_news(news), WAIT)

    def take(self, kind: type[T], seconds: float = WAIT) -> T:
        until = machine_now() + round(seconds * SECOND)
        while True:
            while self.taken:
                one = self.taken.pop(0)
                if isinstance(one, kind):
                    return one
            self.taken += decode_intents(self.intents.get(max(0.0, (until - machine_now()) / SECOND)))
            self.intents.handled()

    def catch_up(self, slot: int = 0, number: int = 1) -> Declare:
        declared = self.take(Declare)
        self.news(CaughtUp(slot, self.seq, number))
        return declared

    def state(self, order: OrderIntent, state: OrderState) -> OrderNews:
        self.seq += 1
        return OrderNews(
            self.seq, order.slot, order.client_order_id, order.symbol, order.side, state, WallClock().now(),
            order.quantity, Decimal(0),
        )  # fmt: skip

    def fill(self, order: OrderIntent) -> Fill:
        self.seq += 1
        return Fill(
            self.seq, order.slot, order.client_order_id, f"x{self.seq}", order.symbol, order.side, order.quantity,
            Decimal(10), Decimal(0), WallClock().now(), order.quantity, Decimal(0), order.side.sign * order.quantity,
        )  # fmt: skip

    def wait_for_log(self, words: str) -> None:
        until = machine_now() + round(WAIT * SECOND)
        while words not in self.log:
            assert machine_now() < until, f"{words!r} never came; log:\n{self.log}"
            if self.control.poll(0.01):
                self.heard.append(msgspec.msgpack.decode(self.control.recv_bytes(), type=ProcessReport))

    @property
    def log(self) -> str:
        file = Path(self.plan.log_dir) / "consumer-0.log"
        return file.read_text() if file.exists() else ""

    def end(self) -> int | None:
        self.tell(StopCommand("over"))
        self.process.join(WAIT)
        return self.process.exitcode

    def close(self) -> None:
        if self.process.is_alive():
            self.process.kill()
            self.process.join(WAIT)
        for one in (self.market, self.news_link, self.intents, self.needs):
            one.close()


@pytest.fixture
def begin(tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Session]]:
    monkeypatch.setenv("LIU_SESSION_DSN", dsn)
    made: list[Session] = []

    def start(*strategies: str, answer_seconds: float = WAIT) -> Session:
        session = Session(tmp_path, strategies, answer_seconds)
        asyncio.run(prepare(dsn, session.plan))
        session.start()
        made.append(session)
        return session

    yield start
    for session in made:
        session.close()


async def prepare(dsn: str, plan: SessionPlan) -> None:
    store = await open_store(dsn)
    await store.begin_batch(BatchRow(plan.batch_id, plan.hours.day, plan.environment, plan.hours.opens_at, {}, {}, {}))
    for slot in plan.slots:
        await store.begin_algo_run(AlgoRunRow(BATCH, slot.slot, slot.strategy, "SIMULATED", "", {}, 0))
    await store.close()


def stored(dsn: str, ask: Callable[[Any], Any]) -> Any:
    async def read() -> Any:
        store = await open_store(dsn)
        try:
            return await ask(store)
        finally:
            await store.close()

    return asyncio.run(read())


def test_a_trade_becomes_an_order_and_its_fill_a_position(begin: Callable[..., Session], dsn: str) -> None:
    session = begin("Buyer")
    declared = session.catch_up()
    assert (declared.slot, declared.strategy, declared.day_trade, declared.last_seq) == (0, "Buyer", True, 0)
    session.pick("NOBORROW")
    session.trade("NOBORROW")
    order = session.take(OrderIntent)
    assert order.client_order_id == "liu-0b5e7a4e0000-0-1"
    assert (order.side, order.quantity, order.planned_stop) == (Side.BUY, Decimal(10), Decimal(9))
    assert order.indicators["buy"]["short"] is False
    assert order.indicators["buy"]["bars"] in (HISTORY_BARS, HISTORY_BARS + 1)
    session.news(session.state(order, OrderState.WRITTEN), session.fill(order))
    session.trade("NOBORROW")
    second = session.take(OrderIntent)
    assert second.client_order_id.endswith("-0-2")
    assert second.indicators["buy"]["held"] == 10.0
    counters = session.wait_for(Counters, lambda c: c.values.get("positions.Buyer") == 1.0)
    assert counters.values["orders_decided"] == 2.0
    assert session.end() == 0
    rows = stored(dsn, lambda store: store.fetch("SELECT count(*) AS n FROM signals"))
    assert rows[0]["n"] == 2


def test_every_message_is_counted_as_handled_once_its_consequences_are_sent(begin: Callable[..., Session]) -> None:
    session = begin("Buyer")
    session.catch_up()
    session.pick()
    session.trade()
    session.take(OrderIntent)
    session.wait_for(Counters)
    assert session.market.qsize() == 0 and session.news_link.qsize() == 0


def test_what_was_recorded_and_written_survives_a_kill(begin: Callable[..., Session], tmp_path: Path) -> None:
    session = begin("Noting")
    session.catch_up()
    session.pick()
    for restarts, price in enumerate((10.0, 11.0)):
        until = machine_now() + round(WAIT * SECOND)
        while price not in (found := read_series(tmp_path / "journal")).value:
            assert machine_now() < until, session.log
            session.trade(price=price)
            session.wait_for(Counters)
        if not restarts:
            psutil.Process(session.process.pid).kill()
            session.process.join(WAIT)
            session.start()
            session.take(Declare)
            session.news(CaughtUp(0, session.seq, 1))
            session.send(Pick("AAPL", WallClock().now(), "scanner"))
    assert found.keys == (("Noting", "AAPL", "price"),)
    assert set(found.value.tolist()) == {10.0, 11.0}
    assert sorted(path.name for path in (tmp_path / "journal").glob("*.arrows")) == [
        "consumer-0.2.arrows",
        "consumer-0.arrows",
    ]
    assert session.end() == 0


def test_a_killed_consumer_rebuilds_its_books_and_gives_no_number_twice(begin: Callable[..., Session]) -> None:
    session = begin("Buyer")
    session.catch_up()
    session.pick()
    session.trade()
    first = session.take(OrderIntent)
    written, filled = session.state(first, OrderState.WRITTEN), session.fill(first)
    session.news(written, filled)
    session.trade()
    lost = session.take(OrderIntent)
    psutil.Process(session.process.pid).kill()
    session.process.join(WAIT)
    session.needs.close()
    session.needs = session.listen_for_needs()
    session.start()
    assert session.take(Declare).last_seq == 0
    session.seq += 1
    stop = Protection(session.seq, 0, "AAPL", WallClock().now(), Decimal("8.5"), None)
    session.news(written, filled, stop, CaughtUp(0, session.seq, 2))
    assert session.told(Needs).symbols == {0: ["AAPL"]}
    session.pick()  # the producer says it to every process that reaches it
    until = machine_now() + round(WAIT * SECOND)
    while True:
        session.trade()
        try:
            order = session.take(OrderIntent, 0.3)
            break
        except queue.Empty:
            assert machine_now() < until, session.log
    assert order.client_order_id.endswith("-0-3") and lost.client_order_id.endswith("-0-2")
    assert order.indicators["buy"]["held"] == 10.0


def test_an_unanswered_order_is_sent_again_with_its_id_to_a_new_gateway(begin: Callable[..., Session]) -> None:
    session = begin("Buyer")
    session.catch_up()
    session.pick()
    session.trade()
    order = session.take(OrderIntent)
    session.intents.close()
    session.intents = session.listen()
    session.take(Declare)
    assert session.take(OrderIntent) == order
    session.news(session.state(order, OrderState.WRITTEN))
    session.wait_for(Counters, lambda c: c.values["unanswered"] == 0.0)
    session.intents.close()
    session.intents = session.listen()
    session.take(Declare)
    with pytest.raises(queue.Empty):
        session.take(OrderIntent, 0.3)


@pytest.mark.parity(28)
def test_a_strategy_that_waits_is_answered_and_may_use_the_key_store(begin: Callable[..., Session], dsn: str) -> None:
    session = begin("Patient")
    session.catch_up()
    session.pick()
    session.trade()
    assert session.take(OrderIntent).side is Side.SELL
    assert session.end() == 0
    assert stored(dsn, lambda store: store.key_load("Patient/seen")) == "AAPL"


def test_a_strategy_that_waits_for_ever_is_stopped_alone(begin: Callable[..., Session]) -> None:
    session = begin("Never", "Buyer", answer_seconds=0.5)
    session.take(Declare)
    session.news(CaughtUp(0, 0, 1), CaughtUp(1, 0, 1))
    session.pick()
    session.trade()
    assert session.take(OrderIntent).strategy == "Buyer"
    ended = session.wait_for(SlotEnded)
    assert (ended.slot, ended.reason) == (0, "no answer")


def test_a_fetch_that_is_not_answered_fails_its_call_and_costs_the_others_its_seconds(
    begin: Callable[..., Session],
) -> None:
    session = begin("Asking", "Buyer")
    session.catch_up(0)
    session.catch_up(1)
    session.pick()
    session.trade()
    order = session.take(OrderIntent)
    assert order.strategy == "Buyer"
    session.wait_for(Counters, lambda c: c.values["fetches_failed"] == c.values["fetches"] == 1.0)
    session.wait_for_log("strategy Asking raised in run for AAPL")
    assert "bars of ELSEWHERE: no answer within the 1 s" in session.log
    assert not [one for one in session.heard if isinstance(one, SlotEnded)]


def test_a_strategy_that_cannot_be_made_is_stopped_alone(begin: Callable[..., Session]) -> None:
    session = begin("Broken", "Buyer")
    [ended] = [one for one in session.heard if isinstance(one, SlotEnded)]
    assert ended.slot == 0 and "RuntimeError: cannot (mine.py:" in ended.reason
    session.catch_up(1)
    session.pick()
    session.trade()
    assert session.take(OrderIntent).slot == 1


def test_a_strategy_that_keeps_raising_is_stopped_with_its_line(begin: Callable[..., Session]) -> None:
    session = begin("Buyer")
    session.catch_up()
    session.pick("BAD")
    for _ in range(5):
        session.trade("BAD")
    ended = session.wait_for(SlotEnded)
    assert ended.reason.startswith("raised: ValueError: no good (mine.py:")


def test_a_slot_that_the_supervisor_stops_is_called_no_more(begin: Callable[..., Session]) -> None:
    session = begin("Buyer")
    session.catch_up()
    session.pick()
    session.tell(StopSlotCommand(0, "no answer"))
    session.wait_for(SlotEnded)
    session.trade()
    with pytest.raises(queue.Empty):
        session.take(OrderIntent, 0.3)


def test_a_position_of_an_earlier_batch_is_called_for_and_asked_of_the_producer(begin: Callable[..., Session]) -> None:
    session = begin("Buyer")
    session.take(Declare)
    now = WallClock().now()
    ten = Decimal(10)
    carried = Fill(1, 0, "", "carried", "XOM", Side.BUY, ten, ten, Decimal(0), now, ten, Decimal(0), ten)
    session.news(carried, Protection(2, 0, "XOM", now, Decimal("8.5"), None), CaughtUp(0, 2, 1))
    assert session.told(Needs).symbols == {0: ["XOM"]}
    session.wait_for_log("history_loaded symbol=XOM")
    session.trade("XOM")
    assert session.take(OrderIntent).indicators["buy"]["held"] == 10.0


def test_a_reject_is_told_to_the_producer_again_by_the_next_process(begin: Callable[..., Session], dsn: str) -> None:
    session = begin("Buyer")
    session.catch_up()
    session.pick("NOT")
    session.trade("NOT")
    assert session.told(Rejected) == Rejected(0, ["NOT"])
    assert session.end() == 0
    session.start()
    assert session.told(Rejected) == Rejected(0, ["NOT"])


def test_a_reject_is_stored(begin: Callable[..., Session], dsn: str) -> None:
    session = begin("Buyer")
    session.catch_up()
    session.pick("NOT")
    session.trade("NOT")
    session.trade("NOT")
    session.wait_for(Counters, lambda c: c.values["events"] == 3.0)
    assert session.end() == 0
    assert [tuple(r) for r in stored(dsn, lambda store: store.rejects(BATCH))] == [("Buyer", "NOT")]


@pytest.mark.parity(32)
def test_stale_market_data_calls_nobody_and_says_so_once(begin: Callable[..., Session]) -> None:
    session = begin("Buyer")
    session.catch_up()
    session.pick()
    for _ in range(3):
        session.trade(ago=6 * SECOND)
    session.wait_for(Counters, lambda c: c.values["stale"] == 3.0)
    session.trade()
    assert session.take(OrderIntent).client_order_id.endswith("-0-1")
    assert session.log.count("consumer A AAPL out of sync w ") == 1


def test_what_is_old_by_nature_is_no_lag(begin: Callable[..., Session]) -> None:
    session = begin("Buyer")
    session.catch_up()
    now = WallClock().now()
    minute = now - now % MINUTE - 2 * MINUTE
    update = Bar("AAPL", minute, minute + MINUTE, 1, 1, 1, 1, 1, 1, 1, int(BarSource.VENDOR_UPDATE))
    session.send(Pick("AAPL", now - HOUR, "scanner"))
    session.send(Pick("MSFT", now - HOUR, "scanner"), update)
    session.wait_for(Counters, lambda told: told.values["symbols"] == 2)
    assert not any(told.values["lag_ms"] for told in session.heard if isinstance(told, Counters))
    session.trade("MSFT", ago=SECOND)
    session.wait_for(Counters, lambda told: told.values["lag_ms"] >= 1000)


def test_without_its_supervisor_it_ends_by_itself(begin: Callable[..., Session]) -> None:
    session = begin("Buyer")
    session.control.close()
    session.process.join(WAIT)
    assert session.process.exitcode == 0
