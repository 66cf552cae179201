"""What an earlier batch's order has traded is booked once, all of it, and at its price."""

# mypy: disable-error-code="comparison-overlap"
# A Decimal equals the int of the same value, also inside a tuple.

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import SECOND
from liualgotrader.common.orders import BrokerExecution, BrokerOrder, OrderState, OrderType, Side
from liualgotrader.common.rows import BookedExecution, EarlierOrder, OrderRow, TradeRow
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import Begin, Earlier, Write
from liualgotrader.orders.order import DeskOrder
from tests.fakes.broker import OPEN, desk_terms

D = Decimal
NOW = OPEN + SECOND
NAME = "liu-aaaaaaaaaaaa-1-7"


def recorded(*booked: tuple[str, int, str], filled: int = 0, quantity: int = 100, name: str = NAME) -> EarlierOrder:
    """Return an order as the record has it, with its executions as (id, shares, dollars)."""
    parts = tuple(BookedExecution(i, D(shares), D(price)) for i, shares, price in booked)
    average = sum((p.quantity * p.price for p in parts), D(0)) / filled if filled and parts else None
    row = OrderRow(
        client_order_id=name,
        batch_id="aaaaaaaa-aaaa",
        slot=1,
        algo_run_id=5,
        generation=1,
        symbol="AAPL",
        side="sell",
        quantity=D(quantity),
        type="limit",
        time_in_force="gtc",
        limit_price=D(100),
        stop_price=None,
        state="acknowledged",
        broker_order_id="b1",
        filled_quantity=D(filled),
        average_price=average,
        reason="",
        planned_stop=None,
        planned_target=None,
        indicators={},
        decided_at=NOW - 9,
        updated_at=NOW - 9,
    )
    return EarlierOrder(row, "alpha", 3, booked=parts)


def seen(filled: int, average: str | None = "100", name: str = NAME, **changes: Any) -> BrokerOrder:
    order = BrokerOrder(
        broker_order_id="b1",
        client_order_id=name,
        symbol="AAPL",
        side=Side.SELL,
        quantity=D(100),
        filled_quantity=D(filled),
        average_price=D(average) if average else None,
        state=OrderState.FILLED if filled == 100 else OrderState.PARTIALLY_FILLED,
        vendor_status="",
        submitted_at=NOW - 9,
        updated_at=NOW,
        type=OrderType.LIMIT,
        limit_price=D(100),
    )
    return msgspec.structs.replace(order, **changes)


def execution(name: str, shares: int, cumulative: int, price: str = "100") -> BrokerExecution:
    return BrokerExecution(name, "b1", "AAPL", Side.SELL, D(shares), D(price), D(0), NOW, D(cumulative))


def found(left: EarlierOrder, view: BrokerOrder, *executions: BrokerExecution) -> tuple[list[TradeRow], DeskOrder]:
    """Return the trades that are written, and the order as it is known then."""
    desk = Desk()
    desk.decide(Begin(desk_terms(), 1), NOW, 1)
    decided = desk.decide(Earlier(left, view, executions), NOW, 1)
    [(_, order)] = desk.state.orders.earlier.values()
    return [d.row for d in decided if isinstance(d, Write) and isinstance(d.row, TradeRow)], order


def booked(trades: list[TradeRow]) -> list[tuple[str, Decimal, Decimal]]:
    return [(t.execution_id, t.quantity, t.price) for t in trades]


def test_a_part_below_what_the_broker_names_is_booked_at_the_average() -> None:
    trades, order = found(recorded(), seen(100, "101"), execution("e2", 60, 100, "100"))
    assert booked(trades) == [("e2", 60, 100), ("reconciled:b1:40", 40, D("102.5"))]
    assert (order.filled, order.average_price) == (100, 101)


def test_an_execution_that_came_after_a_later_one_is_booked_and_the_later_one_not_again() -> None:
    left = recorded(("e2", 60, "100"), filled=60)
    trades, order = found(left, seen(100, "99.6"), execution("e1", 40, 40, "99"), execution("e2", 60, 100, "100"))
    assert booked(trades) == [("e1", 40, 99)]
    assert (order.filled, order.average_price) == (100, D("99.6"))


def test_executions_told_again_do_not_change_the_price_of_what_nobody_names() -> None:
    left = recorded(("e1", 10, "100"), filled=10)
    trades, order = found(left, seen(100), execution("e1", 10, 10), execution("e2", 60, 70))
    assert booked(trades) == [("e2", 60, 100), ("reconciled:b1:100", 30, 100)]
    assert order.average_price == 100


def test_an_execution_written_before_its_orders_row_counts_as_booked() -> None:
    trades, order = found(recorded(("e1", 40, "99"), filled=0), seen(40, "99"), execution("e1", 40, 40, "99"))
    assert (trades, order.filled, order.average_price) == ([], 40, 99)


def test_the_fills_of_a_replaced_order_are_not_booked_again_for_its_successor() -> None:
    name = f"{NAME}-r1"
    left = recorded(quantity=60, name=name)
    trades, order = found(left, seen(40, name=name, state=OrderState.ACKNOWLEDGED))
    assert (trades, order.filled, order.remaining) == ([], 0, 60)
    trades, order = found(left, seen(50, name=name), execution("e9", 10, 50))
    assert (booked(trades), order.remaining) == ([("e9", 10, 100)], 50)


def test_a_successor_whose_own_executions_lie_there_has_traded_them_itself() -> None:
    name = f"{NAME}-r1"
    trades, order = found(recorded(quantity=60, name=name), seen(40, name=name), execution("e1", 40, 40))
    assert (booked(trades), order.remaining) == ([("e1", 40, 100)], 60)


@pytest.mark.parametrize("filled", [10, 100])
def test_without_its_executions_what_is_recorded_counts_as_the_first_shares(filled: int) -> None:
    trades, order = found(recorded(filled=filled), seen(100))
    assert (sum(t.quantity for t in trades), order.filled) == (100 - filled, 100)


@given(st.data())
def test_whatever_was_recorded_and_is_told_each_share_is_booked_once(data: st.DataObject) -> None:
    cuts = [*sorted(data.draw(st.sets(st.integers(1, 99), max_size=5))), 100]
    parts = [(f"e{high}", high - low, high) for low, high in zip([0, *cuts], cuts, strict=False)]
    known = [p for p in parts if data.draw(st.booleans())]
    told = [execution(*p) for p in parts if data.draw(st.booleans())]
    left = recorded(*((name, shares, "100") for name, shares, _ in known), filled=sum(p[1] for p in known))
    trades, order = found(left, seen(100), *told)
    assert (order.filled, order.state) == (100, "filled")
    assert sum(t.quantity for t in trades) + sum(p[1] for p in known) == 100
    assert not {t.execution_id for t in trades} & {p[0] for p in known}
