"""Rows of the broker's books that cannot be read: what they are about is not known, and never taken for absent."""

# mypy: disable-error-code="comparison-overlap"
# A Decimal equals the int of the same value, also inside a tuple.

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from liualgotrader.common.orders import OrderState, UnreadRow
from liualgotrader.exchange.exchange_values import OrderChanges, OrderRequest
from liualgotrader.orders.desk_messages import BrokerSnapshot, Carried, KillSwitch, LookUp, Reconnected, Warn
from tests.fakes.broker import OPEN, World

D = Decimal


def settle(world: World, seconds: float = 1) -> None:
    world.run()
    world.wait(seconds)
    world.run()


def unread(snapshot: BrokerSnapshot, *, order: str = "", position: str = "", named: bool = True) -> BrokerSnapshot:
    """Return the books in which the row of an order, by its client id, or of a position cannot be read."""
    orders = [o for o in snapshot.orders if o.client_order_id == order]
    rows = [UnreadRow(o.symbol, o.broker_order_id, o.client_order_id) for o in orders] if named else [UnreadRow()]
    return msgspec.structs.replace(
        snapshot,
        orders=tuple(o for o in snapshot.orders if o not in orders),
        unread_orders=tuple(rows) if order else (),
        positions=tuple(p for p in snapshot.positions if p.symbol != position),
        unread_positions=(UnreadRow(position if named else ""),) if position else (),
    )


def compare(world: World, **what: str | bool) -> None:
    world.tell(unread(world.snapshot(OPEN), **what))  # type: ignore[arg-type]


def refusal(world: World, name: str) -> str:
    return world.order_rows()[name].reason


def test_a_missed_fill_is_booked_although_an_order_of_somebody_cannot_be_read(world: World) -> None:
    request = OrderRequest(
        symbol="MSFT", side="buy", type="limit", quantity=D(1), limit_price=D(90), client_order_id="z"
    )
    world.exchange.submit("me", request, world.now)
    bought = world.order(1, "buy", 10)
    settle(world)
    world.order(1, "sell", 4)
    world.run()
    world.now += 10**9
    world._collect()
    world.updates.clear()  # the news of the fill are lost
    compare(world, order="z")
    assert (world.states(bought)[-1], world.held(1)) == ("filled", 6)
    assert not world.desk.state.broker_view.unread


@pytest.mark.parametrize("named", [True, False])
def test_a_position_that_cannot_be_read_is_not_gone(world: World, named: bool) -> None:
    world.order(1, "buy", 10)
    world.order(2, "buy", 5, "MSFT")
    settle(world)
    for _ in range(3):
        compare(world, position="AAPL", named=named)
    state = world.desk.state
    assert (world.held(1), state.quarantine.reasons, state.broker_view.differences) == (10, {}, {})
    more = world.order(1, "buy", 1)
    settle(world)
    exit_, elsewhere = world.order(1, "sell", 4), world.order(2, "buy", 1, "MSFT")
    settle(world)
    assert (world.states(exit_)[-1], world.states(elsewhere)[-1]) == ("filled", "filled")
    assert refusal(world, more) == ("quarantined" if named else "")
    compare(world)
    again = world.order(1, "buy", 1)
    settle(world)
    assert world.states(again)[-1] == "filled"


def test_what_is_not_ours_is_told_apart_once_it_can_be_read() -> None:
    world = World()
    world.exchange.submit("me", OrderRequest(symbol="MSFT", side="buy", type="market", quantity=D(3)), world.now)
    world.now += 10**9
    world._collect()
    compare(world, position="MSFT")
    assert world.desk.has_opened
    assert world.desk.has_compared
    name = world.order(1, "buy", 1, "MSFT")
    assert refusal(world, name) == "quarantined"
    for _ in range(2):
        compare(world)
    assert (world.desk.state.broker_view.foreign, world.desk.state.quarantine.reasons) == ({"MSFT": 3}, {})


def test_shares_that_we_sell_between_question_and_answer_do_not_count_as_not_ours() -> None:
    world = World()
    world.exchange.submit("me", OrderRequest(symbol="MSFT", side="buy", type="market", quantity=D(15)), world.now)
    world.now += 10**9
    world._collect()
    world.tell(Carried(1, "MSFT", D(10), D(100)))  # so 5 of the 15 are not ours
    world.commands.clear()
    compare(world, position="MSFT")
    world.tell(Reconnected())
    while not any(isinstance(answer, BrokerSnapshot) for answer in world.answers):
        world.carry_out()
    [books] = [answer for answer in world.answers if isinstance(answer, BrokerSnapshot)]
    world.answers.remove(books)
    sold = world.order(1, "sell", 10, "MSFT")
    settle(world)
    assert (world.states(sold)[-1], world.held(1, "MSFT")) == ("filled", 0)
    assert [p.quantity for p in books.positions if p.symbol == "MSFT"] == [15]
    world.tell(books)
    assert "MSFT" not in world.desk.state.broker_view.foreign
    for _ in range(2):
        compare(world)
    assert (world.desk.state.broker_view.foreign, world.desk.state.quarantine.reasons) == ({"MSFT": 5}, {})


def test_books_are_not_opened_while_a_position_does_not_say_its_symbol() -> None:
    world = World()
    compare(world, position="MSFT", named=False)
    assert not world.desk.has_opened
    assert not world.desk.has_compared  # so entries wait
    compare(world)
    assert world.desk.has_compared


def test_an_order_of_ours_that_cannot_be_read_is_neither_looked_up_nor_ended_and_stops_entries_in_its_symbol(
    world: World,
) -> None:
    name = world.order(1, "buy", 10, limit_price=D(90))
    settle(world)
    for _ in range(4):
        compare(world, order=name)
        assert not any(isinstance(command, LookUp) for command in world.commands)
    assert world.desk.state.orders.by_id[name].state is OrderState.ACKNOWLEDGED
    more, elsewhere = world.order(1, "buy", 1), world.order(2, "buy", 1, "MSFT")
    settle(world)
    assert refusal(world, more) == "quarantined"
    assert world.states(elsewhere)[-1] == "filled"


@pytest.mark.parametrize("named", [True, False])
def test_an_order_that_a_person_replaced_by_one_that_cannot_be_read_has_not_ended(world: World, named: bool) -> None:
    name = world.order(1, "buy", 10, limit_price=D(90))
    settle(world)
    broker_id = world.desk.state.orders.by_id[name].broker_order_id
    world.exchange.replace("me", broker_id, world.now, OrderChanges(limit_price=D(91), client_order_id="by-hand"))
    world.now += 10**9
    world._collect()
    world.updates.clear()
    for _ in range(5):
        compare(world, order="by-hand", named=named)
    assert not world.desk.state.orders.by_id[name].state.is_final
    assert not any("does not show" in d.text for d in world.others if isinstance(d, Warn))


def test_the_kill_switch_takes_back_an_earlier_batchs_order_that_cannot_be_read_for_a_moment(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    request = OrderRequest(
        symbol="AAPL", side="sell", type="limit", quantity=D(1), limit_price=D(200), client_order_id="liu-0-1-1"
    )
    world.exchange.submit("me", request, world.now)
    world.now += 10**9
    world._collect()
    compare(world)
    compare(world, order="liu-0-1-1")
    world.tell(KillSwitch())
    assert "liu-0-1-1" in {c.client_order_id for bulk in world.bulks for c in bulk.cancels}
