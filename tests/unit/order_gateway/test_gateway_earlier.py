"""What earlier batches left at the broker: booked to them, taken back, or taken over with the position."""

# mypy: disable-error-code="comparison-overlap"

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from liualgotrader.common.clock import SECOND, WallClock
from liualgotrader.common.errors import BadData
from liualgotrader.common.orders import BrokerOrder, BrokerPosition, Fill, OrderIntent, OrderType, Side
from liualgotrader.common.rows import AlgoRunRow, BatchRow, OrderEventRow, OrderRow, Row, TradeRow
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.order_gateway.carry_over import EarlierOrders
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import Begin, BrokerSnapshot, Carried, Earlier, Write
from tests.fakes.broker import BATCH, World, desk_terms, now_of
from tests.fakes.store import MemoryDatabase, MemoryStore

D = Decimal
BEFORE = "aaaaaaaa-0000-4000-8000-000000000000"
SWING = SlotPlan(1, "alpha", 0, 2, day_trade=False)


class Night:
    """A database and a broker between two batches: the first has left orders, the second begins."""

    def __init__(self) -> None:
        self.market = World()
        self.market.run()
        self.database = MemoryDatabase()
        self.store = MemoryStore(self.database)
        self.said: list[str] = []
        self.number = 0
        for batch in (BEFORE, BATCH):
            now_of(self.store.begin_batch(BatchRow(batch, "2025-06-23", "PAPER", 0, {}, {}, {})))
            now_of(self.store.begin_algo_run(AlgoRunRow(batch, 1, "alpha", "PAPER", "", {}, 0)))

    def order(self, side: str, quantity: int, symbol: str = "AAPL", *, recorded: int = 0, **terms: Any) -> str:
        """Send an order of the earlier batch; its row says `recorded` shares filled and no end."""
        market = self.market
        self.number += 1
        name = f"liu-aaaaaaaa0000-1-{self.number}"
        fields = {
            "type": OrderType.LIMIT if "limit_price" in terms else OrderType.MARKET,
            "time_in_force": "gtc",
        } | terms
        if fields["type"] is OrderType.MARKET:
            fields["time_in_force"] = "day"
        intent = OrderIntent(
            name, 1, "alpha", symbol, Side(side), D(quantity), decided_at=market.now, valid_until=0, **fields
        )
        seen = now_of(market.broker.submit(intent))
        self.record(intent, seen.broker_order_id, recorded)
        for leg in seen.legs:
            kept = msgspec.structs.replace(
                intent,
                client_order_id=leg.client_order_id,
                side=leg.side,
                type=leg.type,
                limit_price=leg.limit_price,
                stop_price=leg.stop_price,
            )
            self.record(kept, leg.broker_order_id, 0)
            event = OrderEventRow(leg.client_order_id, 1, "approved", 0, {"parent": name})
            self.database.events[leg.client_order_id, 1] = event
        market.wait(1)
        return name

    def record(self, intent: OrderIntent, broker_order_id: str, filled: int) -> None:
        self.database.orders[intent.client_order_id] = OrderRow(
            client_order_id=intent.client_order_id,
            batch_id=BEFORE,
            slot=1,
            algo_run_id=1,
            generation=1,
            symbol=intent.symbol,
            side=str(intent.side),
            quantity=intent.quantity,
            type=str(intent.type),
            time_in_force=intent.time_in_force,
            limit_price=intent.limit_price,
            stop_price=intent.stop_price,
            state="acknowledged",
            broker_order_id=broker_order_id,
            filled_quantity=D(filled),
            average_price=D("100.01") if filled else None,
            reason="",
            planned_stop=None,
            planned_target=None,
            indicators={},
            decided_at=intent.decided_at,
            updated_at=intent.decided_at,
        )
        if filled:
            row = TradeRow(f"x{intent.client_order_id}", intent.client_order_id, 1, "AAPL", str(intent.side), D(filled),
                           D("100.01"), D(0), intent.decided_at, {}, None, None)  # fmt: skip
            self.database.trades[row.execution_id] = row

    def look(self) -> Sequence[Earlier]:
        orders = EarlierOrders("PAPER", BATCH, self.store, self.market.broker, WallClock())
        return now_of(orders.found(lambda level, text: self.said.append(f"{level} {text}")))

    def carried_positions(self) -> dict[str, Decimal]:
        return {p.symbol: p.quantity for p in now_of(self.store.carried_positions("PAPER", "alpha", BATCH))}


class Morning:
    """The second batch's desk, and the rows it writes."""

    def __init__(self, night: Night) -> None:
        self.night, self.desk, self.rows = night, Desk(), list[Row]()
        self.tell(Begin(desk_terms(slots=(SWING,)), 2))

    def tell(self, told: object) -> None:
        market = self.night.market
        for decision in self.desk.decide(told, market.now, market.machine):  # type: ignore[arg-type]
            if isinstance(decision, Write):
                self.rows.append(decision.row)
                self.night.store._write(decision.row)

    def trades(self) -> list[tuple[int, str, Decimal]]:
        return [(r.algo_run_id, r.operation, r.quantity) for r in self.rows if isinstance(r, TradeRow)]


