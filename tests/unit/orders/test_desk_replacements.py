"""Orders that are replaced, by us or by a person: desk, rows and the strategy's handle go on with one order and its plan."""

# mypy: disable-error-code="comparison-overlap"
# A Decimal equals the int of the same value, also inside a tuple.

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.orders import (
    BrokerOrder,
    Fill,
    OrderNews,
    OrderState,
    OrderType,
    Protect,
    ReplaceIntent,
    Side,
)
from liualgotrader.common.rows import EarlierOrder, OrderRow, PlanRow
from liualgotrader.engine.book import Book
from liualgotrader.exchange.exchange_values import OrderChanges, OrderRequest, Refusal
from liualgotrader.orders.desk_messages import BrokerSnapshot, Carried, Earlier, Reconnected, Warn
from liualgotrader.strategies.context import OrderHandle
from tests.fakes.broker import World, now_of

D = Decimal


def settle(world: World) -> None:
    world.run()
    for _ in range(4):
        world.wait(0.25)
        world.run()


def by_hand(world: World, name: str, **terms: Any) -> str:
    """Replace an order on the broker's own page, and return the broker's id of what takes its place."""
    state = world.desk.state
    order = state.orders.leaf(state.orders.by_id[name])
    return world.exchange.replace("me", order.broker_order_id, world.now, OrderChanges(**terms)).id


def seen_by_strategy(world: World, slot: int = 1) -> Book:
    """Return what a consumer that has lost its memory makes of all the news."""
    book = Book(slot, None, list)
    for news in world.desk.news(slot):
        if isinstance(news, OrderNews):
            book.apply_news(news)
        elif isinstance(news, Fill):
            book.apply(news)
            book.apply_execution(news)
    return book


def handle_of(world: World, name: str) -> OrderHandle:
    return seen_by_strategy(world)._tracked[name].handle


def entry(world: World, quantity: int = 10, **terms: Any) -> str:
    plan: dict[str, Any] = {"planned_stop": D(95), "planned_target": D(120), "indicators": {"buy": "crossing"}}
    name = world.order(1, "buy", quantity, **({"limit_price": D("99.00")} | plan | terms))
    settle(world)
    return name


def bracket(world: World) -> dict[OrderType, OrderHandle]:
    """Return the handles of a bracket's exits, of 100 shares that are held."""
    world.order(1, "buy", 100, take_profit=D("110"), stop_loss=D("90"))
    settle(world)
    assert world.held(1) == 100
    return {handle.type: handle for handle in seen_by_strategy(world).open_orders("AAPL")}


def at_broker(world: World, name: str) -> tuple[OrderState, Decimal | None, Decimal | None]:
    order = world.desk.state.orders.by_id[name]
    view = now_of(world.broker.order_by_client_id(world.desk.state.orders.leaf(order).client_order_id))
    assert view is not None
    return view.state, view.limit_price, view.stop_price


# --- what was planned follows the order


def test_what_was_planned_with_an_order_that_a_person_replaced_is_stored_with_its_fills(world: World) -> None:
    name = entry(world)
    by_hand(world, name, quantity=D(25), limit_price=D("99.20"))
    settle(world)
    handle = handle_of(world, name)
    assert (handle.state, handle.quantity, handle.limit_price) == (OrderState.ACKNOWLEDGED, 25, D("99.20"))
    world.quote("AAPL", 99.00, 99.10)
    settle(world)
    position, book, handle = (
        world.desk.state.positions.position(1, "AAPL"),
        seen_by_strategy(world),
        handle_of(world, name),
    )
    assert (world.held(1), handle.state, handle.filled, handle.is_open) == (25, OrderState.FILLED, 25, False)
    assert (position.planned_stop, position.planned_target) == (95, 120)
    assert (book.notes.planned("AAPL", "stop_prices"), book.notes.planned("AAPL", "target_prices")) == (95, 120)
    rows = [row for row in world.trade_rows() if row.quantity]
    assert {(r.planned_stop, r.planned_target, r.indicators["buy"]) for r in rows} == {(95, 120, "crossing")}
    assert {(r.state, r.planned_stop) for r in world.order_rows().values()} == {("replaced", 95), ("filled", 95)}


