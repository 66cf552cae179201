"""The real gateway process against the simulated market and PostgreSQL: killed at random instants, nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from liualgotrader.analytics import consolidate
from liualgotrader.common.clock import NEVER, nanoseconds
from liualgotrader.common.config import SESSION_DSN
from liualgotrader.common.control import ANNOUNCED, UNANNOUNCED, Counters, Failed, OperatorRequest, StopSlotCommand
from liualgotrader.common.orders import Fill, OrderState, Protect, Side
from liualgotrader.common.rows import AlgoRunRow, BatchRow, OrderRow, Row, TradeRow
from liualgotrader.common.session_plan import Arming, SlotPlan, write_plan
from liualgotrader.ipc.batch_codec import encode_intents
from liualgotrader.ipc.session_page import Cell, Life
from liualgotrader.journal import JournalWriter, read_journal
from liualgotrader.order_gateway.journaled_desk import JOURNAL_FILE
from liualgotrader.orders.desk_messages import JournalRecord, Leave
from liualgotrader.store.postgres_store import PostgresStore
from tests.fakes import live_gateway
from tests.fakes.http_vendor import spoiling
from tests.integration.order_gateway.gateway_stack import BATCH, KEY, OPEN, SECRET, WIDE, PlayedConsumer, Stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


AFTER = "bbbbbbbb-0000-4000-8000-000000000000"
SLOT_OF_AFTER = SlotPlan(1, "alpha", 0, 4)


def earlier_order(seen: dict[str, str], run: int, name: str, batch_id: str) -> OrderRow:
    """Return an order as the record has it: its end is known only if it bought."""
    bought = seen["side"] == "buy"
    return OrderRow(
        client_order_id=name,
        batch_id=batch_id,
        slot=1,
        algo_run_id=run,
        generation=1,
        symbol=seen["symbol"],
        side=seen["side"],
        quantity=Decimal(10),
        type="market",
        time_in_force="day",
        limit_price=None,
        stop_price=None,
        state="filled" if bought else "acknowledged",
        broker_order_id=seen["id"],
        filled_quantity=Decimal(10 if bought else 0),
        average_price=Decimal(seen["filled_avg_price"]) if bought else None,
        reason="",
        planned_stop=None,
        planned_target=None,
        indicators={},
        decided_at=nanoseconds(seen["submitted_at"]),
        updated_at=nanoseconds(seen["updated_at"]),
    )


async def begin(stack: Stack, swing: frozenset[int] = frozenset()) -> PlayedConsumer:
    stack.start_gateway()
    consumer = PlayedConsumer(stack, swing)
    await consumer.until(lambda: consumer.caught_up == {1, 2} and consumer.account is not None)
    return consumer


def prices(stack: Stack) -> dict[str, Decimal]:
    found = stack.ask("assets", status="active")
    symbols = sorted(a["symbol"] for a in found if a["tradable"])[:4]
    seen = stack.ask("stocks/snapshots", symbols=",".join(symbols), feed="sip")
    return {s: Decimal(str(seen[s]["latestTrade"]["p"])) for s in symbols}


async def test_what_a_consumer_garbles_does_not_end_the_gateway(stack: Stack) -> None:
    consumer = await begin(stack)
    symbol, price = next(iter(prices(stack).items()))
    consumer.writer.send(b"\xc1")  # no message of ours begins so
    name = consumer.order(1, Side.BUY, 10, symbol, price)
    await consumer.until(lambda: consumer.state(name) is OrderState.FILLED)
    assert any("cannot be read and are lost" in notice for notice in stack.heard_notices())
    assert await stack.stop_gateway() == 0
    consumer.close()


async def test_an_order_is_filled_told_shown_and_stored(stack: Stack, store: PostgresStore) -> None:
    write_plan(msgspec.structs.replace(stack.plan, verbose=True))
    consumer = await begin(stack)
    symbol, price = next(iter(prices(stack).items()))
    name = consumer.order(1, Side.BUY, 10, symbol, price)
    await consumer.until(lambda: consumer.state(name) is OrderState.FILLED)
    assert consumer.position(1, symbol) == 10
    stack.say(OperatorRequest("orders", {}, 7))
    await consumer.until(lambda: bool(stack.answer(7)))
    state, *fills = (line[9:] for line in stack.answer(7).splitlines() if name in line)  # after the time of day
    assert state == f"alpha: {name} buy 10 {symbol} filled, 10 filled"
    assert fills
    assert all(f"alpha: {name} buy" in fill and "fee 0.00 $, holds" in fill for fill in fills)
    shown = [line[9:] for line in stack.heard_notices() if name in line]
    assert shown[0] == f"alpha: {name} buy 10 {symbol} written"
    assert {state, *fills} <= set(shown)
    assert await stack.stop_gateway() == 0
    consumer.close()
    [row] = await store.fetch(
        "SELECT state, filled_quantity, broker_order_id FROM orders WHERE client_order_id = $1", name
    )
    assert (row["state"], row["filled_quantity"]) == ("filled", 10)
    assert sum(t.quantity for t in await store.trades(BATCH)) == 10
    assert stack.facts()["positions"][0]["quantity"] == "10"


@pytest.mark.parity(38)
async def test_a_sub_account_is_traded_through_the_broker_api_and_known_again_after_a_kill(
    stack: Stack, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    [symbol, *_], [price, *_] = zip(*prices(stack).items(), strict=True)
    endpoints = msgspec.structs.replace(stack.plan.endpoints, broker_url=stack.plan.endpoints.trading_url)
    sub_account = stack.ask("account")["id"]
    stack.plan = msgspec.structs.replace(stack.plan, endpoints=endpoints, sub_account=sub_account)
    write_plan(stack.plan)
    for name, value in (("KEY", KEY), ("SECRET", SECRET)):
        monkeypatch.setenv(f"ALPACA_BROKER_API_{name}", value)
    monkeypatch.setenv("APCA_API_SECRET_KEY", "not-of-the-trading-api")
    consumer = await begin(stack)
    first = consumer.order(1, Side.BUY, 10, symbol, price)
    await consumer.until(lambda: consumer.state(first) is OrderState.FILLED)
    stack.kill_gateway()
    second = consumer.order(2, Side.BUY, 5, symbol, price)
    stack.start_gateway()
    await consumer.until(lambda: consumer.state(second) is OrderState.FILLED)
    assert (consumer.position(1, symbol), consumer.position(2, symbol)) == (10, 5)
    assert await stack.stop_gateway() == 0
    consumer.close()
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    assert [(p["symbol"], p["qty"]) for p in stack.ask("positions")] == [(symbol, "15")]
    assert sum(t.quantity for t in await store.trades(BATCH)) == 15


async def test_stopping_with_flatten_closes_day_trades_and_keeps_swings(stack: Stack) -> None:
    consumer = await begin(stack, swing=frozenset({2}))
    (first, price), (second, other) = list(prices(stack).items())[:2]
    names = consumer.order(1, Side.BUY, 10, first, price), consumer.order(2, Side.BUY, 5, second, other)
    await consumer.until(lambda: all(consumer.state(name) is OrderState.FILLED for name in names))
    assert await stack.stop_gateway(flatten=True) == 0
    consumer.close()
    assert [(p["symbol"], Decimal(p["qty"])) for p in stack.ask("positions")] == [(second, 5)]


async def test_kill_9_at_random_instants_loses_and_doubles_nothing(stack: Stack, store: PostgresStore) -> None:
    random = Random(11)
    consumer = await begin(stack)
    known = prices(stack)
    names: list[tuple[str, int]] = []
    for _ in range(6):
        for _ in range(random.randrange(4, 10)):
            symbol = random.choice(sorted(known))
            slot = random.choice([1, 2])
            have = consumer.position(slot, symbol)
            side = Side.SELL if have > 0 and random.random() < 0.6 else Side.BUY
            size = min(int(have), 5) if side is Side.SELL else random.randrange(1, 9)
            limit = random.random() < 0.4
            cents = Decimal(random.randrange(-5, 6)) / 100
            names.append((consumer.order(slot, side, max(1, size), symbol, known[symbol] + cents, limit=limit), slot))
            if random.random() < 0.2:
                consumer.cancel(*random.choice(names))
            await asyncio.sleep(random.random() * 0.03)
        stack.kill_gateway()
        stack.start_gateway()
    await consumer.until(lambda: not consumer.open())
    await asyncio.sleep(0.5)
    assert await stack.stop_gateway() == 0, stack.log()[-3000:]
    consumer.close()

    at_broker = {o["client_order_id"]: o for o in stack.ask("orders", status="all", limit=500)}
    rows = await store.fetch("SELECT client_order_id, state, filled_quantity, broker_order_id FROM orders")
    stored = {r["client_order_id"]: r for r in rows}
    assert len(rows) == len(stored) == len(names)
    for name, seen in at_broker.items():
        assert stored[name]["broker_order_id"] == seen["id"]
        assert stored[name]["state"] == seen["status"]
        assert stored[name]["filled_quantity"] == Decimal(seen["filled_qty"])
    never_there = [r for name, r in stored.items() if name not in at_broker]
    assert {r["state"] for r in never_there} <= {"refused", "rejected", "canceled"}  # the last: while it waited here
    assert not any(r["broker_order_id"] or r["filled_quantity"] for r in never_there)

    trades = await store.trades(BATCH)
    booked = Counter(t.execution_id for t in trades)
    fills = stack.ask("account/activities", activity_types="FILL", page_size=100)
    assert len(fills) < 100
    assert booked == Counter(f["id"].rpartition("::")[2] for f in fills)
    held = {p["symbol"]: Decimal(p["qty"]) for p in stack.ask("positions")}
    ours: dict[str, Decimal] = {}
    for trade in trades:
        signed = trade.quantity if trade.operation == "buy" else -trade.quantity
        ours[trade.symbol] = ours.get(trade.symbol, Decimal(0)) + signed
    assert {s: q for s, q in ours.items() if q} == held
    told = {s: consumer.position(1, s) + consumer.position(2, s) for s in known}
    assert {s: q for s, q in told.items() if q} == held
    assert SECRET not in stack.log()


async def test_an_order_that_a_person_replaced_keeps_its_stop_in_the_record_though_the_gateway_is_killed_meanwhile(
    stack: Stack, store: PostgresStore
) -> None:
    consumer = await begin(stack)
    symbol, price = next(iter(prices(stack).items()))
    low, stop = ((price * part).quantize(Decimal("0.01")) for part in (Decimal("0.97"), Decimal("0.90")))
    name = consumer.order(1, Side.BUY, 10, symbol, low, limit=True, stays=True, planned_stop=stop)
    await consumer.until(lambda: consumer.state(name) is OrderState.ACKNOWLEDGED)
    [resting] = stack.ask("orders", status="open")
    stack.kill_gateway()
    terms = {"qty": "25", "limit_price": str((price * Decimal("1.01")).quantize(Decimal("0.01")))}
    stack.tell(f"orders/{resting['id']}", method="PATCH", **terms)
    stack.start_gateway()
    await consumer.until(lambda: consumer.position(1, symbol) == 25)
    await consumer.until(lambda: not consumer.open())
    assert await stack.stop_gateway() == 0
    consumer.close()
    rows = await store.fetch("SELECT state, quantity, planned_stop FROM orders ORDER BY quantity")
    assert [tuple(row.values()) for row in rows] == [("replaced", 10, stop), ("filled", 25, stop)]
    stops = await store.fetch("SELECT DISTINCT stop_price FROM new_trades")
    assert [row["stop_price"] for row in stops] == [stop]
    [held] = stack.facts()["positions"]
    assert (held["quantity"], Decimal(held["stop"])) == ("25", stop)


async def test_the_kill_switch_takes_orders_back_and_stays_on_over_a_restart(stack: Stack) -> None:
    consumer = await begin(stack)
    symbol, price = next(iter(prices(stack).items()))
    low = consumer.order(1, Side.BUY, 1, symbol, (price * Decimal("0.98")).quantize(Decimal("0.01")), limit=True)
    await consumer.until(lambda: consumer.state(low) is OrderState.ACKNOWLEDGED)
    stack.say(OperatorRequest("kill_switch", {"reason": "a person said so"}))
    await consumer.until(lambda: consumer.state(low) is OrderState.CANCELED)
    stack.kill_gateway()
    stack.start_gateway()
    consumer.caught_up.clear()
    await consumer.until(lambda: consumer.caught_up == {1, 2})
    refused = consumer.order(2, Side.BUY, 1, symbol, price)
    await consumer.until(lambda: consumer.state(refused) is OrderState.REFUSED)
    stack.say(OperatorRequest("resume"))
    await consumer.until(lambda: consumer.account is not None and not consumer.account.entries_stopped)
    bought = consumer.order(2, Side.BUY, 1, symbol, price)
    await consumer.until(lambda: consumer.state(bought) is OrderState.FILLED)
    assert await stack.stop_gateway(flatten=True) == 0
    assert stack.facts()["positions"] == []
    consumer.close()


async def answered(stack: Stack, consumer: PlayedConsumer, order: OperatorRequest) -> str:
    stack.say(order)
    await consumer.until(lambda: bool(stack.answer(order.ticket)))
    return stack.answer(order.ticket)


async def test_an_operator_is_answered_with_what_was_done(stack: Stack) -> None:
    consumer = await begin(stack)
    symbol, price = next(iter(prices(stack).items()))
    bought = consumer.order(1, Side.BUY, 10, symbol, price)
    limit = (price * Decimal("0.98")).quantize(Decimal("0.01"))
    low = consumer.order(1, Side.BUY, 1, symbol, limit, limit=True, stays=True)
    await consumer.until(lambda: consumer.state(bought) is OrderState.FILLED)
    await consumer.until(lambda: consumer.state(low) is OrderState.ACKNOWLEDGED)
    assert await answered(
        stack, consumer, OperatorRequest("kill_switch", {"reason": "a person said so"}, ticket=1)
    ) == (
        f"the kill switch is on: 1 order cancelled, 1 position (+10 {symbol}) kept,"
        " nothing is opened until `trader resume`"
    )
    await consumer.until(lambda: stack.answer(1) != "" and bool(stack.facts().get("kill_switch")))
    assert stack.facts()["kill_switch"]["reason"] == "a person said so"
    resumed = "lifted: a person said so; from now on strategies may open positions"
    assert await answered(stack, consumer, OperatorRequest("resume", ticket=2)) == resumed
    nothing = "nothing was stopped by hand or by the day's loss"
    assert await answered(stack, consumer, OperatorRequest("resume", ticket=3)) == nothing
    settle = OperatorRequest("positions", {"how": "adopt", "symbol": symbol}, ticket=4)
    assert "there is nothing to settle" in await answered(stack, consumer, settle)
    third = consumer.order(1, Side.BUY, 1, symbol, limit, limit=True, stays=True)
    await consumer.until(lambda: consumer.state(third) is OrderState.ACKNOWLEDGED)
    taken = await answered(stack, consumer, OperatorRequest("cancel", {"order": third}, ticket=6))
    assert taken == f"buy {symbol}: 1 order cancelled"
    assert consumer.state(third) is OrderState.CANCELED
    gone = await answered(stack, consumer, OperatorRequest("cancel", {"order": third}, ticket=7))
    assert gone.startswith(f"no order '{third}' is working")
    assert "knows no order 'dance'" in await answered(stack, consumer, OperatorRequest("dance", ticket=5))
    assert await stack.stop_gateway(flatten=True) == 0
    consumer.close()


async def test_the_kill_switch_stays_on_for_the_next_session_of_the_account(stack: Stack, store: PostgresStore) -> None:
    consumer = await begin(stack)
    await answered(stack, consumer, OperatorRequest("kill_switch", {"reason": "a person said so"}, ticket=1))
    assert await stack.stop_gateway() == 0
    consumer.close()
    stack.heard.clear()
    other = "0b5e7a4e-0000-4000-8000-000000000000"
    journal = stack.home / "journal" / other
    journal.mkdir()
    slots = []
    await store.begin_batch(BatchRow(other, "2025-06-23", "SIMULATED", OPEN, {}, {}, {}))
    for slot in stack.plan.slots:
        run = AlgoRunRow(other, slot.slot, slot.strategy, "SIMULATED", "", {}, OPEN)
        slots.append(msgspec.structs.replace(slot, algo_run_id=await store.begin_algo_run(run)))
    stack.plan = msgspec.structs.replace(stack.plan, batch_id=other, journal_dir=str(journal), slots=tuple(slots))
    write_plan(stack.plan)
    consumer = await begin(stack)
    assert consumer.account is not None
    assert consumer.account.entries_stopped
    assert any(text.startswith("THE KILL SWITCH IS ON since 20") for text in stack.heard_notices())
    assert "a person said so" in await answered(stack, consumer, OperatorRequest("resume", ticket=2))
    assert await stack.stop_gateway() == 0
    consumer.close()


async def test_no_intent_is_taken_before_a_person_could_read_whose_account_it_is(stack: Stack) -> None:
    stack.plan = msgspec.structs.replace(stack.plan, announces=True)
    write_plan(stack.plan)
    stack.start_gateway()
    consumer = PlayedConsumer(stack)

    def asks() -> bool:
        stack.listen()
        return bool(stack.facts().get(UNANNOUNCED))

    await consumer.until(asks)
    assert {"account", "equity"} <= set(stack.facts())
    await asyncio.sleep(0.2)
    assert (consumer.caught_up, consumer.account) == (set(), None)
    stack.say(OperatorRequest(ANNOUNCED))
    await consumer.until(lambda: consumer.caught_up == {1, 2})
    assert await stack.stop_gateway() == 0
    consumer.close()


async def test_orders_and_fills_are_counted_once_after_a_kill_though_consumers_are_told_of_them_again(
    stack: Stack,
) -> None:
    consumer = await begin(stack)
    symbol, price = next(iter(prices(stack).items()))
    name = consumer.order(1, Side.BUY, 10, symbol, price)
    await consumer.until(lambda: consumer.state(name) is OrderState.FILLED)
    fills = sum(1 for n in consumer.news[1] if isinstance(n, Fill))
    stack.kill_gateway()
    stack.heard.clear()
    consumer.news[1].clear()  # as after a death of its own
    consumer.caught_up.clear()
    stack.start_gateway()
    await consumer.until(lambda: 1 in consumer.caught_up)
    stack.heard.clear()

    def told() -> list[Counters]:
        stack.listen()
        return [m for m in stack.heard if isinstance(m, Counters)]

    await consumer.until(lambda: bool(told()))
    values = told()[-1].values
    assert (values["orders"], values["fills"], values["fills.alpha"]) == (1, fills, fills)
    assert await stack.stop_gateway(flatten=True) == 0
    consumer.close()


async def test_the_kill_switch_leaves_somebody_elses_order_and_takes_ours_back_after_a_kill(stack: Stack) -> None:
    consumer = await begin(stack)
    known = prices(stack)
    symbol, price = next(iter(known.items()))
    low = (price * Decimal("0.97")).quantize(Decimal("0.01"))
    stack.tell("orders", symbol=symbol, qty="1", side="buy", type="limit", time_in_force="day", limit_price=str(low))
    names = [consumer.order(1, Side.BUY, 1, symbol, low, limit=True, stays=True) for _ in range(12)]
    await consumer.until(lambda: all(consumer.state(name) is OrderState.ACKNOWLEDGED for name in names))
    stack.say(OperatorRequest("kill_switch", {"reason": "a person said so"}))
    journal = Path(stack.plan.journal_dir) / JOURNAL_FILE
    await consumer.until(lambda: b"a person said so" in journal.read_bytes())  # before that it was not told
    stack.kill_gateway()  # somewhere between the first cancel and the last
    stack.start_gateway()
    await consumer.until(lambda: all(consumer.state(name) is OrderState.CANCELED for name in names))
    [left] = stack.ask("orders", status="open")
    assert not left["client_order_id"].startswith("liu-")
    assert await stack.stop_gateway() == 0
    consumer.close()


async def test_a_position_closed_by_hand_is_set_apart_and_adopted(stack: Stack, store: PostgresStore) -> None:
    consumer = await begin(stack)
    symbol, price = next(iter(prices(stack).items()))
    name = consumer.order(1, Side.BUY, 10, symbol, price)
    await consumer.until(lambda: consumer.state(name) is OrderState.FILLED)
    stack.tell("orders", symbol=symbol, qty="10", side="sell", type="market", time_in_force="day")
    await consumer.until(lambda: any("10 shares fewer" in text for text in stack.heard_notices()))
    stack.say(OperatorRequest("positions", {"how": "adopt", "symbol": symbol.lower()}))
    await consumer.until(lambda: consumer.position(1, symbol) == 0)
    assert await stack.stop_gateway(flatten=True) == 0
    consumer.close()
    sides = [(t.operation, t.quantity) for t in await store.trades(BATCH)]
    assert sides == [("buy", 10), ("sell", 10)]
    assert stack.facts()["quarantined"] == {}
    assert stack.ask("positions") == []


async def test_what_an_earlier_batch_gained_is_written_again_with_the_fills_found_of_it(
    stack: Stack, store: PostgresStore
) -> None:
    before, names = "aaaaaaaa-0000-4000-8000-000000000000", ("liu-aaaaaaaa0000-1-1", "liu-aaaaaaaa0000-1-2")
    await store.begin_batch(BatchRow(before, "2025-06-20", "PAPER", OPEN, {}, {}, {}))
    run = await store.begin_algo_run(AlgoRunRow(before, 1, "alpha", "PAPER", "", {}, OPEN))
    stack.plan = msgspec.structs.replace(
        stack.plan, batch_id=AFTER, environment="PAPER", account_is_new=False, slots=(SLOT_OF_AFTER,)
    )
    write_plan(stack.plan)
    await store.begin_batch(BatchRow(AFTER, "2025-06-23", "PAPER", OPEN, {}, {}, {}))
    assert await store.begin_algo_run(AlgoRunRow(AFTER, 1, "alpha", "PAPER", "", {}, OPEN)) == SLOT_OF_AFTER.algo_run_id

    somebody = stack.page.process("producer")  # takes part, so that time passes
    stack.page.put(somebody, Cell.DEADLINE, NEVER)
    stack.page.put(somebody, Cell.LIFE, Life.READY)
    symbol = next(iter(prices(stack)))
    for name, side in zip(names, ("buy", "sell"), strict=True):
        stack.tell(
            "orders", symbol=symbol, qty="10", side=side, type="market", time_in_force="day", client_order_id=name
        )
        while (seen := stack.ask("orders:by_client_order_id", client_order_id=name))["status"] != "filled":
            await asyncio.sleep(0.02)
        price = Decimal(seen["filled_avg_price"])
        rows: list[Row] = [earlier_order(seen, run, name, before)]
        if side == "buy":
            rows.append(TradeRow("x1", name, run, symbol, "buy", Decimal(10), price, Decimal(0), OPEN, {}, None, None))
            cost = price * 10
        await store.apply(before, rows, await store.progress(before))
    await consolidate.trades(before, store)
    [held] = await store.fetch("SELECT gain_value, open_quantity * open_price AS cost FROM gain_loss")
    assert (held["gain_value"], held["cost"]) == (0, cost)

    stack.start_gateway()
    consumer = PlayedConsumer(stack)
    await consumer.until(lambda: 1 in consumer.caught_up)
    [sold] = [t for t in await store.trades(before) if t.operation == "sell"]
    assert [row["gain_value"] for row in await store.fetch("SELECT gain_value FROM gain_loss")] == [
        sold.quantity * sold.price - sold.fee - cost
    ]
    assert len(await store.fetch("SELECT FROM trade_analysis WHERE algo_run_id = $1", run)) == 1
    assert await stack.stop_gateway() == 0
    consumer.close()


async def test_a_stopped_strategys_stop_is_honoured_although_the_data_vendor_is_away(stack: Stack) -> None:
    nowhere = msgspec.structs.replace(stack.plan.endpoints, data_url="http://127.0.0.1:1")
    write_plan(msgspec.structs.replace(stack.plan, endpoints=nowhere))
    consumer = await begin(stack)
    symbol, price = next(iter(prices(stack).items()))
    name = consumer.order(1, Side.BUY, 10, symbol, price)
    await consumer.until(lambda: consumer.state(name) is OrderState.FILLED)
    consumer.writer.send(encode_intents([Protect(1, symbol, consumer.market_now(), price * 2)]))  # it is below that
    stack.say(StopSlotCommand(1, "it failed"))
    await consumer.until(lambda: consumer.position(1, symbol) == 0)
    assert await stack.stop_gateway() == 0
    consumer.close()


async def test_a_withdrawal_of_6000_dollars_closes_nothing_and_is_stored_and_named(
    stack: Stack, store: PostgresStore
) -> None:
    limits = msgspec.structs.replace(WIDE, daily_loss_stop_fraction=0.02, daily_loss_flatten_fraction=0.04)
    write_plan(msgspec.structs.replace(stack.plan, limits=limits))
    consumer = await begin(stack)
    (first, price), (second, other) = list(prices(stack).items())[:2]
    name = consumer.order(1, Side.BUY, 10, first, price)
    await consumer.until(lambda: consumer.state(name) is OrderState.FILLED)
    stack.simulate("activities", activity_type="CSW", amount="-6000")  # 6 % of the 100,000 $ it began with
    equity = Decimal(stack.ask("account")["equity"])
    assert 93_000 < equity < 94_500

    def told() -> bool:
        stack.listen()
        return bool(stack.facts()["activities"]) and Decimal(stack.facts()["equity"]) < 94_500

    await consumer.until(told)
    assert stack.facts()["activities"] == ["withdrawal of 6,000.00 $"]
    assert abs(Decimal(stack.facts()["day_gain"])) < 500 < 5_500 < -Decimal(stack.facts()["account_gain"])
    stack.kill_gateway()
    stack.start_gateway()
    name = consumer.order(2, Side.BUY, 5, second, other)
    await consumer.until(lambda: consumer.state(name) is OrderState.FILLED)
    assert (consumer.position(1, first), consumer.position(2, second)) == (10, 5)
    assert await stack.stop_gateway() == 0
    consumer.close()
    [row] = await store.fetch("SELECT activity_type, amount, batch_id FROM account_activities")
    assert (row["activity_type"], row["amount"], row["batch_id"]) == ("CSW", -6000, BATCH)


async def test_an_account_and_an_order_that_the_broker_states_badly_stop_entries_and_end_nothing(stack: Stack) -> None:
    """Exits go on, nothing is closed, each is said once, and all is as before when the broker answers well again."""
    odd: dict[str, dict[str, Any]] = {}

    def spoil(path: str, answer: Any) -> Any:
        for part, values in odd.items():
            if part in path and isinstance(answer, dict):
                return answer | values
            if part in path and answer:
                return [answer[0] | values, *answer[1:]]
        return answer

    with spoiling(stack.plan.endpoints.trading_url, spoil) as url:
        stream = url.replace("http", "ws") + "/stream"
        endpoints = msgspec.structs.replace(stack.plan.endpoints, trading_url=url, updates_url=stream)
        write_plan(msgspec.structs.replace(stack.plan, endpoints=endpoints))
        consumer = await begin(stack)
        (first, price), (second, other) = list(prices(stack).items())[:2]
        name = consumer.order(1, Side.BUY, 10, first, price)
        await consumer.until(lambda: consumer.state(name) is OrderState.FILLED)
        odd["/v2/account"] = {"equity": None, "net_amount": "NaN", "cum_qty": ""}  # the activities' path begins so, too
        odd["/v2/orders?"] = {"filled_qty": None}
        await consumer.until(lambda: consumer.account is not None and "equity" in consumer.account.entries_stopped)
        refused = consumer.order(2, Side.BUY, 5, second, other)
        await consumer.until(lambda: consumer.state(refused) is OrderState.REFUSED)
        leaving = consumer.order(1, Side.SELL, 4, first, price)
        await consumer.until(lambda: consumer.state(leaving) is OrderState.FILLED)
        await consumer.until(lambda: any("filled_qty is None" in text for text in stack.heard_notices()))
        assert consumer.position(1, first) == 6
        odd.clear()
        await consumer.until(lambda: consumer.account is not None and not consumer.account.entries_stopped)
        again = consumer.order(2, Side.BUY, 5, second, other)
        await consumer.until(lambda: consumer.state(again) is OrderState.FILLED)
        assert await stack.stop_gateway() == 0
    consumer.close()
    said = [text for text in stack.notices() if "does not state" in text]
    assert said == ["entries stopped: the broker does not state equity of the account"]
    unusable = [text for text in stack.notices() if "it is not used, and the broker is asked again" in text]
    assert len(unusable) == len(set(unusable)) >= 1
    assert (consumer.position(1, first), consumer.position(2, second)) == (6, 5)


async def test_a_clock_that_is_not_the_brokers_stops_entries_at_the_start(stack: Stack) -> None:
    stack.plan = msgspec.structs.replace(stack.plan, simulated_clock=False)  # the machine's clock against the market's
    write_plan(stack.plan)
    consumer = await begin(stack)
    assert consumer.account is not None
    await consumer.until(lambda: consumer.account is not None and "NTP" in consumer.account.entries_stopped)
    assert any("synchronise this machine by NTP" in text for text in stack.heard_notices())
    assert await stack.stop_gateway() == 0
    consumer.close()


async def test_in_a_simulation_no_clock_is_doubted(stack: Stack) -> None:
    consumer = await begin(stack)
    symbol, price = next(iter(prices(stack).items()))
    names = [consumer.order(1, Side.BUY, 1, symbol, price) for _ in range(4)]
    await consumer.until(lambda: all(consumer.state(name) is OrderState.FILLED for name in names))
    assert await stack.stop_gateway(flatten=True) == 0
    consumer.close()
    assert not any("NTP" in text for text in stack.notices())


async def test_a_gateway_without_a_supervisor_leaves_the_batch_to_be_resumed(stack: Stack) -> None:
    consumer = await begin(stack)
    assert stack.control is not None
    stack.control.close()
    await consumer.until(lambda: not stack.gateway.is_alive())
    consumer.close()
    payloads = read_journal(Path(stack.plan.journal_dir) / JOURNAL_FILE)
    left = [
        e.told for e in (msgspec.msgpack.decode(p, type=JournalRecord) for p in payloads) if isinstance(e.told, Leave)
    ]
    assert [leave.resumes for leave in left] == [True]


def live(stack: Stack, arming: Arming) -> None:
    """Let the session be about real money, whose host is this stack's simulated market."""
    stack.plan = msgspec.structs.replace(stack.plan, environment="PROD", arming=arming)
    write_plan(stack.plan)
    stack.program = live_gateway.run


