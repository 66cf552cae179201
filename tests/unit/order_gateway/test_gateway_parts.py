"""The gateway's parts, each alone: lock on real money, account lock, lanes, rows, journal room, watches."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from liualgotrader.common.clock import MINUTE, NEVER, SECOND, WallClock
from liualgotrader.common.errors import (
    BadData,
    ConfigError,
    DatabaseUnavailable,
    OutsideError,
    RecordDiffers,
    UnusableRows,
)
from liualgotrader.common.orders import (
    AccountNews,
    BrokerOrder,
    BrokerPosition,
    CaughtUp,
    Declare,
    News,
    OrderIntent,
    OrderType,
    Side,
    UnreadRow,
)
from liualgotrader.common.rows import AlgoRunRow, BatchRow, ForeignRow, Progress, TradeRow
from liualgotrader.common.session_plan import Arming, Endpoints, Hours, SessionPlan, SlotPlan
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import AssetTerms
from liualgotrader.exchange.rules import ExchangeSession
from liualgotrader.ipc.batch_codec import decode_news
from liualgotrader.order_gateway.account_lock import AccountLock, check_account, check_endpoints
from liualgotrader.order_gateway.broker_calls import BrokerCalls, Lanes
from liualgotrader.order_gateway.carry_over import account_positions, carried_positions, carries, takes_up
from liualgotrader.order_gateway.gateway import Gateway, NewsOutbox
from liualgotrader.order_gateway.journaled_desk import JournaledDesk
from liualgotrader.order_gateway.row_writer import RowRecorder
from liualgotrader.order_gateway.watches import ClockWatch, disk_text
from liualgotrader.orders.desk_messages import (
    Begin,
    BrokerSnapshot,
    Cancel,
    CancelAll,
    Carried,
    LookUp,
    Missing,
    Outcome,
    Reconcile,
    Send,
    Tick,
    Warn,
    Write,
)
from liualgotrader.trading.simulated_broker import SimulatedBroker
from tests.fakes.broker import BATCH, CLOSE, HOURS, OPEN, UnreliableBroker, World, desk_terms, now_of
from tests.fakes.market_hold import Holds
from tests.fakes.store import Account, MemoryDatabase, MemoryStore

# --- alarms by machine time


async def test_a_question_that_comes_up_during_a_longer_wait_is_asked_when_it_is_due() -> None:
    clock, journaled = WallClock(), SimpleNamespace(desk=SimpleNamespace(next_machine=NEVER))
    gateway: Any = Gateway.__new__(Gateway)  # nothing but its alarm
    gateway._clock, gateway._journaled, gateway._machine_wait = clock, journaled, None
    gateway._status = SimpleNamespace(hold=Holds().hold)
    served: list[int] = []

    def tick(*_: object) -> list[Warn]:
        served.append(clock.machine())
        journaled.desk.next_machine = NEVER
        return []

    gateway.tell = tick
    journaled.desk.next_machine = clock.machine() + 30 * SECOND  # a comparison that failed is tried again
    waiting = asyncio.ensure_future(gateway._wait_by_machine())
    await asyncio.sleep(0)
    journaled.desk.next_machine = due = clock.machine() + SECOND // 20  # an order's fate is not known
    async with asyncio.timeout(60):
        await waiting
    assert 0 <= served[0] - due < SECOND


# --- counters


def test_fills_orders_and_refusals_are_counted_once_however_often_they_are_told_and_after_a_restart() -> None:
    world = World()
    world.run()

    def counted(gateway: Gateway) -> tuple[int, int, int, int]:
        gateway._count()
        counts = gateway.counts
        return counts["orders"], counts["fills"], counts["fills.alpha"], counts["refused"]

    def begun() -> Any:
        gateway: Any = Gateway.__new__(Gateway)  # nothing but its counters
        gateway._journaled, gateway.counts, gateway._counted = SimpleNamespace(desk=world.desk), Counter(), {}
        return gateway

    gateway = begun()
    world.quote("AAPL", 99.99, 100.01, 4)
    world.order(1, "buy", 10)
    world.run()
    world.wait(1)
    world.order(2, "sell", 5)  # another strategy's shares
    world.quote("AAPL", 99.99, 100.01)
    world.calm(1)
    assert world.held(1) == 10
    assert counted(gateway) == (1, 2, 2, 1)
    for slot, name in ((1, "alpha"), (2, "beta")):  # consumers that have lost their memory
        world.tell(Declare(slot, name, day_trade=True))
    assert counted(gateway) == (1, 2, 2, 1)
    world.crash()
    restarted = begun()
    assert counted(restarted) == (1, 2, 2, 1)
    world.order(1, "sell", 10)
    world.calm(1)
    assert counted(restarted) == (2, 3, 3, 1)


# --- real money


PAPER, LIVE = "https://paper-api.alpaca.markets", "https://api.alpaca.markets"


def session_at(trading: str, updates: str, environment: str, arming: Arming | None = None) -> SessionPlan:
    plan = SessionPlan(
        batch_id="", environment=environment, hours=Hours("", 0, 0, 0, 0), simulated_clock=False,
        endpoints=Endpoints(trading, "", "", updates, loopback=False), run_dir="", journal_dir="", log_dir="",
        consumers=0, slots=(), tradeplan=TradePlan(), tradeplan_dir="", seed=0, arming=arming,
    )  # fmt: skip
    return plan


@pytest.mark.parametrize(
    ("trading", "environment", "arming", "allowed"),
    [
        (PAPER, "PAPER", None, True),
        ("http://127.0.0.1:8000", "SIMULATED", None, True),
        ("http://localhost:8000", "PAPER", None, True),
        (LIVE, "PROD", Arming("1234"), True),
        (LIVE, "PROD", Arming(refusal="nobody said so"), True),
        (LIVE, "PROD", None, False),
        (LIVE, "PROD", Arming(), False),
        (LIVE, "PAPER", Arming("1234"), False),
        (LIVE, "SIMULATED", Arming("1234"), False),
        (PAPER, "PROD", Arming("1234"), False),
        (f"{LIVE}:8443", "PROD", Arming("1234"), False),
        (f"{LIVE}/x", "PROD", Arming("1234"), False),
        (f"{PAPER}:8443", "PAPER", None, False),
        (f"{PAPER}/x", "PAPER", None, False),
        (f"{PAPER}.evil.example", "PAPER", None, False),
        ("", "PAPER", None, False),
    ],
)
def test_orders_go_to_this_machine_to_paper_or_armed_to_the_live_address_and_nowhere_else(
    trading: str, environment: str, arming: Arming | None, allowed: bool
) -> None:
    updates = f"ws{trading.removeprefix('http')}/stream" if trading else ""
    plan = session_at(trading, updates, environment, arming)
    if allowed:
        check_endpoints(plan)
    else:
        with pytest.raises(ConfigError, match=r"^orders .*would go to"):
            check_endpoints(plan)


@pytest.mark.parametrize("updates", ["wss://api.alpaca.markets/stream", "ws://127.0.0.1:1/stream", ""])
def test_the_news_of_orders_come_from_where_the_orders_go(updates: str) -> None:
    with pytest.raises(ConfigError, match="their news would come from"):
        check_endpoints(session_at(PAPER, updates, "PAPER"))


def test_an_armed_gateway_trades_the_account_it_was_armed_for_and_no_other() -> None:
    live = session_at(LIVE, "wss://api.alpaca.markets/stream", "PROD", Arming("1234"))
    check_account(live, "98761234")
    for other in ("98761235", "", "1234 "):
        with pytest.raises(ConfigError, match="armed for account …1234, but the keys open"):
            check_account(live, other)
    check_account(msgspec.structs.replace(live, arming=Arming(refusal="nobody said so")), "98761235")


# --- the account


def test_an_account_has_one_gateway_on_this_machine(tmp_path: Path) -> None:
    first = AccountLock(tmp_path, "PA123456789")
    with pytest.raises(OutsideError, match=rf"Another order gateway .* \(process {os.getpid()}\): end it"):
        AccountLock(tmp_path, "PA123456789")
    AccountLock(tmp_path, "PA987654321").close()
    first.close()
    AccountLock(tmp_path, "PA123456789").close()


def test_the_lock_leaves_no_file_and_is_held_by_one_although_the_last_holder_removed_it(tmp_path: Path) -> None:
    first = AccountLock(tmp_path, "PA1")
    [file] = (tmp_path / "run").glob("account-*.lock")
    file.unlink()  # as a holder that ends just now does, after another has opened the file
    second = AccountLock(tmp_path, "PA1")
    with pytest.raises(OutsideError, match="Another order gateway"):
        AccountLock(tmp_path, "PA1")
    second.close()
    first.close()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_kill_switch_that_finds_no_room_leaves_the_one_that_is_on(tmp_path: Path) -> None:
    lock = AccountLock(tmp_path, "PA123456789")
    lock.kill("the first")
    [stored] = (tmp_path / "run").glob("kill-*")
    stored.with_suffix(".new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        lock.kill("the second")
    assert lock.killed == "the first"
    stored.write_text("")  # as a machine that died in the middle may leave it
    assert lock.killed
    lock.close()


def test_the_kill_switch_outlives_the_process_and_names_no_account(tmp_path: Path) -> None:
    lock = AccountLock(tmp_path, "PA123456789")
    lock.kill("a person said so")
    lock.close()
    again = AccountLock(tmp_path, "PA123456789")
    assert again.killed == "a person said so"
    again.resume()
    assert again.killed == ""
    assert not any("PA123456789" in path.name for path in tmp_path.rglob("*"))
    again.close()


# --- lanes


async def test_calls_of_one_symbol_follow_each_other_and_others_run_beside_them() -> None:
    holds, done = Holds(), list[str]()
    gates = {name: asyncio.Event() for name in ("a1", "a2", "b1")}
    lanes = Lanes(holds.hold)

    def job(name: str) -> Callable[[], object]:
        async def run() -> None:
            await gates[name].wait()
            done.append(name)

        return run

    for lane, name in (("A", "a1"), ("A", "a2"), ("B", "b1")):
        lanes.put(lane, job(name))  # type: ignore[arg-type]
    assert holds.count == 3
    gates["a2"].set()
    gates["b1"].set()
    await until(lambda: done == ["b1"])
    gates["a1"].set()
    await until(lambda: lanes.idle)
    assert (done, holds.count) == (["b1", "a1", "a2"], 0)
    await lanes.close()


async def test_what_comes_first_waits_for_nothing() -> None:
    holds, done = Holds(), list[str]()
    lanes = Lanes(holds.hold, most_at_once=1)

    async def never() -> None:
        await asyncio.Event().wait()

    async def first() -> None:
        done.append("first")

    lanes.put("A", never)
    lanes.put("B", never)
    lanes.put_first(first)
    await until(lambda: done == ["first"] and holds.count == 2)
    lanes.put_first(first)  # and is let go although it never began
    await lanes.close()
    assert holds.count == 0


async def test_closed_lanes_let_the_market_go() -> None:
    holds = Holds()
    lanes = Lanes(holds.hold)

    async def never() -> None:
        await asyncio.Event().wait()

    for lane in ("A", "A", "B"):
        lanes.put(lane, never)
    await asyncio.sleep(0)
    await lanes.close()
    lanes.put("A", never)
    assert (holds.count, lanes.idle) == (0, True)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not reached():
            await asyncio.sleep(0.001)


# --- rows


def account_row(number: int) -> tuple[int, ForeignRow]:
    return number, ForeignRow(BATCH, f"S{number}", Decimal(1), OPEN)


async def recorder_of(
    database: MemoryDatabase, told: list[str], patience: float = 0.0, holds: Holds | None = None
) -> RowRecorder:
    async def open_store() -> MemoryStore:
        store = MemoryStore(database)
        await store.progress(BATCH)
        return store

    clock, hold = WallClock(), (holds or Holds()).hold()
    return RowRecorder(BATCH, "me", open_store, clock, patience_seconds=patience, on_outage=told.append, hold=hold)


@pytest.fixture
async def database() -> AsyncIterator[MemoryDatabase]:
    database = MemoryDatabase()
    store = MemoryStore(database)
    await store.begin_batch(BatchRow(BATCH, "2025-06-23", "SIMULATED", OPEN, {}, {}, {}))
    yield database


@pytest.mark.slow
async def test_equity_is_kept_by_the_minute_through_an_outage_and_a_restart(database: MemoryDatabase) -> None:
    hours = Hours("2025-06-23", OPEN, OPEN + 390 * MINUTE, OPEN, OPEN + 391 * MINUTE)
    told: list[str] = []

    async def seen(*values: tuple[float, str]) -> tuple[float | None, ...]:
        recorder = await recorder_of(database, told)
        recorder.start()
        for minutes, amount in values:
            recorder.see_equity(hours, OPEN + round(minutes * MINUTE), Decimal(amount))
        recorder.see_equity(hours, OPEN + 999 * MINUTE, None)  # the broker does not say
        assert recorder.waiting == 0  # a batch is complete without it
        await recorder.drain(5)
        await recorder.close()
        return database.equity[BATCH, "2025-06-23"].amounts

    assert await seen((-30, "100"), (0, "101"), (0.3, "102"), (1.0, "103"), (2.5, "104")) == (101.0, 103.0, None, 104.0)
    database.reachable = False
    recorder = await recorder_of(database, told)
    recorder.start()
    recorder.see_equity(hours, OPEN + 4 * MINUTE, Decimal(105))
    await until(lambda: bool(told))
    database.reachable = True
    assert await recorder.drain(5)
    await recorder.close()
    after = await seen((389.5, "106"), (391, "107"))
    assert after[:5] == (101.0, 103.0, None, 104.0, 105.0)
    assert set(after[5:-1]) == {None}
    assert (len(after), after[-1]) == (391, 107.0)  # what came after the close is the session's end


@pytest.mark.slow
async def test_rows_wait_for_a_database_that_is_away_and_arrive_once(database: MemoryDatabase) -> None:
    told: list[str] = []
    recorder = await recorder_of(database, told)
    recorder.start()
    recorder.add([account_row(1)])
    assert await recorder.drain(5)
    database.reachable = False
    recorder.add([account_row(2), account_row(3)])
    await until(lambda: bool(told))
    assert (recorder.waiting, "has been unavailable" in told[0]) == (2, True)
    database.reachable = True
    assert await recorder.drain(5)
    await until(lambda: told[-1] == "")
    assert sorted(symbol for _, symbol in database.foreign) == ["S1", "S2", "S3"]
    await recorder.close()


async def test_rows_of_an_earlier_life_are_passed_over(database: MemoryDatabase) -> None:
    first = await recorder_of(database, [])
    first.start()
    first.add([account_row(1), account_row(2)])
    assert await first.drain(5)
    await first.close()
    second = await recorder_of(database, [])
    second.start()
    second.add([account_row(n) for n in (1, 2, 3)])
    assert await second.drain(5)
    assert (second.applied, second.generation) == (3, 2)
    await second.close()


@pytest.mark.parametrize("rows", [0, 1, 2, 5], ids=["deleted", "cut", "another", "grown past what is stored"])
async def test_rows_of_a_journal_that_does_not_lead_to_what_is_stored_are_refused_and_none_is_passed_over(
    database: MemoryDatabase, rows: int
) -> None:
    first = await recorder_of(database, [])
    first.add([account_row(1), account_row(2)])
    await first.connect()
    first.start()
    assert await first.drain(5)
    await first.close()
    again = await recorder_of(database, [])
    again.add([account_row(1 if rows == 1 else n + 10) for n in range(1, rows + 1)])
    with pytest.raises(RecordDiffers, match=f"leads to {rows} rows and not to the 2 that are stored"):
        await again.connect()
    again.start()
    await until(lambda: again.failed() is not None)
    assert isinstance(again.failed(), RecordDiffers)
    assert sorted(symbol for _, symbol in database.foreign) == ["S1", "S2"]
    await again.close()


async def test_a_commit_whose_answer_was_lost_is_found_done_although_more_rows_wait_by_then(
    database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, apply = await recorder_of(database, []), MemoryStore.apply

    async def lose_the_answer(*args: object) -> Progress:
        monkeypatch.setattr(MemoryStore, "apply", apply)
        await apply(*args)  # type: ignore[arg-type]
        recorder.add([account_row(3)])
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(MemoryStore, "apply", lose_the_answer)
    recorder.start()
    recorder.add([account_row(1), account_row(2)])
    assert await recorder.drain(5)
    assert (recorder.applied, database.progress[BATCH].number, len(database.foreign)) == (3, 3, 3)
    await recorder.close()


def cash_row(number: int, run_id: int, account_id: int | None) -> tuple[int, TradeRow]:
    return number, TradeRow(
        f"x{number}", f"liu-0-1-{number}", run_id, "AAPL", "buy", Decimal(1), Decimal(10), Decimal(0), OPEN, {}, None,
        None, account_id,
    )  # fmt: skip


async def test_the_market_stands_until_a_balance_that_an_execution_moves_is_stored(database: MemoryDatabase) -> None:
    holds = Holds()
    run_id = await MemoryStore(database).begin_algo_run(AlgoRunRow(BATCH, 1, "alpha", "SIMULATED", "", {}, OPEN))
    database.accounts[3] = Account(Decimal(100))
    recorder = await recorder_of(database, [], holds=holds)
    recorder.start()
    recorder.add([account_row(1), cash_row(2, run_id, None)])
    assert holds.count == 0, "no balance is moved"
    recorder.add([cash_row(3, run_id, 3), account_row(4)])
    assert (holds.count, database.accounts[3].balance) == (1, 100)
    await until(lambda: holds.count == 0)
    assert database.accounts[3].balance == 90
    await recorder.close()


async def test_a_database_that_is_away_holds_no_market(database: MemoryDatabase) -> None:
    holds = Holds()
    recorder = await recorder_of(database, [], holds=holds)
    recorder.start()
    recorder.add([account_row(1)])
    assert await recorder.drain(5)
    database.reachable = False
    recorder.add([cash_row(2, 1, 3)])
    assert holds.count == 1
    await until(lambda: holds.count == 0)
    recorder.add([cash_row(3, 1, 3)])
    assert holds.count == 0
    await recorder.close()


async def test_an_account_that_another_gateway_holds_ends_the_writing(database: MemoryDatabase) -> None:
    await MemoryStore(database).lease("me")
    recorder = await recorder_of(database, [])
    recorder.start()
    await until(lambda: recorder.failed() is not None)
    assert isinstance(recorder.failed(), OutsideError)
    await recorder.close()


# --- the desk's room


def test_a_room_that_was_left_without_a_word_is_the_same_when_it_is_opened_again(tmp_path: Path) -> None:
    room = JournaledDesk(tmp_path, WallClock())
    assert room.is_new
    decided = [d for d in room.tell([Begin(desk_terms(), 1), BrokerSnapshot(True, (), (), (position("X", 5),))])]
    room.close()
    again = JournaledDesk(tmp_path, WallClock())
    assert again.rows == [(d.number, d.row) for d in decided if isinstance(d, Write)] != []
    assert again.desk.facts().foreign == {"X": 5}
    again.tell([Tick()])
    again.close()


def position(symbol: str, quantity: int) -> BrokerPosition:
    return BrokerPosition(symbol, Decimal(quantity), Decimal(10))


# --- calls


def exchange_broker() -> SimulatedBroker:
    exchange = Exchange([AssetTerms("AAPL")], session=ExchangeSession(opens_at=OPEN, closes_at=CLOSE))
    exchange.advance(OPEN)
    exchange.open_account("me", Decimal(100_000))
    return SimulatedBroker(exchange, "me", lambda: OPEN)


def limit_order(name: str = "liu-0-1-1", price: str = "90") -> OrderIntent:
    return OrderIntent(
        name, 1, "alpha", "AAPL", Side.BUY, Decimal(1), OrderType.LIMIT, OPEN, 0, limit_price=Decimal(price)
    )


@pytest.mark.parametrize(
    ("fault", "outcome"), [("", Outcome.ACCEPTED), ("lost", Outcome.SILENCE), ("mute", Outcome.SILENCE)]
)
async def test_each_end_of_a_request_is_an_answer(fault: str, outcome: Outcome) -> None:
    calls = BrokerCalls(UnreliableBroker(exchange_broker(), lambda call: fault), 1.0)
    answer = await calls.run(Send(limit_order()))
    assert getattr(answer, "outcome", None) is outcome


async def test_a_no_carries_the_brokers_words() -> None:
    calls = BrokerCalls(exchange_broker(), 1.0)
    answer = await calls.run(Send(limit_order(price="90.001")))
    assert (getattr(answer, "outcome", None), "sub-penny" in getattr(answer, "reason", "")) == (Outcome.DECLINED, True)
    gone = await calls.run(Cancel("liu-0-1-9", "no-such-order", "AAPL"))
    assert getattr(gone, "outcome", None) is Outcome.DECLINED


async def test_a_look_up_that_failed_is_not_an_order_that_is_not_there() -> None:
    broker = exchange_broker()
    missing = await BrokerCalls(broker, 1.0).run(LookUp("liu-0-1-1", "AAPL"))
    failed = await BrokerCalls(UnreliableBroker(broker, lambda call: "lost"), 1.0).run(LookUp("liu-0-1-1", "AAPL"))
    assert (getattr(missing, "answered", None), getattr(failed, "answered", None)) == (True, False)


def working(broker: SimulatedBroker, *names: str) -> CancelAll:
    """Send a buy limit under each name and return the wish to take those of ours back."""
    sent = [now_of(broker.submit(limit_order(name))) for name in names]
    return CancelAll(
        tuple(
            Cancel(o.client_order_id, o.broker_order_id, "AAPL") for o in sent if o.client_order_id.startswith("liu-")
        )
    )


@pytest.mark.parametrize(
    ("names", "fault", "asked"),
    [
        (["liu-0-1-1", "liu-0-1-2"], "", ["orders", "cancel_all"]),
        (["liu-0-1-1", "liu-0-1-2", "mine"], "", ["orders", "cancel", "cancel"]),
        (["liu-0-1-1", "liu-0-1-2"], "orders", ["orders", "cancel", "cancel"]),
        (["liu-0-1-1", "liu-0-1-2"], "cancel_all", ["orders", "cancel_all", "cancel", "cancel"]),
    ],
    ids=["all are ours", "somebody else has one too", "nobody says whose they are", "the bulk request is lost"],
)
async def test_everything_of_ours_is_taken_back_in_bulk_or_side_by_side(
    names: list[str], fault: str, asked: list[str]
) -> None:
    broker, calls = exchange_broker(), list[str]()

    def plan(call: str) -> str:
        calls.append(call)
        return "lost" if call == fault else ""

    wanted = working(broker, *names)
    answers = await BrokerCalls(UnreliableBroker(broker, plan), 1.0).cancel_all(wanted)
    assert calls == asked
    assert [(a.client_order_id, a.outcome) for a in answers] == [(n, Outcome.ACCEPTED) for n in names if n != "mine"]


async def test_one_failing_page_makes_the_whole_snapshot_fail() -> None:
    broker = UnreliableBroker(exchange_broker(), lambda call: "lost" if call == "executions" else "")
    assert await BrokerCalls(broker, 1.0).run(Reconcile(OPEN)) == BrokerSnapshot(False)


async def test_a_broker_that_never_answers_is_silence() -> None:
    class Hung(UnreliableBroker):
        async def submit(self, order: OrderIntent) -> BrokerOrder:
            await asyncio.Event().wait()
            raise AssertionError

    answer = await BrokerCalls(Hung(exchange_broker()), 0.005).run(Send(limit_order()))
    assert getattr(answer, "outcome", None) is Outcome.SILENCE


# --- news


class PlayedWriter:
    """A link's end that has room for so many messages."""

    def __init__(self, room: int) -> None:
        self.room, self.connected = room, True
        self.sent: list[News] = []
        self.acts: list[Callable[[], None]] = []

    def on_connected(self, act: Callable[[], None]) -> None:
        self.acts.append(act)

    on_room = on_connected

    def send(self, payload: bytes) -> bool:
        if not self.room:
            return False
        self.room -= 1
        self.sent += decode_news(payload)
        return True


