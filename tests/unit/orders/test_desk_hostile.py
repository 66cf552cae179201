"""What a broker and a line can do to an order at the worst moment."""

# mypy: disable-error-code="comparison-overlap"
# A Decimal equals the int of the same value, also inside a tuple.

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from liualgotrader.common.clock import SECOND
from liualgotrader.common.order_id import client_order_id
from liualgotrader.common.orders import (
    BrokerOrder,
    BrokerPosition,
    BrokerUpdate,
    OrderIntent,
    OrderState,
    OrderType,
    Protect,
    Protection,
    ReplaceIntent,
    Side,
)
from liualgotrader.common.rows import PlanRow
from liualgotrader.exchange.exchange_values import OrderRequest
from liualgotrader.orders.desk_messages import Begin, BrokerSnapshot, Cancel, Flatten, KillSwitch, Warn
from tests.fakes.broker import BATCH, World, now_of

D = Decimal


def settle(world: World, seconds: float = 1) -> None:
    world.run()
    world.wait(seconds)
    world.run()


def seen(world: World, name: str) -> BrokerOrder:
    found = now_of(world.broker.order_by_client_id(name))
    assert found is not None
    return found


def test_a_brackets_exit_that_fills_unheard_is_booked_after_a_crash(world: World) -> None:
    name = world.order(1, "buy", 10, take_profit=D("101"), stop_loss=D("99"))
    while world.commands:
        world.carry_out()
    world.answers.clear()  # its legs would have been told there
    world.wait(1)
    world.updates = [u for u in world.updates if u.order.client_order_id == name]
    world.updates = [msgspec.structs.replace(u, order=msgspec.structs.replace(u.order, legs=())) for u in world.updates]
    while world.updates:
        world.update()
    assert (world.states(name)[-1], world.held(1)) == ("filled", 10)
    world.quote("AAPL", 101.00, 101.02)
    world.wait(1)
    world.crash()
    world.run()
    settle(world)
    assert (world.held(1), world.desk.facts().quarantined) == (0, {})
    assert [t.operation for t in world.trade_rows()] == ["buy", "sell"]


def replaced_and_cancelled(world: World) -> str:
    """Return an order for which a replacement and then a cancel were asked; neither has been answered."""
    name = world.order(1, "buy", 10, limit_price=D("99.00"))
    settle(world)
    world.tell(ReplaceIntent(name, 1, world.now, None, D("99.50")))
    world.cancel(name, 1)
    return name


def test_a_cancel_goes_out_when_the_stream_says_that_the_replacement_was_refused(world: World) -> None:
    name = replaced_and_cancelled(world)
    world.commands.clear()
    view = msgspec.structs.replace(seen(world, name), updated_at=world.now + 1)
    world.tell(BrokerUpdate("order_replace_rejected", view, world.now))
    assert [type(c) for c in world.commands] == [Cancel]
    settle(world)
    assert world.states(name)[-1] == "canceled"


def test_a_cancel_goes_out_when_the_refused_replacement_itself_is_told(world: World) -> None:
    name = replaced_and_cancelled(world)
    world.commands.clear()
    refused = msgspec.structs.replace(
        seen(world, name),
        client_order_id=f"{name}-r1",
        broker_order_id="the-new-one",
        state=OrderState.REJECTED,
        vendor_status="rejected",
        updated_at=world.now + 1,
    )
    world.tell(BrokerUpdate("rejected", refused, world.now))
    assert world.states(f"{name}-r1")[-1] == "rejected"
    settle(world)
    assert world.states(name)[-1] == "canceled"


def test_an_old_view_does_not_bring_an_old_quantity_back(world: World) -> None:
    name = world.order(1, "buy", 10, limit_price=D("99.00"))
    settle(world)
    old = seen(world, name)
    less = msgspec.structs.replace(old, quantity=D(6), updated_at=old.updated_at + 10)
    world.tell(BrokerUpdate("restated", less, world.now))
    world.tell(BrokerUpdate("new", old, world.now))
    assert world.desk.state.orders.by_id[name].quantity == 6


def of_another_batch(world: World, symbol: str = "AAPL") -> BrokerOrder:
    name = world.order(2, "buy", 1, symbol, limit_price=D("90"))
    settle(world)
    return msgspec.structs.replace(seen(world, name), client_order_id="liu-ffffffffffff-1-1", broker_order_id="other")