async def test_real_money_that_is_not_armed_opens_nothing_takes_entries_back_and_lets_exits_go(stack: Stack) -> None:
    number = stack.ask("account")["account_number"]
    live(stack, Arming(number[-4:]))
    consumer = await begin(stack, swing=frozenset({1, 2}))
    (symbol, price), (other, low) = list(prices(stack).items())[:2]
    bought = consumer.order(1, Side.BUY, 10, symbol, price)
    resting = consumer.order(
        2, Side.BUY, 1, other, (low * Decimal("0.98")).quantize(Decimal("0.01")), limit=True, stays=True
    )
    await consumer.until(lambda: consumer.state(bought) is OrderState.FILLED)
    await consumer.until(lambda: consumer.state(resting) is OrderState.ACKNOWLEDGED)
    stack.kill_gateway()
    live(stack, Arming(refusal="nobody said that real money is meant"))
    stack.start_gateway()
    consumer.caught_up.clear()
    await consumer.until(lambda: consumer.caught_up == {1, 2})
    await consumer.until(lambda: consumer.state(resting) is OrderState.CANCELED)
    refused = consumer.order(2, Side.BUY, 1, other, low)
    await consumer.until(lambda: consumer.state(refused) is OrderState.REFUSED)
    sold = consumer.order(1, Side.SELL, 10, symbol, price)
    await consumer.until(lambda: consumer.state(sold) is OrderState.FILLED)
    assert stack.ask("positions") == []
    assert "entries stopped: nobody said that real money is meant" in stack.heard_notices()
    assert stack.facts()["entries_stopped"] == {"real money is not armed": "nobody said that real money is meant"}
    stack.kill_gateway()
    live(stack, Arming(number[-4:]))
    stack.start_gateway()
    consumer.caught_up.clear()
    await consumer.until(lambda: consumer.caught_up == {1, 2})
    again = consumer.order(2, Side.BUY, 1, other, low)
    await consumer.until(lambda: consumer.state(again) is OrderState.FILLED)
    assert await stack.stop_gateway() == 0
    consumer.close()


