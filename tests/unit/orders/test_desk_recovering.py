"""Journals that were cut or deleted: whatever the record has stored by then, no order is sent twice and no fill is lost."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from liualgotrader.common.clock import WallClock
from liualgotrader.common.errors import RecordDiffers
from liualgotrader.common.money import ZERO
from liualgotrader.common.order_id import OrderId, batch_part
from liualgotrader.common.orders import (
    Declare,
    Fill,
    OrderNews,
    OrderState,
    OrderType,
    Protect,
    Protection,
    ReplaceIntent,
    Side,
)
from liualgotrader.common.rows import AlgoRunRow, ForeignRow, Progress
from liualgotrader.common.session_plan import Endpoints, SessionPlan
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.exchange.exchange_values import OrderChanges
from liualgotrader.order_gateway.recovery import recovered
from liualgotrader.order_gateway.row_writer import RowRecorder
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import (
    Begin,
    Carried,
    Flatten,
    JournalRecord,
    OrderFound,
    Reconnected,
    Recovered,
    Resume,
    Send,
    Warn,
    Write,
)
from tests.examples import examples
from tests.fakes.broker import BATCH, HOURS, SLOTS, SYMBOLS, World, now_of
from tests.fakes.desk_line import PICK, DeskLine
from tests.fakes.market_hold import Holds
from tests.fakes.store import AlgoRun, MemoryDatabase, MemoryStore

PLAN = SessionPlan(BATCH, "SIMULATED", HOURS, True, Endpoints("", "", "", "", True), "", "", "", 1, SLOTS, TradePlan(), "", 1,
                   account_is_new=True)  # fmt: skip


class Session:
    """A world whose rows are stored now and then, and whose journal may lose its end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.database = MemoryDatabase()
        self.store = MemoryStore(self.database)
        for slot in SLOTS:
            self.database.runs[slot.algo_run_id] = AlgoRun(
                AlgoRunRow(BATCH, slot.slot, slot.strategy, "SIMULATED", "", {}, 0)
            )
        self.begins_after = Progress()
        self.rebuilt = 0

    @property
    def stored(self) -> int:
        return now_of(self.store.progress(BATCH)).number

    def keep(self, count: int) -> None:
        """Store the next rows."""
        waiting = [row for number, row in sorted(self.world.rows.items()) if number > self.stored]
        now_of(self.store.apply(BATCH, waiting[:count], now_of(self.store.progress(BATCH))))

    def lose_journal(self, records: int) -> None:
        """Kill the desk, leave the first records of its journal, and start as the gateway does."""
        world = self.world
        for line in (world.commands, world.answers, world.updates, self.world.journal[records:]):
            line.clear()
        del world.journal[records:]
        world.desk, replayed, after = Desk(), {}, Progress()
        for raw in world.journal:
            entry = msgspec.msgpack.decode(raw, type=JournalRecord)
            if isinstance(entry.told, Recovered):
                after = entry.told.record.progress
            for decision in world.desk.decide(entry.told, entry.now, entry.machine):
                if isinstance(decision, Write):
                    replayed[decision.number] = decision.row
        recorder = RowRecorder(
            BATCH, "me", cast(Any, None), WallClock(), patience_seconds=0, on_outage=print, hold=Holds().hold()
        )
        recorder.begin_after(after)
        recorder.add(sorted(replayed.items()))
        try:
            recorder.pass_over(now_of(self.store.progress(BATCH)))
        except RecordDiffers:
            self._rebuild()
            return
        world.rows = {n: row for n, row in world.rows.items() if n <= after.number} | replayed
        found = now_of(recovered(PLAN, self.store, world.broker, world.now)) if not records else None
        self._begin(found if found is not None and found.seen else None)

    def _rebuild(self) -> None:
        world, found = self.world, now_of(recovered(PLAN, self.store, self.world.broker, self.world.now))
        self.rebuilt += 1
        world.desk, world.journal = Desk(), []
        world.rows = {n: row for n, row in world.rows.items() if n <= found.record.progress.number}
        self._begin(found)
        for slot in SLOTS:  # a consumer whose own files are lost too
            world.numbers[slot.slot] = world.desk.state.slots[slot.slot].next_number - 1

    def _begin(self, found: Recovered | None) -> None:
        """Start with what was found, and check what must be known before a consumer may order anything."""
        world = self.world
        world.generation += 1
        world.tell(Begin(world.terms, world.generation))
        if found is not None:
            world.tell(found)
            used = [o.client_order_id for o in now_of(world.broker.orders(since=0))] + list(self.database.orders)
            for name in used:
                own = OrderId.parse(name)
                if own is not None and own.batch == batch_part(BATCH):
                    assert own.number < world.desk.state.slots[own.slot].next_number
                    assert name in world.desk.state.orders.by_id
            entries = [o for o in world.desk.state.orders.all_working() if o.opening and o.ending is None]
            assert all(o.cancel_wanted for o in entries), "an entry whose lifetime is lost works on"
        world.tell(Reconnected())
        for slot in SLOTS:
            world.tell(Declare(slot.slot, slot.strategy, True, 0))
        world.learn_account()