def test_a_kill_switch_reaches_orders_of_other_batches_that_are_learned_of_later(world: World) -> None:
    other = of_another_batch(world)
    world.tell(KillSwitch())
    world.run()
    world.tell(BrokerSnapshot(True, (other,), (), ()))
    assert Cancel("liu-ffffffffffff-1-1", "other", "AAPL") in world.commands
    world.tell(BrokerSnapshot(True, (), (), ()))
    assert world.desk.state.orders.other_batches == {}


def test_an_order_that_an_earlier_batch_left_is_named_after_every_start_until_it_is_gone(world: World) -> None:
    other = of_another_batch(world)
    exit_left = msgspec.structs.replace(
        other, side=Side.SELL, client_order_id="liu-eeeeeeeeeeee-1-1", broker_order_id="e"
    )
    held = BrokerPosition("AAPL", D(9), D(100))
    world.desk.state.broker_view.foreign["AAPL"] = D(9)

    def named() -> list[str]:
        said = [d.text.partition(" of an earlier batch")[0] for d in world.others if isinstance(d, Warn)]
        world.others.clear()
        return [name for name in said if name.startswith("liu-")]

    for _ in range(2):  # starts
        for _ in range(2):
            world.tell(BrokerSnapshot(True, (other, exit_left), (), (held,)))
        assert named() == ["liu-ffffffffffff-1-1", "liu-eeeeeeeeeeee-1-1"]
        cancels = [c.client_order_id for c in world.commands if isinstance(c, Cancel)]
        assert set(cancels) == {"liu-ffffffffffff-1-1"}, "an exit may belong to a strategy that is not in the plan"
        world.tell(Begin(world.terms, 2))
    world.tell(BrokerSnapshot(True, (), (), (held,)))
    assert named() == []