def test_news_wait_for_room_hold_the_market_and_keep_their_order() -> None:
    holds, writer = Holds(), PlayedWriter(room=0)
    outbox = NewsOutbox(writer, holds.hold(), lambda: False)  # type: ignore[arg-type]
    outbox.declared(1)
    for seq in (1, 2):
        outbox.add(1, CaughtUp(1, seq, 1))
    outbox.flush()
    assert (holds.count, writer.sent) == (1, [])
    writer.room = 5
    writer.acts[0]()
    assert (holds.count, [getattr(n, "seq", 0) for n in writer.sent]) == (0, [1, 2])


def test_a_slot_that_has_not_declared_itself_is_told_nothing_and_a_new_declaration_starts_over() -> None:
    writer = PlayedWriter(room=0)
    outbox = NewsOutbox(writer, Holds().hold(), lambda: False)  # type: ignore[arg-type]
    outbox.add(1, CaughtUp(1, 1, 1))
    assert not outbox._unsent
    outbox.declared(1)
    outbox.add(1, CaughtUp(1, 2, 1))
    outbox.declared(1)
    assert not outbox._unsent


def test_only_the_newest_figures_of_the_account_are_sent_and_nobody_waits_for_a_consumer_that_has_ended() -> None:
    holds, writer, gone = Holds(), PlayedWriter(room=0), list[bool]()
    outbox = NewsOutbox(writer, holds.hold(), lambda: bool(gone))  # type: ignore[arg-type]
    for at in (1, 2):
        outbox.add_account(AccountNews(at, Decimal(1), Decimal(1), Decimal(1)))
    outbox.flush()
    assert holds.count == 1
    gone.append(True)
    outbox.flush()
    assert (holds.count, not outbox._unsent) == (0, True)