def lost(world: World) -> Session:
    """Return the session after everything was stored, the journal deleted, and the gateway started again."""
    session = Session(world)
    session.keep(100_000)
    session.lose_journal(0)
    assert session.rebuilt == 1
    return session


def positions(world: World) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(p) | {"last": None} for p in world.desk.facts().positions]


def settle(world: World, seconds: float = 1) -> None:
    world.run()
    world.wait(seconds)
    world.run()


def test_position_cost_and_moved_stop_outlive_the_journal_and_a_consumer_is_told_them_again(world: World) -> None:
    first = world.order(1, "buy", 10, planned_stop=Decimal(95), planned_target=Decimal(110))
    settle(world)
    world.order(1, "buy", 5, planned_stop=Decimal(96))
    settle(world)
    world.tell(Protect(1, "AAPL", world.now, Decimal(98), Decimal(111)))
    before = positions(world)
    told = [(n.execution_id, n.position) for n in world.desk.news(1) if isinstance(n, Fill)]
    lost(world)
    assert positions(world) == before
    news = world.desk.news(1)
    assert [(n.execution_id, n.position) for n in news if isinstance(n, Fill)] == told
    assert [n.state for n in news if isinstance(n, OrderNews) and n.client_order_id == first] == ["written", "filled"]
    plans = [n for n in news if isinstance(n, Protection)]
    assert (plans[-1].planned_stop, plans[-1].planned_target) == (98, 111)
    settle(world)
    assert positions(world) == before
    assert world.desk.facts().quarantined == {}