@pytest.mark.parametrize(
    ("environment", "arming", "sentence"),
    [
        ("PROD", Arming("0000"), "real money is armed for account …0000, but the keys open"),
        ("PROD", None, "real money is not armed"),
        ("PAPER", Arming("0000"), "orders of a PAPER session would go to"),
    ],
)
async def test_a_gateway_sends_nothing_where_real_money_is_not_armed_for_its_account(
    stack: Stack, environment: str, arming: Arming | None, sentence: str
) -> None:
    stack.plan = msgspec.structs.replace(stack.plan, environment=environment, arming=arming)
    write_plan(stack.plan)
    stack.program = live_gateway.run
    stack.start_gateway()
    await asyncio.to_thread(stack.gateway.join, 30)
    stack.listen()
    assert stack.gateway.exitcode == 2
    assert sentence in next(m.text for m in stack.heard if isinstance(m, Failed))
    assert stack.ask("orders", status="all") == []


@pytest.mark.parametrize("journal", ["kept", "deleted"])
async def test_a_batch_goes_on_in_no_other_account(stack: Stack, journal: str) -> None:
    consumer = await begin(stack)
    symbol, price = next(iter(prices(stack).items()))
    bought = consumer.order(1, Side.BUY, 10, symbol, price)
    await consumer.until(lambda: consumer.state(bought) is OrderState.FILLED)
    stack.kill_gateway()
    consumer.close()
    if journal == "deleted":  # nothing but the record knows the account then
        cut(Path(stack.plan.journal_dir) / JOURNAL_FILE, 0.0)
    orders = len(stack.ask("orders", status="all"))
    own, stack.program = stack.program, live_gateway.run_with_other_keys
    stack.start_gateway()
    await asyncio.to_thread(stack.gateway.join, 30)
    stack.listen()
    assert stack.gateway.exitcode == 2
    assert next(m.text for m in stack.heard if isinstance(m, Failed)) == (
        f"batch {BATCH} has traded another account than …7777, which the keys open: set the keys of its own account, or"
        " begin a new batch with `trader --new`."
    )
    assert len(stack.ask("orders", status="all")) == orders
    stack.program = own
    consumer = await begin(stack)
    assert await stack.stop_gateway(flatten=True) == 0
    consumer.close()