# --- watches


def test_entries_stop_when_the_disk_is_nearly_full() -> None:
    assert disk_text(500_000_000) == ""
    assert disk_text(499_999_999).startswith("only 499 MB are free")


@pytest.mark.parametrize(
    ("lags", "stopped", "warned"),
    [
        ([0.02, 0.5, 9.0], False, False),  # one late update is no skew
        ([1.5, 1.6, 2.0], False, True),
        ([4.0, 3.5, 9.0], True, False),
        ([-3.5, -3.4, -3.2], True, False),
    ],
)
def test_the_smallest_lag_shows_how_far_the_clocks_are_apart(lags: list[float], stopped: bool, warned: bool) -> None:
    said: list[str] = []
    warnings: list[str] = []
    watch = ClockWatch(said.append, warnings.append)
    for lag in lags:
        watch.update(OPEN, OPEN + int(lag * SECOND))
    assert (bool(said and said[-1]), bool(warnings)) == (stopped, warned)


def test_a_skew_that_is_gone_lets_entries_go_on_after_the_window() -> None:
    said: list[str] = []
    watch = ClockWatch(said.append, lambda text: None)
    for minutes in range(0, 24, 2):
        lag = 4 if minutes < 10 else 0
        now = OPEN + minutes * MINUTE
        watch.update(now - lag * SECOND, now)
    assert said[0] and not said[-1]


