"""Answers of the broker of which some rows cannot be used: the others are, and each source of prices is asked by itself."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from liualgotrader.common.errors import BadData, BrokerUnreachable, DataUnavailable, UnusableRows
from liualgotrader.common.orders import OrderState, UnreadRow
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.order_gateway.broker_calls import BrokerCalls
from liualgotrader.order_gateway.gateway import Gateway
from liualgotrader.order_gateway.recovery import recovered
from liualgotrader.orders.desk_messages import Answer, BrokerRequest, BrokerSnapshot, Outcome, Prices, Reconcile
from liualgotrader.trading.alpaca_broker import AlpacaBroker
from tests.fakes.broker import World, now_of
from tests.unit.orders.test_desk_recovering import PLAN, Session

NOWHERE = Endpoints("http://127.0.0.1:9", "http://127.0.0.1:9", "", "", loopback=True)
TIMES = dict.fromkeys(("created_at", "submitted_at", "updated_at"), "2025-06-23T14:00:00Z")


def order(name: str, **changes: Any) -> dict[str, Any]:
    row = {"id": f"id-{name}", "client_order_id": name, "symbol": "AAPL", "side": "buy", "qty": "1", "filled_qty": "1"}
    return {**row, "filled_avg_price": "10", "status": "filled", **TIMES, **changes}


def position(symbol: str, **changes: Any) -> dict[str, Any]:
    return {"symbol": symbol, "qty": "10", "avg_entry_price": "100", "current_price": "50", **changes}


class Vendor(AlpacaBroker):
    """The real adapter; what it is told is one answer for each path, or an error."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(NOWHERE, "id", "secret", timeout_seconds=1.0)
        self.answers = {"positions": [], "orders": [], "executions": [], "activities": [], **answers}
        self.asked: list[Mapping[str, Any]] = []

    async def _call(
        self, method: str, path: str, fields: Mapping[str, Any] | None = None, *, about: str, urgent: bool = False
    ) -> Any:
        self.asked.append(fields or {})
        answer = self.answers[about]
        if isinstance(answer, Exception):
            raise answer
        return answer(fields) if callable(answer) else answer


async def unusable(asked: Any) -> UnusableRows:
    with pytest.raises(UnusableRows) as caught:
        await asked
    return caught.value


# --- the adapter


async def test_rows_are_read_one_by_one() -> None:
    odd = order("liu-1", filled_avg_price=None, legs=[order("leg")])
    fill = {"id": "1::x", "activity_type": "FILL", "order_id": "id-1", "symbol": "AAPL", "side": "buy", "qty": None}
    broker = Vendor(
        positions=[position("AAPL"), position("ZZZZ", avg_entry_price=None), 7],
        orders=[odd, order("liu-2")],
        executions=[fill],
    )
    error = await unusable(broker.positions())
    assert [p.symbol for p in error.good] == ["AAPL"]
    assert error.bad == [UnreadRow("ZZZZ"), UnreadRow()]
    assert "position in ZZZZ: avg_entry_price is None" in str(error)
    error = await unusable(broker.orders(since=1))
    assert [o.client_order_id for o in error.good] == ["liu-2"]
    assert error.bad == [UnreadRow("AAPL", "id-liu-1", "liu-1"), UnreadRow("AAPL", "id-leg", "leg")]
    assert (await unusable(broker.orders(since=1, open_only=True))).bad == error.bad
    assert (await unusable(broker.executions(since=1))).bad == [UnreadRow("AAPL", "id-1")]


async def test_what_is_not_about_shares_is_not_read() -> None:
    broker = Vendor(positions=[position("BTCUSD", asset_class="crypto", avg_entry_price=None), position("AAPL")])
    assert [p.symbol for p in await broker.positions()] == ["AAPL"]