def cut(journal: Path, keep: float) -> None:
    """Leave so much of a journal's records, at a boundary; with nothing left the file is deleted."""
    payloads = list(read_journal(journal))
    journal.unlink()
    if keep:
        writer = JournalWriter(journal)
        for payload in payloads[: round(len(payloads) * keep)]:
            writer.append(payload)
        writer.close()


async def all_is_as_the_broker_has_it(stack: Stack, store: PostgresStore) -> None:
    """Every order at the broker has one row that says the same, every fill is booked once, and no step is missing."""
    rows = {r["client_order_id"]: r for r in await store.fetch("SELECT * FROM orders")}
    for seen in stack.ask("orders", status="all", limit=500):
        row = rows[seen["client_order_id"]]
        assert (row["broker_order_id"], row["state"]) == (seen["id"], seen["status"])
        assert (row["symbol"], row["side"], row["filled_quantity"]) == (
            seen["symbol"],
            seen["side"],
            Decimal(seen["filled_qty"]),
        )
    trades = await store.trades(BATCH)
    fills = stack.ask("account/activities", activity_types="FILL", page_size=100)
    assert Counter(t.execution_id for t in trades) == Counter(f["id"].rpartition("::")[2] for f in fills)
    held: Counter[str] = Counter()
    for trade in trades:
        held[trade.symbol] += int(trade.quantity if trade.operation == "buy" else -trade.quantity)
    assert {s: q for s, q in held.items() if q} == {p["symbol"]: int(p["qty"]) for p in stack.ask("positions")}
    holes = "SELECT client_order_id FROM order_events GROUP BY 1 HAVING max(number) <> count(*)"
    assert await store.fetch(holes) == []