@pytest.mark.parametrize(
    ("asked", "theirs", "arrived", "stopped", "warned"),
    [
        (0.0, 0.1, 0.2, False, False),
        (0.0, -3.5, 0.2, True, False),  # ours is ahead by 3.5 s at least
        (0.0, 3.5, 0.2, True, False),
        (0.0, 1.5, 0.2, False, True),
        (0.0, -2.0, 0.2, False, True),
        (0.0, 0.0, 8.0, False, False),  # a slow line is no skew
        (0.0, 8.0, 8.0, False, False),
        (0.0, 9.5, 8.0, False, True),
    ],
)
def test_the_brokers_answer_says_how_far_its_clock_is_from_ours(
    asked: float, theirs: float, arrived: float, stopped: bool, warned: bool
) -> None:
    said: list[str] = []
    warnings: list[str] = []
    watch = ClockWatch(said.append, warnings.append)
    watch.answered(*(OPEN + int(second * SECOND) for second in (asked, theirs, arrived)))
    assert (bool(said[-1]), bool(warnings)) == (stopped, warned)
    assert all("NTP" in text for text in [*warnings, said[-1]] if text)
    watch.answered(OPEN, OPEN, OPEN)
    assert said[-1] == ""


def test_updates_that_come_late_say_nothing_of_a_clock_that_answered_well() -> None:
    said: list[str] = []
    watch = ClockWatch(said.append, said.append)
    watch.answered(OPEN, OPEN, OPEN + SECOND // 10)
    for _ in range(10):
        watch.update(OPEN, OPEN + 5 * SECOND)
    assert said == [""]
    watch.update(OPEN + 6 * SECOND, OPEN + SECOND)  # from our future: our clock was set back
    assert "-5.0 s" in said[-1]
    assert watch.asks_again_after == MINUTE


def test_the_clocks_warn_once_and_are_asked_again_sooner_while_entries_stop() -> None:
    warnings: list[str] = []
    watch = ClockWatch(lambda text: None, warnings.append)
    for _ in range(3):
        watch.answered(OPEN, OPEN + 2 * SECOND, OPEN)
    assert (len(warnings), watch.asks_again_after) == (1, 10 * MINUTE)


# --- over night


async def test_a_strategy_goes_on_with_what_it_held_if_the_account_holds_it(database: MemoryDatabase) -> None:
    store = MemoryStore(database)
    before = BATCH.replace("0b5e", "aaaa")
    await store.begin_batch(BatchRow(before, "2025-06-20", "SIMULATED", OPEN, {}, {}, {}))
    run = await store.begin_algo_run(AlgoRunRow(before, 1, "alpha", "SIMULATED", "", {}, OPEN))
    bought = [("AAPL", 10), ("MSFT", 20)]
    rows = [trade_row(run, symbol, quantity) for symbol, quantity in bought]
    await store.apply(before, rows)
    notices: list[str] = []
    plan = plan_of(SlotPlan(3, "alpha", 1, 13), SlotPlan(1, "alpha", 0, 11))
    held = [position("AAPL", 15), position("MSFT", 5)]
    carried = await carried_positions(plan, store, held, lambda level, text: notices.append(text))
    assert carried == [
        Carried(1, "AAPL", Decimal(10), Decimal(10)),
        Carried(1, "MSFT", Decimal(5), Decimal(10)),
        Missing(1, "MSFT", Decimal(15), Decimal(10), there=Decimal(0)),
    ]
    assert notices == [
        "alpha held 10 AAPL after its last session and goes on with them",
        "alpha held 20 MSFT after its last session and goes on with 5",
    ]


@pytest.mark.parametrize(("odd", "stops"), [("GE", False), ("AAPL", True), ("", True)])
async def test_only_an_odd_position_that_a_strategy_may_have_left_stops_the_start(
    database: MemoryDatabase, odd: str, stops: bool
) -> None:
    class Odd(SimulatedBroker):
        async def positions(self) -> Sequence[BrokerPosition]:
            raise UnusableRows([BadData("odd")], [UnreadRow(odd)], [position("MSFT", 5)])

    store = MemoryStore(database)
    before = BATCH.replace("0b5e", "aaaa")
    await store.begin_batch(BatchRow(before, "2025-06-20", "SIMULATED", OPEN, {}, {}, {}))
    run = await store.begin_algo_run(AlgoRunRow(before, 1, "alpha", "SIMULATED", "", {}, OPEN))
    await store.apply(before, [trade_row(run, "AAPL", 10)])
    broker = Odd(Exchange([], session=ExchangeSession(opens_at=OPEN, closes_at=CLOSE)), "me", lambda: OPEN)
    asked = account_positions(plan_of(SlotPlan(1, "alpha", 0, 11)), store, broker)
    if stops:
        with pytest.raises(UnusableRows):
            await asked
    else:
        assert await asked == [position("MSFT", 5)]


def test_positions_are_carried_over_where_the_account_goes_on_unless_told_otherwise() -> None:
    paper = msgspec.structs.replace(plan_of(), environment="PAPER")
    simulated = msgspec.structs.replace(paper, environment="SIMULATED", account_is_new=True)
    told = msgspec.structs.replace(paper, tradeplan=TradePlan(skip_existing=True))
    assert [carries(plan) for plan in (simulated, paper, told)] == [False, True, False]


def test_a_shadow_session_leaves_what_earlier_batches_left_alone() -> None:
    paper = msgspec.structs.replace(plan_of(), environment="PAPER")
    shadow = msgspec.structs.replace(paper, shadow=True)
    assert [(takes_up(plan), carries(plan)) for plan in (paper, shadow)] == [(True, True), (False, False)]


def trade_row(run: int, symbol: str, quantity: int) -> TradeRow:
    name = f"e-{symbol}"
    return TradeRow(name, name, run, symbol, "buy", Decimal(quantity), Decimal(10), Decimal(0), OPEN, {}, None, None)


def plan_of(*slots: SlotPlan) -> SessionPlan:
    return SessionPlan(
        batch_id=BATCH,
        environment="SIMULATED",
        hours=HOURS,
        simulated_clock=True,
        endpoints=Endpoints("", "", "", "", True),
        run_dir="",
        journal_dir="",
        log_dir="",
        consumers=2,
        slots=slots,
        tradeplan=TradePlan(),
        tradeplan_dir="",
        seed=1,
    )