def test_exits_sent_since_the_kill_switch_was_put_on_are_left_alone(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    world.tell(KillSwitch())
    settle(world)
    leaving = world.order(1, "sell", 10, limit_price=D("103"))
    settle(world, 70)  # the books are compared meanwhile
    assert world.states(leaving)[-1] == "acknowledged"


def test_what_another_batch_has_open_is_not_taken_back_in_bulk_with_the_exits_sent_since(world: World) -> None:
    other = of_another_batch(world)
    world.order(1, "buy", 10)
    settle(world)
    world.tell(KillSwitch())
    settle(world)
    stop = world.order(1, "sell", 10, type=OrderType.STOP, stop_price=D("90"))
    settle(world)
    world.bulks.clear()
    world.tell(BrokerSnapshot(True, (other, seen(world, stop)), (), tuple(now_of(world.broker.positions()))))
    assert [c for c in world.commands if isinstance(c, Cancel)][-1].client_order_id == "liu-ffffffffffff-1-1"
    assert world.bulks == []
    settle(world)
    assert (world.states(stop)[-1], world.held(1)) == ("acknowledged", 10)


def test_a_position_that_the_kill_switch_closes_is_closed_though_the_books_are_compared_meanwhile(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    world.tell(KillSwitch(flatten=True))
    while world.commands:
        world.carry_out()
    world.tell(BrokerSnapshot(True, (), (), ()))
    settle(world)
    assert world.held(1) == 0
    assert [len(bulk.cancels) for bulk in world.bulks] == []


def test_a_closing_takes_back_what_an_earlier_batch_left_in_the_symbol(world: World) -> None:
    other = of_another_batch(world)
    world.order(1, "buy", 10)
    settle(world)
    world.tell(BrokerSnapshot(True, (other,), (), ()))
    world.commands.clear()
    world.tell(Flatten(1))
    assert Cancel("liu-ffffffffffff-1-1", "other", "AAPL") in world.commands


def test_two_strategies_in_one_symbol_and_one_closed_by_hand_sell_only_what_is_there(world: World) -> None:
    for slot in (1, 2):
        world.order(slot, "buy", 10)
    settle(world)
    by_hand = OrderRequest(symbol="AAPL", side="sell", type="market", time_in_force="day", quantity=D(15))
    world.exchange.submit("me", by_hand, world.now)
    settle(world, 70)
    settle(world, 2)
    first, second = world.order(1, "sell", 5), world.order(2, "sell", 5)
    assert world.states(first) == ["written"]
    assert world.order_rows()[second].reason == "not_there"  # the first one binds what is left


def test_an_entry_that_an_earlier_batch_left_is_taken_back_once(world: World) -> None:
    other = of_another_batch(world)
    world.commands.clear()
    for _ in range(2):
        world.tell(BrokerSnapshot(True, (other,), (), ()))
    assert [c for c in world.commands if isinstance(c, Cancel)] == [Cancel("liu-ffffffffffff-1-1", "other", "AAPL")]


def test_an_exit_that_an_earlier_batch_left_stays(world: World) -> None:
    other = msgspec.structs.replace(of_another_batch(world), side=Side.SELL)
    world.order(1, "buy", 10)
    settle(world)
    world.commands.clear()
    world.tell(BrokerSnapshot(True, (other,), (), ()))
    assert [c for c in world.commands if isinstance(c, Cancel)] == []


def test_a_moved_stop_is_dated_after_the_fill_that_it_outranks(world: World) -> None:
    world.quote("AAPL", 99.99, 100.01, 50)
    world.order(1, "buy", 100, limit_price=D("100.01"), planned_stop=D(98))
    settle(world)
    world.tell(Protect(1, "AAPL", world.now, D("99.5")))
    world.quote("AAPL", 99.99, 100.01, 5000)
    world.now -= SECOND  # the broker's clock is ahead of ours
    settle(world)
    assert world.held(1) == 100
    last = [r for _, r in sorted(world.rows.items()) if isinstance(r, PlanRow)][-1]
    assert (last.planned_stop, last.at >= max(t.at for t in world.trade_rows())) == (D("99.5"), True)


# --- figures that are none

NO_FIGURES = [D(text) for text in ("NaN", "sNaN", "Infinity", "-Infinity", "1e26", "-1e300", "1e999999", "1e-400")]
PRICES = ("limit_price", "stop_price", "take_profit", "stop_loss", "planned_stop", "planned_target")


@pytest.mark.parametrize("figure", NO_FIGURES, ids=str)
def test_an_order_of_figures_that_are_none_is_refused_and_its_rows_can_be_stored(world: World, figure: Decimal) -> None:
    for name in PRICES:
        for type_ in OrderType:
            terms: dict[str, Any] = {"type": type_, name: figure}
            order = world.order(1, "buy", 10, **terms)
            assert world.order_rows()[order].reason == "terms"
    order = world.order(1, "buy", 1, reference_price=figure)
    assert world.order_rows()[order].reason == "price_too_old"  # unknown, and an entry needs one
    world.tell(OrderIntent(client_order_id(BATCH, 1, 900), 1, "alpha", "AAPL", Side.BUY, figure, OrderType.MARKET,
                           world.now, world.machine + 5 * SECOND))  # fmt: skip
    assert world.order_rows()[client_order_id(BATCH, 1, 900)].reason == "size"
    for row in world.order_rows().values():
        figures = [row.quantity, row.limit_price, row.stop_price, row.planned_stop, row.planned_target]
        assert all(f is None or (f.is_finite() and abs(f) <= 10**9) for f in figures)
    world.crash()  # the journal is decided again


@pytest.mark.parametrize("figure", NO_FIGURES, ids=str)
def test_a_replacement_or_a_stop_of_figures_that_are_none_changes_nothing(world: World, figure: Decimal) -> None:
    world.order(1, "buy", 1, planned_stop=D(95), planned_target=D(110))
    resting = world.order(1, "buy", 10, limit_price=D(90))
    settle(world)
    for name in ("quantity", "limit_price", "stop_price"):
        asked = ReplaceIntent(resting, 1, world.now, **{name: figure})
        world.tell(asked)
        world.tell(asked)  # told again: nothing follows
        settle(world)
    refused = [row.reason for row in world.order_rows().values() if row.state == "refused"]
    assert refused == ["size", "terms", "terms"]
    assert world.states(resting)[-1] == "acknowledged"
    world.tell(Protect(1, "AAPL", world.now, figure, D(120)))
    world.tell(Protect(1, "AAPL", world.now, D(97), figure))
    (position,) = world.desk.facts().positions
    assert (position.stop, position.target) == (95, 110)
    told = [n for n in world.desk.news(1) if isinstance(n, Protection)]
    assert [(n.planned_stop, n.planned_target) for n in told] == [(95, 110), (95, 110)]
    world.crash()


def test_an_exit_goes_out_whatever_price_it_refers_to(world: World) -> None:
    world.order(1, "buy", 10)
    settle(world)
    world.order(1, "sell", 10, reference_price=D("NaN"))
    settle(world)
    assert world.held(1) == 0