async def unstored(store: PostgresStore, resting: int) -> bool:
    """Whether not all of the resting orders have their newest row, or a plan has none."""
    acknowledged = len(await store.fetch("SELECT FROM orders WHERE state = 'acknowledged'"))
    return acknowledged < resting or not await store.fetch("SELECT FROM position_plans WHERE planned_stop IS NOT NULL")


@pytest.mark.parametrize("keep", [0.0, 0.4, 0.8], ids=["deleted", "cut", "its end cut"])
async def test_a_batch_is_rebuilt_from_record_and_broker_when_its_journal_is_behind(
    stack: Stack, store: PostgresStore, keep: float
) -> None:
    consumer = await begin(stack)
    (first, price), (second, other), (third, last), *_ = prices(stack).items()
    bought = [consumer.order(1, Side.BUY, 10, first, price), consumer.order(2, Side.BUY, 4, second, other)]
    await consumer.until(lambda: all(consumer.state(name) is OrderState.FILLED for name in bought))
    consumer.writer.send(encode_intents([Protect(1, first, consumer.market_now(), price / 2)]))
    far = (price * Decimal("1.03")).quantize(Decimal("0.01"))
    resting = consumer.order(1, Side.SELL, 10, first, far, limit=True, stays=True)
    low = (other * Decimal("0.97")).quantize(Decimal("0.01"))
    entry = consumer.order(2, Side.BUY, 1, second, low, limit=True, stays=True)
    await consumer.until(lambda: {consumer.state(resting), consumer.state(entry)} == {OrderState.ACKNOWLEDGED})
    while await unstored(store, 2):
        await asyncio.sleep(0.02)
    positions = (consumer.position(1, first), consumer.position(2, second))
    assert positions == (10, 4)
    stack.kill_gateway()
    cut(Path(stack.plan.journal_dir) / JOURNAL_FILE, keep)
    consumer.close()
    stack.heard.clear()

    consumer = await begin(stack)  # nothing of its own is left: no number either
    assert any("is behind the record" in text for text in stack.heard_notices()), stack.log()[-2000:]
    assert (consumer.position(1, first), consumer.position(2, second)) == positions
    await consumer.until(lambda: consumer.state(entry) is OrderState.CANCELED)
    assert consumer.state(resting) is OrderState.ACKNOWLEDGED
    assert consumer.numbers == {1: 2, 2: 2}
    await consumer.until(lambda: consumer.account is not None and not consumer.account.entries_stopped)
    more = consumer.order(1, Side.BUY, 3, third, last)
    await consumer.until(lambda: consumer.state(more) is OrderState.FILLED)

    def kept() -> dict[str, tuple[str, bool]]:
        stack.listen()
        return {p["symbol"]: (p["quantity"], p["stop"] is not None) for p in stack.facts()["positions"]}

    await consumer.until(lambda: kept() == {first: ("10", True), second: ("4", False), third: ("3", False)})
    stack.kill_gateway()  # and the new journal is one like any other
    stack.start_gateway()
    consumer.caught_up.clear()
    await consumer.until(lambda: consumer.caught_up == {1, 2})
    assert await stack.stop_gateway(flatten=True) == 0
    consumer.close()
    assert stack.facts()["positions"] == []
    await all_is_as_the_broker_has_it(stack, store)
    journals = sorted(path.name for path in Path(stack.plan.journal_dir).glob(f"{JOURNAL_FILE}*"))
    assert journals == [JOURNAL_FILE, f"{JOURNAL_FILE}.behind-1"]