def test_a_chain_of_replacements_goes_on_with_numbers_that_nobody_has_used(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    name = world.order(1, "sell", 10, limit_price=Decimal(105))
    settle(world)
    for price in (106, 107):
        world.tell(ReplaceIntent(name, 1, world.now, limit_price=Decimal(price)))
        settle(world)
    lost(world)
    settle(world)
    world.tell(ReplaceIntent(name, 1, world.now, limit_price=Decimal(108)))
    settle(world)
    chain = {o.client_order_id: o.state for o in now_of(world.broker.orders(since=0)) if o.side is Side.SELL}
    assert chain == {
        name: "replaced",
        f"{name}-r1": "replaced",
        f"{name}-r2": "replaced",
        f"{name}-r3": "acknowledged",
    }


def test_a_brackets_exits_protect_the_position_still_and_only_one_of_them_counts(world: World) -> None:
    world.order(1, "buy", 10, take_profit=Decimal("101"), stop_loss=Decimal("99"))
    settle(world)
    before = positions(world)
    lost(world)
    settle(world)
    assert positions(world) == before
    assert Decimal(before[0]["resting_stop"]) == 99
    assert (
        world.desk.state.positions.total.either == 10 * world.desk.state.positions.marks["AAPL"]
    )  # neither exit adds to it
    world.quote("AAPL", 98.5, 98.52)
    world.trade("AAPL", 98.5)
    settle(world, 5)
    assert (world.held(1), world.desk.facts().open_orders) == (0, ())


def test_an_exit_that_was_written_down_and_never_sent_is_given_up_and_not_sent(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    name = world.order(1, "sell", 10)
    lost(world)
    world.calm()
    assert now_of(world.broker.order_by_client_id(name)) is None
    assert world.order_rows()[name].state == "rejected"
    assert world.held(1) == 10


def test_another_order_that_the_broker_has_under_our_id_is_never_booked_as_ours(world: World) -> None:
    world.order(1, "buy", 5, "MSFT")
    settle(world)
    world.desk, world.rows, world.numbers[1] = Desk(), {}, 0  # every file of ours is lost, and nobody looks first
    world.commands.clear()
    world.start()
    world.tell(now_of(world.broker.account()))
    world.desk.state.conditions.clear()
    world.commands.clear()
    name = world.order(1, "buy", 10, "AAPL")
    world.carry_out()
    world.answers.clear()
    world.tell(OrderFound(name, True, now_of(world.broker.order_by_client_id(name))))
    assert (world.held(1, "AAPL"), world.held(1, "MSFT")) == (0, 0)
    assert any("has another order under the id" in d.text for d in world.others if isinstance(d, Warn))


def test_a_stop_whose_rows_were_not_stored_yet_is_an_exit_and_stays(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    session = Session(world)
    session.keep(100_000)
    stop = world.order(1, "sell", 10, type=OrderType.STOP, stop_price=Decimal(95))
    settle(world)
    entry = world.order(1, "buy", 5, "MSFT", limit_price=Decimal(90))
    settle(world)
    session.lose_journal(0)
    settle(world, 5)
    assert session.rebuilt == 1
    assert str(now_of(world.broker.order_by_client_id(stop)).state) == "acknowledged"
    assert str(now_of(world.broker.order_by_client_id(entry)).state) == "canceled"
    assert world.held(1) == 10


def test_a_stop_and_the_fill_it_protects_are_found_together(world: World) -> None:
    world.order(1, "buy", 1)
    settle(world)
    session = Session(world)
    session.keep(100_000)
    world.order(1, "buy", 9)
    settle(world)
    stop = world.order(1, "sell", 10, type=OrderType.STOP, stop_price=Decimal(95))
    settle(world)
    session.lose_journal(0)
    settle(world, 5)
    assert str(now_of(world.broker.order_by_client_id(stop)).state) == "acknowledged"
    assert world.held(1) == 10


@pytest.mark.parametrize(
    ("terms", "state"),
    [
        ({"side": "sell", "type": OrderType.STOP, "stop_price": Decimal(95)}, "acknowledged"),
        ({"side": "buy", "limit_price": Decimal(95)}, "canceled"),
    ],
)
def test_what_a_person_put_in_the_place_of_an_exit_is_one_and_of_an_entry_another(
    world: World, terms: dict[str, Any], state: str
) -> None:
    world.order(1, "buy", 10)
    settle(world)
    name = world.order(1, quantity=10, **terms)
    settle(world)
    broker_id = now_of(world.broker.order_by_client_id(name)).broker_order_id
    changes: dict[str, Any] = {key: Decimal(96) for key in ("limit_price", "stop_price") if key in terms}
    world.exchange.replace("me", broker_id, world.now, OrderChanges(client_order_id="by-hand", **changes))
    world._collect()
    settle(world, 2)
    lost(world)
    settle(world, 5)
    assert str(now_of(world.broker.order_by_client_id("by-hand")).state) == state
    assert world.held(1) == 10


def test_orders_of_the_desks_own_are_counted_on(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    world.tell(Flatten(1, "a test"))
    settle(world)
    world.tell(Resume())
    session = lost(world)
    settle(world)
    world.order(1, "buy", 7)
    settle(world)
    world.tell(Flatten(1, "a test"))
    settle(world)
    own = [o.client_order_id.split("-", 2)[2] for o in now_of(world.broker.orders(since=0)) if o.side is Side.SELL]
    assert own == ["1-0-d1", "1-0-d2"]
    session.keep(100)
    assert world.held(1) == 0


def test_what_a_strategy_holds_from_before_and_what_is_not_ours_are_told_apart_again(world: World) -> None:
    session = Session(world)
    record = now_of(session.store.recorded(BATCH))
    carried = (Carried(1, "AAPL", Decimal(10), Decimal(90), Decimal(85)),)
    foreign = (ForeignRow(BATCH, "MSFT", Decimal(-4), world.now),)
    world.desk = Desk()
    world.tell(Begin(world.terms, 2))
    world.tell(Recovered(msgspec.structs.replace(record, foreign=foreign), (), (), carried, opened=True))
    (position,) = world.desk.facts().positions
    assert (position.symbol, position.quantity, position.average_price, position.stop) == ("AAPL", 10, 90, 85)
    assert world.desk.facts().foreign == {"MSFT": -4}
    assert world.desk.has_opened


class LostJournals(DeskLine):
    """One desk, one exchange, one record; each rule is one thing that can happen next."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(self.world)
        self.names: list[tuple[str, int]] = []
        ask = self.world._ask

        def once(command: Any) -> Any:
            if isinstance(command, Send):
                name = command.order.client_order_id
                assert now_of(self.world.broker.order_by_client_id(name)) is None, f"{name} is sent twice"
            return ask(command)

        self.world._ask = once  # type: ignore[method-assign]

    @rule(
        slot=st.sampled_from([1, 2]),
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from(["buy", "sell"]),
        quantity=st.integers(1, 40),
        offset=st.sampled_from([None, None, -30, -1, 1, 30]),
        bracket=st.booleans(),
        turns=st.integers(0, 30),
    )
    def order(
        self, slot: int, symbol: str, side: str, quantity: int, offset: int | None, bracket: bool, turns: int
    ) -> None:
        terms: dict[str, Any] = {"planned_stop": Decimal(95)}
        if offset is not None:
            terms["limit_price"] = Decimal("100") + Decimal(offset) / 100
        if bracket and side == "buy":
            terms |= {"take_profit": Decimal("100.20"), "stop_loss": Decimal("99.70")}
        self.names.append((self.world.order(slot, side, quantity, symbol, **terms), slot))
        self.go_on(turns)
        self.world.wait(0.05)

    @precondition(lambda self: self.names)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        self.world.cancel(*self.names[pick % len(self.names)])

    @precondition(lambda self: self.names)
    @rule(pick=PICK, quantity=st.integers(1, 60), cents=st.integers(-50, 50))
    def replace(self, pick: int, quantity: int, cents: int) -> None:
        name, slot = self.names[pick % len(self.names)]
        known = self.world.desk.state.orders.by_id.get(name)
        if known is not None and known.intent.limit_price is not None:
            price = Decimal("100") + Decimal(cents) / 100
            self.world.tell(ReplaceIntent(name, slot, self.world.now, Decimal(quantity), price))

    @rule(slot=st.sampled_from([1, 2]), symbol=st.sampled_from(SYMBOLS), stop=st.integers(80, 99))
    def protect(self, slot: int, symbol: str, stop: int) -> None:
        self.world.tell(Protect(slot, symbol, self.world.now, Decimal(stop)))

    @rule(symbol=st.sampled_from(SYMBOLS), cents=st.integers(-40, 40))
    def market_moves(self, symbol: str, cents: int) -> None:
        middle = 100 + cents / 100
        self.world.quote(symbol, round(middle - 0.01, 2), round(middle + 0.01, 2))

    @rule(seconds=st.sampled_from([0.01, 0.1, 1, 7]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    def go_on(self, turns: int) -> None:
        for _ in range(turns):
            line = self.world.commands or self.world.answers or self.world.updates
            if line:
                (
                    self.world.carry_out
                    if self.world.commands
                    else self.world.hear
                    if self.world.answers
                    else self.world.update
                )()

    @rule(rows=st.integers(1, 60))
    def store_rows(self, rows: int) -> None:
        self.session.keep(rows)

    @rule(rows=st.integers(0, 100), place=st.integers(0, 10_000), deleted=st.booleans())
    def lose_journal(self, rows: int, place: int, deleted: bool) -> None:
        self.session.keep(rows)
        self.session.lose_journal(0 if deleted else place % (len(self.world.journal) + 1))

    @invariant()
    def rows_have_no_holes(self) -> None:
        assert list(self.world.rows) == list(range(1, len(self.world.rows) + 1))

    @invariant()
    def news_have_no_holes(self) -> None:
        for slot in SLOTS:
            numbers = [news.seq for news in self.world.desk.news(slot.slot)]
            assert numbers == list(range(1, len(numbers) + 1))

    def teardown(self) -> None:
        self.world.calm()
        self.session.keep(100_000)
        self.all_is_as_the_broker_has_it()
        self.session.lose_journal(0)  # and once more from what is stored
        self.world.calm()
        self.session.keep(100_000)
        self.all_is_as_the_broker_has_it()

    def all_is_as_the_broker_has_it(self) -> None:
        world, database = self.world, self.session.database
        held = {p.symbol: p.quantity for p in now_of(world.broker.positions())}
        stored: dict[str, Decimal] = defaultdict(Decimal)
        for trade in database.trades.values():
            stored[trade.symbol] += trade.quantity * Side(trade.operation).sign
        for symbol in SYMBOLS:
            assert world.held(1, symbol) + world.held(2, symbol) == held.get(symbol, ZERO) == stored[symbol]
        assert Counter(list(database.trades)) == Counter(a.execution_id for a in world.exchange.activities("me"))
        assert not world.desk.state.quarantine.reasons
        seen = {o.client_order_id: o for o in now_of(world.broker.orders(since=0))}
        for name, order in seen.items():
            row = database.orders[name]
            assert (row.symbol, row.side, row.state) == (order.symbol, order.side, order.state), (row, order)
            assert (row.broker_order_id, row.filled_quantity) == (order.broker_order_id, order.filled_quantity)
        ends = {row.state for name, row in database.orders.items() if name not in _with_legs(seen)}
        assert ends <= {"refused", "rejected", "canceled"}
        assert not [o for o in world.desk.state.orders.all_working() if o.state is OrderState.UNKNOWN]
        steps: dict[str, list[int]] = defaultdict(list)
        for name, number in database.events:
            steps[name].append(number)
        assert all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in steps.values())


def _with_legs(seen: dict[str, Any]) -> set[str]:
    return {*seen, *(leg.client_order_id for order in seen.values() for leg in order.legs)}


LostJournals.TestCase.settings = examples(60, stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestLostJournals = LostJournals.TestCase