@pytest.mark.parametrize("hands", [("us", "us"), ("us", "person"), ("person", "us"), ("person", "person")])
def test_a_chain_of_replacements_by_anybody_is_one_order_with_one_plan_over_a_crash(
    world: World, hands: tuple[str, str]
) -> None:
    name = entry(world)
    for hand, limit in zip(hands, (D("99.20"), D("99.40")), strict=True):
        if hand == "us":
            world.tell(ReplaceIntent(name, 1, world.now, None, limit))
        else:
            by_hand(world, name, limit_price=limit)
        settle(world)
        handle = handle_of(world, name)
        assert (handle.state, handle.limit_price, handle.remaining) == (OrderState.ACKNOWLEDGED, limit, 10)
    assert len(seen_by_strategy(world).open_orders("AAPL")) == 1
    world.crash()
    settle(world)
    world.quote("AAPL", 99.20, 99.30)
    settle(world)
    position, handle = world.desk.state.positions.position(1, "AAPL"), handle_of(world, name)
    assert (position.quantity, position.planned_stop, handle.state) == (10, 95, OrderState.FILLED)
    assert seen_by_strategy(world).notes.planned("AAPL", "stop_prices") == 95


def test_a_stop_moved_before_a_person_replaces_the_order_stays_where_it_was_moved_to(world: World) -> None:
    name = entry(world)
    world.tell(Protect(1, "AAPL", world.now, D(97), D(120)))
    world.wait(1)
    by_hand(world, name, limit_price=D("99.20"))
    settle(world)
    world.quote("AAPL", 99.00, 99.10)
    settle(world)
    position = world.desk.state.positions.position(1, "AAPL")
    assert (position.planned_stop, seen_by_strategy(world).notes.planned("AAPL", "stop_prices")) == (97, 97)
    assert [row.planned_stop for row in world.rows.values() if isinstance(row, PlanRow)] == [97]


@pytest.mark.parametrize("hand", ["us", "person"])
def test_the_rest_of_an_order_that_filled_in_part_is_replaced_and_its_handle_counts_the_whole(
    world: World, hand: str
) -> None:
    world.quote("AAPL", 98.99, 99.00, 4)
    name = entry(world)
    world.quote("AAPL", 99.50, 99.60)
    assert world.held(1) == 4
    if hand == "us":
        world.tell(ReplaceIntent(name, 1, world.now, D(25), D("99.20")))
    else:
        by_hand(world, name, quantity=D(25), limit_price=D("99.20"))
    settle(world)
    handle = handle_of(world, name)
    assert (handle.quantity, handle.filled, handle.remaining, handle.limit_price) == (25, 4, 21, D("99.20"))
    world.quote("AAPL", 99.00, 99.10)
    settle(world)
    handle = handle_of(world, name)
    assert (world.held(1), handle.state, handle.filled, handle.quantity) == (25, OrderState.FILLED, 25, 25)
    assert world.desk.state.positions.position(1, "AAPL").planned_stop == 95


# --- what comes to nothing


def test_an_order_that_fills_before_a_person_s_replacement_takes_effect_is_filled(world: World) -> None:
    name = entry(world)
    by_hand(world, name, limit_price=D("98.50"))
    world.quote("AAPL", 98.90, 98.95)
    settle(world)
    handle = handle_of(world, name)
    assert (world.held(1), handle.state, handle.is_open) == (10, OrderState.FILLED, False)
    assert world.desk.state.positions.position(1, "AAPL").planned_stop == 95
    assert not list(world.desk.state.orders.all_working())


@pytest.mark.parametrize("heard", [True, False])
def test_an_order_whose_replacement_by_a_person_the_broker_rejects_works_on_as_it_was(
    world: World, heard: bool
) -> None:
    name = entry(world)
    by_hand(world, name, limit_price=D("99.20"))
    world.wait(0.001)
    world.run()
    assert handle_of(world, name).state is OrderState.PENDING_REPLACE
    order = world.exchange._venue.orders[world.desk.state.orders.by_id[name].broker_order_id]
    world.exchange._venue.now += 1
    world.exchange._lifecycle.refuse_replacement(order)
    if not heard:
        world._collect()
        world.updates.clear()
        world.tell(world.snapshot(0))
    settle(world)
    handle = handle_of(world, name)
    assert (handle.state, handle.limit_price, handle.is_open) == (OrderState.ACKNOWLEDGED, D("99.00"), True)
    world.tell(ReplaceIntent(name, 1, world.now, None, D("99.30")))
    settle(world)
    assert handle_of(world, name).limit_price == D("99.30")