async def test_a_gateway_that_starts_while_the_database_is_away_lets_exits_go_and_entries_wait_until_it_has_compared(
    stack: Stack, store: PostgresStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = await begin(stack)
    (first, price), (second, other), *_ = prices(stack).items()
    bought = [consumer.order(1, Side.BUY, 10, first, price), consumer.order(2, Side.BUY, 4, second, other)]
    await consumer.until(lambda: all(consumer.state(name) is OrderState.FILLED for name in bought))
    while len(await store.trades(BATCH)) < 2:
        await asyncio.sleep(0.02)
    stack.kill_gateway()
    consumer.close()
    cut(Path(stack.plan.journal_dir) / JOURNAL_FILE, 0.3)
    address, _, folder = dsn.rpartition("host=")
    link = stack.home / "pg"  # where the server's socket lies, and does not lie yet
    monkeypatch.setenv(SESSION_DSN, f"{address}host={link}")
    stack.heard.clear()

    consumer = await begin(stack)
    assert (consumer.position(1, first), consumer.position(2, second)) == (10, 4)  # the broker was asked at once
    assert consumer.account is not None
    assert consumer.account.entries_stopped == "the journal has not been compared with the database since the start"
    entry = consumer.order(2, Side.BUY, 1, second, other)
    out = consumer.order(1, Side.SELL, 10, first, price)
    await consumer.until(lambda: consumer.state(out) is OrderState.FILLED)
    assert consumer.state(entry) is OrderState.REFUSED
    link.symlink_to(folder)
    await consumer.until(lambda: not stack.gateway.is_alive())  # the record is ahead of its journal
    assert stack.gateway.exitcode == 0
    assert any("starts again and rebuilds the batch" in text for text in stack.heard_notices())
    consumer.close()

    consumer = await begin(stack)
    assert (consumer.position(1, first), consumer.position(2, second)) == (0, 4)
    await consumer.until(lambda: consumer.account is not None and not consumer.account.entries_stopped)
    entry = consumer.order(2, Side.BUY, 1, second, other)
    await consumer.until(lambda: consumer.state(entry) is OrderState.FILLED)
    link.unlink()
    stack.kill_gateway()  # now the journal is whole
    stack.start_gateway()
    consumer.caught_up.clear()
    await consumer.until(lambda: consumer.caught_up == {1, 2})
    assert consumer.account.entries_stopped.startswith("the journal has not been compared")
    link.symlink_to(folder)
    await consumer.until(lambda: consumer.account is not None and not consumer.account.entries_stopped)
    assert await stack.stop_gateway(flatten=True) == 0
    consumer.close()
    await all_is_as_the_broker_has_it(stack, store)