def test_what_an_earlier_batchs_exit_has_sold_is_booked_to_it_once() -> None:
    night = Night()
    night.order("buy", 10, recorded=10)
    bought = next(iter(night.database.orders.values()))
    night.database.orders[bought.client_order_id] = msgspec.structs.replace(bought, state="filled")
    sold = night.order("sell", 10, type=OrderType.STOP, stop_price=D("99"))
    night.market.quote("AAPL", 98.00, 98.02)
    night.market.trade("AAPL", 98.00)
    night.market.wait(2)
    morning = Morning(night)
    for _ in range(2):
        for told in night.look():
            morning.tell(told)
    assert morning.trades() == [(1, "sell", 10)]
    row = night.database.orders[sold]
    assert (row.state, row.filled_quantity, row.batch_id, row.algo_run_id) == ("filled", 10, BEFORE, 1)
    assert night.carried_positions() == {}
    assert night.look() == []


def test_an_earlier_batchs_entry_is_taken_back_and_what_it_filled_is_carried() -> None:
    night = Night()
    night.market.quote("AAPL", 99.99, 100.01, 4)
    name = night.order("buy", 10, limit_price=D("100.01"))
    morning = Morning(night)

    def ended() -> Sequence[Earlier]:
        night.market.wait(1)
        return night.look()

    seen = now_of(night.market.broker.order_by_client_id(name))
    assert seen is not None
    now_of(night.market.broker.cancel(seen.broker_order_id))
    for told in ended():
        morning.tell(told)
    assert morning.trades() == [(1, "buy", 4)]
    assert (night.database.orders[name].state, night.carried_positions()) == ("canceled", {"AAPL": 4})


def test_a_resting_exit_is_taken_over_with_its_position_and_fills_for_the_slot_that_carries_it() -> None:
    night = Night()
    night.order("buy", 10, recorded=10, take_profit=D("110"), stop_loss=D("95"), limit_price=D("100.01"))
    [entry, *_] = night.database.orders.values()
    night.database.orders[entry.client_order_id] = msgspec.structs.replace(entry, state="filled")
    morning = Morning(night)
    for told in night.look():
        morning.tell(told)
    assert night.said == []
    morning.tell(Carried(1, "AAPL", D(10), D("100.01")))
    morning.tell(BrokerSnapshot(True, (), (), (BrokerPosition("AAPL", D(10), D("100.01")),)))
    facts = morning.desk.facts()
    assert len(facts.open_orders) == 2
    assert facts.unprotected == ()
    market = night.market
    market.quote("AAPL", 110.00, 110.02)
    market.trade("AAPL", 110.01)
    market.wait(2)
    for update in market.updates:
        morning.tell(update)
    assert morning.desk.state.positions.held(1, "AAPL") == 0
    assert morning.trades() == [(2, "sell", 10)]
    assert [n.position for n in morning.desk.news(1) if isinstance(n, Fill)] == [10, 0]
    assert {row.batch_id for row in night.database.orders.values()} == {BEFORE}


def test_an_exit_of_what_nobody_carries_stays_where_it_is() -> None:
    night = Night()
    night.order("buy", 10, recorded=10)
    night.order("sell", 10, type=OrderType.STOP, stop_price=D("95"))
    morning = Morning(night)
    for told in night.look():
        morning.tell(told)
    assert morning.desk.facts().open_orders == ()
    morning.tell(Carried(1, "MSFT", D(10), D("100")))
    assert morning.desk.facts().open_orders == ()


def test_orders_that_could_open_a_position_are_cancelled_at_the_broker() -> None:
    night = Night()
    name = night.order("buy", 10, limit_price=D("95"))
    stale = night.order(
        "sell", 10, "MSFT", limit_price=D("120"), time_in_force="day"
    )  # would sell short: nothing is held any more

    class Broker(type(night.market.broker)):  # type: ignore[misc]
        async def cancel(self, broker_order_id: str) -> None:
            await night.market.broker.cancel(broker_order_id)
            night.market.now += SECOND
            night.market._collect()

    orders = EarlierOrders(
        "PAPER", BATCH, night.store, Broker(night.market.exchange, "me", lambda: night.market.now), WallClock()
    )
    found = now_of(orders.found(lambda level, text: night.said.append(text)))
    assert {told.left.order.client_order_id: str(told.seen.state) for told in found} == {
        name: "canceled",
        stale: "canceled",
    }
    assert len(night.said) == 2


def test_an_order_that_cannot_be_read_is_asked_for_again_and_then_hurts_no_other() -> None:
    night = Night()
    night.order("buy", 10, recorded=10)
    night.order("sell", 10, limit_price=D("120"), time_in_force="day")
    odd = night.order("buy", 5, "MSFT", limit_price=D("95"))

    class Broker(type(night.market.broker)):  # type: ignore[misc]
        async def order_by_client_id(self, client_order_id: str) -> BrokerOrder | None:
            if client_order_id == odd:
                raise BadData(f"order {odd}: filled_qty is None")
            return await night.market.broker.order_by_client_id(client_order_id)

    broker = Broker(night.market.exchange, "me", lambda: night.market.now)
    orders = EarlierOrders("PAPER", BATCH, night.store, broker, WallClock())
    for _ in range(5):
        with pytest.raises(BadData):
            now_of(orders.found(lambda level, text: night.said.append(text)))
    found = now_of(orders.found(lambda level, text: night.said.append(text)))
    assert odd not in {told.left.order.client_order_id for told in found} != set()
    assert night.said == [
        f"order {odd}: filled_qty is None: this order of an earlier batch is left as it is, look at it at the broker"
    ]