# --- between the end of one and the beginning of the other


def only_the_end_is_heard(world: World, name: str, **terms: Any) -> None:
    """A person has replaced the order, and the stream has told of its end alone."""
    by_hand(world, name, **terms)
    world.wait(0.1)
    ends = [u for u in world.updates if u.event in ("pending_replace", "replaced")]
    world.updates = [u for u in world.updates if u not in ends and u.event != "pending_new"]
    for update in ends:
        world.tell(update)


def test_an_order_does_not_seem_to_have_ended_before_what_replaces_it_is_known(world: World) -> None:
    name = entry(world)
    before = world.desk.state.positions.total.either
    only_the_end_is_heard(world, name, limit_price=D("99.20"))
    assert seen_by_strategy(world).in_flight("AAPL")
    assert world.desk.state.positions.total.either == before
    settle(world)
    assert (handle_of(world, name).state, handle_of(world, name).limit_price) == (OrderState.ACKNOWLEDGED, D("99.20"))


def test_what_replaces_an_order_is_found_though_the_stream_never_tells_of_it(world: World) -> None:
    name = entry(world)
    only_the_end_is_heard(world, name, limit_price=D("99.20"))
    world.updates.clear()
    settle(world)
    assert (handle_of(world, name).state, handle_of(world, name).limit_price) == (OrderState.ACKNOWLEDGED, D("99.20"))


def test_a_cancel_meanwhile_takes_back_what_replaces_the_order(world: World) -> None:
    name = entry(world)
    only_the_end_is_heard(world, name, limit_price=D("99.20"))
    world.cancel(name, 1)
    settle(world)
    handle = handle_of(world, name)
    assert (handle.state, handle.is_open) == (OrderState.CANCELED, False)
    assert not now_of(world.broker.orders(since=0, open_only=True))


def test_an_order_replaced_by_one_that_the_broker_never_shows_ends_and_a_person_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = entry(world)
    hidden, whole = by_hand(world, name, limit_price=D("99.20")), world.snapshot

    def snapshot(since: int) -> BrokerSnapshot:
        told = whole(since)
        return BrokerSnapshot(True, tuple(o for o in told.orders if o.broker_order_id != hidden), told.executions)

    monkeypatch.setattr(world, "snapshot", snapshot)
    world.wait(0.1)
    [replaced] = [u for u in world.updates if u.event == "replaced"]
    world.updates.clear()
    world.tell(replaced)
    assert handle_of(world, name).is_open
    settle(world)
    assert (handle_of(world, name).is_open, handle_of(world, name).state) == (False, OrderState.REPLACED)
    [said] = [w.text for w in world.others if isinstance(w, Warn) and w.level == "ERROR"]
    assert said == f"{name} was replaced at the broker by an order that it does not show"


# --- a bracket's exits


def test_the_exits_of_a_bracket_have_handles_of_their_own_type_and_price(world: World) -> None:
    exits = bracket(world)
    profit, loss = exits[OrderType.LIMIT], exits[OrderType.STOP]
    assert (profit.limit_price, profit.stop_price, profit.quantity) == (110, None, 100)
    assert (loss.limit_price, loss.stop_price, loss.quantity) == (None, 90, 100)


@pytest.mark.parametrize("hand", ["us", "person"])
@pytest.mark.parametrize("which", [OrderType.STOP, OrderType.LIMIT])
def test_an_exit_of_a_bracket_can_be_replaced_twice_and_stays_one_of_two(
    world: World, which: OrderType, hand: str
) -> None:
    exits = bracket(world)
    name, other = exits[which].client_order_id, next(h for t, h in exits.items() if t is not which)
    field, prices = ("stop", (D(92), D(93))) if which is OrderType.STOP else ("limit", (D(108), D(107)))
    for price in prices:
        if hand == "us":
            world.tell(ReplaceIntent(name, 1, world.now, **{f"{field}_price": price}))
        else:
            by_hand(world, name, **{f"{field}_price": price})
        settle(world)
        handle = handle_of(world, name)
        assert (handle.state, handle.type) == (OrderState.ACKNOWLEDGED, which)
        assert getattr(handle, f"{field}_price") == price
        assert price in at_broker(world, name)
    world.crash()
    settle(world)
    ours = [o.client_order_id for o in world.desk.state.orders.all_working()]
    assert len(ours) == 2
    assert len(seen_by_strategy(world).open_orders("AAPL")) == 2
    middle = 92.5 if which is OrderType.STOP else 107.5
    world.quote("AAPL", middle, middle + 0.02)
    world.trade("AAPL", middle)
    settle(world)
    assert (world.held(1), handle_of(world, name).state) == (0, OrderState.FILLED)
    assert handle_of(world, other.client_order_id).state is OrderState.CANCELED
    assert not now_of(world.broker.orders(since=0, open_only=True))