async def test_pages_go_on_after_rows_that_cannot_be_read() -> None:
    def page(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        if fields["after"] < "2025":
            return [order(str(n)) for n in range(499)] + [order("odd", submitted_at="soon", created_at="soon", id=None)]
        return [order("498"), order("last")]

    error = await unusable(Vendor(orders=page).orders(since=1))
    assert (len(error.good), error.good[-1].client_order_id) == (500, "last")
    assert error.bad == [UnreadRow("AAPL", "", "odd")]


async def test_a_page_that_names_no_time_to_go_on_after_is_no_answer() -> None:
    rows = [order(str(n), submitted_at="soon") for n in range(500)]
    with pytest.raises(BadData, match="none of Alpaca's orders on a page says when it was submitted"):
        await Vendor(orders=rows).orders(since=1)


# --- the comparison


async def test_an_odd_row_hurts_nothing_else_of_a_snapshot_and_is_said() -> None:
    said: list[str] = []
    broker = Vendor(positions=[position("AAPL")], orders=[order("someone", filled_avg_price=None), order("liu-1")])
    snapshot = await BrokerCalls(broker, 1.0, lambda error: said.append(str(error))).run(Reconcile(1))
    assert isinstance(snapshot, BrokerSnapshot)
    assert snapshot.ok
    assert [o.client_order_id for o in snapshot.orders] == ["liu-1"]
    assert snapshot.unread_orders == (UnreadRow("AAPL", "id-someone", "someone"),)
    assert {sentence for sentence in said} == {
        "order id-someone of Alpaca's: filled_avg_price is None, not the price of the 1 shares filled"
    }


# --- a batch that is rebuilt


def settle(world: World) -> None:
    world.run()
    world.wait(1)
    world.run()


def test_orders_that_the_broker_never_had_are_not_asked_for() -> None:
    world = World()
    settle(world)
    for _ in range(300):
        world.order(1, "sell", 1, limit_price=Decimal(-1))  # refused by the desk
    rejected = world.order(1, "buy", 1)  # and by the broker
    world.commands.clear()
    world.tell(Answer(BrokerRequest.SUBMIT, rejected, Outcome.DECLINED, None, "no buying power"))
    assert world.order_rows()[rejected].state == OrderState.REJECTED
    session = Session(world)
    session.keep(100_000)
    lost = world.order(1, "buy", 1)
    session.keep(100_000)
    world.carry_out(fault="lost")  # it may have arrived
    asked: list[str] = []

    async def look_up(name: str) -> None:
        asked.append(name)

    world.broker.order_by_client_id = look_up  # type: ignore[method-assign, assignment]
    now_of(recovered(PLAN, session.store, world.broker, world.now))
    assert asked == [lost]


@pytest.mark.parametrize(("whose", "stops"), [("someone", False), ("liu-0b5e7a4e0000-1-9", True), ("", True)])
def test_only_an_odd_order_that_may_be_ours_stops_a_batch_from_being_rebuilt(whose: str, stops: bool) -> None:
    world = World()
    settle(world)
    session = Session(world)
    orders = world.broker.orders

    async def odd(**question: Any) -> Any:
        raise UnusableRows([BadData("odd")], [UnreadRow("AAPL", "x", whose)], await orders(**question))

    world.broker.orders = odd  # type: ignore[method-assign]
    if stops:
        with pytest.raises(BadData):
            now_of(recovered(PLAN, session.store, world.broker, world.now))
    else:
        assert now_of(recovered(PLAN, session.store, world.broker, world.now)).seen == ()


# --- prices


class Looking(Gateway):
    """A gateway with nothing but its sources of prices; AAPL and MSFT are held, MSFT by a strategy that has stopped."""

    def __init__(self, broker: AlpacaBroker, vendor: Any) -> None:
        self.told: list[Any] = []
        self.said: list[str] = []
        self.asked: list[list[str]] = []
        desk = SimpleNamespace(held=lambda: ["AAPL", "MSFT"], caretaken=lambda: ["MSFT"])
        self._journaled: Any = SimpleNamespace(desk=desk)
        self._broker, self._vendor, self._failing_sources = broker, vendor, set()
        self._calls = BrokerCalls(broker, 1.0, lambda error: self.said.append(str(error)))
        self._prices: Any = self

    def tell(self, *inputs: Any) -> Any:
        self.told += inputs

    def _notice(self, level: str, text: str) -> None:
        self.said.append(text)

    async def latest(self, symbols: Any) -> Mapping[str, Decimal]:
        self.asked.append(list(symbols))
        if isinstance(self._vendor, Exception):
            raise self._vendor
        return {symbol: Decimal(7) for symbol in symbols}


AAPL, MSFT = position("AAPL", lastday_price="49"), position("MSFT", current_price=None, lastday_price="8")
D = Decimal


@pytest.mark.parametrize(
    ("positions", "asked", "told"),
    [
        ([AAPL, MSFT], ["MSFT"], Prices({"AAPL": D(50), "MSFT": D(7)}, {"AAPL": D(49), "MSFT": D(8)})),
        ([AAPL, position("MSFT")], [], Prices({"AAPL": D(50), "MSFT": D(50)}, {"AAPL": D(49), "MSFT": None})),
        ([AAPL, position("Z", qty="")], ["MSFT"], Prices({"AAPL": D(50), "MSFT": D(7)}, {"AAPL": D(49)})),
        (BrokerUnreachable("no answer"), ["MSFT"], Prices({"MSFT": D(7)})),
        ({"a": "maintenance"}, ["MSFT"], Prices({"MSFT": D(7)})),
    ],
    ids=["the broker lacks one", "the broker has all", "an odd row", "no answer", "no list"],
)
async def test_the_data_vendor_is_asked_for_what_the_caretaker_lacks_whatever_the_broker_answers(
    positions: Any, asked: list[str], told: Prices
) -> None:
    gateway = Looking(Vendor(positions=positions), None)
    for _ in range(2):
        await gateway._learn_prices()
    assert gateway.asked == ([asked] * 2 if asked else [])
    assert gateway.told == [told] * 2  # once a look
    assert len(set(gateway.said)) == (not isinstance(positions, list) or position("Z", qty="") in positions)


async def test_a_source_of_prices_that_fails_is_named_once_an_outage_and_nothing_is_told_of_nothing() -> None:
    gateway = Looking(Vendor(positions=[]), DataUnavailable("the vendor is away"))
    for _ in range(2):
        await gateway._learn_prices()
    assert gateway.told == []
    assert gateway.said == ["no prices for MSFT from the data vendor: the vendor is away"]
    gateway._vendor = None
    await gateway._learn_prices()
    gateway._vendor = DataUnavailable("away again")
    await gateway._learn_prices()
    assert gateway.said[1:] == ["no prices for MSFT from the data vendor: away again"]
    assert msgspec.structs.asdict(gateway.told[0])["prices"] == {"MSFT": 7}