def test_what_the_vendor_does_not_let_an_exit_of_a_bracket_change_leaves_it_as_it_was(world: World) -> None:
    loss = bracket(world)[OrderType.STOP]
    world.tell(ReplaceIntent(loss.client_order_id, 1, world.now, quantity=D(50)))
    settle(world)
    handle = handle_of(world, loss.client_order_id)
    assert (handle.state, handle.quantity, handle.stop_price) == (OrderState.ACKNOWLEDGED, 100, 90)
    [row] = [r for r in world.order_rows().values() if r.state == "rejected"]
    assert row.reason == "qty cannot be changed for advanced orders"


def test_a_replaced_exit_of_a_bracket_makes_room_for_an_exit_at_market(world: World) -> None:
    loss = bracket(world)[OrderType.STOP]
    world.tell(ReplaceIntent(loss.client_order_id, 1, world.now, stop_price=D(92)))
    settle(world)
    leaving = world.order(1, "sell", 100)
    settle(world)
    settle(world)
    assert (world.states(leaving)[-1], world.held(1)) == ("filled", 0)
    assert not list(world.desk.state.orders.all_working())


def test_the_quantity_of_a_stop_follows_what_the_target_has_sold(world: World) -> None:
    exits = bracket(world)
    world.quote("AAPL", 110.00, 110.02, 30)
    settle(world)
    profit, loss = (handle_of(world, exits[kind].client_order_id) for kind in (OrderType.LIMIT, OrderType.STOP))
    assert (world.held(1), profit.filled, loss.remaining) == (70, 30, 70)
    assert world.order_rows()[loss.client_order_id].quantity == 70


def test_a_replacement_that_the_person_and_the_strategy_ask_for_at_once_leaves_one_order(world: World) -> None:
    name = entry(world)
    by_hand(world, name, limit_price=D("99.20"))
    with pytest.raises(Refusal):
        by_hand(world, name, limit_price=D("99.30"))
    world.tell(ReplaceIntent(name, 1, world.now, None, D("99.40")))
    settle(world)
    assert handle_of(world, name).limit_price == D("99.20")
    assert len(now_of(world.broker.orders(since=0, open_only=True))) == 1


def test_an_exit_that_a_person_replaced_overnight_goes_on_with_the_position_that_it_leaves(world: World) -> None:
    def submit(side: str, **terms: Any) -> str:
        order = OrderRequest(symbol="MSFT", side=side, time_in_force="day", quantity=D(10), **terms)
        return world.exchange.submit("me", order, world.now).id

    submit("buy", type="market")
    world.wait(1)
    by_person = submit("sell", type="stop", stop_price=D("91"))
    world.wait(1)
    row = OrderRow(
        "liu-ffffffffffff-1-1", "ff", 1, 5, 1, "MSFT", "sell", D(10), "stop", "gtc", None, D("90"), "acknowledged", "left",
        D(0), None, "", None, None, {}, 1, 1,
    )  # fmt: skip
    left = BrokerOrder(
        "left",
        row.client_order_id,
        "MSFT",
        Side.SELL,
        D(10),
        D(0),
        None,
        OrderState.REPLACED,
        "replaced",
        1,
        2,
        by_person,
    )
    world.tell(Earlier(EarlierOrder(row, "alpha", 3), left))
    world.tell(Carried(1, "MSFT", D(10), D(99), D(88)))
    world.tell(Reconnected())
    settle(world)
    [handle] = seen_by_strategy(world).open_orders("MSFT")
    assert (handle.state, handle.type, handle.stop_price) == (OrderState.ACKNOWLEDGED, OrderType.STOP, 91)
    leaving = world.order(1, "sell", 10, "MSFT")
    settle(world)
    settle(world)
    assert (world.states(leaving)[-1], world.held(1, "MSFT")) == ("filled", 0)
    assert not now_of(world.broker.orders(since=0, open_only=True))
